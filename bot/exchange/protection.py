"""TP/SL and trailing stops: orders that wait beside a position, follow its size and end with it.

Bybit's rules (order/create, position/trading-stop): they are Untriggered reduce-only orders with
``stopOrderType`` TakeProfit, StopLoss, TrailingStop or their Partial kinds; ``Full`` is one pair of the
position's size, ``Partial`` adds up to 20 of a size of their own; when the position closes they are
cancelled with CancelByTpSlTsClear.
"""

from decimal import Decimal
from typing import Literal

from bot.domain.money import ZERO
from bot.domain.orders import OrderType
from bot.exchange import rules
from bot.exchange.live_book import Pocket, closing_order
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import LiveOrder, StopOrderType, TradingStop, TriggerBy

PROTECTIVE: frozenset[StopOrderType] = frozenset(
    {"TakeProfit", "StopLoss", "TrailingStop", "PartialTakeProfit", "PartialStopLoss"}
)
PARTIAL_MAX = 20
NOT_MODIFIED = rules.Refusal(34040, "not modified")
TOO_MANY_PARTIAL = rules.Refusal(110061, "The number of TP/SL orders exceeds the maximum of 20")
FULL_IS_MARKET = rules.Refusal(10001, "params error: TP/SL limit orders need tpslMode Partial")
BAD_SIZE = rules.Refusal(10001, "params error: tpSize or slSize invalid")
BAD_DISTANCE = rules.Refusal(10001, "params error: trailingStop invalid")
UNEQUAL_SIZES = rules.Refusal(10001, "params error: tpSize must equal slSize")
NO_SIZE = rules.Refusal(10001, "params error: tpSize and slSize are needed with tpslMode Partial")
Leg = Literal["TakeProfit", "StopLoss"]


