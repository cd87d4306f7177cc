"""The exchange: ``submit`` takes what we send, ``advance`` lets the market move, both answer with events.

Inside one ``BarsClosed`` all symbols are walked together along their paths, always taking the step that
comes first, so what happens to one symbol's margin is there when the next symbol needs it.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import assert_never

from bot.domain.ledger import Cash, Position
from bot.domain.market import Bar, Instrument
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    FundingRate,
    Gap,
    InstrumentChanged,
    MarketEvent,
    MarkPrice,
    OrderAccepted,
    OrderRejected,
    PlaceOrder,
    Quote,
    SetStops,
    StopsChanged,
    StopsRejected,
    VenueEffect,
    VenueEvent,
)
from bot.domain.money import ZERO
from bot.domain.orders import Intent, Order, OrderState
from bot.exchange import rules
from bot.exchange.account import Account, max_leverage
from bot.exchange.book import Book, Working
from bot.exchange.clearing import Clearing, Facts
from bot.exchange.matching import Matching
from bot.exchange.path import agrees, covers
from bot.exchange.terms import Terms
from bot.exchange.walk import LIQUIDATION_RANK, Leg, Step

_NOTHING: tuple[VenueEvent, ...] = ()


class Exchange:
    """Linear USDT perpetuals in one account; implements ``ports.Venue``.

    Args:
        instruments: rules per symbol; an order for any other symbol is refused.
        wallet_quote: USDT at the start.
        terms: fees, spreads, liquidity, latency, margin mode.
        seed: chooses the path inside each bar, and nothing else.
        detail: per symbol, finer closed bars that make up a bar, by the bar's ``start_ms``.
        mark_bars: per symbol, mark-price candles by ``start_ms``; they decide liquidations and funding.

    A market order acts at the open of the first bar that starts no earlier than ``submit`` plus latency
    (or at that place inside a bar); its fill is reported when that bar is advanced. Protective stops act on
    the last price, as market orders, from the entry on; both stop and target trigger when touched.
    Setting stops takes effect at once, latency or not.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms | None = None,
        *,
        seed: int = 0,
        detail: Mapping[str, Mapping[int, Sequence[Bar]]] | None = None,
        mark_bars: Mapping[str, Mapping[int, Bar]] | None = None,
    ) -> None:
        self.terms = terms if terms is not None else Terms()
        self._seed = seed
        self._detail = detail if detail is not None else {}
        self._now_ms = 0
        self._ids: set[str] = set()
        marks = mark_bars if mark_bars is not None else {}
        self._books = {
            symbol: Book(
                instrument,
                min(self.terms.leverage, instrument.max_leverage),
                self.terms.half_spread_frac(symbol),
                marks.get(symbol),
            )
            for symbol, instrument in instruments.items()
        }
        self.account: Account[Book] = Account(
            Cash(wallet_quote), self.terms.margin_mode, self.terms.taker_fee_frac, self._books
        )
        self._clearing = Clearing(self.terms, self.account, self._books)
        self._matching = Matching(self.terms, self.account, self._clearing, self._books)

    @property
    def facts(self) -> Facts:
        """Counts that a report on the simulation must give."""
        return self._clearing.facts

    @property
    def now_ms(self) -> int:
        """The time of the latest event advanced."""
        return self._now_ms

    @property
    def wallet_quote(self) -> Decimal:
        """Wallet balance."""
        return self.account.wallet_quote

    @property
    def equity_quote(self) -> Decimal:
        """Wallet plus open profit at the marks."""
        return self.account.equity_quote

    @property
    def positions(self) -> dict[str, Position]:
        """Open positions by symbol."""
        return {symbol: book.position for symbol, book in self.account.held.items()}

    @property
    def open_orders(self) -> list[Order]:
        """Orders not finished, oldest first within a symbol."""
        return [working.order for book in self._books.values() for working in book.orders]

    @property
    def liquidation_on(self) -> dict[str, str]:
        """Per symbol whether liquidation looks at ``mark`` or ``last`` prices."""
        return {symbol: "mark" if book.marked else "last" for symbol, book in self._books.items()}

    def stops(self, symbol: str) -> tuple[Decimal | None, Decimal | None]:
        """Stop loss and take profit of a symbol's position."""
        book = self._books[symbol]
        return book.stop_loss, book.take_profit

    # What we send

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops at the time of the last event advanced.

        A refused ``SetStops`` is answered with ``StopsRejected``. A cancel of an order that is gone, or
        that acts before the cancel can arrive, is answered with nothing: its fill or end was or will be
        reported.
        """
        if isinstance(effect, PlaceOrder):
            return (self._place(effect.order_id, effect.intent),)
        if isinstance(effect, CancelOrder):
            return self._cancel(effect)
        return (self._set_stops(effect),)

    def set_leverage(self, symbol: str, leverage: Decimal) -> rules.Refusal | None:
        """Change a symbol's leverage; None, or why not."""
        book = self._books.get(symbol)
        if book is None:
            return rules.UNKNOWN_SYMBOL
        if leverage == book.leverage:
            return rules.SAME_LEVERAGE
        value = abs(book.position.entry_value)
        highest = max_leverage(value, book.instrument.tiers)
        if not 1 <= leverage <= book.instrument.max_leverage or highest is None or leverage > highest:
            return rules.LEVERAGE_RANGE
        before, book.leverage = book.leverage, leverage
        if leverage < before and self.account.available_quote < ZERO:
            book.leverage = before
            return rules.NO_BALANCE
        self.account.revalue(book)
        self._clearing.watch(book)
        return None

    def place(self, order_id: str, intent: Intent) -> VenueEvent:
        """Take an order that no engine of ours decided on: a client's, over the wire."""
        return self._place(order_id, intent)

    def _place(self, order_id: str, intent: Intent) -> VenueEvent:
        book = self._books.get(intent.symbol)
        if book is None:
            return self._refuse(order_id, rules.UNKNOWN_SYMBOL)
        if order_id in self._ids:
            return self._refuse(order_id, rules.DUPLICATE_ID)
        price = book.last_price() or intent.ref_price
        standing = rules.Standing(book.prospective_qty(), price, len(book.orders), book.leverage)
        refusal = rules.refuse(intent, book.instrument, standing)
        if refusal is not None:
            return self._refuse(order_id, refusal)
        margin = self._order_margin(intent, book, standing)
        if margin > ZERO and margin > self.account.available_quote:
            return self._refuse(order_id, rules.NO_BALANCE)
        self._ids.add(order_id)
        order = Order(order_id, intent)
        order.move(OrderState.OPEN)
        book.orders.append(Working(order, self._now_ms + self.terms.latency_ms, margin))
        book.watch_trades()
        book.watch()
        return OrderAccepted(self._now_ms, order_id)

    def _refuse_stops(self, symbol: str, refusal: rules.Refusal) -> VenueEvent:
        self._clearing.facts.refusals += 1
        return StopsRejected(self._now_ms, symbol, refusal.code, refusal.reason)

    def _refuse(self, order_id: str, refusal: rules.Refusal) -> VenueEvent:
        self._clearing.facts.refusals += 1
        return OrderRejected(self._now_ms, order_id, refusal.code, refusal.reason)

    def _order_margin(self, intent: Intent, book: Book, standing: rules.Standing) -> Decimal:
        """Margin that an order needs: for what it would open, less what it frees by closing."""
        if intent.reduce_only:
            return ZERO
        limit = intent.price if intent.order_type == "Limit" else None
        price = limit if limit is not None else standing.price
        return self.account.opening_margin(book, intent.side, intent.qty, price, standing.qty)

    def _cancel(self, effect: CancelOrder) -> Sequence[VenueEvent]:
        book = self._books.get(effect.symbol)
        working = (
            next((w for w in book.orders if w.order.order_id == effect.order_id), None) if book else None
        )
        if book is None or working is None:
            return _NOTHING
        if working.resting and not self.terms.latency_ms:
            self._clearing.end(book, working, "CancelByUser", self._now_ms)
        else:
            working.cancel_ms = self._now_ms + self.terms.latency_ms
        self._clearing.watch(book)
        return self._clearing.tell()

    def _set_stops(self, effect: SetStops) -> VenueEvent:
        book = self._books.get(effect.symbol)
        if book is None:
            return self._refuse_stops(effect.symbol, rules.UNKNOWN_SYMBOL)
        base = book.last_price()
        if base is None or not book.position.qty:
            return self._refuse_stops(effect.symbol, rules.NO_POSITION)
        long = book.position.qty > ZERO
        refusal = rules.stops(long, base, effect.stop_loss, effect.take_profit, book.instrument)
        if refusal is not None:
            return self._refuse_stops(effect.symbol, refusal)
        book.stop_loss, book.take_profit = effect.stop_loss, effect.take_profit
        book.watch_trades()
        book.watch()
        return StopsChanged(self._now_ms, effect.symbol, effect.stop_loss, effect.take_profit)

    # What the market does

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move up to ``event``; fills of a bar are reported with the bar, in time order."""
        if type(event) is BarsClosed:
            books, close_ms = self._books, event.close_ms
            if close_ms > self._now_ms:
                self._now_ms = close_ms
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
            return _NOTHING if awake is None else self._walk(awake, event.bars)
        return self._other(event)

    def _other(self, event: MarketEvent) -> Sequence[VenueEvent]:
        self._now_ms = max(self._now_ms, event.ts_ms)
        match event:
            case FundingRate():
                return self._funding(event)
            case MarkPrice(ts_ms=ts_ms, symbol=symbol, price=price):
                if (book := self._books.get(symbol)) is not None and 0.0 < price < inf:
                    book.add_mark(ts_ms, price)
                    self._clearing.watch(book)
            case InstrumentChanged(instrument=instrument):
                self._change(instrument)
            case BarsClosed() | Candle() | Quote() | Gap():
                pass
            case _:
                assert_never(event)
        return _NOTHING

    def settle(self, ts_ms: int) -> Sequence[VenueEvent]:
        """End of the data: cancel every order, close every position at its last close for the taker fee."""
        self._now_ms = max(self._now_ms, ts_ms)
        for book in self._books.values():
            self._clearing.end_all(book, "CancelBySettle", self._now_ms)
            price = book.last_price()
            if book.position.qty and price is not None:
                self._clearing.close(book, abs(book.position.qty), price, price, "settle", self._now_ms)
            self._clearing.watch(book)
        return self._clearing.tell()

    def _change(self, instrument: Instrument) -> None:
        book = self._books.get(instrument.symbol)
        leverage = min(book.leverage if book else self.terms.leverage, instrument.max_leverage)
        if book is None:
            spread = self.terms.half_spread_frac(instrument.symbol)
            book = self._books[instrument.symbol] = Book(instrument, leverage, spread, None)
        book.set_rules(instrument)
        book.leverage = leverage
        self.account.revalue(book)
        self._clearing.watch(book)

    def _funding(self, rate: FundingRate) -> Sequence[VenueEvent]:
        """Settle now if the bars up to the stamp are known, else with the bar around it; once per stamp."""
        book = self._books.get(rate.symbol)
        if book is None or rate.ts_ms in book.paid:
            return _NOTHING
        book.paid.add(rate.ts_ms)
        unknown = book.last is not None and rate.ts_ms > book.last.close_ms
        if unknown and (book.position.qty or book.orders):
            book.due.append(rate)
        else:
            self._clearing.pay_funding(book, rate, book.held_at(rate.ts_ms), book.mark())
        self._clearing.watch(book)
        return self._clearing.tell()

    # One bar

    def _walk(self, awake: Sequence[Bar], bars: Sequence[Bar]) -> Sequence[VenueEvent]:
        """Take what happens in ``awake`` step by step, the earliest of all symbols first.

        ``bars`` are all bars of the event: in cross margin the marks of calm positions count too.
        """
        legs = [self._leg(bar) for bar in awake if not self._stale(bar)]
        if legs and self.account.held and self.terms.margin_mode == "cross":
            walked = {id(bar) for bar in awake}
            others = (bar for bar in bars if bar.symbol in self.account.held and id(bar) not in walked)
            legs.extend(self._leg(bar) for bar in others)
        isolated = self.terms.margin_mode == "isolated"
        steps = [leg.next(isolated) for leg in legs]
        place = 0.0
        while True:
            leg, step = _earliest(legs, steps)
            danger = bool(not isolated and self.account.held and _endangered(legs))
            breach = self._matching.breach(legs, place) if danger else inf
            if breach < inf and (step is None or (breach, LIQUIDATION_RANK) < step[:2]):
                place = breach
                self._matching.liquidate_account(legs, place)
                steps = [leg.next(isolated) for leg in legs]
            elif leg is not None and step is not None:
                place = leg.place = step.place
                self._matching.act(leg, step)
                self._clearing.watch(leg.book)
                steps[legs.index(leg)] = leg.next(isolated)
            else:
                if danger:
                    self.account.watch_margin(self.account.held.values())
                return self._clearing.tell()

    def _stale(self, bar: Bar) -> bool:
        stale = bar.start_ms < self._books[bar.symbol].next_ms
        self._clearing.facts.stale_bars += stale
        return stale

    def _leg(self, bar: Bar) -> Leg:
        """Start walking ``bar``."""
        book = self._books[bar.symbol]
        book.last = bar
        book.next_ms = bar.close_ms
        capacity = self.terms.capacity(bar, book.instrument)
        worst = self.terms.intrabar == "worst"
        leg = Leg(book, bar, capacity, self._seed, finer=self._finer(bar), worst=worst)
        if book.marked and leg.mark_bar is None and book.position.qty:
            self._clearing.facts.mark_missing_bars += 1
        return leg

    def _finer(self, bar: Bar) -> Sequence[Bar] | None:
        given = self._detail.get(bar.symbol)
        if given is None:
            return None
        finer = given.get(bar.start_ms, ())
        if not covers(finer, bar):
            self._clearing.facts.detail_missing_bars += 1
            return None
        if not agrees(finer, bar):
            self._clearing.facts.detail_mismatch_bars += 1
            return None
        return finer


def _earliest(legs: Sequence[Leg], steps: Sequence[Step | None]) -> tuple[Leg | None, Step | None]:
    """The leg whose next step comes first, symbol order deciding ties."""
    first_leg, first = None, None
    for leg, step in zip(legs, steps, strict=True):
        if step is not None and (first is None or step[:2] < first[:2]):
            first_leg, first = leg, step
    return first_leg, first


def _endangered(legs: Sequence[Leg]) -> bool:
    """Whether some mark leaves the range in which the margin cannot run out."""
    return any(not leg.safe() for leg in legs)
