"""What an order does when it reaches the book: take, rest or end (GTC, IOC, FOK, PostOnly).

https://bybit-exchange.github.io/docs/v5/order/create-order
"""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.orders import ExchangeOrder

POST_ONLY = "EC_PostOnlyWillTakeLiquidity"
NOT_WHOLE = "EC_CancelForNoFullFill"
NO_MATCH = "EC_NoImmediateQtyToFill"


def refuses_to_take(order: ExchangeOrder, qty: Decimal, offered: Decimal) -> str | None:
    """Return why an order that crosses the book ends instead of taking; None if it takes.

    ``qty`` is the base that the order requests, ``offered`` the base that it can take at its limit or better.
    """
    if order.time_in_force == "PostOnly":
        return POST_ONLY
    if order.time_in_force == "FOK" and not ZERO < qty <= offered:
        return NOT_WHOLE
    return None


def ends_unfilled(order: ExchangeOrder) -> str | None:
    """Return why the unfilled rest of an order ends; None if the rest stays in the book.

    A FOK order that is not filled whole is not filled at all, so its rest never crossed the book.
    """
    if order.time_in_force == "FOK":
        return NOT_WHOLE
    return NO_MATCH if order.time_in_force == "IOC" else None
