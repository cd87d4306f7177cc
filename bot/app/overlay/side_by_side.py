"""Several finished results side by side: the JSON files of backtests, sweeps and walk-forwards.

What makes figures hard to compare is said before the figures.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from bot.domain.errors import BadFile, BadUsage
from bot.service.moments import minute_cell, minute_words

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


class Data(msgspec.Struct, frozen=True):
    """One candle file of a result."""

    symbol: str
    interval: str
    sha256: str


class Headline(msgspec.Struct, frozen=True):
    """The span that the figures are of; a backtest without a model begins at its first bar."""

    from_ms: int
    to_ms: int


class Point(msgspec.Struct, frozen=True):
    """The account's value at one close."""

    ts_ms: int
    equity: float


class Tables(msgspec.Struct, frozen=True):
    """Tables that the file carries if they were asked for."""

    equity: list[Point] | None = None


class _Made(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    version: str
    strategy: str
    params: dict[str, object]
    settings_hash: str
    model_hash: str | None
    form: str
    seed: int
    data: list[Data]
    costs: dict[str, object]
    first_ms: int
    headline: Headline
    buy_and_hold: dict[str, float | None]


class BacktestFile(_Made, frozen=True, tag="backtest", kw_only=True):
    """``bot backtest --json``."""

    risk: str
    halt: dict[str, object] | None
    metrics: dict[str, float | None]
    tables: Tables = Tables()


class Best(msgspec.Struct, frozen=True):
    """The best trial of a sweep."""

    params: dict[str, object]
    halted: str | None
    metrics: dict[str, float | None]


class SweepFile(_Made, frozen=True, tag="sweep", kw_only=True):
    """``bot sweep --json``: its figures are those of the best trial."""

    trials: int
    halted: int
    best: Best | None
    deflated_sharpe: float | None


class Step(msgspec.Struct, frozen=True):
    """One step of a walk-forward."""

    halted: str | None


class WalkFile(_Made, frozen=True, tag="walkforward", kw_only=True):
    """``bot walkforward --json``: its figures are those of all tests."""

    trials: int
    metrics: dict[str, float | None]
    steps: list[Step]
    earlier_walkforwards: int
    deflated_sharpe: float | None


Finished = BacktestFile | SweepFile | WalkFile


def read_results(paths: Sequence[Path]) -> list[Finished]:
    """Read the files of the results to compare.

    Raises:
        BadUsage: fewer than two files, or one twice.
        BadFile: a file that is missing, or not the JSON of a finished result.
    """
    if len(paths) < 2:
        raise BadUsage(f"{paths[0]}: one result cannot be compared; name two or more")
    seen: dict[bytes, Path] = {}
    found = []
    for path in paths:
        if path.suffix != ".json":
            raise BadUsage(f"{path}: not a result file (.json); a comparison takes only such files")
        try:
            body = path.read_bytes()
        except OSError as error:
            raise BadFile(f"{path}: cannot be read ({error.strerror})") from error
        if body in seen:
            raise BadUsage(f"{path}: the same result as {seen[body]}; name each result once")
        seen[body] = path
        found.append(_read(path, body))
    return found


def _read(path: Path, body: bytes) -> Finished:
    try:
        found: Finished = msgspec.json.decode(body, type=Finished)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(
            f"{path}: not a result that can be compared ({error}); "
            "write it with `bot backtest`, `sweep` or `walkforward` and --json"
        ) from error
    return found


def kind_of(each: Finished) -> str:
    """Return ``backtest``, ``sweep`` or ``walkforward``."""
    return str(each.__struct_config__.tag)


def figures_of(each: Finished) -> dict[str, float | None]:
    """Return the figures that stand for a result; of a sweep those of its best trial."""
    match each:
        case BacktestFile() | WalkFile():
            return each.metrics
        case SweepFile():
            return {} if each.best is None else each.best.metrics
        case _:
            assert_never(each)


def span_of(each: Finished) -> tuple[int, int]:
    """Return from when to when the figures are, in ms."""
    return max(each.headline.from_ms, each.first_ms), each.headline.to_ms


def rows_of(found: Sequence[Finished]) -> list[tuple[str, list[float | None]]]:
    """Return each figure that one of the results has, with its value in all; None: not known."""
    all_figures = [figures_of(each) for each in found]
    rows = [(name, [figures.get(name) for figures in all_figures]) for name in SHOWN]
    rows.append(("deflated_sharpe", [getattr(each, "deflated_sharpe", None) for each in found]))
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
    """Return what each earned on the common span, a fraction; None where the file carries no equity."""
    span = common_span(found)
    return [None if span is None else _earned(each, *span) for each in found]


def _earned(each: Finished, from_ms: int, to_ms: int) -> float | None:
    curve = each.tables.equity if isinstance(each, BacktestFile) else None
    inside = [point.equity for point in curve or () if from_ms <= point.ts_ms <= to_ms]
    return inside[-1] / inside[0] - 1.0 if len(inside) > 1 and inside[0] > 0.0 else None


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
    costs = {f"costs.{name}": value for name, value in each.costs.items()}
    return {**made, **params, **costs, "settings_hash": each.settings_hash}


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
    if _differ(found, lambda each: each.costs):
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
            case _:
                assert_never(each)
    return notes


def _searches(found: Sequence[Finished]) -> list[str]:
    notes = []
    for i, each in enumerate(found, 1):
        match each:
            case BacktestFile():
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
    without = [str(i) for i, value in enumerate(common_returns(found), 1) if value is None]
    if not without or common_span(found) is None:
        return []
    return [
        f"no return on the common span for {', '.join(without)}: only a backtest written "
        "with --include equity carries its equity"
    ]


def numbers(paths: Sequence[Path], found: Sequence[Finished]) -> dict[str, object]:
    """Return the comparison, for programs; lists have one value a result, in the order of the files."""
    span = common_span(found)
    return {
        "notes": notes_of(found),
        "results": [
            {
                "file": str(path),
                "kind": kind_of(each),
                "strategy": each.strategy,
                "from_ms": span_of(each)[0],
                "to_ms": span_of(each)[1],
                "metrics": figures_of(each),
                "buy_and_hold": each.buy_and_hold,
                "trials": getattr(each, "trials", None),
                "deflated_sharpe": getattr(each, "deflated_sharpe", None),
                "data": [msgspec.to_builtins(data) for data in each.data],
            }
            for path, each in zip(paths, found, strict=True)
        ],
        "common_span": None if span is None else {"from_ms": span[0], "to_ms": span[1]},
        "common_returns": common_returns(found),
        "settings": settings_of(found),
    }
