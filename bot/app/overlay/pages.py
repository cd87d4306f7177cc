"""Figures and HTML of a run from its journal, alone or over its backtest."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

import bot
from bot import metrics
from bot.adapters.files.whole import write_text
from bot.app.overlay.differences import Overlay
from bot.app.overlay.kept import At, Journaled, KeptRun
from bot.app.overlay.same_bars import candles_of
from bot.domain.ledger import fills_digest
from bot.domain.market import Bar, interval_name
from bot.domain.money import ZERO
from bot.metrics import Metrics, Trade
from bot.service.moments import minute_cell, minute_words
from bot.web.overlay import OverlayData, Row, render_overlay
from bot.web.report import render
from bot.web.run import DataFile, Identity, PriceSeries, ReportData

_LISTED = 200
"""Differences and bars that are listed one by one."""


def numbers(kept: Journaled) -> dict[str, object]:
    """Return a run's figures, for programs."""
    run = kept.run
    return {
        "run": run.name,
        "strategy": kept.arguments.strategy,
        "params": kept.arguments.params,
        "first_ms": run.first_ms,
        "last_ms": run.last_ms,
        "closes": len(run.ts_ms),
        "fills": len(run.fills),
        "fills_sha256": fills_digest(run.fills),
        "final_equity": run.equity[-1],
        "metrics": figures(run),
        "pruned": [{"from_ms": from_ms, "to_ms": to_ms} for from_ms, to_ms in _gone(run)],
        "notes": notes(kept),
    }


def overlay_numbers(kept: Journaled, laid: Overlay) -> dict[str, object]:
    """Return the comparison, for programs."""
    backtest = laid.backtest
    return {
        **numbers(kept),
        "notes": notes(kept, laid),
        "equal": laid.equal,
        "backtest": {
            "closes": len(backtest.ts_ms),
            "fills": len(backtest.fills),
            "fills_sha256": fills_digest(backtest.fills),
            "final_equity": backtest.equity[-1],
            "metrics": figures(backtest),
        },
        "bars": {
            "same": laid.bars.same,
            "missed": _ats(laid.bars.missed),
            "late": _ats(laid.bars.late),
            "other": _ats(laid.bars.other),
            "pruned": laid.bars.pruned,
        },
        "same_fills": laid.same_fills,
        "causes": laid.by_cause(),
        "equity_gap_max": equity_gap(laid),
        "differences": [asdict(each) for each in laid.differences],
    }


def _ats(found: Sequence[At]) -> list[dict[str, object]]:
    return [{"close_ms": close_ms, "symbol": symbol} for close_ms, symbol in found[:_LISTED]]


def equity_gap(laid: Overlay) -> float:
    """Return the largest distance of the two equities at a close that both have, quote."""
    other = dict(zip(laid.backtest.ts_ms, laid.backtest.equity, strict=True))
    gaps = (
        abs(value - other[ts_ms])
        for ts_ms, value in zip(laid.run.ts_ms, laid.run.equity, strict=True)
        if ts_ms in other
    )
    return max(gaps, default=0.0)


def _gone(run: KeptRun) -> list[tuple[int, int]]:
    """Return the spans of closes without bars: from a close, up to a close that has its bars again."""
    spans = [(max(before_ms, run.first_ms), min(after_ms, run.last_ms)) for before_ms, after_ms in run.pruned]
    return [(from_ms, to_ms) for from_ms, to_ms in spans if from_ms < to_ms]


def _pruned_words(run: KeptRun) -> list[str]:
    if not run.pruned:
        return []
    spans = [f"from {minute_words(from_ms)} up to {minute_words(to_ms)}" for from_ms, to_ms in _gone(run)]
    gone = f"the bars {' and '.join(spans)} are missing" if spans else "the bars of the warm-up are missing"
    return [f"the journal was pruned: {gone}; whether the run saw them all, and in time, is not known"]


def _begin_words(run: KeptRun, laid: Overlay | None) -> list[str]:
    if laid is None or laid.backtest.first_ms <= run.first_ms:
        return []
    return [
        f"the backtest begins at {minute_words(laid.backtest.first_ms)}, where its bars begin, with the "
        "equity of the settings and no position; give candle files of the whole run to compare all of it"
    ]


def notes(kept: Journaled, laid: Overlay | None = None) -> list[str]:
    """Return what a reader must know to judge a run, or its comparison with a backtest."""
    told = [*_pruned_words(kept.run), *_begin_words(kept.run, laid)]
    settings = kept.arguments.settings
    venue = settings.get("venue", {})
    if kept.changed:
        told.append("strategy, settings or model changed during the run; the backtest uses the last ones")
    if venue.get("kind") == "paper" and venue.get("fills") == "quotes":
        told.append("the run filled at live quotes, a backtest from closed bars: prices differ by nature")
    if venue.get("kind") != "paper":
        told.append("the run traded at a venue; a backtest only works out what a venue does")
    stop = venue.get("protective_stop_frac")
    if float(stop or 0) or (stop is None and venue.get("kind") != "paper"):
        told.append(
            "entries of the run got a protective stop; a backtest has none (venue.protective_stop_frac)"
        )
    return told