class Protection:
    """Makes, moves and ends the protective orders of positions."""

    def __init__(self, clearing: LiveClearing) -> None:
        self._clearing = clearing

    # What a match leaves behind

    def finish(self, ts_ms: int) -> None:
        """Bring the protective orders in line with the positions, then tell all of it."""
        for pocket in list(self._clearing.touched.values()):
            if pocket.ended:
                pocket.ended = False
                self._clear(pocket, ts_ms)
        for order in list(self._clearing.executed):
            self._attach(order, self._pocket(order), ts_ms)
        for pocket in list(self._clearing.touched.values()):
            self._follow_size(pocket, ts_ms)
        self._clearing.publish(ts_ms)

    def _pocket(self, order: LiveOrder) -> Pocket:
        return next(p for p in self._clearing.touched.values() if _belongs(order, p))

    def _clear(self, pocket: Pocket, ts_ms: int) -> None:
        """The position ended: its TP/SL go, and resting orders that could only have reduced it."""
        for order in list(pocket.orders):
            if order.stop_order_type in PROTECTIVE:
                self._clearing.end(order, ts_ms, "CancelByTpSlTsClear")
            elif order.reduces and not order.conditional and not order.fillable(pocket.position.qty):
                self._clearing.end(order, ts_ms, "CancelByReduceOnly")
            order.protected = False

    def _attach(self, order: LiveOrder, pocket: Pocket, ts_ms: int) -> None:
        """Hand an order's TP/SL to the position that it opened or added to."""
        qty = pocket.position.qty
        if not (order.stop_loss or order.take_profit) or not qty or (qty > ZERO) != (order.side == "Buy"):
            return
        if order.tpsl_mode == "Partial":
            self._attach_partial(order, pocket, ts_ms)
        elif not order.protected:
            if order.stop_loss:
                self._set_full(pocket, "StopLoss", order.stop_loss, order.sl_trigger_by, ts_ms, order)
            if order.take_profit:
                self._set_full(pocket, "TakeProfit", order.take_profit, order.tp_trigger_by, ts_ms, order)
        order.protected = True

    def _attach_partial(self, order: LiveOrder, pocket: Pocket, ts_ms: int) -> None:
        if order.protected:
            for child in pocket.orders:
                if child.parent_id == order.order_id and child.conditional:
                    child.qty = child.leaves_qty = order.cum_exec_qty
                    self._clearing.note(child, ts_ms)
            return
        size = order.cum_exec_qty
        if order.stop_loss:
            made = self._make(pocket, "PartialStopLoss", order.stop_loss, order.sl_trigger_by, size, ts_ms)
            self._add(pocket, made, order.sl_order_type, order.sl_limit_price, ts_ms, order)
        if order.take_profit:
            made = self._make(
                pocket, "PartialTakeProfit", order.take_profit, order.tp_trigger_by, size, ts_ms
            )
            self._add(pocket, made, order.tp_order_type, order.tp_limit_price, ts_ms, order)

    def _follow_size(self, pocket: Pocket, ts_ms: int) -> None:
        size = abs(pocket.position.qty)
        for order in list(pocket.orders):
            if not order.conditional or order.stop_order_type not in PROTECTIVE or not size:
                continue
            full = order.tpsl_mode == "Full"
            if (full and order.qty != size) or order.qty > size:
                order.qty = order.leaves_qty = size
                self._clearing.note(order, ts_ms)

    # Making them

    def _set_full(
        self,
        pocket: Pocket,
        kind: Leg,
        trigger: Decimal,
        trigger_by: TriggerBy,
        ts_ms: int,
        parent: LiveOrder | None = None,
    ) -> None:
        """Set or move the one stop loss or take profit of a position."""
        order = pocket.protective(kind)
        if order is not None and order.conditional:
            order.trigger_price, order.trigger_by = trigger, trigger_by
            self._clearing.note(order, ts_ms)
            return
        made = self._make(pocket, kind, trigger, trigger_by, abs(pocket.position.qty), ts_ms)
        self._add(pocket, made, "Market", ZERO, ts_ms, parent)

    def _make(
        self,
        pocket: Pocket,
        kind: StopOrderType,
        trigger: Decimal,
        trigger_by: TriggerBy,
        size: Decimal,
        ts_ms: int,
    ) -> LiveOrder:
        long, target = pocket.position.qty > ZERO, kind in ("TakeProfit", "PartialTakeProfit")
        order = closing_order(pocket, self._clearing.next_id(), size, f"CreateBy{kind}", ts_ms)
        order.status = "Untriggered"
        order.stop_order_type = kind
        order.trigger_price, order.trigger_by = trigger, trigger_by
        order.trigger_direction = 1 if long == target else 2
        order.tpsl_mode = "Partial" if kind.startswith("Partial") else "Full"
        return order

    def _add(
        self,
        pocket: Pocket,
        order: LiveOrder,
        order_type: OrderType,
        limit: Decimal | None,
        ts_ms: int,
        parent: LiveOrder | None = None,
    ) -> None:
        if order_type == "Limit" and limit:
            order.order_type, order.price, order.time_in_force = "Limit", limit, "GTC"
        if parent is not None:
            order.parent_link_id, order.parent_id = parent.link_id, parent.order_id
        pocket.book.orders[order.order_id] = order
        self._clearing.note(order, ts_ms)

    # What a client asks for

    def set_stops(self, pocket: Pocket, wish: TradingStop, ts_ms: int) -> rules.Refusal | None:
        """``position/trading-stop``; None, or why not. Nothing is changed by a refused wish."""
        refusal = _refuse(pocket, wish)
        if refusal is not None:
            return refusal
        if wish.tpsl_mode == "Partial":
            self._add_partial(pocket, wish, ts_ms)
        else:
            self._change_full(pocket, "StopLoss", wish.stop_loss, wish.sl_trigger_by, ts_ms)
            self._change_full(pocket, "TakeProfit", wish.take_profit, wish.tp_trigger_by, ts_ms)
        if wish.trailing_stop is not None:
            self._change_trailing(pocket, wish.trailing_stop, wish.active_price or ZERO, ts_ms)
        self._clearing.publish(ts_ms)
        return None

    def _change_full(
        self, pocket: Pocket, kind: Leg, trigger: Decimal | None, trigger_by: TriggerBy, ts_ms: int
    ) -> None:
        present = pocket.protective(kind)
        if trigger:
            if present is None or (present.trigger_price, present.trigger_by) != (trigger, trigger_by):
                self._set_full(pocket, kind, trigger, trigger_by, ts_ms)
        elif trigger is not None and present is not None:
            self._clearing.end(present, ts_ms, "CancelByUser")

    def _add_partial(self, pocket: Pocket, wish: TradingStop, ts_ms: int) -> None:
        if wish.stop_loss and wish.sl_size:
            made = self._make(
                pocket, "PartialStopLoss", wish.stop_loss, wish.sl_trigger_by, wish.sl_size, ts_ms
            )
            self._add(pocket, made, wish.sl_order_type, wish.sl_limit_price, ts_ms)
        if wish.take_profit and wish.tp_size:
            made = self._make(
                pocket, "PartialTakeProfit", wish.take_profit, wish.tp_trigger_by, wish.tp_size, ts_ms
            )
            self._add(pocket, made, wish.tp_order_type, wish.tp_limit_price, ts_ms)
        self._follow_size(pocket, ts_ms)

    def _change_trailing(self, pocket: Pocket, distance: Decimal, active: Decimal, ts_ms: int) -> None:
        present = pocket.protective("TrailingStop")
        if not distance:
            if present is not None:
                self._clearing.end(present, ts_ms, "CancelByUser")
            return
        if present is None:
            size = abs(pocket.position.qty)
            present = self._make(pocket, "TrailingStop", ZERO, "LastPrice", size, ts_ms)
            pocket.book.orders[present.order_id] = present
        present.trailing_quote, present.active_price = distance, active
        last = pocket.book.price()
        assert last is not None, "a position was filled at a price"
        present.trigger_price = ZERO if active else _behind(present, last)
        self._clearing.note(present, ts_ms)

    def rearm(self, order: LiveOrder, pocket: Pocket, ts_ms: int) -> None:
        """What the depth could not close of a full TP/SL stays behind the same one."""
        side_left = pocket.position.qty and pocket.closing_side == order.side
        if order.tpsl_mode != "Full" or order.status != "Cancelled" or not side_left:
            return
        kind, trigger_by = order.stop_order_type, order.trigger_by or "LastPrice"
        again = self._make(pocket, kind, order.trigger_price, trigger_by, abs(pocket.position.qty), ts_ms)
        again.trailing_quote = order.trailing_quote
        self._add(pocket, again, "Market", ZERO, ts_ms)
        self._clearing.publish(ts_ms)

    def trail(self, order: LiveOrder, price: Decimal, ts_ms: int) -> bool:
        """Let a trailing stop see a trade; True if it moved."""
        falls = order.trigger_direction == 2
        if order.active_price:
            if price < order.active_price if falls else price > order.active_price:
                return False
            order.active_price = ZERO
        elif (
            _behind(order, price) <= order.trigger_price
            if falls
            else _behind(order, price) >= order.trigger_price
        ):
            return False
        order.trigger_price = _behind(order, price)
        self._clearing.note(order, ts_ms, matched=False)
        return True


