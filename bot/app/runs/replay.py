"""The paced replay: candle files through the daemon's driver, at the pace of a clock."""

import asyncio
import signal
import time
from itertools import chain
from typing import Any

from bot.adapters.files.replay import ReplayFeed
from bot.adapters.state.clock import ScaledClock
from bot.app.wiring import RunPlan
from bot.domain.messages import BarsClosed, WorldEvent
from bot.service.backtest.run import Run

_LINE_EVERY_MS = 500
"""Minimum wall time between two status lines."""


async def drive(run: Run, plan: RunPlan, speed: float, log: Any) -> str | None:
    """Warm up at once, then keep time; return the name of the signal that ended it, if one did."""
    loop = asyncio.get_running_loop()
    stopped: list[str] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started = time.process_time()
    lines = StatusLines(log, run, speed)
    task = asyncio.ensure_future(_follow(run, plan, speed, lines))

    def stop(name: str) -> None:
        stopped.append(name)
        task.cancel()

    for number in handlers:
        loop.add_signal_handler(number, stop, number.name)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        run.cpu_s = time.process_time() - started
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)  # the loop leaves the system's handler, which would end us at once
    return stopped[0] if stopped else None


async def _follow(run: Run, plan: RunPlan, speed: float, lines: "StatusLines") -> None:
    driver = run.driver
    begin_ms = plan.start_ms if plan.start_ms is not None else min(c.first_ms for c in plan.history.candles)
    events = plan.history.events(plan.read_from_ms, plan.end_ms)
    ahead: list[WorldEvent] = []
    for event in events:
        if event.ts_ms > begin_ms:
            ahead.append(event)
            break
        driver.take(event)
    await driver.run(ReplayFeed(chain(ahead, events), ScaledClock(speed, begin_ms), lines))
    run.finish(driver)


class StatusLines:
    """Logs a line for a close, but not more often than people can read."""

    def __init__(self, log: Any, run: Run, speed: float) -> None:
        self._log = log
        self._state = run.engine.state
        self._fills = run.tape.fills
        self._told_fills = 0
        self._every_ms = _LINE_EVERY_MS * speed
        self._next_ms = 0.0

    def __call__(self, event: WorldEvent) -> None:
        """Log a close that was just decided on."""
        if not isinstance(event, BarsClosed) or event.close_ms < self._next_ms:
            return
        self._next_ms = event.close_ms + self._every_ms
        new, self._told_fills = len(self._fills) - self._told_fills, len(self._fills)
        positions = {d.symbol: d.position_base for d in self._state.symbols.values() if d.position_base}
        self._log.info(
            "close",
            bar_ms=event.close_ms,
            prices={bar.symbol: float(f"{bar.close:.8g}") for bar in event.bars},
            equity_quote=round(self._state.equity, 2),
            positions=positions,
            fills=new,
            risk=self._state.breaker.state,
        )
