"""What a venue says that an account holds. Reconciliation compares this with the engine's own state."""

from decimal import Decimal

import msgspec

from bot.domain.orders import OrderType, Side


class Holding(msgspec.Struct, frozen=True):
    """One open position at the venue. ``qty`` in base, negative for a short position, never 0."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class OpenOrder(msgspec.Struct, frozen=True):
    """One working order of ours at the venue. ``order_id`` is our id (Bybit: ``orderLinkId``)."""

    order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    filled_qty: Decimal
    price: Decimal | None
    reduce_only: bool


class AccountSnapshot(msgspec.Struct, frozen=True):
    """A complete reading of the account: wallet (quote), positions, our working orders, foreign orders.

    ``foreign_orders`` counts working orders whose id lacks our prefix. The bot never changes those orders.
    """

    wallet_quote: Decimal
    holdings: tuple[Holding, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    foreign_orders: int = 0
