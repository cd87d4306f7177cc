"""The exchange moved by closed bars.

Inside one ``BarsClosed`` all symbols are walked together along their paths, always taking the event that
comes first. So an event of one symbol has changed the margin before the next event of any symbol.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from math import inf

from bot.domain.market import Bar, Instrument
from bot.domain.messages import BarsClosed, FundingRate
from bot.domain.money import to_decimal
from bot.exchange.bars.book import BarBook
from bot.exchange.bars.path import agrees, covers
from bot.exchange.bars.walk import LIQUIDATION_RANK, BarEvent, BarWalk
from bot.exchange.exchange import Exchange
from bot.exchange.ledger.book import closing_order
from bot.exchange.orders import Cancel, ExchangeOrder
from bot.exchange.rulebook.price_band import PriceBand
from bot.exchange.rulebook.refusals import GONE_CANCEL, Refusal
from bot.exchange.terms import Terms

_TRIES = 60
"""Interpolations at most; one is enough where no risk tier lies between two points."""
_CLOSE = 1e-9


class BarExchange(Exchange[BarBook]):
    """One account at a venue whose prices come as closed bars.

    Args:
        instruments, wallet_quote, ids, for_client: as in ``Exchange``.
        terms: fees, spreads, liquidity, latency, margin mode.
        seed: chooses the path inside each bar, and nothing else.
        detail: per symbol, finer closed bars that make up a bar, by the bar's ``start_ms``.
        mark_bars: per symbol, mark-price candles by ``start_ms``; they decide liquidations and funding.

    An order acts at the open of the first bar that starts no earlier than its arrival (the last close plus
    latency), or at that place inside a bar; what it did is emitted when that bar is advanced. Triggers act
    from the entry on, and a touch is enough. A market order pays half the spread and the impact, never more
    than the bar's share of volume is filled, and what is left of it is cancelled. A resting limit order fills
    once the path goes beyond its price, or by an estimated queue (``terms.limit_fills``, see ``queue``).
    Setting TP/SL takes effect at once, latency or not.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms | None = None,
        *,
        seed: int = 0,
        ids: Iterator[str] | None = None,
        detail: Mapping[str, Mapping[int, Sequence[Bar]]] | None = None,
        mark_bars: Mapping[str, Mapping[int, Bar]] | None = None,
        for_client: bool = True,
    ) -> None:
        self._seed = seed
        self._detail = detail if detail is not None else {}
        self._mark_bars = mark_bars if mark_bars is not None else {}
        self._market_ms = 0
        self._queues = terms is not None and terms.limit_fills == "queue"
        super().__init__(instruments, wallet_quote, terms if terms is not None else Terms(), ids, for_client)

    @property
    def now_ms(self) -> int:
        """The time of the latest event."""
        return self._market_ms

    @property
    def liquidation_on(self) -> dict[str, str]:
        """Per symbol whether liquidation looks at ``mark`` or ``last`` prices."""
        return {symbol: "mark" if book.marked else "last" for symbol, book in self._books.items()}

    def _book(self, instrument: Instrument, leverage: Decimal) -> BarBook:
        return BarBook(instrument, leverage, PriceBand(), self.terms, self._mark_bars.get(instrument.symbol))

    def _sent_ms(self, now_ms: int) -> int:
        """Return the last close as the time of an action, because bars know no time between two closes."""
        return self._market_ms

    def _send(self, book: BarBook, order: ExchangeOrder, now_ms: int) -> None:
        """Put an order on its way: it reaches the book after the latency, in a later bar."""
        book.orders[order.order_id] = order
        book.pending[order.order_id] = now_ms + self.terms.latency_ms
        book.watch()
        self.account.active[book.slot_of(order).key] = book.slot_of(order)
        self._ledger.accept(order, now_ms)

    def cancel(self, cancel: Cancel, now_ms: int) -> Refusal | None:
        """``order/cancel``: 110001 if there is no such open order, or if its cancel is on its way."""
        book = self._books.get(cancel.symbol)
        if book is not None and cancel.order_id in book.cancels:
            return self._counted(GONE_CANCEL)
        return super().cancel(cancel, now_ms)

    def _withdraw(self, book: BarBook, order: ExchangeOrder, now_ms: int) -> None:
        """Send a cancel with the latency of an order; it never overtakes the order that it cancels."""
        if order.status == "Untriggered" or not (book.under_way(order) or self.terms.latency_ms):
            super()._withdraw(book, order, now_ms)
            return
        book.cancels.setdefault(order.order_id, now_ms + self.terms.latency_ms)
        book.watch()

    # What the market does

    def start(self, ts_ms: int) -> None:
        """Set the time at which the run starts; no order acts earlier."""
        self._market_ms = max(self._market_ms, ts_ms)

    def expect(self, symbol: str, price: Decimal) -> None:
        """Give a price for orders that come before the symbol's first bar."""
        book = self._books.get(symbol)
        if book is not None and book.last is None:
            book.first_price = price

    def look_back(self, bars: Iterable[Bar]) -> None:
        """Take bars from before the run, oldest first: nothing acts in them, but queues are known then."""
        if self._queues:
            for bar in bars:
                self._books[bar.symbol].pace.note(bar)

    def close(self, event: BarsClosed) -> bool:
        """Execute orders, triggers and liquidations inside closed bars. False if nothing could happen."""
        books, close_ms = self._books, event.close_ms
        if close_ms > self._market_ms:
            self._market_ms = close_ms
        fresh = self._unseen(event.bars) if self._queues else ()
        awake: list[Bar] | None = None
        for bar in event.bars:
            book = books.get(bar.symbol)
            if book is None:
                continue
            if book.calm_low < bar.low and bar.high < book.calm_high and book.next_ms <= bar.start_ms:
                book.last = bar
                book.next_ms = close_ms
            elif awake is None:
                awake = [bar]
            else:
                awake.append(bar)
        if awake is not None:
            self._walk_bars(awake, event.bars)
        for bar in fresh:  # only now: what this bar traded is unknown while its orders line up
            books[bar.symbol].pace.note(bar)
        return awake is not None

    def _unseen(self, bars: Iterable[Bar]) -> list[Bar]:
        """The bars of known symbols that are not stale."""
        books = self._books
        return [bar for bar in bars if bar.symbol in books and books[bar.symbol].next_ms <= bar.start_ms]

    def mark(self, symbol: str, ts_ms: int, price: float) -> None:
        """Take a mark price of a stream; it acts when the bar that contains its time is walked."""
        self.start(ts_ms)
        book = self._books.get(symbol)
        if book is not None and 0.0 < price < inf:
            book.add_mark(ts_ms, price)
            self._ledger.watch(book.slots)

    def settle_funding(self, symbol: str, ts_ms: int, rate: Decimal, mark: Decimal | None = None) -> None:
        """Settle now if the bars up to ``ts_ms`` are known, else inside the bar around it; once per stamp.

        The bars know the mark, so a given one is not used.
        """
        self.start(ts_ms)
        book = self._books.get(symbol)
        if book is None or ts_ms in book.paid or any(each.ts_ms == ts_ms for each in book.due):
            return
        unknown = book.last is not None and ts_ms > book.last.close_ms
        if unknown and book.busy:
            book.due.append(FundingRate(ts_ms, symbol, rate))
            book.watch()
        else:
            super().settle_funding(symbol, ts_ms, rate)

    def change(self, instrument: Instrument, now_ms: int) -> None:
        """Take new rules for a symbol, or a new symbol."""
        self.start(now_ms)
        super().change(instrument, now_ms)

    def settle(self, ts_ms: int) -> None:
        """End the run: cancel every order, close every position at its last close for the taker fee."""
        self.start(ts_ms)
        now_ms, ledger = self._market_ms, self._ledger
        for book in self._books.values():
            for order in list(book.orders.values()):
                ledger.end(order, now_ms, "CancelBySettle")
            price = book.price()
            for slot in book.slots:
                size = abs(slot.position.qty)
                if size and price is not None:
                    order = closing_order(slot, ledger.next_id(), size, "CreateBySettle", now_ms)
                    order.price = price
                    ledger.execute(order, size, price, now_ms, base=price)
                    ledger.note(order, now_ms)
            self._protection.finish(now_ms)

    # One close

    def _walk_bars(self, awake: Sequence[Bar], bars: Sequence[Bar]) -> None:
        """Execute the events of the bars in ``awake`` one by one, the earliest of all symbols first.

        ``bars`` are all bars of the close: in cross margin the marks of calm positions count too.
        """
        account, isolated = self.account, self.account.mode == "isolated"
        walks = [self._walk(bar) for bar in awake if not self._is_stale(bar)]
        if walks and len(awake) < len(bars) and account.held and not isolated:
            walked = {id(bar) for bar in awake}
            held = {slot.book.symbol for slot in account.held.values()}
            walks.extend(self._walk(bar) for bar in bars if bar.symbol in held and id(bar) not in walked)
        events = [walk.next(isolated) for walk in walks]
        place = 0.0
        while True:
            walk, event = (walks[0], events[0]) if len(walks) == 1 else _earliest(walks, events)
            danger = not isolated and bool(account.held) and not all(map(BarWalk.is_safe, walks))
            breach = self._breach(walks, place) if danger else inf
            if breach < inf and (event is None or (breach, LIQUIDATION_RANK) < (event.at, event.rank)):
                place = breach
                for each in walks:
                    each.move_to(place)
                self._liquidator.run_ladder(walks[0].ts_ms(place))
                events = [each.next(isolated) for each in walks]
            elif walk is not None and event is not None:
                place = event.at
                self._act(walk, event)
                events[walks.index(walk) if len(walks) > 1 else 0] = walk.next(isolated)
            else:
                break
        for each in walks:
            each.book.walk = None
        if danger:
            account.watch_margin(account.held.values())

    def _is_stale(self, bar: Bar) -> bool:
        """Whether a bar ends no later than one already seen."""
        if bar.start_ms >= self._books[bar.symbol].next_ms:
            return False
        self._ledger.facts.stale_bars += 1
        return True

    def _walk(self, bar: Bar) -> BarWalk:
        """Start walking ``bar``."""
        book = self._books[bar.symbol]
        book.last = bar
        book.next_ms = bar.close_ms
        capacity = self.terms.capacity(bar, book.instrument)
        worst = self.terms.intrabar == "worst"
        finer = self._finer(bar) if self._detail else None
        walk = BarWalk(book, bar, capacity, self._seed, finer=finer, worst=worst)
        book.walk = walk
        if book.marked and walk.mark_bar is None and any(slot.size for slot in book.slots):
            self._ledger.facts.mark_missing_bars += 1
        return walk

    def _finer(self, bar: Bar) -> Sequence[Bar] | None:
        given = self._detail.get(bar.symbol)
        if given is None:
            return None
        finer = given.get(bar.start_ms, ())
        if not covers(finer, bar):
            self._ledger.facts.detail_missing_bars += 1
            return None
        if not agrees(finer, bar):
            self._ledger.facts.detail_mismatch_bars += 1
            return None
        return finer

    def _act(self, walk: BarWalk, event: BarEvent) -> None:
        """Execute one event of a bar."""
        book, order = walk.book, event.order
        walk.move_to(event.at, order if event.action == "trigger" else None)
        ts_ms = walk.ts_ms(event.at)
        if order is None:
            if event.slot is not None:
                self._liquidator.take_over(event.slot, ts_ms)
            else:
                self._pay_due(walk)
        elif event.action == "arrive":
            self._arrive(walk, order, ts_ms)
        elif event.action == "limit":
            qty = walk.makes(order)
            if qty:
                walk.capacity -= qty
                self._matching.make(book, order, qty, ts_ms)
        elif event.action == "trigger":
            self._matching.fire(book, order, ts_ms)
            walk.line_up(order)
        elif event.action == "trail":
            self._protection.trail(order, walk.trail_price(order, event.at), ts_ms)
            self._ledger.publish(ts_ms)
        else:
            super()._withdraw(book, order, ts_ms)

    def _arrive(self, walk: BarWalk, order: ExchangeOrder, ts_ms: int) -> None:
        """Let an order reach the book; cancel an entry if bars are missing before its first price."""
        book = walk.book
        late_ms = walk.bar.start_ms - book.pending.pop(order.order_id)
        del book.orders[order.order_id]
        market_entry = order.order_type == "Market" and not order.reduces
        if market_entry and late_ms >= walk.bar.interval_ms:
            self._matching.end_stale(book, order, ts_ms)
            return
        if order.order_type == "Limit" and not order.reduces:  # it may rest, beside what is held by now
            slot = book.slot_of(order)
            order.margin_quote = self.account.opening_margin(
                slot, order.side, order.qty, order.price, slot.position.qty
            )
        self._matching.arrive(book, order, ts_ms)
        walk.line_up(order)

    def _pay_due(self, walk: BarWalk) -> None:
        book, mark = walk.book, to_decimal(walk.mark(walk.place))
        for rate in [rate for rate in book.due if walk.place_of(rate.ts_ms) <= walk.place]:
            book.due.remove(rate)
            self._ledger.pay_funding(book, rate, mark)
        self._ledger.publish(walk.ts_ms(walk.place))
        book.watch()

    def _breach(self, walks: Iterable[BarWalk], place: float) -> float:
        """First place from ``place`` on where a cross account's equity is below its maintenance margin.

        Equity is linear between the points of the paths, but maintenance bends at risk tiers. So both are
        tested at each point, and the place between two points is found by repeated interpolation.
        """
        account = self.account
        walked = {walk.book.symbol: walk for walk in walks}

        def slack(at: float) -> float:
            return account.slack(
                lambda slot: (
                    walked[slot.book.symbol].mark(at)
                    if slot.book.symbol in walked
                    else slot.book.mark_rough()
                )
            )

        before = slack(place)
        if before < 0.0:
            return place
        held = {slot.book.symbol for slot in account.held.values()}
        roads = [walk.mark_path for symbol, walk in walked.items() if symbol in held]
        for at in sorted({at for road in roads for at in road.places() if at > place}):
            after = slack(at)
            if after < 0.0:
                return _crossing(slack, (place, before), (at, after))
            place, before = at, after
        return inf


def _crossing(
    slack: Callable[[float], float], above: tuple[float, float], below: tuple[float, float]
) -> float:
    """Find the place where ``slack`` falls to 0 between two (place, slack), by the rule of false position."""
    exact = _CLOSE * (above[1] - below[1])
    at = below[0]
    for _ in range(_TRIES):
        (low, before), (high, after) = above, below
        at = low + (high - low) * before / (before - after)
        found = slack(at)
        if abs(found) <= exact or not low < at < high:
            break
        if found < 0.0:
            below = (at, found)
        else:
            above = (at, found)
    return at


def _earliest(
    walks: Sequence[BarWalk], events: Sequence[BarEvent | None]
) -> tuple[BarWalk | None, BarEvent | None]:
    """The walk whose next event comes first, symbol order deciding ties."""
    first_walk, first = None, None
    for walk, event in zip(walks, events, strict=True):
        if event is not None and (first is None or (event.at, event.rank) < (first.at, first.rank)):
            first_walk, first = walk, event
    return first_walk, first
