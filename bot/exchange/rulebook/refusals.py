"""Why the venue refuses: a retCode and its words."""

from typing import NamedTuple


class Refusal(NamedTuple):
    """A retCode and its words."""

    code: int
    reason: str


class Missed(Refusal):
    """The market has moved past what the order asks for; nothing is wrong with the order."""


UNKNOWN_SYMBOL = Refusal(10001, "Not supported symbols")
DUPLICATE_ID = Refusal(110072, "OrderLinkedID is duplicate")
NO_BALANCE = Refusal(110007, "ab not enough for new order")
POSITION_IDX = Refusal(10001, "position idx not match position mode")
NO_POSITION = Refusal(10001, "position not exists")
RISK_LIMIT = Refusal(110090, "Order placement failed as your position may exceed the max limit")
"""The position would exceed the largest risk tier that allows the leverage in use."""
GONE_CANCEL = Refusal(110001, "order not exists or too late to cancel")
GONE_AMEND = Refusal(110001, "order not exists or too late to replace")
SAME_ORDER = Refusal(10001, "order not modified")
BELOW_FILLED = Refusal(110064, "The modified order quantity should not be less than the filled quantity")
ABOVE_BAND = Refusal(30208, "The order price is higher than the maximum buying price.")
BELOW_BAND = Refusal(30209, "The order price is lower than the minimum selling price.")
NO_PRICE = Refusal(10001, "params error: price invalid")
NO_QTY = Refusal(10001, "The number of contracts exceeds minimum limit allowed")
NOTHING_TO_REDUCE = Refusal(110017, "current position is zero, cannot fix reduce-only order qty")
SAME_SIDE = Refusal(110017, "reduce-only order has same side with current position")
TOO_MANY_ACTIVE = Refusal(110020, "Not allowed to have more than 500 active orders")
TOO_MANY_CONDITIONAL = Refusal(110009, "The number of active stop orders exceeds the maximum of 10")
STOPS_WITHOUT_POSITION = Refusal(10001, "can not set tp/sl/ts for zero position")
STOPS_ON_REDUCE_ONLY = Refusal(10001, "params error: reduce-only orders take no TP/SL")
NOT_MODIFIED = Refusal(34040, "not modified")
TOO_MANY_PARTIAL = Refusal(110061, "The number of TP/SL orders exceeds the maximum of 20")
FULL_IS_MARKET = Refusal(10001, "params error: TP/SL limit orders need tpslMode Partial")
NO_STOP_LIMIT = Refusal(10001, "params error: slLimitPrice or tpLimitPrice is missing")
BAD_SIZE = Refusal(10001, "params error: tpSize or slSize invalid")
UNEQUAL_SIZES = Refusal(10001, "params error: tpSize must equal slSize")
NO_SIZE = Refusal(10001, "params error: tpSize and slSize are needed with tpslMode Partial")
BAD_DISTANCE = Refusal(10001, "params error: trailingStop invalid")
SAME_LEVERAGE = Refusal(110043, "leverage not modified")
LEVERAGE_RANGE = Refusal(110013, "Cannot set leverage due to risk limit level")
ONE_LEVERAGE = Refusal(10001, "buy leverage must equal sell leverage in one-way mode")
SAME_MODE = Refusal(110025, "Position mode is not modified")
MODE_HAS_POSITION = Refusal(110024, "You have an existing position, so the position mode cannot be switched")
MODE_HAS_ORDERS = Refusal(110028, "You have existing open orders, so the position mode cannot be switched")
SAME_MARGIN_MODE = Refusal(110026, "Cross/isolated margin mode is not modified")
MARGIN_MODE_FAILED = Refusal(3400045, "Set margin mode failed")
NOT_ISOLATED = Refusal(10001, "margin can only be added to an isolated position")
