"""Leverage, position mode, margin mode and added margin of the account.

A refused change leaves everything as it was.
"""

from collections.abc import Mapping
from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.ledger.book import PositionSlot, SymbolBook
from bot.exchange.ledger.booking import Ledger
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.orders import MarginMode
from bot.exchange.rulebook import leverage, refusals
from bot.exchange.rulebook.refusals import Refusal


class AccountModes:
    """Changes settings where positions and margin allow it."""

    def __init__(self, account: MarginAccount, ledger: Ledger) -> None:
        self._account = account
        self._ledger = ledger

    def set_leverage(self, book: SymbolBook, buy: Decimal, sell: Decimal, now_ms: int) -> Refusal | None:
        """Set the leverage of a symbol and recompute the margin of its orders."""
        if not book.hedge and buy != sell:
            return refusals.ONE_LEVERAGE
        wanted = dict(zip(book.slots, (buy, sell), strict=False))
        before = {slot: slot.leverage for slot in wanted}
        if wanted == before:
            return refusals.SAME_LEVERAGE
        for slot, value in wanted.items():
            refusal = leverage.refuse(value, abs(slot.position.entry_value), book.instrument)
            if refusal is not None:
                return refusal
        self._apply(wanted)
        if any(wanted[s] < before[s] for s in wanted) and self._account.available_quote < ZERO:
            self._apply(before)
            return refusals.NO_BALANCE
        for slot in wanted:
            self._ledger.touch(slot)
        self._ledger.publish(now_ms)
        return None

    def _apply(self, wanted: Mapping[PositionSlot, Decimal]) -> None:
        for slot, value in wanted.items():
            slot.leverage = value
            self._account.revalue(slot)
            for order in slot.orders:
                if order.margin_quote:
                    price = order.price if order.order_type == "Limit" else slot.book.price() or order.price
                    order.margin_quote = self._account.opening_margin(
                        slot, order.side, order.qty, price, slot.position.qty
                    )

    def set_margin_mode(self, mode: MarginMode, now_ms: int) -> Refusal | None:
        """Set the margin mode of the account."""
        account = self._account
        before = account.mode
        if mode == before:
            return refusals.SAME_MARGIN_MODE
        account.mode = mode
        if account.held and account.available_quote < ZERO:
            account.mode = before
            return refusals.MARGIN_MODE_FAILED
        for slot in account.held.values():
            self._ledger.touch(slot)
        self._ledger.publish(now_ms)
        return None

    def add_margin(self, slot: PositionSlot, amount: Decimal, now_ms: int) -> Refusal | None:
        """Add margin to an isolated position, or with ``amount`` < 0 free some."""
        if not slot.position.qty:
            return refusals.NO_POSITION
        if self._account.mode != "isolated":
            return refusals.NOT_ISOLATED
        if amount > self._account.available_quote or slot.added_quote + amount < ZERO:
            return refusals.NO_BALANCE
        slot.added_quote += amount
        self._ledger.touch(slot)
        self._ledger.publish(now_ms)
        return None


def switch_mode(book: SymbolBook, hedge: bool) -> Refusal | None:
    """Switch a symbol between hedge and one-way mode; refused unless it is flat and has no orders."""
    if book.hedge == hedge:
        return refusals.SAME_MODE
    if any(slot.position.qty for slot in book.slots):
        return refusals.MODE_HAS_POSITION
    if book.orders:
        return refusals.MODE_HAS_ORDERS
    value = book.slots[0].leverage
    book.slots = [PositionSlot(book, idx, value) for idx in ((1, 2) if hedge else (0,))]
    return None
