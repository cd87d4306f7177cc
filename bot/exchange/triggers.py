"""Conditional orders: waiting for a price, and what happens when it comes.

Bybit: Untriggered → Triggered → New … in one instant; a waiting order reserves no margin and is
cancelled at its trigger if the margin lacks, or if there is nothing left to reduce.
"""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.account import Account
from bot.exchange.crossing import Crossing
from bot.exchange.live_book import LiveBook, Pocket
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import LiveOrder, TriggerBy
from bot.exchange.protection import PROTECTIVE, Protection


class Triggers:
    """Looks at prices for the orders that wait."""

    def __init__(
        self, account: Account[Pocket], clearing: LiveClearing, protection: Protection, crossing: Crossing
    ) -> None:
        self._account = account
        self._clearing = clearing
        self._protection = protection
        self._crossing = crossing

    def look(self, book: LiveBook, trigger_by: TriggerBy, price: Decimal, ts_ms: int) -> None:
        """A price of one kind: trailing stops follow it, then what it reaches fires, oldest first."""
        waiting = [o for o in book.orders.values() if o.conditional and o.trigger_by == trigger_by]
        moved = False
        for order in waiting:
            if order.trailing_quote:
                moved |= self._protection.trail(order, price, ts_ms)
        if moved:
            self._clearing.publish(ts_ms)
        for order in waiting:
            if order.conditional and _reached(order, price):
                self._fire(book, order, ts_ms)

    def _fire(self, book: LiveBook, order: LiveOrder, ts_ms: int) -> None:
        del book.orders[order.order_id]
        order.status = "Triggered"
        self._clearing.note(order, ts_ms)
        if self._may_start(book, order, ts_ms):
            if order.order_type == "Limit":
                order.price = book.banded(order.side, order.price)
            self._crossing.arrive(book, order, ts_ms)
            if order.stop_order_type in PROTECTIVE:
                self._protection.rearm(order, book.of(order), ts_ms)
        else:
            self._protection.finish(ts_ms)

    def _may_start(self, book: LiveBook, order: LiveOrder, ts_ms: int) -> bool:
        """Hold the margin of an order that now becomes active; or cancel it, and False."""
        pocket = book.of(order)
        held = pocket.position.qty
        if order.reduces:
            if not order.fillable(held):
                self._clearing.end(order, ts_ms, "CancelByReduceOnly")
                return False
            return True
        price = order.price if order.order_type == "Limit" else book.price()
        assert price is not None, "a trigger was reached by a price"
        needed = self._account.opening_margin(pocket, order.side, order.qty, price, held)
        if needed > ZERO and needed > self._account.available_quote:
            self._clearing.end(order, ts_ms, reason="EC_Others")
            return False
        order.margin_quote = needed
        return True


def _reached(order: LiveOrder, price: Decimal) -> bool:
    if order.active_price:
        return False
    if order.trigger_direction == 1:
        return price >= order.trigger_price
    return price <= order.trigger_price
