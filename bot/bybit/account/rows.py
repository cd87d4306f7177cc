"""The meaning of Bybit's order and execution rows: ended or not, why, and what caused a fill.

Unknown words are accepted. An order with an unknown status counts as open: a later row will end it with a
known one. A fill with an unknown cause counts as a fill of an ordinary order.
https://bybit-exchange.github.io/docs/v5/enum
"""

from decimal import Decimal, InvalidOperation

from bot.bybit import wire
from bot.domain.errors import BadInput
from bot.domain.ledger import FillCause
from bot.domain.messages import RejectCause
from bot.domain.money import ZERO

_ENDED = frozenset({"Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"})
_NO_REASON = frozenset({"", "EC_NoError", "EC_PerCancelRequest", "EC_OrigClOrdIDDoesNotExist", "UNKNOWN"})
_LIQUIDATED = frozenset({"CreateByLiq", "CreateByTakeOver_PassThrough", "CreateByMmRateClose"})
_CAUSES: dict[str, FillCause] = {
    "StopLoss": "stop_loss",
    "PartialStopLoss": "stop_loss",
    "TrailingStop": "stop_loss",
    "TakeProfit": "take_profit",
    "PartialTakeProfit": "take_profit",
    "TrailingProfit": "take_profit",
    "Settle": "settle",
}


_SETTLES = frozenset({"Settle", "Delivery"})
"""Kinds of executions that end a position because its contract ends."""
_UNTOUCHED = frozenset({"Created", "New", "Untriggered", "Deactivated", "Rejected"})
"""Statuses of an order of which nothing was executed."""
_CROSSES = "EC_PostOnlyWillTakeLiquidity"


def number(text: str) -> Decimal:
    """Return a decimal of the wire. A blank text is no number: it means "unknown", never 0.

    Raises:
        BadInput: blank, or not a finite number.
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise BadInput(f"the venue sent {text[:40]!r} for a number") from error
    if not value.is_finite():
        raise BadInput(f"the venue sent {text[:40]!r} for a number")
    return value


def number_or_none(text: str) -> Decimal | None:
    """Return a decimal of the wire; None for "" and ``UNKNOWN``, which tell nothing.

    Raises:
        BadInput: not a finite number.
    """
    return None if text in ("", "UNKNOWN") else number(text)


def time_ms(text: str) -> int:
    """Return a time of the wire; 0 for a text that is none."""
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def executed_qty(row: wire.OrderFields) -> Decimal:
    """Return how much of an order was executed: as told, else as its status or the rest of it implies.

    Raises:
        BadInput: the row does not tell, or a text is no number.
    """
    told = number_or_none(row.cumExecQty)
    if told is not None:
        return told
    if row.orderStatus in _UNTOUCHED:
        return ZERO
    left = number_or_none(row.leavesQty)
    if is_end(row) or left is None:  # the rest of an order that ended is always told as 0
        raise BadInput(f"order {row.orderId[:60]!r}: the venue does not tell how much was executed")
    return number(row.qty) - left


def entry_price(row: wire.PositionFields) -> Decimal:
    """Return the entry price of an open position: as told, else its value divided by its size.

    Raises:
        BadInput: the row tells neither.
    """
    text = row.avgPrice if isinstance(row, wire.PositionRow) else getattr(row, "entryPrice", "")
    told, value, size = number_or_none(text), number_or_none(row.positionValue), number(row.size)
    if told is not None:
        return told
    if value is None or not size:
        raise BadInput(f"position in {row.symbol[:40]!r}: the venue does not tell the entry price")
    return value / size


def price_or_none(text: str) -> Decimal | None:
    """Return a price; None for "", "0" and ``UNKNOWN``, which all say that there is no price."""
    return None if wire.unset(text) else number(text)


def check_execution(row: wire.ExecutionFields) -> None:
    """Refuse an execution with impossible values. A contract may be settled at a price of 0.

    Raises:
        BadInput: no side, no time, a quantity or price that is not above zero, or another text that should be
            a number.
    """
    if row.side not in ("Buy", "Sell") or not row.execTime.isdecimal() or len(row.execTime) > 15:
        raise BadInput(f"execution {row.execId[:60]!r}: no such side or time")
    number_or_none(row.execFee), number_or_none(row.feeRate), number_or_none(row.orderQty)
    if row.execType == "Funding":
        return
    qty, price = number(row.execQty), number(row.execPrice)
    if not (qty > ZERO and (price > ZERO or (not price and row.execType in _SETTLES))):
        raise BadInput(f"execution {row.execId[:60]!r}: quantity and price must be > 0")


def is_end(row: wire.OrderFields) -> bool:
    """True if the order has ended."""
    return row.orderStatus in _ENDED


def end_reason(row: wire.OrderFields) -> str:
    """Return why an order ended: the reject reason, the cancel type, or the status."""
    if row.rejectReason not in _NO_REASON:
        return row.rejectReason
    if row.orderStatus == "Filled":
        # The venue calls it whole, so it has reduced the quantity that we asked for.
        return "CancelByReduceOnly"
    return row.cancelType if row.cancelType not in ("", "UNKNOWN") else row.orderStatus


def reject_cause(end: str) -> RejectCause:
    """Return why an order was refused whose row says ``end`` (see ``end_reason``)."""
    return RejectCause.POST_ONLY if end == _CROSSES else RejectCause.VENUE


def is_protective(row: wire.OrderFields) -> bool:
    """True for a stop-loss or take-profit order that the venue holds for a position."""
    return row.stopOrderType in _CAUSES


def is_api_trade(row: wire.ExecutionFields) -> bool:
    """True if an execution could belong to a plain order sent through the API."""
    return row.createType in ("", "UNKNOWN", "CreateByUser") and row.execType == "Trade"


def cause_of(row: wire.ExecutionFields) -> FillCause:
    """Return what caused a fill: an order, a protective order, the venue's risk engine, a settlement."""
    if row.execType == "AdlTrade" or row.createType == "CreateByAdl_PassThrough":
        return "adl"
    if row.execType == "BustTrade" or row.createType in _LIQUIDATED:
        return "liquidation"
    if row.execType in _SETTLES:
        return "settle"
    created = row.createType.removeprefix("CreateBy")
    return _CAUSES.get(created) or _CAUSES.get(row.stopOrderType, "order")
