"""Changing an open order: ``order/amend``.

The order id stays. A new price or a larger quantity loses the place in the queue and may take at once; a
TP/SL order moves by its trigger price. Only what is given changes.
"""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange import live_checks as checks
from bot.exchange import rules
from bot.exchange.account import Account
from bot.exchange.crossing import Crossing
from bot.exchange.live_book import LiveBook, Pocket
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import LiveOrder
from bot.exchange.protection import BAD_SIZE, PROTECTIVE, Protection, whole
from bot.exchange.rules import Refusal


class Amending:
    """Checks and carries out amendments."""

    def __init__(
        self, account: Account[Pocket], clearing: LiveClearing, protection: Protection, crossing: Crossing
    ) -> None:
        self._account = account
        self._clearing = clearing
        self._protection = protection
        self._crossing = crossing

    def amend(
        self,
        book: LiveBook,
        order: LiveOrder,
        now_ms: int,
        *,
        qty: Decimal | None,
        price: Decimal | None,
        trigger_price: Decimal | None,
        stop_loss: Decimal | None,
        take_profit: Decimal | None,
    ) -> Refusal | None:
        """None, or why not; a refused amendment changes nothing."""
        new_qty = qty if qty else order.qty
        new_price = price if price and order.order_type == "Limit" else order.price
        trigger = trigger_price if trigger_price and order.conditional else order.trigger_price
        stop = stop_loss if stop_loss is not None else order.stop_loss
        target = take_profit if take_profit is not None else order.take_profit
        wanted = (new_qty, new_price, trigger, stop, target)
        if wanted == (order.qty, order.price, order.trigger_price, order.stop_loss, order.take_profit):
            return checks.SAME_ORDER
        refusal = self._refuse(book, order, wanted)
        if refusal is not None:
            return refusal
        margin = self._margin(book, order, new_qty, new_price)
        if margin > order.margin_quote and margin - order.reserved_quote > self._account.available_quote:
            return rules.NO_BALANCE
        moved = new_price != order.price or new_qty > order.qty
        order.margin_quote = margin
        order.leaves_qty = new_qty - order.cum_exec_qty
        order.qty, order.trigger_price, order.stop_loss, order.take_profit = new_qty, trigger, stop, target
        order.price = book.banded(order.side, new_price) if new_price else new_price
        if moved and not order.conditional:
            del book.orders[order.order_id]
            self._crossing.arrive(book, order, now_ms)
        else:
            self._clearing.note(order, now_ms)
            self._protection.finish(now_ms)
        return None

    def _refuse(
        self, book: LiveBook, order: LiveOrder, wanted: tuple[Decimal, Decimal, Decimal, Decimal, Decimal]
    ) -> Refusal | None:
        qty, price, trigger, stop, target = wanted
        if qty <= order.cum_exec_qty:
            return checks.BELOW_FILLED
        pocket = book.of(order)
        if order.stop_order_type in PROTECTIVE:
            if qty != order.qty and not whole(qty, pocket):
                return BAD_SIZE
            priced = rules.in_range(price, book.instrument) if price != order.price else None
            return priced or self._refuse_trigger(book, pocket, order, trigger)
        base = book.price()
        assert base is not None, "an order was placed at a price"
        wish = checks.amended(order, qty, price, stop, target)
        if order.conditional:
            standing = rules.Standing(pocket.position.qty, trigger, 0, pocket.leverage)
            moved = trigger != order.trigger_price
            wrong = (
                checks.trigger(order.trigger_direction, trigger, order.trigger_by, book) if moved else None
            )
            return wrong or rules.refuse_later(wish, book.instrument, standing)
        filled = order.cum_exec_qty if order.side == "Buy" else -order.cum_exec_qty
        held = pocket.position.qty - (ZERO if order.reduces else filled)
        return rules.refuse(wish, book.instrument, rules.Standing(held, base, 0, pocket.leverage))

    def _refuse_trigger(
        self, book: LiveBook, pocket: Pocket, order: LiveOrder, trigger: Decimal
    ) -> Refusal | None:
        """A TP/SL order keeps to its side of the price."""
        base = book.price_by(order.trigger_by)
        assert base is not None, "a position was filled at a price"
        target = order.stop_order_type in ("TakeProfit", "PartialTakeProfit")
        stop, goal = (None, trigger) if target else (trigger, None)
        return rules.stops(pocket.position.qty > ZERO, base, stop, goal, book.instrument)

    def _margin(self, book: LiveBook, order: LiveOrder, qty: Decimal, price: Decimal) -> Decimal:
        if order.reduces or order.conditional:
            return ZERO
        pocket = book.of(order)
        return self._account.opening_margin(pocket, order.side, qty, price, pocket.position.qty)
