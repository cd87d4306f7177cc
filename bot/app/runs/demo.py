"""The demo: an invented market, a daemon that trades its last bars, backtests, and the page.

The market is random but for one planted pattern: prices tend to go on as in the last hour. So a strategy that
follows them has something to trade, and a person sees entries, exits and stops within seconds.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bot.app.candles.invented import MarketRecipe, invented_history
from bot.app.context import Context
from bot.app.inputs import choose_instruments, choose_strategy, load_model
from bot.app.runs.backtest import run_plan
from bot.app.runs.comparison import Comparison
from bot.app.runs.live.daemon import run as run_live
from bot.app.runs.live.plan import make_live_plan
from bot.app.runs.live.watcher import Watcher
from bot.app.runs.parity import compare_live, exchange_process, own_context
from bot.app.runs.results import write_report
from bot.app.state import exports
from bot.app.state.journals import choose_journal
from bot.app.wiring import RunPlan
from bot.domain.errors import Broken
from bot.domain.market import DAY_MS, MINUTE_MS, interval_name
from bot.service.backtest.run import Result
from bot.service.daemon.parts import Ending
from bot.settings import Settings

SYMBOLS = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
STRATEGY = "vol_target"
PARAMS = {
    "trend_hours": "2",
    "smooth_hours": "1",
    "vol_target": "0.25",
    "max_leverage": "1",
    "band": "0.5",
    "stop_k": "0.15",
}
"""Follows two hours with a near stop, so that a few hours hold several trades."""
PREDICTABILITY = 0.05
"""Correlation of the planted pattern with the next bar's return."""
INTERVAL_MS = 5 * MINUTE_MS
LIVE_BARS = 48
"""Closes that the daemon trades: four hours of the market, in some fifteen seconds."""
BAR_S = 0.3
"""Wall time of each."""
_BEFORE_END = 10 * LIVE_BARS
"""The daemon begins so many bars before the end of the candles: an eventful time with the default seed."""
SPEED = INTERVAL_MS / 1000.0 / BAR_S
STREAM_S = 330.0
"""How long the demo on Bybit's public stream waits for a close at most."""
PAGE_SPEED = 60.0
_PAGE_DAYS = 25
"""Days before the end of the candles at which the page begins: ten hours, sixty times as fast."""


@dataclass(frozen=True)
class Demo:
    """An invented market, written to ``place`` and planned."""

    context: Context
    settings: Settings
    days: int
    place: Path
    plan: RunPlan

    def trade_live(self, kind: Literal["paper", "local"], watcher: Watcher) -> Comparison:
        """Let the daemon trade some of the last bars at a local exchange, and backtest the same bars.

        Raises:
            Broken: the two differ.
        """
        folder = self.place / "daemon"
        shutil.rmtree(folder / f"{kind}-0", ignore_errors=True)
        compared = compare_live(
            own_context(self.context),
            self.plan,
            self._end_ms - _BEFORE_END * INTERVAL_MS,
            LIVE_BARS,
            kind,
            folder,
            speed=SPEED,
            log_level="warning",
            watcher=watcher,
        )
        if not compared.equal:
            found = next(each for listed in compared.differences.values() for each in listed)
            raise Broken(f"the daemon and the backtest of the same bars differ: {found}")
        return compared

    def state_dir(self, kind: Literal["paper", "local"]) -> Path:
        """Return the state directory of the daemon that traded (of the last try), or of the stream's."""
        found = sorted((self.place / "daemon").glob(f"{kind}-*"))
        return found[-1] if found else self.place / "live"

    def trades(self, kind: Literal["paper", "local"]) -> Mapping[str, list[object]]:
        """Return the trades that a daemon closed, as columns."""
        return exports.read(choose_journal(self.state_dir(kind), None), "trades")

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
        for name, params in ((STRATEGY, PARAMS), ("performer", {})):
            chosen = replace(self.plan, strategy=choose_strategy(name), strategy_name=name, params=params)
            result = run_plan(chosen)
            report = self.place / f"{name}.html"
            write_report(report, chosen, result)
            yield chosen, result, report

    def serve_page(self, watcher: Watcher, duration_s: float | None) -> Ending:
        """Trade at a local exchange, with the page beside the daemon, until Ctrl-C or for ``duration_s``."""
        place = self.place / "page"
        shutil.rmtree(place, ignore_errors=True)
        other = own_context(self.context)
        start_ms = max(self._end_ms - _PAGE_DAYS * DAY_MS, self.plan.start_ms or 0)
        arguments = [word for each in self.plan.history.candles for word in ("--data", str(each.path))]
        arguments += ["--start", str(start_ms), "--speed", str(PAGE_SPEED), "--seed", str(self.settings.seed)]
        arguments += ["--wallet", str(self.settings.account.equity_quote)]
        with exchange_process(other, arguments) as url:
            settings = other.settings(
                {
                    "state_dir": place,
                    "feed.kind": "local",
                    "venue.kind": "local",
                    "local.url": url,
                    "feed.symbols": tuple(SYMBOLS),
                    "feed.interval": interval_name(INTERVAL_MS),
                    "seed": self.settings.seed,
                    "web.port": 0 if self.settings.web.port is None else self.settings.web.port,
                    "log.level": "warning",
                }
            )
            plan = make_live_plan(settings, strategy=STRATEGY, params=PARAMS, duration_s=duration_s)
            return run_live(other, plan, watcher=watcher)

    @property
    def page_speed(self) -> float:
        """Market time per wall time while the page is open."""
        return PAGE_SPEED

    @property
    def _end_ms(self) -> int:
        assert self.plan.start_ms is not None, "the demo's plan has a start"
        return self.plan.start_ms + self.days * DAY_MS


def make_demo(context: Context, days: int, seed: int) -> Demo:
    """Invent ``days`` of a market after all bars that the shipped model has seen, and plan its run."""
    settings = context.settings({"seed": seed})
    place = settings.state_dir / "demo"
    model = load_model(settings.model.path, ())
    begin_ms = -(-model.trained_to_ms // DAY_MS) * DAY_MS + 100 * DAY_MS
    from_ms = begin_ms - model.warmup_bars * INTERVAL_MS
    bars = (begin_ms + days * DAY_MS - from_ms) // INTERVAL_MS
    recipe = MarketRecipe(interval_ms=INTERVAL_MS, bars=bars, start_ms=from_ms, predictability=PREDICTABILITY)
    history = invented_history(place, recipe, SYMBOLS, seed)
    plan = RunPlan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=choose_strategy(STRATEGY),
        strategy_name=STRATEGY,
        params=PARAMS,
        model=model,
        start_ms=begin_ms,
    )
    return Demo(context, settings, days, place, plan)
