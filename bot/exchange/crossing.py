"""Live orders against what others offer: taking on arrival, making when the market comes through.

- A market order is an IOC limit order at a protective price.
- What crosses on arrival takes the levels of the depth, each at its price, never beyond its limit; what
  was taken is gone until the next quote.
- What rests fills as maker at its own price when somebody offers at that price or better, as far as the
  offer goes, or when a trade goes *through* it, as far as the trade goes. A trade at its price fills
  nothing: we are last in the queue.
"""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.depth import crosses
from bot.exchange.live_book import LiveBook
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import LiveOrder
from bot.exchange.protection import Protection


class Crossing:
    """Executes orders; each match is finished, and so told, by itself."""

    def __init__(self, clearing: LiveClearing, protection: Protection) -> None:
        self._clearing = clearing
        self._protection = protection

    def arrive(self, book: LiveBook, order: LiveOrder, ts_ms: int) -> None:
        """A checked order reaches the book: it takes, rests, or ends."""
        if order.order_type == "Market":
            order.price = book.protective_price(order)
        self._match(book, order, ts_ms)
        if order.leaves_qty and order.status != "Cancelled":
            if order.time_in_force in ("IOC", "FOK"):
                self._clearing.end(order, ts_ms, reason="EC_NoImmediateQtyToFill")
            elif not order.fillable(book.of(order).position.qty):
                self._clearing.end(order, ts_ms, "CancelByReduceOnly")
            else:
                order.status = "PartiallyFilled" if order.cum_exec_qty else "New"
                book.orders[order.order_id] = order
                self._clearing.note(order, ts_ms)
        elif order.status == "Filled":
            self._clearing.note(order, ts_ms)
        self._protection.finish(ts_ms)

    def _match(self, book: LiveBook, order: LiveOrder, ts_ms: int) -> None:
        qty = order.fillable(book.of(order).position.qty)
        if not crosses(order.side, order.price, book.depth.best(order.side)):
            return
        if order.time_in_force == "PostOnly":
            self._clearing.end(order, ts_ms, reason="EC_PostOnlyWillTakeLiquidity")
        elif order.time_in_force == "FOK" and not ZERO < qty <= book.depth.within(order.side, order.price):
            self._clearing.end(order, ts_ms, reason="EC_CancelForNoFullFill")
        else:
            self._take(book, order, qty, ts_ms)

    def _take(self, book: LiveBook, order: LiveOrder, qty: Decimal, ts_ms: int) -> None:
        base, taken = book.depth.mid(), ZERO
        for price, part in list(book.depth.takes(order.side, qty, order.price)):
            self._clearing.execute(order, part, price, ts_ms, base=base if base is not None else price)
            taken += part
        book.depth = book.depth.without(order.side, taken)

    def quoted(self, book: LiveBook, ts_ms: int) -> None:
        """A new depth: resting orders that it crosses are made."""
        for order in _by_priority(book):
            if not crosses(order.side, order.price, book.depth.best(order.side)) or not order.open:
                continue
            offered = book.depth.within(order.side, order.price)
            qty = min(order.fillable(book.of(order).position.qty), offered)
            if qty > ZERO:
                book.depth = book.depth.without(order.side, qty)
                self._make(order, qty, ts_ms)

    def traded(self, book: LiveBook, price: Decimal, qty: Decimal, ts_ms: int) -> None:
        """Others traded: resting orders at better prices were gone through."""
        for order in _by_priority(book):
            through = order.price > price if order.side == "Buy" else order.price < price
            if not through or not order.open:
                continue
            part = min(order.fillable(book.of(order).position.qty), qty)
            if part > ZERO:
                qty -= part
                self._make(order, part, ts_ms)
            if not qty:
                return

    def _make(self, order: LiveOrder, qty: Decimal, ts_ms: int) -> None:
        self._clearing.execute(order, qty, order.price, ts_ms, maker=True)
        self._clearing.note(order, ts_ms)
        self._protection.finish(ts_ms)


def _by_priority(book: LiveBook) -> list[LiveOrder]:
    """Resting orders, better prices first, then older ones."""
    return sorted(book.resting(), key=lambda order: -order.price if order.side == "Buy" else order.price)
