"""What a venue says that an account holds. Reconciliation compares this with the engine's own state."""

from decimal import Decimal

import msgspec

from bot.domain.money import ZERO
from bot.domain.orders import Order, OrderType, Side


class Holding(msgspec.Struct, frozen=True):
    """One open position at the venue. ``qty`` in base, negative for a short position, never 0.

    ``trailing_stop`` is the distance of a trailing stop, in quote per base; 0 if there is none.

    ``own_qty`` is the part that orders of ours opened, as far as the venue's executions show it. It is filled
    in for the first reading of an unknown account alone; later the engine knows its own part.
    """

    symbol: str
    qty: Decimal
    entry_price: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal = ZERO
    own_qty: Decimal = ZERO


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
    ``uid`` names the account at the venue; empty where the venue does not tell it. ``replaced`` says in words
    how it was noticed that this is another account than at the last reading, or that it was reset.
    """

    wallet_quote: Decimal
    holdings: tuple[Holding, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    foreign_orders: int = 0
    uid: str = ""
    replaced: str = ""


class KnownAccount(msgspec.Struct, frozen=True):
    """What a restored engine knows of its account: the venue's rows since ``read_ms`` go on from here.

    ``wallet_quote`` is the wallet of the last reading, which began at ``read_ms`` of the venue's time.
    ``positions`` are the venue's, by symbol, signed. ``orders`` may still fill. ``executions`` are the ids of
    the executions that are booked already.
    """

    read_ms: int
    wallet_quote: Decimal
    positions: dict[str, Decimal]
    orders: tuple[Order, ...]
    executions: tuple[str, ...]
    uid: str = ""
