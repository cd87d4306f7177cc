"""Thins out the prices of symbols in which nothing is at stake, before anybody sees them.

Quotes, marks and open candles are nearly all events of a feed. While a symbol has no position, no order and
no target under way, one price of a kind every ``every_ms`` is enough; the latest one held back is given out
before any other event, so no decision, no fill and no refusal ever misses it. What is given out is what the
engine and the journal see: a replay needs nothing else. Pure.
"""

from collections.abc import Iterator

from bot.domain.messages import Candle, Event, MarkPrice, Quote
from bot.engine.orders.activity import IDLE
from bot.engine.state import EngineState

_Price = Candle | Quote | MarkPrice
_Key = tuple[type[_Price], str]


class QuietMarkets:
    """Decides which prices are given out.

    Args:
        state: says in which symbols something is at stake.
        every_ms: least time between two prices of a kind in a quiet symbol; 0 gives out all.
    """

    def __init__(self, state: EngineState, every_ms: int) -> None:
        self.held_back = 0
        """Prices that a newer one replaced."""
        self._state = state
        self._every_ms = every_ms
        self._given_ms: dict[_Key, int] = {}
        self._waiting: dict[_Key, _Price] = {}

    def give_out(self, event: Event) -> Iterator[Event]:
        """Yield the events to take now: the latest prices held back, then ``event``; or nothing."""
        if isinstance(event, _Price):
            key = type(event), event.symbol
            if self._may_wait(event, key):
                self.held_back += key in self._waiting
                self._waiting[key] = event
                return
            self._given_ms[key] = event.ts_ms
            self._waiting.pop(key, None)
            yield event
            return
        waiting, self._waiting = self._waiting, {}
        for key, price in waiting.items():
            self._given_ms[key] = price.ts_ms
            yield price
        yield event

    def _may_wait(self, event: _Price, key: _Key) -> bool:
        since_ms = event.ts_ms - self._given_ms.get(key, -self._every_ms)
        return 0 <= since_ms < self._every_ms and not self._is_at_stake(event.symbol)

    def _is_at_stake(self, symbol: str) -> bool:
        state = self._state
        sym = state.symbols.get(symbol)
        if sym is None:
            return False
        return bool(sym.position.qty) or sym.activity is not IDLE or bool(state.orders.of(symbol))
