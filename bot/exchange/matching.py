"""Match an order with the offers of others: it takes, rests or ends; a waiting order triggers.

``bars`` and ``quotes`` find the moment and the offers (``SymbolBook.take``); this module does the rest.

- A market order is an IOC limit order at a protective price.
- An order that crosses the book on arrival takes, never beyond its limit.
- A resting order fills as maker at its limit price, even if the market jumped over this price.
- A triggered order is Untriggered → Triggered → New … in one instant. A waiting order reserves no margin; it
  is cancelled when it triggers if the margin does not suffice or nothing is left to reduce.
"""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.ledger.book import SymbolBook
from bot.exchange.ledger.booking import Ledger
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.ledger.protection import ProtectiveOrders
from bot.exchange.orders import PROTECTIVE, ExchangeOrder
from bot.exchange.rulebook import time_in_force

_PARTICULAR = frozenset({"PostOnly", "FOK"})
"""Orders that may refuse to take."""


class Matching:
    """Executes orders; each method is one match, and publishes it."""

    def __init__(self, account: MarginAccount, ledger: Ledger, protection: ProtectiveOrders) -> None:
        self._account = account
        self._ledger = ledger
        self._protection = protection

    def arrive(self, book: SymbolBook, order: ExchangeOrder, ts_ms: int) -> None:
        """Let a checked order reach the book; cut a reducing order to the position."""
        if order.reduces:
            size = abs(book.slot_of(order).position.qty)
            if ZERO < size < order.leaves_qty:
                order.leaves_qty = size
                order.qty = order.cum_exec_qty + size
        self._meet(book, order, ts_ms)
        self._protection.finish(ts_ms)

    def make(self, book: SymbolBook, order: ExchangeOrder, qty: Decimal, ts_ms: int) -> None:
        """Fill ``qty`` of a resting order at its limit price: the market has reached it."""
        self._ledger.execute(order, qty, order.price, ts_ms, maker=True)
        self._ledger.note(order, ts_ms)
        self._protection.finish(ts_ms)

    def fire(self, book: SymbolBook, order: ExchangeOrder, ts_ms: int) -> None:
        """Trigger a waiting order: the price has reached its trigger."""
        book.forget(order)
        order.status = "Triggered"
        self._ledger.note(order, ts_ms)
        slot = book.slot_of(order)
        self._protection.end_pair(order, slot, ts_ms)
        if self._may_start(book, order, ts_ms):
            if order.order_type == "Limit":
                order.price = book.banded(order.side, order.price)
            self._meet(book, order, ts_ms)
            if order.stop_order_type in PROTECTIVE:
                self._protection.rearm(order, slot, ts_ms)
        self._protection.finish(ts_ms)

    def end_stale(self, book: SymbolBook, order: ExchangeOrder, ts_ms: int) -> None:
        """Cancel an order because prices are missing or old: it would fill at a price it was not sent for."""
        self._ledger.end(order, ts_ms, reason="NoMarketData")
        self._protection.finish(ts_ms)

    def _meet(self, book: SymbolBook, order: ExchangeOrder, ts_ms: int) -> None:
        """Take the offers that the order crosses; the rest of the order rests, or ends with a reason."""
        ledger, position = self._ledger, book.slot_of(order).position
        if order.order_type == "Market":
            order.price = book.protective_price(order)
        if book.crosses(order):
            qty = order.fillable(position.qty) if order.reduces else order.leaves_qty
            if order.time_in_force in _PARTICULAR:
                reason = time_in_force.refuses_to_take(order, qty, book.offered(order))
                if reason is not None:
                    ledger.end(order, ts_ms, reason=reason)
                    return
            if qty > ZERO:
                self._take(book, order, qty, ts_ms)
        if not order.leaves_qty:
            ledger.note(order, ts_ms)
        elif order.reduces and not order.fillable(position.qty):
            ledger.end(order, ts_ms, "CancelByReduceOnly")
        elif (ending := time_in_force.ends_unfilled(order)) is not None:
            ledger.end(order, ts_ms, reason=ending)
        else:
            order.status = "PartiallyFilled" if order.cum_exec_qty else "New"
            book.orders[order.order_id] = order
            ledger.note(order, ts_ms)

    def _take(self, book: SymbolBook, order: ExchangeOrder, qty: Decimal, ts_ms: int) -> None:
        base = book.base()
        for price, part in book.take(order, qty):
            self._ledger.execute(order, part, price, ts_ms, base=base if base is not None else price)

    def _may_start(self, book: SymbolBook, order: ExchangeOrder, ts_ms: int) -> bool:
        """Reserve an order's margin and return True, or cancel the order and return False."""
        slot = book.slot_of(order)
        if order.reduces:
            if order.fillable(slot.position.qty):
                return True
            self._ledger.end(order, ts_ms, "CancelByReduceOnly")
            return False
        price = order.price if order.order_type == "Limit" else book.price()
        assert price is not None, "a trigger was reached by a price"
        held = book.prospective_qty(slot)
        needed = self._account.opening_margin(slot, order.side, order.qty, price, held)
        if needed > ZERO and needed > self._account.available_quote:
            self._ledger.end(order, ts_ms, reason="EC_Others")
            return False
        order.margin_quote = needed
        return True
