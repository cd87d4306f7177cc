"""How well the model forecast on the last days: asked for by the page, worked out now and then elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from math import isfinite
from typing import Any

import msgspec

from bot.domain.errors import BotError
from bot.web.server.history import Books, JournalHistory

EVERY_S = 300.0
SYMBOLS_MAX = 20


class SkillSeries(msgspec.Struct, frozen=True):
    """One symbol: its bars and the forecasts made at their closes."""

    symbol: str
    interval_ms: int
    start_ms: list[int]
    close: list[float]
    close_ms: list[int]
    rv_60m: list[float]


Judge = Callable[[list[SkillSeries]], Awaitable[list[dict[str, Any]]]]
"""Returns for each day ``day_ms, hours, qlike, qlike_har_hour, calibration``; may take seconds."""


class Skill:
    """Keeps the last judgement; ``judge`` runs at most every five minutes, and never twice at once."""

    def __init__(self, history: JournalHistory, judge: Judge) -> None:
        self.days: list[dict[str, Any]] | None = None
        """None before the first judgement."""
        self._history = history
        self._judge = judge
        self._due_s = 0.0
        self._running: asyncio.Task[None] | None = None

    def look(self, account: str | None) -> None:
        """Begin a judgement if it is time for one."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._due_s or (self._running is not None and not self._running.done()):
            return
        self._due_s = now_s + EVERY_S
        self._running = asyncio.ensure_future(self._work(account))

    async def _work(self, account: str | None) -> None:
        with suppress(BotError, BrokenExecutor):  # the last judgement stays; the next one may come
            series = await self._history.do(_series, account)
            self.days = await self._judge(series) if series else []


def _series(books: Books) -> list[SkillSeries]:
    chart = books.chart
    found = []
    for symbol in chart.symbols():
        forecasts = [each for each in chart.forecasts(symbol, 0) if isfinite(each.rv_60m)]
        if not forecasts:
            continue
        bars = chart.bars(symbol, 1 << 30)
        found.append(
            SkillSeries(
                symbol,
                chart.interval_ms(symbol) or 0,
                [bar.start_ms for bar in bars],
                [bar.close for bar in bars],
                [each.close_ms for each in forecasts],
                [each.rv_60m for each in forecasts],
            )
        )
        if len(found) == SYMBOLS_MAX:
            break
    return found
