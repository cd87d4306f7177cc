"""What a venue says an account holds: the picture that reconciliation compares with our own books."""

from decimal import Decimal

import msgspec

from bot.domain.orders import OrderType, Side


class Holding(msgspec.Struct, frozen=True):
    """One open position at the venue; ``qty`` in base, short below zero, never 0."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class OpenOrder(msgspec.Struct, frozen=True):
    """One order of ours that the venue still works. ``order_id`` is our id, its ``orderLinkId``."""

    order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    filled_qty: Decimal
    price: Decimal | None
    reduce_only: bool


class Account(msgspec.Struct, frozen=True):
    """A complete reading: wallet in quote, positions, our working orders, and how much is not ours.

    ``foreign_orders`` counts working orders without our prefix; they are never touched.
    """

    wallet_quote: Decimal
    holdings: tuple[Holding, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    foreign_orders: int = 0
