"""What the exchange emits: orders that changed, executions, positions, wallet; and the views of both.

``bars`` and ``quotes`` emit the same events; one ``WalletChanged`` ends the group of one match.
"""

from decimal import Decimal
from typing import Literal

import msgspec

from bot.domain.orders import OrderType, Side
from bot.exchange.orders import ExchangeOrder, StopOrderType

ExecType = Literal["Trade", "Funding", "AdlTrade", "BustTrade", "Settle"]


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution. ``fee_quote`` > 0 is paid; for ``Funding`` it is the payment and ``qty`` the size."""

    exec_id: str
    exec_type: ExecType
    order_id: str
    link_id: str
    symbol: str
    position_idx: int
    side: Side
    order_type: OrderType | Literal["UNKNOWN"]
    stop_order_type: StopOrderType
    create_type: str
    order_price: Decimal
    order_qty: Decimal
    leaves_qty: Decimal
    price: Decimal
    qty: Decimal
    value_quote: Decimal
    fee_quote: Decimal
    fee_frac: Decimal
    maker: bool
    closed_size: Decimal
    pnl_quote: Decimal
    """Realised by this execution, before fees."""
    mark_price: Decimal
    index_price: Decimal | None
    base_price: Decimal | None
    """Price without spread and impact (mid of the touch, or the bar's price); None for a maker."""
    ts_ms: int
    match_seq: int


class OrderChanged(msgspec.Struct, frozen=True, gc=False):
    """An order came, changed or ended; ``order`` is a copy. Changes of one match share ``match_seq``.

    ``match_seq`` is None if the change comes from neither a match nor a request: a trailing stop moved.
    """

    ts_ms: int
    order: ExchangeOrder
    match_seq: int | None


class Executed(msgspec.Struct, frozen=True, gc=False):
    """An execution; ``order`` is a copy of the order after the execution, None for funding."""

    ts_ms: int
    execution: Execution
    order: ExchangeOrder | None
    match_seq: int


class PositionChanged(msgspec.Struct, frozen=True, gc=False):
    """Emitted with every order event of the symbol, whether or not the position changed."""

    ts_ms: int
    symbol: str
    idx: int


class WalletChanged(msgspec.Struct, frozen=True, gc=False):
    """Emitted last, after every order event and every movement of money: it closes a group of events."""

    ts_ms: int


ExchangeEvent = OrderChanged | Executed | PositionChanged | WalletChanged


class PositionView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One position as ``position/list`` shows it; money in quote, ``side`` empty and figures 0 when flat."""

    symbol: str
    idx: int
    side: Literal["", "Buy", "Sell"]
    size: Decimal
    avg_price: Decimal
    value_quote: Decimal
    leverage: Decimal
    mark_price: Decimal
    liq_price: Decimal | None
    """None: no price within the instrument's range would liquidate it."""
    bust_price: Decimal
    im_quote: Decimal
    mm_quote: Decimal
    added_quote: Decimal
    upl_quote: Decimal
    break_even_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    trailing_stop: Decimal
    cum_realised_quote: Decimal
    cur_realised_quote: Decimal
    """Realised since it was last flat, fees and funding included."""
    created_ms: int
    updated_ms: int
    opened_ms: int
    seq: int


class WalletView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The account's money, in quote."""

    equity_quote: Decimal
    wallet_quote: Decimal
    available_quote: Decimal
    im_quote: Decimal
    mm_quote: Decimal
    order_im_quote: Decimal
    position_im_quote: Decimal
    upl_quote: Decimal
    cum_realised_quote: Decimal