def _belongs(order: LiveOrder, pocket: Pocket) -> bool:
    return order.symbol == pocket.book.symbol and order.position_idx == pocket.idx


def _behind(order: LiveOrder, price: Decimal) -> Decimal:
    """A trailing stop's distance behind ``price``."""
    return price - order.trailing_quote if order.trigger_direction == 2 else price + order.trailing_quote


def _refuse(pocket: Pocket, wish: TradingStop) -> rules.Refusal | None:
    book, long = pocket.book, pocket.position.qty > ZERO
    last = book.price()
    if not pocket.position.qty or last is None:
        return rules.NO_POSITION
    checks = (
        (wish.stop_loss, None, wish.sl_trigger_by),
        (None, wish.take_profit, wish.tp_trigger_by),
    )
    for stop, target, trigger_by in checks:
        base = book.price_by(trigger_by)
        refusal = rules.stops(
            long, base if base is not None else last, stop or None, target or None, book.instrument
        )
        if refusal is not None:
            return refusal
    trailing, tick = wish.trailing_stop, book.instrument.tick_size
    if trailing and (not ZERO < trailing < last or (tick and trailing % tick)):
        return BAD_DISTANCE
    for price in (wish.active_price, wish.sl_limit_price, wish.tp_limit_price):
        if price and (refusal := rules.in_range(price, book.instrument)):
            return refusal
    if wish.tpsl_mode == "Partial":
        return _refuse_partial(pocket, wish)
    if "Limit" in (wish.sl_order_type, wish.tp_order_type):
        return FULL_IS_MARKET
    return NOT_MODIFIED if _same(pocket, wish) else None


def _refuse_partial(pocket: Pocket, wish: TradingStop) -> rules.Refusal | None:
    if (wish.stop_loss and not wish.sl_size) or (wish.take_profit and not wish.tp_size):
        return NO_SIZE
    if wish.stop_loss and wish.take_profit and wish.sl_size != wish.tp_size:
        return UNEQUAL_SIZES
    if not all(whole(size, pocket) for size in (wish.sl_size, wish.tp_size) if size is not None):
        return BAD_SIZE
    there = sum(order.stop_order_type in ("PartialTakeProfit", "PartialStopLoss") for order in pocket.orders)
    more = bool(wish.stop_loss) + bool(wish.take_profit)
    if there + more > PARTIAL_MAX:
        return TOO_MANY_PARTIAL
    return NOT_MODIFIED if not more and wish.trailing_stop is None else None


def whole(size: Decimal, pocket: Pocket) -> bool:
    """Whether a TP/SL order may have this size: on the step, or all of the position."""
    least, step = pocket.book.instrument.min_qty, pocket.book.instrument.qty_step
    stepped = size >= least and size > ZERO and not (step and size % step)
    return stepped or size == abs(pocket.position.qty)


def _same(pocket: Pocket, wish: TradingStop) -> bool:
    """Whether nothing would change."""
    stop, target, trail = (pocket.protective(kind) for kind in ("StopLoss", "TakeProfit", "TrailingStop"))
    return (
        _equal(stop, wish.stop_loss, wish.sl_trigger_by)
        and _equal(target, wish.take_profit, wish.tp_trigger_by)
        and (
            wish.trailing_stop is None
            or (
                (trail.trailing_quote if trail is not None else ZERO) == wish.trailing_stop
                and (
                    wish.active_price is None
                    or (trail is not None and trail.active_price == wish.active_price)
                )
            )
        )
    )


def _equal(present: LiveOrder | None, trigger: Decimal | None, trigger_by: TriggerBy) -> bool:
    if trigger is None:
        return True
    if present is None:
        return not trigger
    return present.trigger_price == trigger and present.trigger_by == trigger_by
