"""What follows from an execution: position, cash, protective stops, and the events that tell of it."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from bot.domain.ledger import Fill, FillCause
from bot.domain.messages import Filled, FundingPaid, FundingRate, OrderCancelled, StopsChanged, VenueEvent
from bot.domain.money import ZERO, to_decimal, to_money
from bot.domain.orders import Intent, OrderState, Side
from bot.exchange.account import Account
from bot.exchange.book import Book, Working
from bot.exchange.terms import Terms

_SHORT: dict[FillCause, str] = {
    "stop_loss": "sl",
    "take_profit": "tp",
    "liquidation": "liq",
    "settle": "settle",
}


class Facts(msgspec.Struct):
    """What a report must say about the simulation itself. Counts, and one amount."""

    detail_missing_bars: int = 0
    """Bars walked whose finer candles, given for the symbol, do not cover the whole bar."""
    detail_mismatch_bars: int = 0
    """Bars walked whose finer candles have another open, high, low or close; the bar's own path was used."""
    mark_missing_bars: int = 0
    """Bars walked with a position open and no mark candle although others were given."""
    stale_bars: int = 0
    """Bars that end no later than one already seen: ignored."""
    refusals: int = 0
    liquidations: int = 0
    bankruptcies: int = 0
    """Liquidations that left the wallet below zero."""
    shortfall_quote: Decimal = ZERO
    """Deepest the wallet was below zero, after a loss or funding."""


class Clearing:
    """Books executions, and collects what there is to tell until ``tell`` is called."""

    def __init__(self, terms: Terms, account: Account[Book], books: Mapping[str, Book]) -> None:
        self.facts = Facts()
        self._terms = terms
        self._account = account
        self._books = books
        self._events: list[VenueEvent] = []
        self._executions = 0
        self._closes = 0

    def tell(self) -> list[VenueEvent]:
        """The events since the last call, in the order they happened."""
        events, self._events = self._events, []
        return events

    def watch(self, book: Book) -> None:
        """Work out anew which prices concern ``book``; in cross margin one position concerns all."""
        book.watch_trades()
        held = self._account.held
        if self._terms.margin_mode == "isolated" or not held or (len(held) == 1 and book.symbol in held):
            self._account.watch_margin((book,))
        else:
            self._account.watch_margin(held.values() if book.symbol in held else (*held.values(), book))

    def fill(
        self, book: Book, working: Working, qty: Decimal, price: Decimal, base: Decimal | None, ts_ms: int
    ) -> None:
        """Execute part or all of an order; ``base`` is the price without slippage, None for a maker."""
        order = working.order
        first = not order.filled_qty
        order.filled_qty += qty
        done = order.filled_qty == order.intent.qty
        order.move(OrderState.FILLED if done else OrderState.PARTIAL)
        if done:
            book.orders.remove(working)
        fill = self._execution(book, order.intent.side, qty, price, base, ts_ms, order.order_id)
        self._move(book, fill, order.intent if first else None)

    def close(
        self, book: Book, qty: Decimal, price: Decimal, base: Decimal, cause: FillCause, ts_ms: int
    ) -> None:
        """Reduce a position by an execution that nobody of ours ordered."""
        self._closes += 1
        order_id = f"{book.symbol}-{_SHORT[cause]}-{self._closes}"
        side: Side = "Sell" if book.position.qty > ZERO else "Buy"
        self._move(book, self._execution(book, side, qty, price, base, ts_ms, order_id, cause), None)

    def end(self, book: Book, working: Working, reason: str, ts_ms: int) -> None:
        """Cancel what is left of an order."""
        working.order.move(OrderState.CANCELLED)
        book.orders.remove(working)
        self._events.append(OrderCancelled(ts_ms, working.order.order_id, reason))

    def end_all(self, book: Book, reason: str, ts_ms: int) -> None:
        """Cancel every order of a symbol."""
        for working in list(book.orders):
            self.end(book, working, reason, ts_ms)

    def pay_funding(self, book: Book, rate: FundingRate, qty: Decimal, mark: float) -> None:
        """Move −qty × mark × rate: longs pay shorts when the rate is positive."""
        if not qty:
            return
        amount = to_money(-qty * to_decimal(mark) * rate.rate)
        self._account.cash.funding += amount
        self._note_shortfall()
        self._events.append(FundingPaid(rate.ts_ms, rate.symbol, amount))

    def count_liquidation(self) -> None:
        """One more; and whether the account is bankrupt."""
        self.facts.liquidations += 1
        self.facts.bankruptcies += self._account.wallet_quote < ZERO

    def _execution(
        self,
        book: Book,
        side: Side,
        qty: Decimal,
        price: Decimal,
        base: Decimal | None,
        ts_ms: int,
        order_id: str,
        cause: FillCause = "order",
    ) -> Fill:
        self._executions += 1
        maker = base is None
        slippage = ZERO if base is None or base == price else to_money(abs(price - base) * qty)
        fee = self._terms.fee_quote(qty, price, maker)
        exec_id = f"exec-{self._executions}"
        return Fill(ts_ms, book.symbol, side, qty, price, fee, order_id, exec_id, maker, cause, slippage)

    def _move(self, book: Book, fill: Fill, intent: Intent | None) -> None:
        """Move position and cash, then the protective orders: they end with the position they protect."""
        cash, before = self._account.cash, book.position.qty
        realised = book.position.apply(fill.side, fill.qty, fill.price)
        cash.realised += realised
        cash.fees += fill.fee_quote
        if realised < ZERO:
            self._note_shortfall()
        book.changes.append((fill.ts_ms, before))
        self._account.revalue(book)
        self._events.append(Filled(fill))
        after = book.position.qty
        ended = bool(before) and (not after or (after > ZERO) != (before > ZERO))
        if ended or intent is not None:
            self._follow_stops(book, fill, ended, intent)
        if ended:
            self._end_reducing(book, fill.ts_ms)

    def _note_shortfall(self) -> None:
        self.facts.shortfall_quote = max(self.facts.shortfall_quote, -self._account.wallet_quote)

    def _follow_stops(self, book: Book, fill: Fill, ended: bool, intent: Intent | None) -> None:
        """Drop the stops of a position that ended, take over those of an order that opened or added."""
        old = (book.stop_loss, book.take_profit)
        stop_loss, take_profit = (None, None) if ended else old
        if intent is not None and book.size and (book.size > 0.0) == (fill.side == "Buy"):
            stop_loss = intent.stop_loss if intent.stop_loss is not None else stop_loss
            take_profit = intent.take_profit if intent.take_profit is not None else take_profit
        if (stop_loss, take_profit) != old:
            book.stop_loss, book.take_profit = stop_loss, take_profit
            self._events.append(StopsChanged(fill.ts_ms, book.symbol, stop_loss, take_profit))

    def _end_reducing(self, book: Book, ts_ms: int) -> None:
        """Resting reduce-only orders go with the position they were to reduce."""
        for working in [w for w in book.orders if w.resting and w.order.intent.reduce_only]:
            if not working.fillable(book.position.qty):
                self.end(book, working, "CancelByReduceOnly", ts_ms)