def figures(run: KeptRun) -> Metrics:
    """Return every metric of a run."""
    return metrics.summary(
        np.array(run.ts_ms, np.int64),
        np.array(run.equity),
        notional=np.array(run.notional),
        trades=trades(run),
        fills=run.fills,
        funding_quote=sum((each.amount_quote for each in run.funding), ZERO),
    )


def trades(run: KeptRun) -> list[Trade]:
    """Return the closed trades, with the worst and the best price of each where its bars are known."""
    found = metrics.round_trips(run.fills, funding=run.funding, interval_ms=_interval_ms(run))
    whole: list[Trade] = []
    for prices in price_series(run):
        own = [trade for trade in found if trade.symbol == prices.symbol]
        whole += metrics.with_excursions(own, prices.start_ms, prices.ohlc[:, 1], prices.ohlc[:, 2])
    missing = {prices.symbol for prices in price_series(run)}
    whole += [trade for trade in found if trade.symbol not in missing]
    return sorted(whole, key=lambda trade: trade.exit_ms)


def _interval_ms(run: KeptRun) -> int | None:
    return next((bar.interval_ms for bar in run.bars.values()), None)


def _bars(run: KeptRun) -> dict[str, list[Bar]]:
    """Return the bars from the first decision on, by symbol."""
    found: dict[str, list[Bar]] = {}
    for (close_ms, symbol), bar in sorted(run.bars.items()):
        if run.first_ms <= close_ms <= run.last_ms:
            found.setdefault(symbol, []).append(bar)
    return found


def price_series(run: KeptRun) -> list[PriceSeries]:
    """Return the candles of each symbol from the first decision on."""
    return [
        PriceSeries(
            symbol=symbol,
            interval_ms=bars[0].interval_ms,
            start_ms=np.array([bar.start_ms for bar in bars], np.int64),
            ohlc=np.array([(bar.open, bar.high, bar.low, bar.close) for bar in bars]),
        )
        for symbol, bars in _bars(run).items()
    ]


# Pages


def write_run(path: Path, kept: Journaled) -> None:
    """Write the report of a run alone."""
    write_text(path, render(report_data(kept, kept.run)))


def write_overlay(path: Path, kept: Journaled, laid: Overlay) -> None:
    """Write the report of a run over its backtest."""
    rows = [
        Row(
            at_ms=each.opened_ms,
            symbol=each.symbol,
            side=each.side,
            cause=each.cause.value,
            words=each.words,
            run=_told(each.run_qty, each.run_price),
            backtest=_told(each.backtest_qty, each.backtest_price),
        )
        for each in laid.differences[:_LISTED]
    ]
    odd = [
        (what, minute_cell(close_ms), symbol)
        for (close_ms, symbol), what in sorted(
            [(at, "missed") for at in laid.bars.missed]
            + [(at, "late") for at in laid.bars.late]
            + [(at, "other prices or volume") for at in laid.bars.other]
        )
    ]
    body = render_overlay(
        OverlayData(
            run=report_data(kept, laid.run),
            backtest=report_data(kept, laid.backtest),
            same_bars=laid.bars.same,
            odd_bars=odd[:_LISTED],
            odd_bars_all=len(odd),
            same_fills=laid.same_fills,
            causes=laid.by_cause(),
            rows=rows,
            rows_all=len(laid.differences),
            notes=notes(kept, laid),
        )
    )
    write_text(path, body)


def _told(qty: float | None, price: float | None) -> str:
    return "–" if qty is None or price is None else f"{qty:,.8g} at {price:,.8g}"


def report_data(kept: Journaled, run: KeptRun) -> ReportData:
    """Return the data of a report of the run, or of its backtest."""
    arguments = kept.arguments
    venue = arguments.settings.get("venue", {}).get("kind", "run")
    costs = arguments.settings.get("costs", {})
    return ReportData(
        identity=Identity(
            title=f"{arguments.strategy} on {', '.join(sorted(arguments.instruments))}",
            mode=str(venue) if run is kept.run else "backtest",
            strategy=arguments.strategy,
            params=arguments.params,
            settings_hash=arguments.name_of_settings(),
            files=files_of(run),
            versions={"bot": bot.__version__},
            fee_bps=float(costs["taker_bps"]) if "taker_bps" in costs else None,
            model_hash=arguments.model_hash,
            funding_source=f"{len(run.funding)} settlements" if run.funding else "none was settled",
            fills_sha256=fills_digest(run.fills),
        ),
        ts_ms=np.array(run.ts_ms, np.int64),
        equity=np.array(run.equity),
        metrics=figures(run),
        notional=np.array(run.notional),
        prices=price_series(run),
        fills=run.fills,
        trades=trades(run),
        warnings=notes(kept) if run is kept.run else [],
    )


def files_of(run: KeptRun) -> list[DataFile]:
    """Return the bars from the first decision on, as the candle files that they would be."""
    told = []
    for symbol, bars in _bars(run).items():
        candles = candles_of(symbol, bars[0].interval_ms, bars)
        told.append(
            DataFile(
                path=candles.path,
                symbol=symbol,
                interval=interval_name(candles.interval_ms),
                bars=len(candles),
                first_ms=candles.first_ms,
                last_ms=candles.end_ms - candles.interval_ms,
                sha256=candles.sha256,
            )
        )
    return told
