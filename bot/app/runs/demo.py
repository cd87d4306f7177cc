"""The demo: an invented market, a daemon that trades its last bars, and a backtest of the same bars."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bot.app.candles.invented import Recipe, invented_history
from bot.app.context import Context
from bot.app.inputs import choose_instruments, choose_strategy, load_model
from bot.app.runs.backtest import run_plan
from bot.app.runs.comparison import Comparison
from bot.app.runs.live import run as run_live
from bot.app.runs.parity import compare_live, own_context
from bot.app.runs.plan import make_live_plan
from bot.app.runs.results import write_report
from bot.app.wiring import RunPlan
from bot.domain.errors import Broken
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.service.backtest import Result
from bot.service.daemon import Ending
from bot.settings import Settings

SYMBOLS = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
INTERVAL_MS = 5 * MINUTE_MS
LIVE_BARS = 48
"""Closes that the daemon trades: four hours of the market, in some fifteen seconds."""
BAR_S = 0.3
"""Wall time of each."""
SPEED = INTERVAL_MS / 1000.0 / BAR_S
STREAM_S = 330.0
"""How long the demo on Bybit's public stream waits for a close at most."""


@dataclass(frozen=True)
class Demo:
    """An invented market, written to ``place`` and planned."""

    context: Context
    settings: Settings
    days: int
    place: Path
    plan: RunPlan

    def trade_live(self, kind: Literal["paper", "local"]) -> Comparison:
        """Let the daemon trade the last bars at a local exchange, and backtest the same bars.

        Raises:
            Broken: the two differ.
        """
        begin_ms = self.plan.start_ms
        assert begin_ms is not None, "the demo's plan has a start"
        start_ms = begin_ms + self.days * DAY_MS - 3 * LIVE_BARS * INTERVAL_MS
        folder = self.place / "daemon"
        shutil.rmtree(folder, ignore_errors=True)
        compared = compare_live(
            own_context(self.context),
            self.plan,
            start_ms,
            LIVE_BARS,
            kind,
            folder,
            speed=SPEED,
            log_level="info",
        )
        if not compared.equal:
            found = next(each for listed in compared.differences.values() for each in listed)
            raise Broken(f"the daemon and the backtest of the same bars differ: {found}")
        return compared

    def trade_stream(self) -> Ending:
        """Trade Bybit's own candles on paper until the first close has been decided on."""
        other = own_context(self.context)
        settings = other.settings(
            {"feed.kind": "mainnet", "venue.kind": "paper", "state_dir": self.place / "live"}
        )
        plan = make_live_plan(settings, strategy="vol_target", params={}, duration_s=STREAM_S, bars_max=1)
        return run_live(other, plan)

    def backtests(self) -> Iterator[tuple[RunPlan, Result, Path]]:
        """Backtest the whole history with two strategies; yield plan, result and written report of each."""
        for name in ("performer", "vol_target"):
            chosen = replace(self.plan, strategy=choose_strategy(name), strategy_name=name)
            result = run_plan(chosen)
            report = self.place / f"{name}.html"
            write_report(report, chosen, result)
            yield chosen, result, report


def make_demo(context: Context, days: int, seed: int) -> Demo:
    """Invent ``days`` of a market after all bars that the shipped model has seen, and plan its run."""
    settings = context.settings({"seed": seed})
    place = settings.state_dir / "demo"
    model = load_model(settings.model.path, ())
    begin_ms = -(-model.trained_to_ms // DAY_MS) * DAY_MS + 100 * DAY_MS
    from_ms = begin_ms - model.warmup_bars * INTERVAL_MS
    bars = (begin_ms + days * DAY_MS - from_ms) // INTERVAL_MS
    recipe = Recipe(interval_ms=INTERVAL_MS, bars=bars, start_ms=from_ms)
    history = invented_history(place, recipe, SYMBOLS, seed)
    plan = RunPlan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=choose_strategy("vol_target"),
        strategy_name="vol_target",
        params={},
        model=model,
        start_ms=begin_ms,
    )
    return Demo(context, settings, days, place, plan)
