"""May this order enter the venue? Status, price, reduce-only, steps and minima, TP/SL sides, risk tier.

``ledger.margin`` checks the margin; ``exchange`` checks the ids.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bot.domain.market import Instrument, RiskTier
from bot.domain.money import ZERO
from bot.domain.orders import OrderType, Side
from bot.exchange.orders import Amend, ExchangeOrder, NewOrder
from bot.exchange.rulebook import refusals, stops, triggers
from bot.exchange.rulebook.price_band import in_range
from bot.exchange.rulebook.refusals import Refusal

ORDERS_MAX = 500
"""Active orders per symbol (110020)."""
CONDITIONAL_MAX = 10
"""Waiting conditional orders per symbol (110009)."""


class OrderContext(msgspec.Struct, frozen=True, gc=False):
    """The symbol, prices and position that an order is checked against."""

    instrument: Instrument
    qty: Decimal
    """Signed position, counting market orders under way."""
    price: Decimal
    """Last price."""
    leverage: Decimal
    active_orders: int
    waiting_orders: int
    """Conditional orders, without TP/SL."""


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """The values of a new or amended order that the rules check."""

    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal | None
    reduces: bool
    stop_loss: Decimal | None
    take_profit: Decimal | None


_PRICES = ("price", "trigger_price", "stop_loss", "take_profit", "sl_limit_price", "tp_limit_price")


def normal(new: NewOrder, position_qty: Decimal, instrument: Instrument) -> NewOrder:
    """The order with prices of 0 as None, Market as IOC, and quantity 0 of a closing order filled in."""
    market = new.order_type == "Market"
    plain = market and new.price is None and new.time_in_force == "IOC" and bool(new.qty)
    if plain and new.stop_loss is None and new.take_profit is None and new.trigger_price is None:
        return new  # as an engine sends most of its orders
    changes: dict[str, object] = {name: None for name in _PRICES if not getattr(new, name)}
    if market:
        changes |= {"time_in_force": "IOC", "price": None}
    if not new.qty and new.reduce_only and new.close_on_trigger:
        most = instrument.max_market_qty if market else instrument.max_qty
        changes["qty"] = min(abs(position_qty), most)
    return msgspec.structs.replace(new, **changes)


def only_reduces(new: NewOrder) -> bool:
    """Return True if an order can only reduce its position: by its flag, or by its side in hedge mode."""
    return new.reduce_only or new.position_idx == (1 if new.side == "Sell" else 2)


def refuse_new(new: NewOrder, context: OrderContext, trigger_base: Decimal | None) -> Refusal | None:
    """The first rule that a normal order breaks, None if it breaks none.

    ``trigger_base`` is the present price of the kind that the order's trigger is compared with.
    """
    if new.order_type == "Limit" and (new.price is None or new.price < ZERO):
        return refusals.NO_PRICE
    reduces = only_reduces(new)
    if new.qty <= ZERO and not (reduces and not context.qty):
        return refusals.NO_QTY
    wanted = Wanted(new.side, new.order_type, new.qty, new.price, reduces, new.stop_loss, new.take_profit)
    if new.trigger_price is None:
        return refuse_active(wanted, context)
    if context.waiting_orders >= CONDITIONAL_MAX:
        return refusals.TOO_MANY_CONDITIONAL
    return triggers.refuse(
        new.trigger_direction, new.trigger_price, new.trigger_by, trigger_base, context.instrument
    ) or refuse_waiting(wanted, msgspec.structs.replace(context, price=new.trigger_price))


def refuse_active(wanted: Wanted, context: OrderContext) -> Refusal | None:
    """Return the first rule that an order without a trigger breaks."""
    instrument = context.instrument
    return (
        _status(wanted, instrument)
        or _price(wanted, instrument)
        or _reduce_only(wanted, context.qty)
        or _qty(wanted, instrument, context.price, abs(context.qty))
        or (refusals.TOO_MANY_ACTIVE if context.active_orders >= ORDERS_MAX else None)
        or _order_stops(wanted, context)
        or _tier(wanted, context)
    )


def refuse_waiting(wanted: Wanted, context: OrderContext) -> Refusal | None:
    """Check an order with a trigger as ``refuse_active`` does, but at its trigger price.

    ``context.price`` is the trigger price.
    """
    instrument = context.instrument
    return (
        _status(wanted, instrument)
        or _price(wanted, instrument)
        or _qty(wanted, instrument, context.price, None)
        or _order_stops(wanted, context)
    )


def refuse_amended(
    order: ExchangeOrder, to: Amend, context: OrderContext, trigger_base: Decimal | None
) -> Refusal | None:
    """Return the first rule that an amendment breaks; not for TP/SL orders.

    ``to`` holds every value of the amended order. ``context.qty`` is the signed position.
    """
    assert to.qty is not None, "the amendment is complete"
    assert to.trigger_price is not None, "the amendment is complete"
    wanted = Wanted(
        order.side,
        order.order_type,
        to.qty,
        to.price if order.order_type == "Limit" else None,
        order.reduces,
        to.stop_loss or None,
        to.take_profit or None,
    )
    if order.conditional:
        wrong = None
        if to.trigger_price != order.trigger_price:
            wrong = triggers.refuse(
                order.trigger_direction,
                to.trigger_price,
                order.trigger_by,
                trigger_base,
                context.instrument,
            )
        return wrong or refuse_waiting(wanted, msgspec.structs.replace(context, price=to.trigger_price))
    filled = order.cum_exec_qty if order.side == "Buy" else -order.cum_exec_qty
    held = context.qty - (ZERO if order.reduces else filled)
    return refuse_active(wanted, msgspec.structs.replace(context, qty=held, active_orders=0))


def max_leverage(value: Decimal, tiers: Sequence[RiskTier]) -> Decimal | None:
    """The highest leverage allowed for a position worth ``value``; None if no tier is large enough."""
    for tier in tiers:
        if value <= tier.limit_quote:
            return tier.max_leverage
    return None


def _status(wanted: Wanted, instrument: Instrument) -> Refusal | None:
    if instrument.status in ("PreLaunch", "Closed"):
        return Refusal(110074, "This contract is not live")
    if instrument.status == "Delivering" and not wanted.reduces:
        return Refusal(110023, "Currently you can only reduce your positions on this contract")
    return None


def _price(wanted: Wanted, instrument: Instrument) -> Refusal | None:
    if wanted.order_type == "Market" or wanted.price is None:
        return None
    return in_range(wanted.price, instrument)


def _reduce_only(wanted: Wanted, position_qty: Decimal) -> Refusal | None:
    if not wanted.reduces:
        return None
    if not position_qty:
        return refusals.NOTHING_TO_REDUCE
    if (wanted.side == "Buy") == (position_qty > ZERO):
        return refusals.SAME_SIDE
    return None


def _qty(wanted: Wanted, instrument: Instrument, price: Decimal, whole: Decimal | None) -> Refusal | None:
    """Check steps and minima; ``whole`` is the size of the position, None while it is unknown.

    Closing a whole position is always allowed, dust included; a reduce-only order above the maximum is
    split by the venue, and a reduce-only order has no minimum value.
    """
    qty = wanted.qty
    if wanted.reduces and whole is not None and qty >= whole:
        return None
    most = instrument.max_market_qty if wanted.order_type == "Market" else instrument.max_qty
    if qty < instrument.min_qty:
        return refusals.NO_QTY
    if qty > most and not wanted.reduces:
        return Refusal(10001, f"The number of contracts exceeds maximum limit allowed: {qty} > {most}")
    if instrument.qty_step and qty % instrument.qty_step:
        return Refusal(10001, f"params error: qty {qty} is not a multiple of {instrument.qty_step}")
    if wanted.reduces:
        return None
    paid = price if wanted.price is None or wanted.order_type == "Market" else wanted.price
    if qty * paid < instrument.min_notional_quote:
        return Refusal(110094, f"Order does not meet minimum order value {instrument.min_notional_quote}USDT")
    return None


def _order_stops(wanted: Wanted, context: OrderContext) -> Refusal | None:
    if wanted.stop_loss is None and wanted.take_profit is None:
        return None
    if wanted.reduces:
        return refusals.STOPS_ON_REDUCE_ONLY
    limit = wanted.price if wanted.order_type == "Limit" else None
    base = limit if limit is not None else context.price
    return stops.refuse_side(
        wanted.side == "Buy", base, wanted.stop_loss, wanted.take_profit, context.instrument
    )


def _tier(wanted: Wanted, context: OrderContext) -> Refusal | None:
    """Refuse a position too large for the risk tiers that allow the leverage in use."""
    if wanted.reduces:
        return None
    held, size = context.qty, wanted.qty
    if held:
        size = abs(held + (size if wanted.side == "Buy" else -size))
        if size <= abs(held):
            return None
    highest = max_leverage(size * context.price, context.instrument.tiers)
    return refusals.RISK_LIMIT if highest is None or context.leverage > highest else None
