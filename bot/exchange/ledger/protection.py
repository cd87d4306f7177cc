"""TP/SL and trailing stops: orders that wait beside a position, follow its size and end with it.

They are Untriggered reduce-only orders with ``stopOrderType`` TakeProfit, StopLoss, TrailingStop or their
Partial kinds. When the position closes they are cancelled with CancelByTpSlTsClear. If one order of a partial
pair triggers, the other is cancelled. ``rulebook.stops`` says which requests are allowed.
"""

from decimal import Decimal
from typing import Literal

from bot.domain.money import ZERO
from bot.domain.orders import OrderType
from bot.exchange.ledger.book import PositionSlot, closing_order
from bot.exchange.ledger.booking import Ledger
from bot.exchange.orders import (
    PROTECTIVE,
    STOP_LOSSES,
    TAKE_PROFITS,
    ExchangeOrder,
    StopOrderType,
    TradingStop,
    TriggerBy,
)
from bot.exchange.rulebook import refusals, stops, triggers
from bot.exchange.rulebook.refusals import Refusal

FullKind = Literal["TakeProfit", "StopLoss"]
_PAIR_ENDS: dict[bool, str] = {
    True: "CancelByOCOTpCanceledBySlTriggered",
    False: "CancelByOCOSlCanceledByTpTriggered",
}
"""Why the other of a pair ends, by whether the stop loss was the one that triggered."""


