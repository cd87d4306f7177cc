"""What a person at the terminal sees while nothing happens: one symbol now, and when the next close comes.

A glance is taken once a second, only while no event waits and no close is about to come, and costs less than
a millisecond: it never delays an order.
"""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from bot.domain.market import Forecast
from bot.engine.core import Engine
from bot.service.readiness import State
from bot.service.views.live import LiveBoard
from bot.service.views.status import closes, number

EVERY_S = 1.0
_SYMBOL_GLANCES = 4
"""Glances at one symbol before the next one's turn."""
_BEFORE_CLOSE_MS = 50


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol now. Prices in quote per base; None where a number is not known.

    ``open`` is the open candle: open, high, low. ``forecast`` is made as if that candle closed now; None if
    the strategy asks for none.
    """

    now_ms: int
    state: State
    state_words: str
    symbol: str
    symbols: int
    price: float | None
    open: tuple[float, float, float] | None
    forecast: Forecast | None
    next_close_ms: int | None
    qty: Decimal
    unrealised: float | None
    equity: float | None


class Glanced(Protocol):
    """A daemon that can be looked at."""

    def may_glance(self) -> bool:
        """Return False while an event waits or a close is about to come."""

    def glance(self, count: int) -> Glance:
        """Return what there is to see at the ``count``-th glance."""


def glance_at(
    engine: Engine, board: LiveBoard, count: int, *, state: State, state_words: str, now_ms: int
) -> Glance:
    """Return a glance; symbols with a position come in turn, or all if there is none."""
    chosen = engine.state.open or tuple(engine.state.symbols.values())
    sym = chosen[count // _SYMBOL_GLANCES % len(chosen)]
    candle = board.open_candle(sym.symbol)
    known = candle is not None or sym.view.bar.start_ms
    held = bool(sym.position_base)
    next_ms = closes(engine.state, now_ms)["next_close_ms"]
    return Glance(
        now_ms=now_ms,
        state=state,
        state_words=state_words,
        symbol=sym.symbol,
        symbols=len(engine.state.symbols),
        price=(candle.close if candle is not None else sym.view.bar.close) if known else None,
        open=(candle.open, candle.high, candle.low) if candle is not None else None,
        forecast=engine.peek([candle]).get(sym.symbol) if candle is not None else None,
        next_close_ms=next_ms,
        qty=sym.position.qty,
        unrealised=number(sym.position_base * sym.mark - sym.entry_quote) if held else None,
        equity=number(engine.state.equity) if engine.state.account_known else None,
    )


def is_close_near(now_ms: int, next_close_ms: int | None, speed: float) -> bool:
    """Return True shortly before a close, in wall time."""
    return next_close_ms is not None and (next_close_ms - now_ms) / speed < _BEFORE_CLOSE_MS


def glances(
    daemon: Callable[[], Glanced], show: Callable[[Glance], None], log: Any
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return a task that shows a glance once a second, without end; one that fails is logged and the last."""

    async def look() -> None:
        count = 0
        while True:
            await asyncio.sleep(EVERY_S)
            one = daemon()
            try:
                if one.may_glance():
                    show(one.glance(count))
                    count += 1
            except Exception as error:  # nobody's money depends on what is only looked at
                log.warning("glance_failed", error=repr(error))
                await asyncio.Event().wait()

    return look
