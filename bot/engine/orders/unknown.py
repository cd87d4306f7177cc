"""Orders of unknown fate, and what follows when a fate stays unknown: entries stop, then the bot halts. Pure.

The venue adapter asks about such an order until the venue shows it or its absence is proven. If that takes
longer than the limits allow, the exposure of the account is not known well enough to add to it.
"""

from collections.abc import Iterable

import msgspec

from bot.risk.limits import Limits


class UnknownOrder(msgspec.Struct):
    """An order whose fate has been unknown to this process since ``since_ms``, and what followed from it."""

    since_ms: int
    reduced: bool = False
    halted: bool = False

    def due_ms(self, limits: Limits) -> int | None:
        """Return when the next limit is exceeded; None after the halt. Limits are inclusive."""
        if not self.reduced:
            return self.since_ms + min(limits.unknown_order_reduce_ms, limits.unknown_order_halt_ms) + 1
        return None if self.halted else self.since_ms + limits.unknown_order_halt_ms + 1


def next_due_ms(orders: Iterable[UnknownOrder], limits: Limits) -> int | None:
    """Return the earliest time at which one of the orders exceeds a limit."""
    return min((due for order in orders if (due := order.due_ms(limits)) is not None), default=None)