class ProtectiveOrders:
    """Makes, moves and ends the protective orders of positions."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # After a match

    def finish(self, ts_ms: int) -> None:
        """Bring the protective orders in line with the positions, then publish the match."""
        ledger = self._ledger
        slots = list(ledger.touched.values())
        for slot in slots:
            if slot.ended:
                slot.ended = False
                self._clear(slot, ts_ms)
        for order in list(ledger.executed.values()):
            if order.stop_loss or order.take_profit:
                self._attach(order, ts_ms)
        for slot in slots:
            if slot.book.orders:
                self._follow_size(slot, ts_ms)
        ledger.publish(ts_ms)

    def _clear(self, slot: PositionSlot, ts_ms: int) -> None:
        """End the TP/SL of a position that ended, and the resting orders that could only have reduced it."""
        book = slot.book
        if not book.orders:
            return
        for order in list(slot.orders):
            if order.stop_order_type in PROTECTIVE:
                self._ledger.end(order, ts_ms, "CancelByTpSlTsClear")
            elif (
                order.reduces
                and not order.conditional
                and not book.under_way(order)
                and not order.fillable(slot.position.qty)
            ):
                self._ledger.end(order, ts_ms, "CancelByReduceOnly")
            order.protected = False

    def _attach(self, order: ExchangeOrder, ts_ms: int) -> None:
        """Hand an order's TP/SL to the position that it opened or added to."""
        slot = next(s for s in self._ledger.touched.values() if _belongs(order, s))
        qty = slot.position.qty
        if not qty or (qty > ZERO) != (order.side == "Buy"):
            return
        if order.tpsl_mode == "Partial":
            self._attach_partial(order, slot, ts_ms)
        elif not order.protected:
            if order.stop_loss:
                self._set_full(slot, "StopLoss", order.stop_loss, order.sl_trigger_by, ts_ms, order)
            if order.take_profit:
                self._set_full(slot, "TakeProfit", order.take_profit, order.tp_trigger_by, ts_ms, order)
        order.protected = True

    def _attach_partial(self, order: ExchangeOrder, slot: PositionSlot, ts_ms: int) -> None:
        if order.protected:
            for child in list(slot.orders):
                if child.parent_id == order.order_id and child.conditional:
                    child.qty = child.leaves_qty = order.cum_exec_qty
                    self._ledger.note(child, ts_ms)
            return
        size = order.cum_exec_qty
        asked = TradingStop(
            symbol=order.symbol,
            stop_loss=order.stop_loss,
            take_profit=order.take_profit,
            tpsl_mode="Partial",
            sl_size=size,
            tp_size=size,
            sl_trigger_by=order.sl_trigger_by,
            tp_trigger_by=order.tp_trigger_by,
            sl_order_type=order.sl_order_type,
            tp_order_type=order.tp_order_type,
            sl_limit_price=order.sl_limit_price,
            tp_limit_price=order.tp_limit_price,
        )
        self._add_partial(slot, asked, ts_ms, order)

    def _follow_size(self, slot: PositionSlot, ts_ms: int) -> None:
        size = abs(slot.position.qty)
        if not size:
            return
        for order in list(slot.orders):
            if order.status != "Untriggered" or order.stop_order_type not in PROTECTIVE:
                continue
            if order.qty > size or (order.tpsl_mode == "Full" and order.qty != size):
                order.qty = order.leaves_qty = size
                self._ledger.note(order, ts_ms)

    # Making them

    def _set_full(
        self,
        slot: PositionSlot,
        kind: FullKind,
        trigger: Decimal,
        trigger_by: TriggerBy,
        ts_ms: int,
        parent: ExchangeOrder | None = None,
    ) -> None:
        """Set or move the one stop loss or take profit of a position."""
        order = slot.protective(kind)
        if order is not None and order.conditional:
            order.trigger_price, order.trigger_by = trigger, trigger_by
            self._ledger.note(order, ts_ms)
            return
        made = self._make(slot, kind, trigger, trigger_by, abs(slot.position.qty), ts_ms)
        self._add(slot, made, ts_ms, parent)

    def _make(
        self,
        slot: PositionSlot,
        kind: StopOrderType,
        trigger: Decimal,
        trigger_by: TriggerBy,
        size: Decimal,
        ts_ms: int,
    ) -> ExchangeOrder:
        long, target = slot.position.qty > ZERO, kind in TAKE_PROFITS
        order = closing_order(slot, self._ledger.next_id(), size, f"CreateBy{kind}", ts_ms)
        order.status = "Untriggered"
        order.stop_order_type = kind
        order.trigger_price, order.trigger_by = trigger, trigger_by
        order.trigger_direction = triggers.RISE if long == target else triggers.FALL
        order.tpsl_mode = "Partial" if kind.startswith("Partial") else "Full"
        return order

    def _add(
        self, slot: PositionSlot, order: ExchangeOrder, ts_ms: int, parent: ExchangeOrder | None = None
    ) -> None:
        if parent is not None:
            order.parent_link_id, order.parent_id = parent.link_id, parent.order_id
        slot.book.orders[order.order_id] = order
        self._ledger.note(order, ts_ms)

    # What a client asks for

    def set_stops(self, slot: PositionSlot, asked: TradingStop, ts_ms: int) -> Refusal | None:
        """``position/trading-stop``: None, or why it was refused. A refused request changes nothing."""
        position = slot.protected(asked.sl_trigger_by, asked.tp_trigger_by)
        if position is None:
            return refusals.STOPS_WITHOUT_POSITION
        refusal = stops.refuse(position, asked)
        if refusal is not None:
            return refusal
        if asked.tpsl_mode == "Partial":
            self._add_partial(slot, asked, ts_ms)
            self._follow_size(slot, ts_ms)
        else:
            self._change_full(slot, "StopLoss", asked.stop_loss, asked.sl_trigger_by, ts_ms)
            self._change_full(slot, "TakeProfit", asked.take_profit, asked.tp_trigger_by, ts_ms)
        if asked.trailing_stop is not None:
            self._change_trailing(slot, asked.trailing_stop, asked.active_price or ZERO, position.last, ts_ms)
        self._ledger.publish(ts_ms)
        return None

    def _change_full(
        self, slot: PositionSlot, kind: FullKind, trigger: Decimal | None, trigger_by: TriggerBy, ts_ms: int
    ) -> None:
        present = slot.protective(kind)
        if trigger:
            if present is None or (present.trigger_price, present.trigger_by) != (trigger, trigger_by):
                self._set_full(slot, kind, trigger, trigger_by, ts_ms)
        elif trigger is not None and present is not None:
            self._ledger.end(present, ts_ms, "CancelByUser")

    def _add_partial(
        self, slot: PositionSlot, asked: TradingStop, ts_ms: int, parent: ExchangeOrder | None = None
    ) -> None:
        """Add a partial stop loss, a partial take profit, or a pair whose orders cancel each other."""
        made: list[ExchangeOrder] = []
        if asked.stop_loss and asked.sl_size:
            order = self._make(
                slot, "PartialStopLoss", asked.stop_loss, asked.sl_trigger_by, asked.sl_size, ts_ms
            )
            _set_limit(order, asked.sl_order_type, asked.sl_limit_price)
            made.append(order)
        if asked.take_profit and asked.tp_size:
            order = self._make(
                slot, "PartialTakeProfit", asked.take_profit, asked.tp_trigger_by, asked.tp_size, ts_ms
            )
            _set_limit(order, asked.tp_order_type, asked.tp_limit_price)
            made.append(order)
        for order in made:
            if len(made) > 1:
                order.pair_id = made[0].order_id
            self._add(slot, order, ts_ms, parent)

    def _change_trailing(
        self, slot: PositionSlot, distance: Decimal, active: Decimal, last: Decimal, ts_ms: int
    ) -> None:
        present = slot.protective("TrailingStop")
        if not distance:
            if present is not None:
                self._ledger.end(present, ts_ms, "CancelByUser")
            return
        if present is None:
            size = abs(slot.position.qty)
            present = self._make(slot, "TrailingStop", ZERO, "LastPrice", size, ts_ms)
            slot.book.orders[present.order_id] = present
        present.trailing_quote, present.active_price = distance, active
        present.trigger_price = ZERO if active else triggers.behind(present, last)
        self._ledger.note(present, ts_ms)

    # At a trigger

    def end_pair(self, order: ExchangeOrder, slot: PositionSlot, ts_ms: int) -> None:
        """End the other order of a partial pair when ``order`` triggers."""
        if not order.pair_id:
            return
        for other in list(slot.orders):
            if other.pair_id == order.pair_id and other is not order:
                self._ledger.end(other, ts_ms, _PAIR_ENDS[order.stop_order_type in STOP_LOSSES])

    def rearm(self, order: ExchangeOrder, slot: PositionSlot, ts_ms: int) -> None:
        """Create a full TP/SL again, with the same trigger, for the quantity the market did not take."""
        side_left = slot.position.qty and slot.closing_side == order.side
        if order.tpsl_mode != "Full" or order.status != "Cancelled" or not side_left:
            return
        kind, trigger_by = order.stop_order_type, order.trigger_by or "LastPrice"
        again = self._make(slot, kind, order.trigger_price, trigger_by, abs(slot.position.qty), ts_ms)
        again.trailing_quote = order.trailing_quote
        self._add(slot, again, ts_ms)

    def trail(self, order: ExchangeOrder, price: Decimal, ts_ms: int) -> bool:
        """Let a trailing stop follow a trade; True if it moved."""
        if not triggers.trail(order, price):
            return False
        self._ledger.note(order, ts_ms, matched=False)
        return True


def _belongs(order: ExchangeOrder, slot: PositionSlot) -> bool:
    return order.symbol == slot.book.symbol and order.position_idx == slot.idx


def _set_limit(order: ExchangeOrder, order_type: OrderType, limit: Decimal | None) -> None:
    if order_type == "Limit" and limit:
        order.order_type, order.price, order.time_in_force = "Limit", limit, "GTC"
