"""Our orders: acknowledgements, fills and cancels applied through the table of ``domain.orders``."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bot.domain.errors import Broken
from bot.domain.ledger import Fill
from bot.domain.messages import (
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
)
from bot.domain.money import ZERO
from bot.domain.orders import LIVE, NEXT, Intent, Order, OrderState

_SEEN_MAX = 65_536
"""Execution ids remembered against duplicates: more than four days at ten fills a minute."""


_ENDED_MAX = 4_096
"""Ids of ended orders remembered, so that a late event of one is not taken for another's order."""


class OpenOrders(msgspec.Struct):
    """Orders that may still fill, and the executions already applied.

    An order that ends leaves ``live`` at once, so ``live`` is bounded by the orders in flight.
    """

    live: dict[str, Order] = msgspec.field(default_factory=dict)
    seen: dict[str, None] = msgspec.field(default_factory=dict)
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    """Number of ended orders, by final state."""
    ended_ms: dict[str, int] = msgspec.field(default_factory=dict)
    """When the latest of them ended, by id."""

    def add(
        self, order_id: str, intent: Intent, sent_ms: int = 0, arrival_price: Decimal | None = None
    ) -> None:
        """Remember an order before it is sent.

        Raises:
            Broken: the id is already in use.
        """
        if order_id in self.live:
            raise Broken(f"order id {order_id} was given twice")
        self.live[order_id] = Order(order_id, intent, sent_ms=sent_ms, arrival_price=arrival_price)

    def adopt(self, order: Order) -> None:
        """Take over an order of ours that the venue lists as working."""
        self.ended_ms.pop(order.order_id, None)
        self.live[order.order_id] = order

    def doubt(self, ts_ms: int) -> None:
        """Take every order without an answer as unknown: the process that was to send it is gone."""
        for order in self.live.values():
            if order.state is OrderState.SENT:
                self._move(order, OrderState.UNKNOWN, ts_ms)

    def forget_all(self) -> None:
        """Forget all live orders: the venue's list is about to be adopted."""
        self.live.clear()

    def knows(self, order_id: str) -> bool:
        """Return True if the order is live or ended lately."""
        return order_id in self.live or order_id in self.ended_ms

    def of(self, symbol: str) -> Sequence[Order]:
        """Return the live orders of one symbol that carry out a target, oldest first."""
        if not self.live:  # nearly always
            return ()
        return [
            order
            for order in self.live.values()
            if order.intent.symbol == symbol and order.intent.take_at is None
        ]

    def takes_of(self, symbol: str) -> Sequence[Order]:
        """Return the live orders of one symbol that take its profit in parts, oldest first."""
        return [
            order
            for order in self.live.values()
            if order.intent.symbol == symbol and order.intent.take_at is not None
        ]

    def resting_qty(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return what live and unknown orders may still buy and sell, the worst case for risk.

        Orders that take profit are left out: they only make a position smaller, whatever else fills.
        """
        buys = sells = ZERO
        for order in self.of(symbol):
            if order.intent.side == "Buy":
                buys += order.leaves_qty
            else:
                sells += order.leaves_qty
        return buys, sells

    def is_new(self, fill: Fill) -> bool:
        """Remember an execution; return False if it was applied before."""
        if fill.exec_id in self.seen:
            return False
        self.seen[fill.exec_id] = None
        if len(self.seen) > _SEEN_MAX:
            del self.seen[next(iter(self.seen))]
        return True

    def fill(self, fill: Fill) -> None:
        """Count an execution towards its order; the venue's own executions have no order here."""
        order = self.live.get(fill.order_id)
        if order is None:
            return
        order.filled_qty += fill.qty
        if order.filled_qty > order.intent.qty:
            raise Broken(f"order {order.order_id}: filled {order.filled_qty} of {order.intent.qty}")
        done = order.filled_qty == order.intent.qty
        self._move(order, OrderState.FILLED if done else OrderState.PARTIAL, fill.ts_ms)

    def answer(self, event: OrderAccepted | OrderRejected | OrderUnknown | OrderCancelled) -> Order | None:
        """Apply the venue's answer; return the order, or None if it is not live."""
        order = self.live.get(event.order_id)
        if order is None:
            return None
        if isinstance(event, OrderAccepted):
            # A fill may have come before this acknowledgement.
            if order.state in (OrderState.SENT, OrderState.UNKNOWN):
                self._move(order, OrderState.OPEN, event.ts_ms)
        elif isinstance(event, OrderUnknown):
            if order.state is OrderState.SENT:
                self._move(order, OrderState.UNKNOWN, event.ts_ms)
        elif isinstance(event, OrderRejected) and OrderState.REJECTED in NEXT[order.state]:
            self._move(order, OrderState.REJECTED, event.ts_ms)
        else:  # a refusal after an acceptance ends the rest of the order
            self._move(order, OrderState.CANCELLED, event.ts_ms)
        return order

    def reprice(self, event: OrderRepriced) -> None:
        """Give a live order the limit price that it has at the venue."""
        order = self.live.get(event.order_id)
        if order is not None and order.intent.order_type == "Limit":
            order.intent = msgspec.structs.replace(order.intent, price=event.price)

    def resize(self, event: OrderResized) -> Order | None:
        """Give a live order the quantity that it has at the venue; return it if it became larger."""
        order = self.live.get(event.order_id)
        if order is None or event.qty <= ZERO:
            return None
        grew = event.qty > order.intent.qty
        order.intent = msgspec.structs.replace(order.intent, qty=max(event.qty, order.filled_qty))
        return order if grew else None

    def _move(self, order: Order, to: OrderState, ts_ms: int) -> None:
        order.move(to)
        if not order.opened_ms and to in (OrderState.OPEN, OrderState.PARTIAL):
            order.opened_ms = ts_ms
        if to not in LIVE:
            del self.live[order.order_id]
            self.ended[to.value] = self.ended.get(to.value, 0) + 1
            self.ended_ms[order.order_id] = ts_ms
            if len(self.ended_ms) > _ENDED_MAX:
                del self.ended_ms[next(iter(self.ended_ms))]
