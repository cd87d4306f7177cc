"""The proof that the venue never had an order. A missing answer proves nothing."""

import msgspec

from bot.bybit import wire
from bot.bybit.account.order_table import SentOrder
from bot.bybit.account.rows import number
from bot.domain.money import ZERO
from bot.domain.orders import Intent, sign

ABSENT_ROUNDS = 3
"""Complete, empty rounds over open orders, order history and executions that prove an absence."""
ABSENT_SPACING_MS = 1_000


class AbsenceProof(msgspec.Struct):
    """Counts rounds that found nothing of an order; enough spaced rounds prove that it does not exist.

    Rounds count only after the venue can no longer accept the order (receive window plus a grace time).
    Times are the venue's. A round that failed, or that found anything, starts the count anew.
    """

    not_before_ms: int
    spacing_ms: int = ABSENT_SPACING_MS
    rounds: int = 0
    last_ms: int = 0

    @classmethod
    def of(cls, order: SentOrder, recv_window_ms: int, grace_ms: int, spacing_ms: int) -> "AbsenceProof":
        """Begin the proof for one order, from the time it was sent."""
        return cls(order.sent_ms + recv_window_ms + grace_ms, spacing_ms)

    def empty(self, now_ms: int, *, position_agrees: bool) -> bool:
        """Count a complete round that found nothing; return True if the absence is proven."""
        if not position_agrees:
            self.rounds = 0
        elif now_ms >= self.not_before_ms and now_ms - self.last_ms >= self.spacing_ms:
            self.rounds += 1
            self.last_ms = now_ms
        return self.rounds >= ABSENT_ROUNDS

    def failed(self) -> None:
        """Start anew after a round that was not complete."""
        self.rounds = 0


def is_as_intended(row: wire.OrderFields, intent: Intent) -> bool:
    """True if the order found under our id is the one we meant to place."""
    price = None if intent.order_type == "Market" else intent.price
    return (
        row.symbol == intent.symbol
        and row.side == intent.side
        and row.orderType == intent.order_type
        and number(row.qty) == intent.qty
        and row.reduceOnly == intent.reduce_only
        and (price is None or number(row.price) == price)
    )


def is_adjusted(row: wire.OrderFields, intent: Intent) -> bool:
    """True if the order found under our id may be the one we meant to place, as the venue adjusts orders.

    It moves a limit price into its price band, so only away from the market's other side, and cuts an order
    that only reduces to the position. An older order under this id looks alike: compare its time too.
    """
    price, qty = number(row.price) if intent.order_type == "Limit" else None, number(row.qty)
    moved = price is not None and intent.price is not None and sign(intent.side) * (intent.price - price) > 0
    meant = msgspec.structs.replace(
        intent,
        price=price if moved else intent.price,
        qty=qty if intent.reduce_only and ZERO < qty < intent.qty else intent.qty,
    )
    return is_as_intended(row, meant)
