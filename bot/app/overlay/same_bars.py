"""The backtest of a kept run: its own strategy and settings, over the bars from its first decision on."""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from bot.adapters.files.candles import Candles, Funding
from bot.app.inputs import read_history
from bot.app.overlay.kept import Journaled, KeptRun
from bot.app.runs.live.arguments import plan_from
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.successors import find_model_of, offer
from bot.app.wiring import RunPlan, assemble
from bot.domain.errors import BadUsage
from bot.domain.market import Bar, interval_name
from bot.domain.messages import ModelSwapped
from bot.engine.core import Engine
from bot.service.backtest.history import History
from bot.service.driver import Driver
from bot.service.record import Recorders

KEPT = "journal"
"""In place of candle files: the bars that the journal itself holds."""


def run_backtest(kept: Journaled, data: Sequence[Path]) -> KeptRun:
    """Backtest the bars of a run: those of candle files, or with no file those of its journal.

    The warm-up begins where the run's did. Open positions stay open at the end, as they do in the run. A
    model that took over in the run takes over after the same bars.

    Raises:
        BadUsage: the candles do not cover the run, or are of other symbols.
        BotError: the strategy or the model of the run is gone.
    """
    run, live = kept.run, plan_from(kept.began)
    plan = _plan(kept, live, data)
    interval_ms = plan.history.candles[0].interval_ms
    plan = replace(plan, start_ms=run.first_ms - interval_ms)
    built, keeper = assemble(plan), KeptRun("backtest")
    driver = Driver(built.engine, built.venue, Recorders(built.tape, keeper))
    warm_from_ms = min((close_ms for close_ms, _ in run.bars), default=run.first_ms) - interval_ms
    offer(built.engine, live, (find_model_of(live, each.model) for each in run.swaps))
    swaps = deque(run.swaps)
    for event in plan.history.events(min(warm_from_ms, plan.read_from_ms), run.last_ms):
        driver.take(event)
        while swaps and _is_due(swaps[0], built.engine):
            driver.take(msgspec.structs.replace(swaps.popleft(), ts_ms=built.engine.state.now_ms))
    if swaps:
        raise BadUsage(
            f"{', '.join(map(str, data)) or KEPT}: lacks the bars after which model {swaps[0].model[:12]} "
            "took over; give the candles that the run has seen"
        )
    begin = next((i for i, ts_ms in enumerate(keeper.ts_ms) if ts_ms >= run.first_ms), len(keeper.ts_ms))
    for curve in (keeper.ts_ms, keeper.equity, keeper.notional):
        del curve[:begin]  # the warm-up
    if not keeper.ts_ms:
        raise BadUsage(f"{', '.join(map(str, data)) or KEPT}: no bar of the run's time is in it")
    return keeper


def _is_due(swap: ModelSwapped, engine: Engine) -> bool:
    forecaster = engine.state.forecasters.get(swap.interval_ms)
    return forecaster is not None and forecaster.next_start_ms == swap.next_start_ms


def _plan(kept: Journaled, live: LivePlan, data: Sequence[Path]) -> RunPlan:
    history = read_history(data, None) if data else _history(kept.run, live.interval_ms)
    for candles in history.candles:
        if candles.interval_ms != live.interval_ms:
            raise BadUsage(
                f"{candles.path}: {interval_name(candles.interval_ms)} bars, but the run traded "
                f"{interval_name(live.interval_ms)}; give files of that interval"
            )
    if history.symbols != live.symbols:
        raise BadUsage(
            f"the run traded {', '.join(live.symbols)}, the candles are of {', '.join(history.symbols)}; "
            "give one file for each"
        )
    return RunPlan(
        settings=live.settings,
        history=history,
        instruments=kept.arguments.instruments,
        strategy=live.strategy,
        strategy_name=live.strategy_name,
        params=live.params,
        model=live.model,
    )


def _history(run: KeptRun, interval_ms: int) -> History:
    """Return the bars and rates that a journal holds."""
    bars: dict[str, list[Bar]] = defaultdict(list)
    for (_, symbol), bar in sorted(run.bars.items()):
        bars[symbol].append(bar)
    if not bars:
        raise BadUsage(f"{run.name}: its journal holds no bars any more; give the candle files instead")
    rates: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for (ts_ms, symbol), rate in sorted(run.rates.items()):
        rates[symbol].append((ts_ms, float(rate.rate)))
    candles = tuple(candles_of(symbol, interval_ms, each) for symbol, each in bars.items())
    funding = tuple(
        Funding(symbol, np.array([ts for ts, _ in each], np.int64), np.array([rate for _, rate in each]))
        for symbol, each in rates.items()
    )
    return History(candles, funding)


def candles_of(symbol: str, interval_ms: int, bars: Sequence[Bar]) -> Candles:
    """Return bars as candles."""
    return Candles.make(
        symbol,
        interval_ms,
        np.array([bar.start_ms for bar in bars], np.int64),
        np.array([(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]),
        np.array([np.nan if bar.turnover is None else bar.turnover for bar in bars]),
        path=KEPT,
    )
