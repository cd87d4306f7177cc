"""Liquidation and auto-deleveraging: closes that the venue makes.

- Isolated: when the mark reaches the liquidation price the position is taken over at its bankruptcy price
  (BustTrade, CreateByTakeOver_PassThrough), which costs its margin and never more.
- Cross: when equity is below maintenance, every order is cancelled; then the venue's ladder closes positions
  at the market (CreateByLiq) step by step, until equity covers maintenance again: the position with the
  largest maintenance margin first, down to the next lower risk tier, in the lowest tier all of it. What the
  market cannot take is taken over at the bankruptcy price, or at the market's last price where that is worse.
- ADL: part of a position closed at the mark without a fee (AdlTrade, CreateByAdl_PassThrough).

Bybit documents the order of these steps, not their sizes: "the next lower tier" is its ladder of risk limits.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from bot.domain.margin import liquidation_price, maintenance
from bot.domain.money import ZERO, ceil_to, to_decimal
from bot.exchange.events import ExecType
from bot.exchange.ledger.book import Level, PositionSlot, SymbolBook, closing_order
from bot.exchange.ledger.booking import Ledger
from bot.exchange.ledger.margin import (
    MarginAccount,
    bankruptcy_price,
    mark_of,
)
from bot.exchange.ledger.protection import ProtectiveOrders
from bot.exchange.orders import ExchangeOrder
from bot.exchange.terms import round_against

_FINEST = Decimal("1e-12")
TAKE_OVER = "CreateByTakeOver_PassThrough"


class Liquidator:
    """Closes positions whose margin no longer suffices."""

    def __init__(
        self,
        account: MarginAccount,
        ledger: Ledger,
        protection: ProtectiveOrders,
        books: Mapping[str, SymbolBook],
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._protection = protection
        self._books = books

    def is_spent(self, slot: PositionSlot) -> bool:
        """Return True if the mark has reached an isolated position's liquidation price."""
        level = liquidation_price(slot.position, slot.leverage, slot.book.tiers, slot.added_quote)
        mark = slot.book.mark()
        if level is None or mark is None:
            return False
        return mark <= level if slot.position.qty > ZERO else mark >= level

    def is_due(self) -> bool:
        """Return True if a cross account's equity is below maintenance."""
        return self._account.slack(mark_of) < 0.0

    def take_over(self, slot: PositionSlot, ts_ms: int) -> None:
        """Close an isolated position at its bankruptcy price, after cancelling its orders."""
        self._end_orders(slot.orders, ts_ms, "CancelByPrepareLiq")
        entry, long = slot.position.entry_price, slot.position.qty > ZERO
        assert entry is not None, "only an open position is liquidated"
        size = abs(slot.position.qty)
        added = slot.added_quote / size if slot.added_quote else ZERO
        bankrupt = bankruptcy_price(entry, slot.leverage, long) - (added if long else -added)
        # Rounded in our favour: a tick the other way could cost more than the margin.
        price = round_against(bankrupt, "Buy" if long else "Sell", slot.book.instrument.tick_size)
        self._close(slot, [(price, size)], TAKE_OVER, "BustTrade", ts_ms)
        self._ledger.count_liquidation()

    def run_ladder(self, ts_ms: int) -> None:
        """Liquidate a cross account step by step until its equity covers maintenance; see the module.

        At least one step is always taken. The caller found equity below maintenance, and because of float
        rounding this method might not find the same when the two are almost equal.
        """
        account = self._account
        for book in self._books.values():
            self._end_orders(book.orders.values(), ts_ms, "CancelAllBeforeLiq")
        due = True
        while due and account.held:
            self._step_down(max(account.held.values(), key=_maintenance), ts_ms)
            due = self.is_due()
        self._ledger.count_liquidation()

    def _step_down(self, slot: PositionSlot, ts_ms: int) -> None:
        """Close a position down to the next lower risk tier at the market; take over what no market takes."""
        qty = _above_next_tier(slot)
        left = qty
        parts = slot.book.take_at_market(slot.closing_side, qty)
        if parts:
            self._close(slot, parts, "CreateByLiq", "Trade", ts_ms)
            left -= sum((part for _, part in parts), ZERO)
        if left > ZERO:
            self._close(slot, [(self._bust_price(slot, parts), left)], TAKE_OVER, "BustTrade", ts_ms)

    def _bust_price(self, slot: PositionSlot, parts: list[Level]) -> Decimal:
        """The price at which the account's equity is 0, or the market's last price if this is worse."""
        book, qty = slot.book, slot.position.qty
        mark = to_decimal(book.mark_rough())
        last = parts[-1][0] if parts else mark
        bust = mark - self._account.equity_quote / qty
        price = min(last, bust) if qty > ZERO else max(last, bust)
        tick = book.instrument.tick_size
        return round_against(max(price, tick), slot.closing_side, tick)

    def deleverage(self, slot: PositionSlot, qty: Decimal, ts_ms: int) -> None:
        """Close ``qty`` of a position, at most the whole position, at the mark."""
        mark = slot.book.mark_or_price()
        size = min(qty, abs(slot.position.qty))
        if mark is not None and size > ZERO:
            self._close(slot, [(mark, size)], "CreateByAdl_PassThrough", "AdlTrade", ts_ms)

    def deliver(self, slot: PositionSlot, ts_ms: int) -> None:
        """Close a whole position at the mark: its contract is delisted."""
        mark, size = slot.book.mark_or_price(), abs(slot.position.qty)
        if mark is not None and size > ZERO:
            self._close(slot, [(mark, size)], "CreateBySettle", "Settle", ts_ms)

    def _end_orders(self, orders: Iterable[ExchangeOrder], ts_ms: int, cancel_type: str) -> None:
        for order in list(orders):
            if not self._books[order.symbol].under_way(order):
                self._ledger.end(order, ts_ms, cancel_type)
        self._ledger.publish(ts_ms)

    def _close(
        self, slot: PositionSlot, parts: list[Level], create_type: str, exec_type: ExecType, ts_ms: int
    ) -> None:
        size = sum((qty for _, qty in parts), ZERO)
        order = closing_order(slot, self._ledger.next_id(), size, create_type, ts_ms)
        order.price = parts[-1][0]
        base = slot.book.base() if exec_type == "Trade" else None
        for price, qty in parts:
            self._ledger.execute(
                order, qty, price, ts_ms, exec_type=exec_type, base=base if base is not None else price
            )
        self._ledger.note(order, ts_ms)
        self._protection.finish(ts_ms)


def _maintenance(slot: PositionSlot) -> float:
    margin: float = maintenance(abs(slot.size) * mark_of(slot), slot.book.tiers_rough)
    return margin


def _above_next_tier(slot: PositionSlot) -> Decimal:
    """Base above the limit of the next lower risk tier; all of a position in the lowest tier."""
    size, mark = abs(slot.position.qty), to_decimal(mark_of(slot))
    value = size * mark
    lower = [limit for limit, _, _ in slot.book.tiers[:-1] if limit < value]
    if not lower:
        return size
    step = slot.book.instrument.qty_step or _FINEST
    return min(ceil_to(size - lower[-1] / mark, step), size)
