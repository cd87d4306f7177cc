"""What the live exchange refuses on arrival of an order or an amendment, beyond ``rules``."""

from decimal import Decimal

import msgspec

from bot.domain.money import ZERO
from bot.exchange import rules
from bot.exchange.live_book import LiveBook, Pocket
from bot.exchange.live_orders import LiveOrder, NewOrder
from bot.exchange.rules import Refusal

CONDITIONAL_MAX = 10
"""Waiting conditional orders per symbol (110009)."""
POSITION_IDX = Refusal(10001, "position idx not match position mode")
TOO_MANY_CONDITIONAL = Refusal(110009, "The number of active stop orders exceeds the maximum of 10")
GONE_CANCEL = Refusal(110001, "order not exists or too late to cancel")
GONE_AMEND = Refusal(110001, "order not exists or too late to replace")
SAME_ORDER = Refusal(10001, "order not modified")
BELOW_FILLED = Refusal(110064, "The modified order quantity should not be less than the filled quantity")
NO_PRICE = Refusal(10001, "params error: price invalid")
NO_QTY = Refusal(10001, "The number of contracts exceeds minimum limit allowed")


def normal(new: NewOrder, pocket: Pocket | None) -> NewOrder:
    """Zeros as None, Market as IOC, and quantity 0 of a closing order as the position's size."""
    changes: dict[str, object] = {
        name: None
        for name in ("price", "trigger_price", "stop_loss", "take_profit", "sl_limit_price", "tp_limit_price")
        if not getattr(new, name)
    }
    if new.order_type == "Market":
        changes |= {"time_in_force": "IOC", "price": None}
    if pocket is not None and not new.qty and new.reduce_only and new.close_on_trigger:
        most = (
            pocket.book.instrument.max_market_qty
            if new.order_type == "Market"
            else pocket.book.instrument.max_qty
        )
        changes["qty"] = min(abs(pocket.position.qty), most)
    return msgspec.structs.replace(new, **changes)


def refuse(new: NewOrder, book: LiveBook, pocket: Pocket) -> Refusal | None:
    """The first rule that a normal order breaks; ids and margin are the exchange's to check."""
    price = book.price()
    if price is None:
        return _no_liquidity(new, book)
    if new.order_type == "Limit" and (new.price is None or new.price < ZERO):
        return NO_PRICE
    closes = new.reduce_only or new.position_idx == (1 if new.side == "Sell" else 2)
    wish = msgspec.structs.replace(new, reduce_only=closes)
    if new.qty <= ZERO and not (closes and not pocket.position.qty):
        return NO_QTY
    waiting = [order for order in book.orders.values() if order.conditional]
    if new.trigger_price is not None:
        standing = rules.Standing(pocket.position.qty, new.trigger_price, 0, pocket.leverage)
        if sum(order.stop_order_type == "Stop" for order in waiting) >= CONDITIONAL_MAX:
            return TOO_MANY_CONDITIONAL
        return trigger(new.trigger_direction, new.trigger_price, new.trigger_by, book) or rules.refuse_later(
            wish, book.instrument, standing
        )
    active = len(book.orders) - len(waiting)
    standing = rules.Standing(pocket.position.qty, price, active, pocket.leverage)
    refusal = rules.refuse(wish, book.instrument, standing)
    if refusal is None and new.order_type == "Market" and not book.depth.against(new.side):
        return _no_liquidity(new, book)
    return refusal


def _no_liquidity(new: NewOrder, book: LiveBook) -> Refusal:
    highest, lowest = book.bounds()
    return Refusal(10001, f" [{new.order_id}]{new.side.lower()}: [{highest},{lowest}] invalid")


def trigger(direction: int, price: Decimal, trigger_by: str, book: LiveBook) -> Refusal | None:
    """A rise must start below its trigger (110092), a fall above it (110093); 0 fits either."""
    current = book.price_by(trigger_by)
    if current is None:
        return Refusal(10001, f"params error: no {trigger_by} yet")
    tick = rules.in_range(price, book.instrument)
    if tick is not None:
        return tick
    if direction not in (0, 1, 2):
        return Refusal(10001, "params error: triggerDirection invalid")
    if direction == 1 and price <= current:
        return Refusal(
            110092, f"expect Rising, but trigger_price[{price}] <= current[{current}]??{trigger_by}"
        )
    if direction == 2 and price >= current:
        return Refusal(
            110093, f"expect Falling, but trigger_price[{price}] >= current[{current}]??{trigger_by}"
        )
    return None


def _direction(new: NewOrder, book: LiveBook) -> int:
    """1 or 2; of an order that does not say, by the side of the current price."""
    if new.trigger_direction or new.trigger_price is None:
        return new.trigger_direction
    current = book.price_by(new.trigger_by)
    return 1 if current is not None and new.trigger_price > current else 2


def accepted(new: NewOrder, book: LiveBook, now_ms: int) -> LiveOrder:
    """An order as it enters the venue; its limit price brought inside the band, unless it waits."""
    waits = new.trigger_price is not None
    price = new.price or ZERO
    return LiveOrder(
        order_id=new.order_id,
        link_id=new.link_id,
        symbol=new.symbol,
        side=new.side,
        order_type=new.order_type,
        qty=new.qty,
        leaves_qty=new.qty,
        price=price if waits or not price else book.banded(new.side, price),
        time_in_force=new.time_in_force,
        position_idx=new.position_idx,
        reduce_only=new.reduce_only,
        close_on_trigger=new.close_on_trigger,
        create_type=new.create_type,
        created_ms=now_ms,
        updated_ms=now_ms,
        trigger_price=new.trigger_price or ZERO,
        trigger_direction=_direction(new, book),
        trigger_by=new.trigger_by if waits else "",
        stop_loss=new.stop_loss or ZERO,
        take_profit=new.take_profit or ZERO,
        sl_trigger_by=new.sl_trigger_by,
        tp_trigger_by=new.tp_trigger_by,
        tpsl_mode=new.tpsl_mode or ("Full" if new.stop_loss or new.take_profit else ""),
        sl_order_type=new.sl_order_type,
        tp_order_type=new.tp_order_type,
        sl_limit_price=new.sl_limit_price or ZERO,
        tp_limit_price=new.tp_limit_price or ZERO,
        status="Untriggered" if waits else "New",
        stop_order_type="Stop" if waits else "",
        last_price_on_created=book.price() or ZERO,
        slippage_type=new.slippage_type,
        slippage=new.slippage,
    )


def amended(order: LiveOrder, qty: Decimal, price: Decimal, stop: Decimal, target: Decimal) -> NewOrder:
    """An amended order in the form that ``rules`` look at."""
    return NewOrder(
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        qty=qty,
        price=price if order.order_type == "Limit" else None,
        reduce_only=order.reduces,
        stop_loss=stop or None,
        take_profit=target or None,
    )
