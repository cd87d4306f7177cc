"""Orders at the exchange and what a client may ask for: values in Bybit's words.

Words of status, cancelType, rejectReason, stopOrderType and createType are those of Bybit's v5 enums.
Each action is one value, parsed once at the door and passed whole. A price that is not set is None in an
action and 0 in ``ExchangeOrder``, as on the wire.
"""

from decimal import Decimal
from typing import Literal

import msgspec

from bot.domain.money import ZERO
from bot.domain.orders import OrderType, Side, TimeInForce

TriggerBy = Literal["LastPrice", "MarkPrice", "IndexPrice"]
TpslMode = Literal["", "Full", "Partial"]
MarginMode = Literal["cross", "isolated"]
SlippageKind = Literal["", "TickSize", "Percent"]
"""Unit of a market order's slippage tolerance: ticks or per cent beyond the best price at arrival."""
Status = Literal[
    "New", "PartiallyFilled", "Filled", "Cancelled", "Untriggered", "Triggered", "Deactivated", "Rejected"
]
StopOrderType = Literal[
    "", "Stop", "TakeProfit", "StopLoss", "TrailingStop", "PartialTakeProfit", "PartialStopLoss"
]
OPEN: frozenset[Status] = frozenset({"New", "PartiallyFilled", "Untriggered"})
STOP_LOSSES: frozenset[StopOrderType] = frozenset({"StopLoss", "PartialStopLoss"})
TAKE_PROFITS: frozenset[StopOrderType] = frozenset({"TakeProfit", "PartialTakeProfit"})
PROTECTIVE: frozenset[StopOrderType] = STOP_LOSSES | TAKE_PROFITS | {"TrailingStop"}
"""Kinds of order that protect a position and end with it."""


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``order/create``. The caller chooses ``order_id``; ``link_id`` may be empty.

    A ``trigger_price`` makes the order conditional: ``trigger_direction`` 1 waits for a rise to the
    trigger, 2 for a fall, 0 is decided by the side of the current price. ``qty`` 0 with ``reduce_only`` and
    ``close_on_trigger`` closes the whole position. A price of 0 means the same as None.
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


class Amend(msgspec.Struct, frozen=True, kw_only=True):
    """``order/amend``. None leaves a value as it is; ``stop_loss`` or ``take_profit`` 0 removes it."""

    symbol: str
    order_id: str
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class Cancel(msgspec.Struct, frozen=True):
    """``order/cancel``."""

    symbol: str
    order_id: str


class TradingStop(msgspec.Struct, frozen=True, kw_only=True):
    """``position/trading-stop``. None leaves a value as it is, 0 removes it.

    ``Full`` changes the one pair of the position; ``Partial`` adds orders of ``sl_size`` and ``tp_size``.
    """

    symbol: str
    position_idx: int = 0
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


class SetLeverage(msgspec.Struct, frozen=True):
    """``position/set-leverage``; in one-way mode ``buy`` and ``sell`` must be equal."""

    symbol: str
    buy: Decimal
    sell: Decimal


class AddMargin(msgspec.Struct, frozen=True):
    """``position/add-margin``: bind more margin of an isolated position; ``amount`` < 0 frees some. Quote."""

    symbol: str
    position_idx: int
    amount: Decimal


class ExchangeOrder(msgspec.Struct, kw_only=True, gc=False):
    """One order at the exchange. ``price`` of a market order is its protective limit, 0 while untriggered."""

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
    """Base that may still be executed; 0 once the order is closed, as on the wire."""
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    stop_order_type: StopOrderType = ""
    last_price_on_created: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    """Profit of the part it closed: price difference − share of the opening fees − closing fee. Quote."""
    cum_entry_value: Decimal = ZERO
    """Entry value of the part it closed. Quote."""
    closed_qty: Decimal = ZERO
    """Base that it closed of a position."""
    parent_link_id: str = ""
    """For a TP/SL order: link id and order id of the order that it was attached to."""
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
    reduces: bool = False
    """True if the order can only reduce its position: by its flag, or by its side in hedge mode."""
    queue_base: Decimal | None = None
    """Base estimated to stand ahead of it at its price (``bars.queue``); None: unknown, or not estimated."""
    pair_id: str = ""
    """Shared by a partial stop loss and take profit of which one cancels the other."""

    @property
    def open(self) -> bool:
        """True while the order may still trade or trigger."""
        return self.status in OPEN

    @property
    def conditional(self) -> bool:
        """True while the order waits for its trigger."""
        return self.status == "Untriggered"

    @property
    def reserved_quote(self) -> Decimal:
        """Margin still held for the part that is not filled."""
        return self.margin_quote * self.leaves_qty / self.qty if self.margin_quote else ZERO

    def fillable(self, position_qty: Decimal) -> Decimal:
        """Base that may be filled now; a reducing order is cut to the position it would reduce."""
        if not self.reduces:
            return self.leaves_qty
        return min(self.leaves_qty, max(position_qty if self.side == "Sell" else -position_qty, ZERO))
