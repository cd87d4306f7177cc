"""Several finished results side by side: figures, settings that differ, curves over one time axis.

What makes figures hard to compare is said before the figures.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import assert_never

import msgspec
import numpy as np

from bot.adapters.files.whole import write_text
from bot.app.overlay.finished import (
    BacktestFile,
    Curve,
    Finished,
    KeptResult,
    SweepFile,
    WalkFile,
    curve_of,
    figures_of,
    kind_of,
    span_of,
)
from bot.service.moments import minute_cell, minute_words
from bot.web.comparison import ComparedCurve, ComparedResult, ComparisonData, render_comparison

SHOWN = (
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "days",
    "trades",
    "fees",
    "slippage",
    "funding",
)
"""Figures in the order of the table."""
OF_SEARCHES = ("deflated_sharpe", "overfit_probability")
"""Figures that only a sweep and a walk-forward have."""


def rows_of(found: Sequence[Finished]) -> list[tuple[str, list[float | None]]]:
    """Return each figure that one of the results has, with its value in all; None: not known."""
    all_figures = [figures_of(each) for each in found]
    rows = [(name, [figures.get(name) for figures in all_figures]) for name in SHOWN]
    rows += [(name, [getattr(each, name, None) for each in found]) for name in OF_SEARCHES]
    rows.append(("buy and hold: total_return", [each.buy_and_hold.get("total_return") for each in found]))
    rows.append(("buy and hold: sharpe", [each.buy_and_hold.get("sharpe") for each in found]))
    rows.append(("return on the common span", common_returns(found)))
    return [(name, values) for name, values in rows if any(value is not None for value in values)]


def common_span(found: Sequence[Finished]) -> tuple[int, int] | None:
    """Return the span that all results have, in ms; None if there is none."""
    spans = [span_of(each) for each in found]
    from_ms, to_ms = max(span[0] for span in spans), min(span[1] for span in spans)
    return (from_ms, to_ms) if from_ms < to_ms else None


def common_returns(found: Sequence[Finished]) -> list[float | None]:
    """Return what each earned between the same two times, a fraction; None for a result without a curve."""
    return [curve[-1][1] / curve[0][1] - 1.0 if curve else None for curve in common_curves(found)]


def common_curves(found: Sequence[Finished]) -> list[Curve]:
    """Return the part of each curve between the first and the last time at which all of them have a value.

    A curve of days and a curve of closes are so compared over the same days. Empty for a result without a
    curve, for one whose account is empty at the begin, and for all if they share no two times.
    """
    curves = [curve_of(each) for each in found]
    known = [{ts_ms for ts_ms, _ in curve} for curve in curves if curve]
    shared = set.intersection(*known) if known else set()
    if len(shared) < 2:
        return [[] for _ in found]
    from_ms, to_ms = min(shared), max(shared)
    parts = [[point for point in curve if from_ms <= point[0] <= to_ms] for curve in curves]
    return [part if part and part[0][1] > 0.0 else [] for part in parts]


def settings_of(found: Sequence[Finished]) -> dict[str, list[object]]:
    """Return the settings that differ, with the value of each result; None: not set."""
    told = [_told(each) for each in found]
    names = dict.fromkeys(name for each in told for name in each)
    table = {name: [each.get(name) for each in told] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def _told(each: Finished) -> dict[str, object]:
    chosen = each.best.params if isinstance(each, SweepFile) and each.best is not None else {}
    params = {f"param {name}": value for name, value in (each.params | chosen).items()}
    made = {name: getattr(each, name) for name in ("version", "strategy", "form", "seed", "model_hash")}
    costs = {f"costs.{name}": value for name, value in _flat(each.costs).items()}
    return {**made, **params, **costs, "settings_hash": each.settings_hash}


def _flat(costs: Mapping[str, object]) -> dict[str, object]:
    """Return costs with a row for each symbol of those that are set by symbol."""
    flat: dict[str, object] = {}
    for name, value in costs.items():
        flat |= (
            {f"{name} {symbol}": x for symbol, x in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat


def notes_of(found: Sequence[Finished]) -> list[str]:
    """Say what makes the figures hard to compare, a line for each thing."""
    return [*_differences(found), *_endings(found), *_searches(found), *_curves(found)]


def _differences(found: Sequence[Finished]) -> list[str]:
    notes = []
    if _differ(found, span_of):
        told = "; ".join(
            f"{i} {minute_cell(from_ms)} to {minute_words(to_ms)}"
            for i, (from_ms, to_ms) in enumerate(map(span_of, found), 1)
        )
        notes.append(f"the spans differ: {told}")
    if common_span(found) is None:
        notes.append("no span is common to all: the figures are of different markets in time")
    if _differ(found, lambda each: sorted((data.symbol, data.interval) for data in each.data)):
        told = "; ".join(
            f"{i} {', '.join(f'{data.symbol} {data.interval}' for data in each.data)}"
            for i, each in enumerate(found, 1)
        )
        notes.append(f"the symbols or bars differ: {told}")
    elif _differ(found, lambda each: sorted((data.symbol, data.sha256) for data in each.data)):
        told = "; ".join(
            f"{i} {', '.join(data.sha256[:12] for data in each.data)}" for i, each in enumerate(found, 1)
        )
        notes.append(f"the candles differ (sha256): {told}")
    shared = set.intersection(*({*each.costs} for each in found))
    if _differ(found, lambda each: {name: each.costs[name] for name in shared}):
        notes.append("the costs differ: see the settings below")
    return notes


def _differ(found: Sequence[Finished], key: Callable[[Finished], object]) -> bool:
    return any(key(each) != key(found[0]) for each in found)


def _endings(found: Sequence[Finished]) -> list[str]:
    notes = []
    for i, each in enumerate(found, 1):
        match each:
            case BacktestFile(halt=halt, risk=risk):
                if halt is not None:
                    notes.append(
                        f"{i} was halted by risk; its figures end at {minute_words(each.headline.to_ms)}"
                    )
                if risk != "enforce":
                    notes.append(f"{i} ran with --risk {risk}: no limit acted")
            case SweepFile(best=best, halted=halted, trials=trials):
                if halted:
                    notes.append(f"{i} has {halted:,} of {trials:,} trials halted by risk")
                if best is None:
                    notes.append(f"{i} has no best trial, so no figures")
                elif best.halted is not None:
                    notes.append(f"{i}: its best trial was halted by risk ({best.halted})")
            case WalkFile(steps=steps):
                ended = sum(step.halted is not None for step in steps)
                if ended:
                    notes.append(f"{i} was halted by risk in {ended:,} of {len(steps):,} steps")
            case KeptResult():
                notes += [f"{i}: {note}" for note in each.notes]
            case _:
                assert_never(each)
    return notes


def _searches(found: Sequence[Finished]) -> list[str]:
    notes = []
    for i, each in enumerate(found, 1):
        match each:
            case BacktestFile() | KeptResult():
                pass
            case SweepFile(trials=trials):
                notes.append(f"{i} is the best of {trials:,} trials on the same bars: part of it is luck")
            case WalkFile(trials=trials, earlier_walkforwards=earlier):
                before = f", after {earlier:,} walk-forwards before it" if earlier else ""
                notes.append(f"{i} chose among {trials:,} trials and was tested on later days{before}")
            case _:
                assert_never(each)
    return notes


def _curves(found: Sequence[Finished]) -> list[str]:
    without = [str(i) for i, each in enumerate(found, 1) if not curve_of(each)]
    if not without:
        return []
    return [
        f"no equity of {', '.join(without)}: write a backtest with --include equity, or the sweep once more"
    ]


def numbers(sources: Sequence[str], found: Sequence[Finished]) -> dict[str, object]:
    """Return the comparison, for programs; lists have one value a result, in the order of the sources."""
    span = common_span(found)
    return {
        "notes": notes_of(found),
        "results": [
            {
                "file": source,
                "kind": kind_of(each),
                "strategy": each.strategy,
                "from_ms": span_of(each)[0],
                "to_ms": span_of(each)[1],
                "metrics": figures_of(each),
                "buy_and_hold": each.buy_and_hold,
                "trials": getattr(each, "trials", None),
                **{name: getattr(each, name, None) for name in OF_SEARCHES},
                "data": [msgspec.to_builtins(data) for data in each.data],
            }
            for source, each in zip(sources, found, strict=True)
        ],
        "common_span": None if span is None else {"from_ms": span[0], "to_ms": span[1]},
        "common_returns": common_returns(found),
        "settings": settings_of(found),
    }


# The page


def write_page(out: Path, sources: Sequence[str], found: Sequence[Finished]) -> None:
    """Write the comparison as one HTML page; missing folders are made.

    Raises:
        NotWritten: the place cannot be written.
    """
    shared = common_curves(found)
    begins = [curve[0] for curve in shared if curve]
    data = ComparisonData(
        results=[
            ComparedResult(
                name=f"{i} {Path(source).stem}",
                kind=kind_of(each),
                strategy=each.strategy,
                source=source,
                from_ms=span_of(each)[0],
                to_ms=span_of(each)[1],
                curve=_drawn(curve_of(each), part),
            )
            for i, (source, each, part) in enumerate(zip(sources, found, shared, strict=True), 1)
        ],
        notes=notes_of(found),
        figures=rows_of(found),
        settings=settings_of(found),
        common_from_ms=begins[0][0] if begins else None,
    )
    write_text(out, render_comparison(data))


def _drawn(curve: Curve, common: Curve) -> ComparedCurve | None:
    """Return a curve that counts from the begin of the common span; without one, from its own."""
    base = (common or curve or [(0, 0.0)])[0][1]
    if len(curve) < 2 or base <= 0.0:
        return None
    ts_ms, equity = zip(*curve, strict=True)
    return ComparedCurve(ts_ms=np.array(ts_ms, np.int64), equity=np.array(equity), base=base)
