"""Orders of the live exchange, their executions, and what it tells of them: values in Bybit's words.

Words of status, cancelType, rejectReason, stopOrderType, createType and execType are those of Bybit's v5
enums. A price that is not set is None in ``NewOrder`` and zero in ``LiveOrder``, as on the wire.
"""

from decimal import Decimal
from typing import Literal

import msgspec

from bot.domain.money import ZERO
from bot.domain.orders import OrderType, Side, TimeInForce

TriggerBy = Literal["LastPrice", "MarkPrice", "IndexPrice"]
TpslMode = Literal["", "Full", "Partial"]
SlippageKind = Literal["", "TickSize", "Percent"]
"""How a market order says what it may cost: ticks, or per cent, beyond the best price when it arrives."""
Status = Literal[
    "New", "PartiallyFilled", "Filled", "Cancelled", "Untriggered", "Triggered", "Deactivated", "Rejected"
]
StopOrderType = Literal[
    "", "Stop", "TakeProfit", "StopLoss", "TrailingStop", "PartialTakeProfit", "PartialStopLoss"
]
ExecType = Literal["Trade", "Funding", "AdlTrade", "BustTrade"]
OPEN: frozenset[Status] = frozenset({"New", "PartiallyFilled", "Untriggered"})


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for (``order/create``). The caller gives ``order_id``; ``link_id`` may be empty.

    A ``trigger_price`` makes it conditional: ``trigger_direction`` 1 waits for a rise to it, 2 for a fall,
    0 goes by the side of the current price. ``qty`` 0 with ``reduce_only`` and ``close_on_trigger`` closes
    the position. Zero prices mean the same as None.
    """

    order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    link_id: str = ""
    price: Decimal | None = None
    time_in_force: TimeInForce = "GTC"
    position_idx: int = 0
    reduce_only: bool = False
    close_on_trigger: bool = False
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: TriggerBy = "LastPrice"
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    sl_trigger_by: TriggerBy = "LastPrice"
    tp_trigger_by: TriggerBy = "LastPrice"
    tpsl_mode: TpslMode = ""
    sl_order_type: OrderType = "Market"
    tp_order_type: OrderType = "Market"
    sl_limit_price: Decimal | None = None
    tp_limit_price: Decimal | None = None
    create_type: str = "CreateByUser"
    slippage_type: SlippageKind = ""
    slippage: Decimal = ZERO


class TradingStop(msgspec.Struct, frozen=True, kw_only=True):
    """What ``position/trading-stop`` asks for; None leaves a value as it is, 0 takes it away.

    ``Full`` changes the one pair of the position; ``Partial`` adds orders of ``sl_size`` and ``tp_size``.
    """

    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tpsl_mode: TpslMode = "Full"
    sl_size: Decimal | None = None
    tp_size: Decimal | None = None
    sl_trigger_by: TriggerBy = "LastPrice"
    tp_trigger_by: TriggerBy = "LastPrice"
    sl_order_type: OrderType = "Market"
    tp_order_type: OrderType = "Market"
    sl_limit_price: Decimal | None = None
    tp_limit_price: Decimal | None = None


class LiveOrder(msgspec.Struct, kw_only=True):
    """One order at the venue. ``price`` of a market order is its protective limit, 0 while untriggered."""

    order_id: str
    link_id: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal
    time_in_force: TimeInForce
    position_idx: int
    reduce_only: bool
    close_on_trigger: bool
    create_type: str
    created_ms: int
    updated_ms: int
    trigger_price: Decimal = ZERO
    trigger_direction: int = 0
    trigger_by: TriggerBy | Literal[""] = ""
    stop_loss: Decimal = ZERO
    take_profit: Decimal = ZERO
    sl_trigger_by: TriggerBy = "LastPrice"
    tp_trigger_by: TriggerBy = "LastPrice"
    tpsl_mode: TpslMode = ""
    sl_order_type: OrderType = "Market"
    tp_order_type: OrderType = "Market"
    sl_limit_price: Decimal = ZERO
    tp_limit_price: Decimal = ZERO
    status: Status = "New"
    cum_exec_qty: Decimal = ZERO
    cum_exec_value: Decimal = ZERO
    cum_exec_fee: Decimal = ZERO
    avg_price: Decimal | None = None
    leaves_qty: Decimal = ZERO
    """What may still be executed; 0 once the order is closed, as on the wire."""
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    stop_order_type: StopOrderType = ""
    last_price_on_created: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    """Price difference − share of the opening fees − closing fee, of what it closed."""
    cum_entry_value: Decimal = ZERO
    """Entry value of what it closed."""
    closed_qty: Decimal = ZERO
    """Base that it took off a position."""
    parent_link_id: str = ""
    """Of a TP/SL order: the link id of the order that brought it."""
    parent_id: str = ""
    trailing_quote: Decimal = ZERO
    """Distance of a trailing stop."""
    active_price: Decimal = ZERO
    """Where a trailing stop starts to follow; 0: at once."""
    margin_quote: Decimal = ZERO
    """Margin held for the whole order, released in proportion as it fills."""
    slippage_type: SlippageKind = ""
    slippage: Decimal = ZERO
    protected: bool = False
    """Whether its TP/SL were handed to the position."""

    @property
    def open(self) -> bool:
        """Whether it may still do something."""
        return self.status in OPEN

    @property
    def conditional(self) -> bool:
        """Whether it waits for a trigger."""
        return self.status == "Untriggered"

    @property
    def reserved_quote(self) -> Decimal:
        """Margin still held for what has not been filled."""
        return self.margin_quote * self.leaves_qty / self.qty if self.margin_quote else ZERO

    @property
    def reduces(self) -> bool:
        """Whether it can only reduce its position: told to, or on the closing side in hedge mode."""
        return self.reduce_only or self.position_idx == (1 if self.side == "Sell" else 2)

    def fillable(self, position_qty: Decimal) -> Decimal:
        """What is left of it; cut to the position if it may only reduce."""
        if not self.reduces:
            return self.leaves_qty
        return min(self.leaves_qty, max(position_qty if self.side == "Sell" else -position_qty, ZERO))


class Execution(msgspec.Struct, frozen=True, kw_only=True):
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
    """Mid of the touch when it was taken; None for a maker."""
    ts_ms: int
    match_seq: int


class OrderChanged(msgspec.Struct, frozen=True):
    """An order came, moved or ended; ``order`` is a copy. Changes of one match share ``match_seq``.

    ``match_seq`` is None when nothing was matched or asked for, as when a trailing stop moves.
    """

    ts_ms: int
    order: LiveOrder
    match_seq: int | None


class Executed(msgspec.Struct, frozen=True):
    """An execution; ``order`` is a copy after it, None for funding."""

    ts_ms: int
    execution: Execution
    order: LiveOrder | None
    match_seq: int


class PositionChanged(msgspec.Struct, frozen=True):
    """Told on every order event of the symbol, whether or not the position moved."""

    ts_ms: int
    symbol: str
    idx: int


class WalletChanged(msgspec.Struct, frozen=True):
    """Told after every order event and every movement of money."""

    ts_ms: int


Happening = OrderChanged | Executed | PositionChanged | WalletChanged


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
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


class WalletView(msgspec.Struct, frozen=True, kw_only=True):
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
