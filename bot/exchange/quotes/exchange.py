"""The exchange moved by quotes, trades and marks, as they come. No clock: every call says when it happens."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.exchange import Exchange
from bot.exchange.orders import ExchangeOrder, TriggerBy
from bot.exchange.quotes.book import QuoteBook
from bot.exchange.quotes.depth import NO_DEPTH, Depth
from bot.exchange.rulebook import triggers
from bot.exchange.rulebook.price_band import PriceBand
from bot.exchange.terms import Terms


class QuoteExchange(Exchange[QuoteBook]):
    """One account at a venue whose prices come one by one.

    Args:
        instruments, wallet_quote, ids: as in ``Exchange``.
        terms: fees, leverage and margin mode; spread, impact and liquidity are the market's own here.
        bands: price bands per symbol, where they differ from ``PriceBand()``.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms | None = None,
        *,
        bands: Mapping[str, PriceBand] | None = None,
        ids: Iterator[str] | None = None,
    ) -> None:
        self._bands = bands if bands is not None else {}
        super().__init__(instruments, wallet_quote, terms if terms is not None else Terms(), ids)

    def _book(self, instrument: Instrument, leverage: Decimal) -> QuoteBook:
        return QuoteBook(instrument, leverage, self._bands.get(instrument.symbol, PriceBand()))

    def _send(self, book: QuoteBook, order: ExchangeOrder, now_ms: int) -> None:
        """An order reaches the book at once."""
        self._matching.arrive(book, order, now_ms)

    # What the market does

    def quote(self, symbol: str, ts_ms: int, depth: Depth) -> None:
        """Take a new depth; fill the resting orders that it crosses at their limit price."""
        book = self._books.get(symbol)
        if book is None:
            return
        book.depth = depth
        if book.wakes and book.is_crossed():
            self._quoted(book, ts_ms)

    def trade(
        self,
        symbol: str,
        ts_ms: int,
        price: Decimal,
        qty: Decimal,
        depth: Depth | None = None,
        *,
        mark: Decimal | None = None,
        index: Decimal | None = None,
    ) -> None:
        """Take a trade of others: move the last price, fill the resting orders it passed, then fire triggers.

        ``depth`` is what is offered after the trade: a triggered order meets this, never the offers from
        before the trade. Without it, a trade outside the touch moves the touch (``Depth.moved_to``).
        ``mark`` and ``index`` are those after the trade, where they move with it: price bounds and margin of
        a triggered order look at these. Triggers on them fire, and the margin is tested, in ``mark``.
        """
        book = self._books.get(symbol)
        if book is None:
            return
        book.last = price
        book.depth = depth if depth is not None else book.depth.moved_to(price, book.instrument.tick_size)
        if mark is not None:
            book.move_mark(mark, index)
        if not book.wakes:
            return
        moved = book.is_moved_by(price)
        if moved:
            self._traded(book, price, qty, ts_ms)
        if depth is not None and book.is_crossed():
            self._quoted(book, ts_ms)
        if moved:
            self._look(book, "LastPrice", price, ts_ms)

    def mark(self, symbol: str, ts_ms: int, mark: Decimal, index: Decimal | None = None) -> None:
        """Take mark and index: fire the triggers on mark or index, then test the margin."""
        book = self._books.get(symbol)
        if book is None:
            return
        book.set_mark(ts_ms, mark, index)
        if not book.wakes:
            return
        if book.orders:
            self._look(book, "MarkPrice", mark, ts_ms)
            self._look(book, "IndexPrice", index if index is not None else mark, ts_ms)
        self._test_margin(book, ts_ms)

    def fill_mark(self, symbol: str, ts_ms: int, mark: Decimal) -> None:
        """Note the mark of a past time for which no mark came; it moves nothing now."""
        book = self._books.get(symbol)
        if book is not None:
            book.past.fill(ts_ms, mark)

    def meet_mark(self, symbol: str, ts_ms: int, mark: Decimal) -> None:
        """Test the margin at what the mark may have been while nobody saw it; the present mark stays."""
        book = self._books.get(symbol)
        if book is None or not book.wakes:
            return
        present, index = book.mark(), book.index()
        book.move_mark(mark, mark)
        self._test_margin(book, ts_ms)
        if present is not None:
            book.move_mark(present, index)
            self._ledger.watch(book.slots)

    def knows_marks(self, symbol: str, from_ms: int, to_ms: int) -> bool:
        """Return True if a mark of each minute of a past time is known."""
        return self._books[symbol].past.covers(from_ms, to_ms)

    def _test_margin(self, book: QuoteBook, ts_ms: int) -> None:
        """Liquidate the positions whose margin no longer suffices at the mark."""
        account, mark = self.account, book.mark_rough()
        for slot in book.slots:
            if not slot.position.qty or slot.safe_low < mark < slot.safe_high:
                continue
            if account.mode == "isolated":
                if self._liquidator.is_spent(slot):
                    self._liquidator.take_over(slot, ts_ms)
            elif self._liquidator.is_due():
                self._liquidator.run_ladder(ts_ms)
                return
            else:
                account.watch_margin(list(account.held.values()))

    # Orders that the market comes to

    def _quoted(self, book: QuoteBook, ts_ms: int) -> None:
        """Fill the resting orders that the depth crosses, as far as the offers go."""
        for order in _by_priority(book):
            if not order.open or not book.crosses(order):
                continue
            qty = min(order.fillable(book.slot_of(order).position.qty), book.offered(order))
            if qty > ZERO:
                book.depth = book.depth.without(order.side, qty)
                self._matching.make(book, order, qty, ts_ms)

    def _traded(self, book: QuoteBook, price: Decimal, qty: Decimal, ts_ms: int) -> None:
        """Fill the resting orders that a trade passed, up to the trade's quantity.

        A trade at an order's own price fills nothing: we are last in the queue.
        """
        for order in _by_priority(book):
            through = order.price > price if order.side == "Buy" else order.price < price
            if not through or not order.open:
                continue
            part = min(order.fillable(book.slot_of(order).position.qty), qty)
            if part > ZERO:
                qty -= part
                self._matching.make(book, order, part, ts_ms)
            if not qty:
                return

    def _look(self, book: QuoteBook, trigger_by: TriggerBy, price: Decimal, ts_ms: int) -> None:
        """Let trailing stops follow a price of one kind, then fire the triggers it reaches, oldest first."""
        waiting = [o for o in book.orders.values() if o.conditional and o.trigger_by == trigger_by]
        moved = False
        for order in waiting:
            if order.trailing_quote:
                moved |= self._protection.trail(order, price, ts_ms)
        if moved:
            self._ledger.publish(ts_ms)
        for order in waiting:
            if order.conditional and triggers.is_reached(order, price):
                self._matching.fire(book, order, ts_ms)

    def offer(self, symbol: str, side: Side, level: int) -> Decimal | None:
        """The price of a level (1 is the best) on the book side where orders of ``side`` rest, if any."""
        depth = self._books[symbol].depth if symbol in self._books else NO_DEPTH
        levels = depth.bids if side == "Buy" else depth.asks
        return levels[level - 1][0] if level <= len(levels) else None


def _by_priority(book: QuoteBook) -> list[ExchangeOrder]:
    """Resting orders, better prices first, then older ones."""
    return sorted(book.resting(), key=lambda order: -order.price if order.side == "Buy" else order.price)
