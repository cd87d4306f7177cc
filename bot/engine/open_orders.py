"""Our orders: acknowledgements, fills and cancels applied through the table of ``domain.orders``."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bot.domain.errors import Broken
from bot.domain.ledger import Fill
from bot.domain.messages import OrderAccepted, OrderCancelled, OrderRejected, OrderUnknown
from bot.domain.money import ZERO
from bot.domain.orders import LIVE, NEXT, Intent, Order, OrderState

_SEEN_MAX = 65_536
"""ExecutionPolicy ids remembered against duplicates: at ten fills a minute, more than four days."""


_ENDED_MAX = 4_096
"""Ids remembered of orders that ended, so that what comes late about them is not taken for a stranger's."""


class OpenOrders(msgspec.Struct):
    """Orders that may still do something, and the executions already booked.

    A terminal order leaves ``live`` at once, so that is bounded by what is in flight.
    """

    live: dict[str, Order] = msgspec.field(default_factory=dict)
    seen: dict[str, None] = msgspec.field(default_factory=dict)
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    """How orders ended, by state."""
    ended_ms: dict[str, int] = msgspec.field(default_factory=dict)
    """When the latest of them did, by id."""

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
        """Take over an order that the venue says it works for us."""
        self.ended_ms.pop(order.order_id, None)
        self.live[order.order_id] = order

    def forget_all(self) -> None:
        """Drop what was believed to be live: the venue's list is about to be adopted."""
        self.live.clear()

    def knows(self, order_id: str) -> bool:
        """Whether the order is, or lately was, in this book."""
        return order_id in self.live or order_id in self.ended_ms

    def of(self, symbol: str) -> Sequence[Order]:
        """Live orders of one symbol, oldest first."""
        if not self.live:  # nearly always
            return ()
        return [order for order in self.live.values() if order.intent.symbol == symbol]

    def resting_qty(self, symbol: str) -> tuple[Decimal, Decimal]:
        """What live and unknown orders may still buy and sell: the worst case risk counts with."""
        buys = sells = ZERO
        for order in self.of(symbol):
            if order.intent.side == "Buy":
                buys += order.leaves_qty
            else:
                sells += order.leaves_qty
        return buys, sells

    def is_new(self, fill: Fill) -> bool:
        """False if this execution was booked before; otherwise remembers it."""
        if fill.exec_id in self.seen:
            return False
        self.seen[fill.exec_id] = None
        if len(self.seen) > _SEEN_MAX:
            del self.seen[next(iter(self.seen))]
        return True

    def fill(self, fill: Fill) -> None:
        """Count an execution towards its order; executions the venue made for us have none here."""
        order = self.live.get(fill.order_id)
        if order is None:
            return
        order.filled_qty += fill.qty
        if order.filled_qty > order.intent.qty:
            raise Broken(f"order {order.order_id}: filled {order.filled_qty} of {order.intent.qty}")
        done = order.filled_qty == order.intent.qty
        self._move(order, OrderState.FILLED if done else OrderState.PARTIAL, fill.ts_ms)

    def answer(self, event: OrderAccepted | OrderRejected | OrderUnknown | OrderCancelled) -> Order | None:
        """Apply what the venue said; returns the order, or None if it is not (or no longer) live."""
        order = self.live.get(event.order_id)
        if order is None:
            return None
        if isinstance(event, OrderAccepted):
            if order.state in (OrderState.SENT, OrderState.UNKNOWN):  # a fill may come before its ack
                self._move(order, OrderState.OPEN, event.ts_ms)
        elif isinstance(event, OrderUnknown):
            if order.state is OrderState.SENT:
                self._move(order, OrderState.UNKNOWN, event.ts_ms)
        elif isinstance(event, OrderRejected) and OrderState.REJECTED in NEXT[order.state]:
            self._move(order, OrderState.REJECTED, event.ts_ms)
        else:  # a refusal of what was accepted before is the end of its rest
            self._move(order, OrderState.CANCELLED, event.ts_ms)
        return order

    def _move(self, order: Order, to: OrderState, ts_ms: int) -> None:
        order.move(to)
        if to not in LIVE:
            del self.live[order.order_id]
            self.ended[to.value] = self.ended.get(to.value, 0) + 1
            self.ended_ms[order.order_id] = ts_ms
            if len(self.ended_ms) > _ENDED_MAX:
                del self.ended_ms[next(iter(self.ended_ms))]
