"""What changes between two closes, for whoever looks: prices, open candles, positions, the last reason.

``saw`` and ``effects`` only keep a reference to what passes by. Rows are made when somebody asks, and one
answer holds a bounded number of them, so that no question keeps the event loop from an order for long.
"""

from collections.abc import Iterable
from itertools import chain
from math import sqrt

import msgspec

from bot.domain.market import Forecast
from bot.domain.messages import Candle, Effect, Verdict
from bot.domain.money import plain, plain_or_none
from bot.domain.orders import Intent, Refused
from bot.domain.refusals import ENTERING, flat_words, refusal_words
from bot.engine.core import Engine
from bot.engine.state import EngineState, SymbolState
from bot.service.moments import failure_words
from bot.service.views.status import number
from bot.strategy.edge import last_edge_words

ROWS_MAX = 100
"""Rows of one answer; the next answer brings the rest."""
_WEIGHED = ("cost", "no_signal")
"""Reasons of a flat bar whose forecast was compared with the costs."""


class LiveForecast(msgspec.Struct, frozen=True):
    """The forecast of the last close: variance, its root (a fraction of the price) and mean log return.

    None where the model does not forecast it.
    """

    rv_60m: float | None
    sigma_frac: float | None
    ret_60m: float | None


class LiveRow(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol now. Prices in quote per base; None where a number is not known.

    ``open`` is the open candle: start in ms, open, high, low, close, volume. ``close_ms`` is the close that
    the last decision was made at, 0 before the first. ``price_step`` is the venue's grid; None if not known.
    """

    symbol: str
    price: float | None
    price_step: str | None
    open: tuple[int, float, float, float, float, float] | None
    qty: str
    entry_price: float | None
    mark: float | None
    unrealised: float | None
    stop_loss: str | None
    take_profit: str | None
    since_ms: int | None
    forecast: LiveForecast | None
    state: str
    why: str
    close_ms: int


class LiveHead(msgspec.Struct, frozen=True, kw_only=True):
    """The account now; the counts tell a reader that there is something new in the journal."""

    state: str
    risk_state: str
    equity: float | None
    orders: int
    fills: int
    live_orders: int
    closes: int
    events: int
    """Grows with every order, refusal, command and change of the breaker."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: rows that changed after ``since``. Ask next with ``seq``; at once if there is ``more``."""

    seq: int
    now_ms: int
    more: bool
    head: LiveHead
    rows: list[LiveRow]


class LiveBoard:
    """Remembers what the engine does not: open candles, and the last word about each symbol.

    Args:
        engine: whose symbols these are.
        first: the first number of an answer; a later process must begin with a higher one.
    """

    def __init__(self, engine: Engine, first: int) -> None:
        self.events = 0
        self._state = engine.state
        self._symbols: list[SymbolState] = list(engine.state.symbols.values())
        self._candles: dict[str, Candle] = {}
        self._words: dict[str, str | Refused] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._changed: dict[str, int] = {}
        self._seq = first
        self._from = 0

    def saw(self, candle: Candle) -> None:
        """Keep an open candle."""
        self._candles[candle.symbol] = candle

    def effects(self, effects: Iterable[Effect]) -> None:
        """Keep the last verdict about each symbol; count what is worth a look into the journal."""
        for effect in effects:
            self.events += 1
            if isinstance(effect, Verdict):
                verdict, symbol = effect.verdict, effect.verdict.intent.symbol
                self._words[symbol] = verdict if isinstance(verdict, Refused) else verdict.intent.reason

    def rows(self, since: int, most: int = ROWS_MAX) -> tuple[int, bool, list[LiveRow]]:
        """Return a number to ask with next, whether rows are left, and at most ``most`` changed rows."""
        live = self._state.orders.live.values()
        busy = {order.intent.symbol: order.intent for order in live if order.intent.take_at is None}
        now, changed = self._seq + 1, self._changed
        found: list[SymbolState] = []
        left: list[str] = []
        start = self._from
        for sym in chain(self._symbols[start:], self._symbols[:start]):
            symbol = sym.symbol
            said = self._state.stopped.get(symbol) or self._words.get(symbol)
            mark = _mark_of(self._candles.get(symbol), sym, busy.get(symbol), said)
            if mark != self._seen.get(symbol):
                self._seen[symbol] = mark
                changed[symbol] = now
            if changed[symbol] > since:
                if len(found) < most:
                    found.append(sym)
                else:
                    left.append(symbol)
        if found or left:
            self._seq = now
            for symbol in left:  # they must look newer than this answer
                changed[symbol] = now + 1
            self._from = (start + len(found)) % len(self._symbols)
        return self._seq, bool(left), [self._row(sym, busy.get(sym.symbol)) for sym in found]

    def open_candle(self, symbol: str) -> Candle | None:
        """Return the candle that is open now; None if it is not known, or has closed."""
        candle, bar = self._candles.get(symbol), self._state.symbols[symbol].view.bar
        return None if candle is None or (bar.start_ms and candle.start_ms < bar.close_ms) else candle

    def _row(self, sym: SymbolState, order: Intent | None) -> LiveRow:
        symbol, view = sym.symbol, sym.view
        candle = self.open_candle(symbol)
        known = bool(view.bar.start_ms)
        held = bool(sym.position_base)
        stop, target = sym.stops.at_venue
        return LiveRow(
            symbol=symbol,
            price=candle.close if candle is not None else view.bar.close if known else None,
            price_step=plain_or_none(sym.instrument.tick_size or None),
            open=_open(candle),
            qty=plain(sym.position.qty),
            entry_price=number(view.entry_price),
            mark=number(sym.mark),
            unrealised=number(sym.position_base * sym.mark - sym.entry_quote) if held else None,
            stop_loss=plain_or_none(stop),
            take_profit=plain_or_none(target),
            since_ms=self._state.opened_ms.get(symbol) if held else None,
            forecast=_forecast(view.forecast),
            state=_word(sym, order, is_stopped=symbol in self._state.stopped),
            why=self._why(sym, order),
            close_ms=view.bar.close_ms if known else 0,
        )

    def _why(self, sym: SymbolState, order: Intent | None) -> str:
        """Say why the symbol holds what it holds: the last verdict, or why the last bar was spent flat.

        The error of a strategy that was stopped comes first: it is why no entry follows.
        """
        if (failure := self._state.stopped.get(sym.symbol)) is not None:
            return f"none; the strategy has raised: {failure_words(sym.symbol, failure)}"
        said = self._words.get(sym.symbol)
        if isinstance(said, Refused) and (sym.refused or sym.position_base):
            return refusal_words(said)
        entered = sym.flat_reason == ENTERING and order is None  # that entry was filled, and left again since
        if sym.position_base or entered:
            return said if isinstance(said, str) else ""
        words = flat_words(sym.flat_reason)
        if sym.flat_reason not in _WEIGHED:
            return words
        edge = last_edge_words(sym.strategy, sym.view.round_trip_bps)
        return f"{words}: {edge}" if edge else words


def head(state: EngineState, word: str, orders: int, fills: int, closes: int, events: int) -> LiveHead:
    """Return the account as it is now."""
    return LiveHead(
        state=word,
        risk_state=state.breaker.state,
        equity=number(state.equity) if state.account_known else None,
        orders=orders,
        fills=fills,
        live_orders=len(state.orders.live),
        closes=closes,
        events=events,
    )


def _mark_of(
    candle: Candle | None, sym: SymbolState, order: Intent | None, said: object
) -> tuple[object, ...]:
    """Return what a row is made of; equal as long as the row need not be told again."""
    mark = sym.mark if sym.position_base else 0.0
    bar = sym.view.bar.start_ms
    return candle, bar, mark, sym.position_base, sym.stops.at_venue, order, said, sym.activity


def _open(candle: Candle | None) -> tuple[int, float, float, float, float, float] | None:
    if candle is None:
        return None
    return candle.start_ms, candle.open, candle.high, candle.low, candle.close, candle.volume


def _forecast(forecast: Forecast | None) -> LiveForecast | None:
    if forecast is None:
        return None
    variance = number(forecast.rv_60m)
    sigma_frac = None if variance is None else sqrt(max(0.0, variance))
    return LiveForecast(variance, sigma_frac, number(forecast.ret_60m))


def _word(sym: SymbolState, order: Intent | None, *, is_stopped: bool) -> str:
    """Return one word for what the symbol does."""
    if sym.instrument.status != "Trading":
        return "not traded"
    if sym.foreign_qty:
        return "foreign"
    if order is not None:
        return "leaving" if order.reduce_only else "entering"
    if sym.position_base:
        return "long" if sym.position_base > 0.0 else "short"
    if is_stopped:
        return "stopped"
    return "flat" if sym.view.warm else "warming"
