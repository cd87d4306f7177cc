"""Liquidation and auto-deleveraging at the live exchange: closes that the venue makes.

- Isolated: when the mark reaches the liquidation price the position is taken over at its bankruptcy price
  (BustTrade, CreateByTakeOver_PassThrough), which costs its margin and never more.
- Cross: when equity falls below maintenance every order is cancelled and every position closed against the
  depth (CreateByLiq); what the depth cannot take goes at its last price. Simpler than the venue's ladder.
- ADL: part of a position closed at the mark without a fee (AdlTrade, CreateByAdl_PassThrough).
"""

from collections.abc import Mapping
from decimal import Decimal

from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.account import Account, bankruptcy_price, liquidation_price
from bot.exchange.depth import Level
from bot.exchange.live_book import LiveBook, Pocket, closing_order
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import ExecType
from bot.exchange.protection import Protection
from bot.exchange.terms import UNLIMITED, worse


class MarginCalls:
    """Watches marks, and closes what the margin no longer carries."""

    def __init__(
        self,
        account: Account[Pocket],
        clearing: LiveClearing,
        protection: Protection,
        books: Mapping[str, LiveBook],
    ) -> None:
        self._account = account
        self._clearing = clearing
        self._protection = protection
        self._books = books

    def look(self, book: LiveBook, ts_ms: int) -> None:
        """The mark moved."""
        for pocket in book.pockets:
            if not pocket.position.qty or pocket.safe_low < book.mark_rough < pocket.safe_high:
                continue
            if self._account.mode == "isolated":
                if self._spent(pocket):
                    self.take_over(pocket, ts_ms)
            elif self._account.slack(_mark) < 0.0:
                self.liquidate_account(ts_ms)
                return
            else:
                self._account.watch_margin(list(self._account.held.values()))

    def _spent(self, pocket: Pocket) -> bool:
        level = liquidation_price(pocket.position, pocket.leverage, pocket.tiers, pocket.added_quote)
        mark = pocket.book.mark
        if level is None or mark is None:
            return False
        return mark <= level if pocket.position.qty > ZERO else mark >= level

    def take_over(self, pocket: Pocket, ts_ms: int) -> None:
        """Close one position at its bankruptcy price, after its orders."""
        self._end_orders(pocket.book, ts_ms, "CancelByPrepareLiq", pocket.idx)
        entry, long = pocket.position.entry_price, pocket.position.qty > ZERO
        assert entry is not None, "only an open position is liquidated"
        size = abs(pocket.position.qty)
        added = pocket.added_quote / size
        bankrupt = bankruptcy_price(entry, pocket.leverage, long) - (added if long else -added)
        # Rounded in our favour: a tick the other way could cost more than the margin.
        price = worse(bankrupt, "Buy" if long else "Sell", pocket.book.instrument.tick_size)
        self._close(pocket, [(price, size)], "CreateByTakeOver_PassThrough", "BustTrade", ts_ms)
        self._clearing.count_liquidation()

    def liquidate_account(self, ts_ms: int) -> None:
        """Cancel every order and close every position at the market."""
        for book in self._books.values():
            self._end_orders(book, ts_ms, "CancelAllBeforeLiq")
        for pocket in list(self._account.held.values()):
            self._close(pocket, _at_market(pocket), "CreateByLiq", "Trade", ts_ms)
        self._clearing.count_liquidation()

    def deleverage(self, pocket: Pocket, qty: Decimal, ts_ms: int) -> None:
        """Close ``qty`` of a position, or what there is of it, at the mark."""
        mark = pocket.book.mark if pocket.book.mark is not None else pocket.book.price()
        size = min(qty, abs(pocket.position.qty))
        if mark is not None and size > ZERO:
            self._close(pocket, [(mark, size)], "CreateByAdl_PassThrough", "AdlTrade", ts_ms)

    def _end_orders(self, book: LiveBook, ts_ms: int, cancel_type: str, idx: int | None = None) -> None:
        for order in list(book.orders.values()):
            if idx is None or order.position_idx == idx:
                self._clearing.end(order, ts_ms, cancel_type)
        self._clearing.publish(ts_ms)

    def _close(
        self, pocket: Pocket, parts: list[Level], create_type: str, exec_type: ExecType, ts_ms: int
    ) -> None:
        size = sum((qty for _, qty in parts), ZERO)
        order = closing_order(pocket, self._clearing.next_id(), size, create_type, ts_ms)
        order.price = parts[-1][0]
        for price, qty in parts:
            self._clearing.execute(order, qty, price, ts_ms, exec_type=exec_type, base=price)
        self._clearing.note(order, ts_ms)
        self._protection.finish(ts_ms)


def _at_market(pocket: Pocket) -> list[Level]:
    """Prices at which a whole position can be closed now."""
    book, left = pocket.book, abs(pocket.position.qty)
    side: Side = pocket.closing_side
    edge = UNLIMITED if side == "Buy" else ZERO
    parts = list(book.depth.takes(side, left, edge))
    taken = sum((qty for _, qty in parts), ZERO)
    book.depth = book.depth.without(side, taken)
    if taken < left:
        last = parts[-1][0] if parts else book.mark
        assert last is not None, "liquidation follows a mark"
        parts.append((last, left - taken))
    return parts


def _mark(pocket: Pocket) -> float:
    return pocket.mark()
