"""What the venue refuses, and with which retCode.

Numbers and words are Bybit's (v5 error codes; texts vary there, so callers switch on the number).
"""

from decimal import Decimal
from typing import NamedTuple, Protocol

from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.domain.orders import OrderType, Side
from bot.exchange.account import max_leverage

ORDERS_MAX = 500
"""Active orders per symbol (110020)."""


class Refusal(NamedTuple):
    """A retCode and its words."""

    code: int
    reason: str


UNKNOWN_SYMBOL = Refusal(10001, "Not supported symbols")
DUPLICATE_ID = Refusal(110072, "OrderLinkedID is duplicate")
NO_BALANCE = Refusal(110007, "ab not enough for new order")
NO_POSITION = Refusal(10001, "can not set tp/sl/ts for zero position")
SAME_LEVERAGE = Refusal(110043, "leverage not modified")
RISK_LIMIT = 110090
"""The position would exceed the largest risk tier."""
LEVERAGE_RANGE = Refusal(110013, "Cannot set leverage due to risk limit level")


class Wish(Protocol):
    """What the rules look at: an ``Intent``, or an order as it came over a wire."""

    @property
    def symbol(self) -> str:
        """Where."""

    @property
    def side(self) -> Side:
        """Which way."""

    @property
    def order_type(self) -> OrderType:
        """Market or limit."""

    @property
    def qty(self) -> Decimal:
        """Base."""

    @property
    def price(self) -> Decimal | None:
        """The limit."""

    @property
    def reduce_only(self) -> bool:
        """Whether it may only reduce."""

    @property
    def stop_loss(self) -> Decimal | None:
        """Of the position it makes."""

    @property
    def take_profit(self) -> Decimal | None:
        """Of the position it makes."""


class Standing(NamedTuple):
    """What a symbol's order is judged against."""

    qty: Decimal
    """Signed position, counting market orders under way."""
    price: Decimal
    """Last price, or the order's own reference where none was seen yet."""
    open_orders: int
    leverage: Decimal


def refuse_later(intent: Wish, instrument: Instrument, standing: Standing) -> Refusal | None:
    """As ``refuse`` for an order that waits for a trigger: position and tier are judged when it is hit."""
    return (
        _status(intent, instrument)
        or _price(intent, instrument)
        or _qty(intent, instrument, standing._replace(qty=Decimal("Infinity")))
        or _order_stops(intent, instrument, standing)
    )


def refuse(intent: Wish, instrument: Instrument, standing: Standing) -> Refusal | None:
    """The first rule that ``intent`` breaks, None if it breaks none. Margin is the account's to check."""
    return (
        _status(intent, instrument)
        or _price(intent, instrument)
        or _reduce_only(intent, standing)
        or _qty(intent, instrument, standing)
        or (
            Refusal(110020, "Not allowed to have more than 500 active orders")
            if standing.open_orders >= ORDERS_MAX
            else None
        )
        or _order_stops(intent, instrument, standing)
        or _tier(intent, instrument, standing)
    )


def _status(intent: Wish, instrument: Instrument) -> Refusal | None:
    if instrument.status in ("PreLaunch", "Closed"):
        return Refusal(110074, "This contract is not live")
    if instrument.status == "Delivering" and not intent.reduce_only:
        return Refusal(110023, "Currently you can only reduce your positions on this contract")
    return None


def _price(intent: Wish, instrument: Instrument) -> Refusal | None:
    if intent.order_type == "Market" or intent.price is None:
        return None
    return in_range(intent.price, instrument)


def in_range(price: Decimal, instrument: Instrument) -> Refusal | None:
    """Whether a price is inside the instrument's range and on its grid."""
    if not instrument.min_price <= price <= instrument.max_price:
        return Refusal(110003, "Order price exceeds the allowable range")
    if instrument.tick_size and price % instrument.tick_size:
        return Refusal(10001, f"params error: price {price} is not a multiple of {instrument.tick_size}")
    return None


def _reduce_only(intent: Wish, standing: Standing) -> Refusal | None:
    if not intent.reduce_only:
        return None
    if not standing.qty:
        return Refusal(110017, "current position is zero, cannot fix reduce-only order qty")
    if (intent.side == "Buy") == (standing.qty > ZERO):
        return Refusal(110017, "reduce-only order has same side with current position")
    return None


def _qty(intent: Wish, instrument: Instrument, standing: Standing) -> Refusal | None:
    """Steps and minima.

    Closing a whole position is always allowed, dust included; a reduce-only order above the maximum is
    split by the venue, and none has a minimum value.
    """
    if intent.reduce_only and intent.qty >= abs(standing.qty):
        return None
    most = instrument.max_market_qty if intent.order_type == "Market" else instrument.max_qty
    if intent.qty < instrument.min_qty:
        return Refusal(10001, "The number of contracts exceeds minimum limit allowed")
    if intent.qty > most and not intent.reduce_only:
        return Refusal(10001, f"The number of contracts exceeds maximum limit allowed: {intent.qty} > {most}")
    if instrument.qty_step and intent.qty % instrument.qty_step:
        return Refusal(10001, f"params error: qty {intent.qty} is not a multiple of {instrument.qty_step}")
    if intent.reduce_only:
        return None
    price = standing.price if intent.price is None or intent.order_type == "Market" else intent.price
    if intent.qty * price < instrument.min_notional_quote:
        return Refusal(110094, f"Order does not meet minimum order value {instrument.min_notional_quote}USDT")
    return None


def _order_stops(intent: Wish, instrument: Instrument, standing: Standing) -> Refusal | None:
    if intent.stop_loss is None and intent.take_profit is None:
        return None
    if intent.reduce_only:
        return Refusal(10001, "params error: reduce-only orders take no TP/SL")
    limit = intent.price if intent.order_type == "Limit" else None
    base = limit if limit is not None else standing.price
    return stops(intent.side == "Buy", base, intent.stop_loss, intent.take_profit, instrument)


def stops(
    long: bool,
    base: Decimal,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    instrument: Instrument,
) -> Refusal | None:
    """Stop and target must lie on their own sides of ``base``: the last price, or a limit order's price."""
    side = "Buy" if long else "Sell"
    if stop_loss is not None and not (stop_loss < base if long else stop_loss > base):
        return Refusal(
            10001, f"sl:{stop_loss} set for {side} position on the wrong side of base_price:{base}"
        )
    if take_profit is not None and not (take_profit > base if long else take_profit < base):
        return Refusal(
            10001, f"tp:{take_profit} set for {side} position on the wrong side of base_price:{base}"
        )
    for price in (stop_loss, take_profit):
        if price is not None and (refusal := in_range(price, instrument)):
            return refusal
    return None


def _tier(intent: Wish, instrument: Instrument, standing: Standing) -> Refusal | None:
    """The position that would result must fit a risk tier that allows the leverage in use."""
    if intent.reduce_only:
        return None
    after = standing.qty + (intent.qty if intent.side == "Buy" else -intent.qty)
    if abs(after) <= abs(standing.qty):
        return None
    highest = max_leverage(abs(after) * standing.price, instrument.tiers)
    if highest is None or standing.leverage > highest:
        return Refusal(RISK_LIMIT, "Order placement failed as your position may exceed the max limit")
    return None
