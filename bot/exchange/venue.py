"""The exchange: ``submit`` takes what we send, ``advance`` lets the market move, both answer with events.

Inside one ``BarsClosed`` all symbols are walked together along their paths, always taking the step that
comes first, so what happens to one symbol's margin is there when the next symbol needs it.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import assert_never

import msgspec

from bot.domain.ledger import Cash, Fill, FillCause, Position
from bot.domain.market import Bar, Instrument
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Filled,
    FundingPaid,
    FundingRate,
    Gap,
    InstrumentChanged,
    MarketEvent,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    PlaceOrder,
    Quote,
    SetStops,
    StopsChanged,
    VenueEffect,
    VenueEvent,
)
from bot.domain.money import ZERO, to_decimal, to_money
from bot.domain.orders import Intent, Order, OrderState, Side
from bot.exchange import rules
from bot.exchange.account import Account, bankruptcy_price, max_leverage, order_margin
from bot.exchange.book import Book, Working
from bot.exchange.matching import Terms, taker_price, worse
from bot.exchange.path import agrees, covers
from bot.exchange.walk import LIQUIDATION_RANK, Leg, Step

_NOTHING: tuple[VenueEvent, ...] = ()
_NEAR = Decimal("1e-9")
"""A stop met on the way is a float's error from its own price; a gap is farther."""
_PROTECTIVE: dict[FillCause, str] = {
    "stop_loss": "sl",
    "take_profit": "tp",
    "liquidation": "liq",
    "settle": "settle",
}


class Facts(msgspec.Struct):
    """What a report must say about the simulation itself. All counts."""

    detail_missing_bars: int = 0
    """Bars that had to be walked, with finer candles given for the symbol but not for the whole bar."""
    detail_mismatch_bars: int = 0
    """Bars walked whose finer candles have another open, high, low or close; the bar's own path was used."""
    mark_missing_bars: int = 0
    """Bars walked with a position open and no mark candle although others were given."""
    stale_bars: int = 0
    """Bars that end no later than one already seen: ignored."""
    refusals: int = 0
    liquidations: int = 0
    bankruptcies: int = 0
    """Liquidations that left the wallet below zero."""
    shortfall_quote: Decimal = ZERO
    """Deepest the wallet was below zero."""


class Exchange:
    """Linear USDT perpetuals in one account; implements ``ports.SimVenue``.

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
        self.facts = Facts()
        self._seed = seed
        self._detail = detail if detail is not None else {}
        self._now_ms = 0
        self._ids: set[str] = set()
        self._executions = 0
        self._closes = 0
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
        self.account = Account(
            Cash(wallet_quote), self.terms.margin_mode, self.terms.taker_fee_frac, self._books
        )

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

        A refused ``SetStops`` is answered with ``OrderRejected`` for the id ``{symbol}-stops``. A cancel
        of an order that is gone, or that acts before the cancel can arrive, is answered with nothing:
        its fill or end was or will be told.
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
        self._watch(book)
        return None

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
        if margin and margin > self.account.available_quote:
            return self._refuse(order_id, rules.NO_BALANCE)
        self._ids.add(order_id)
        order = Order(order_id, intent)
        order.move(OrderState.OPEN)
        book.orders.append(Working(order, self._now_ms + self.terms.latency_ms, margin))
        self._watch(book)
        return OrderAccepted(self._now_ms, order_id)

    def _refuse(self, order_id: str, refusal: rules.Refusal) -> VenueEvent:
        self.facts.refusals += 1
        return OrderRejected(self._now_ms, order_id, refusal.code, refusal.reason)

    def _order_margin(self, intent: Intent, book: Book, standing: rules.Standing) -> Decimal:
        """Margin of the part of an order that would open or increase a position."""
        if intent.reduce_only:
            return ZERO
        opposite = standing.qty and (standing.qty > ZERO) != (intent.side == "Buy")
        opening = intent.qty - abs(standing.qty) if opposite else intent.qty
        if opening <= ZERO:
            return ZERO
        limit = intent.price if intent.order_type == "Limit" else None
        price = limit if limit is not None else standing.price
        return order_margin(opening, price, book.leverage, self.terms.taker_fee_frac, intent.side)

    def _cancel(self, effect: CancelOrder) -> Sequence[VenueEvent]:
        book = self._books.get(effect.symbol)
        working = (
            next((w for w in book.orders if w.order.order_id == effect.order_id), None) if book else None
        )
        if book is None or working is None:
            return _NOTHING
        if working.resting and not self.terms.latency_ms:
            events: list[VenueEvent] = []
            self._end(book, working, "CancelByUser", self._now_ms, events)
            self._watch(book)
            return events
        working.cancel_ms = self._now_ms + self.terms.latency_ms
        self._watch(book)
        return _NOTHING

    def _set_stops(self, effect: SetStops) -> VenueEvent:
        name = f"{effect.symbol}-stops"
        book = self._books.get(effect.symbol)
        if book is None:
            return self._refuse(name, rules.UNKNOWN_SYMBOL)
        base = book.last_price()
        if base is None or not book.position.qty:
            return self._refuse(name, rules.NO_POSITION)
        long = book.position.qty > ZERO
        refusal = rules.stops(long, base, effect.stop_loss, effect.take_profit, book.instrument)
        if refusal is not None:
            return self._refuse(name, refusal)
        book.stop_loss, book.take_profit = effect.stop_loss, effect.take_profit
        self._watch(book)
        return StopsChanged(self._now_ms, effect.symbol, effect.stop_loss, effect.take_profit)

    # What the market does

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move up to ``event``; fills of a bar are reported with the bar, in time order."""
        if type(event) is BarsClosed:
            books = self._books
            self._now_ms = max(self._now_ms, event.close_ms)
            awake = False
            for bar in event.bars:
                book = books.get(bar.symbol)
                if book is not None:
                    if book.calm_low < bar.low and bar.high < book.calm_high:
                        book.last = bar
                    else:
                        awake = True
            return self._walk(event.bars) if awake else _NOTHING
        return self._other(event)

    def _other(self, event: MarketEvent) -> Sequence[VenueEvent]:
        self._now_ms = max(self._now_ms, event.ts_ms)
        match event:
            case FundingRate():
                return self._funding(event)
            case MarkPrice(ts_ms=ts_ms, symbol=symbol, price=price):
                if (book := self._books.get(symbol)) is not None:
                    book.add_mark(ts_ms, price)
                    self._watch(book)
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
        events: list[VenueEvent] = []
        for book in self._books.values():
            for working in list(book.orders):
                self._end(book, working, "CancelBySettle", self._now_ms, events)
            price = book.last_price()
            if book.position.qty and price is not None:
                self._close(book, abs(book.position.qty), price, price, "settle", self._now_ms, events)
            self._watch(book)
        return events

    def _change(self, instrument: Instrument) -> None:
        book = self._books.get(instrument.symbol)
        leverage = min(book.leverage if book else self.terms.leverage, instrument.max_leverage)
        if book is None:
            spread = self.terms.half_spread_frac(instrument.symbol)
            book = self._books[instrument.symbol] = Book(instrument, leverage, spread, None)
        book.instrument, book.leverage = instrument, leverage
        self._watch(book)

    def _watch(self, book: Book) -> None:
        """Work out anew which prices concern this symbol, and, in cross margin, the whole account."""
        book.watch_trades()
        held = self.account.held
        if self.terms.margin_mode == "isolated" or not held or (len(held) == 1 and book.symbol in held):
            self.account.watch_margin((book,))
        else:
            self.account.watch_margin(held.values() if book.symbol in held else (*held.values(), book))

    # Funding

    def _funding(self, rate: FundingRate) -> Sequence[VenueEvent]:
        """Settle now if the bars up to the stamp are known, else when the bar around it is."""
        book = self._books.get(rate.symbol)
        if book is None or rate.ts_ms in book.paid:
            return _NOTHING
        book.paid.add(rate.ts_ms)
        unknown = book.last is not None and rate.ts_ms > book.last.close_ms
        if unknown and (book.position.qty or book.orders):
            book.due.append(rate)
            self._watch(book)
            return _NOTHING
        events: list[VenueEvent] = []
        self._pay(book, rate, book.held_at(rate.ts_ms), book.mark(), events)
        self._watch(book)
        return events

    def _pay(
        self, book: Book, rate: FundingRate, qty: Decimal, mark: float, events: list[VenueEvent]
    ) -> None:
        if not qty:
            return
        amount = to_money(-qty * to_decimal(mark) * rate.rate)
        self.account.cash.funding += amount
        events.append(FundingPaid(rate.ts_ms, rate.symbol, amount))

    # One bar

    def _walk(self, bars: Iterable[Bar]) -> Sequence[VenueEvent]:
        """Take what happens in ``bars`` step by step, the earliest of all symbols first."""
        legs = [leg for bar in bars if (leg := self._leg(bar)) is not None]
        isolated = self.terms.margin_mode == "isolated"
        steps = [None if leg.calm() else leg.next(isolated) for leg in legs]
        events: list[VenueEvent] = []
        place = 0.0
        while True:
            leg, step = _earliest(legs, steps)
            breach = inf if isolated else self._breach(legs, place)
            if breach < inf and (step is None or (breach, LIQUIDATION_RANK) < step[:2]):
                place = breach
                self._liquidate_account(legs, place, events)
                steps = [leg.next(isolated) for leg in legs]
            elif leg is not None and step is not None:
                place = leg.place = step.place
                self._act(leg, step, events)
                self._watch(leg.book)
                steps[legs.index(leg)] = None if leg.calm() else leg.next(isolated)
            else:
                return events

    def _leg(self, bar: Bar) -> Leg | None:
        """Start walking ``bar``; None where it is of no interest: unknown, stale, or calm and alone."""
        book = self._books.get(bar.symbol)
        if book is None:
            return None
        calm = book.last is bar
        if calm and not (
            self.terms.margin_mode == "cross" and book.position.qty and len(self.account.held) > 1
        ):
            return None
        if not calm and book.last is not None and bar.close_ms <= book.last.close_ms:
            self.facts.stale_bars += 1
            return None
        book.last = bar
        capacity = self.terms.capacity(bar, book.instrument)
        worst = self.terms.intrabar == "worst"
        leg = Leg(book, bar, capacity, self._seed, finer=self._finer(bar), worst=worst)
        if book.marked and leg.mark_bar is None and book.position.qty:
            self.facts.mark_missing_bars += 1
        return leg

    def _finer(self, bar: Bar) -> Sequence[Bar] | None:
        given = self._detail.get(bar.symbol)
        if given is None:
            return None
        finer = given.get(bar.start_ms, ())
        if not covers(finer, bar):
            self.facts.detail_missing_bars += 1
            return None
        if not agrees(finer, bar):
            self.facts.detail_mismatch_bars += 1
            return None
        return finer

    def _act(self, leg: Leg, step: Step, events: list[VenueEvent]) -> None:
        match step.action, step.working:
            case "funding", _:
                self._pay_due(leg, events)
            case "liquidation", _:
                self._liquidate_position(leg, events)
            case "stop_loss" | "take_profit" as cause, _:
                self._protect(leg, cause, events)
            case "arrive", Working() as working:
                self._arrive(leg, working, events)
            case "cancel", Working() as working:
                self._end(leg.book, working, "CancelByUser", leg.ts_ms(leg.place), events)
            case "limit", Working() as working:
                self._make(leg, working, events)

    def _pay_due(self, leg: Leg, events: list[VenueEvent]) -> None:
        book = leg.book
        due = [rate for rate in book.due if leg.place_of(rate.ts_ms) <= leg.place]
        for rate in due:
            book.due.remove(rate)
            self._pay(book, rate, book.position.qty, leg.mark(leg.place), events)

    # Orders

    def _arrive(self, leg: Leg, working: Working, events: list[VenueEvent]) -> None:
        """An order reaches the book: it takes, rests, or is cancelled."""
        intent = working.order.intent
        base = to_decimal(leg.price(leg.place))
        if intent.order_type == "Market" or intent.price is None:
            self._take(leg, working, base, None, events)
            self._end_rest(leg, working, "EC_NoImmediateQtyToFill", events)
            return
        tick = leg.book.instrument.tick_size
        touch = taker_price(base, intent.side, leg.book.spread_frac, tick)
        marketable = intent.price >= touch if working.buy else intent.price <= touch
        qty = self._fillable(leg.book, working)
        if intent.time_in_force == "PostOnly" and marketable:
            self._end_rest(leg, working, "EC_PostOnlyWillTakeLiquidity", events)
        elif intent.time_in_force == "FOK" and not (marketable and ZERO < qty <= leg.capacity):
            self._end_rest(leg, working, "EC_CancelForNoFullFill", events)
        else:
            if marketable:
                self._take(leg, working, base, intent.price, events)
            if intent.time_in_force in ("IOC", "FOK"):
                self._end_rest(leg, working, "EC_NoImmediateQtyToFill", events)
            elif not qty:
                self._end_rest(leg, working, "CancelByReduceOnly", events)
            else:
                working.resting = True

    def _fillable(self, book: Book, working: Working) -> Decimal:
        """What is left of the order; a reduce-only order is cut to the position it would reduce."""
        leaves = working.order.leaves_qty
        if not working.order.intent.reduce_only:
            return leaves
        held = -book.position.qty if working.buy else book.position.qty
        return min(leaves, max(held, ZERO))

    def _take(
        self, leg: Leg, working: Working, base: Decimal, limit: Decimal | None, events: list[VenueEvent]
    ) -> None:
        """Fill against the book at ``base`` made worse by spread and impact, as far as the volume goes."""
        side = working.order.intent.side
        qty = min(self._fillable(leg.book, working), leg.capacity)
        if qty <= ZERO:
            return
        price = self._taker_price(leg, base, side, qty)
        if limit is not None:
            price = min(price, limit) if working.buy else max(price, limit)
        leg.capacity -= qty
        self._fill_order(leg, working, qty, price, base, events)

    def _taker_price(self, leg: Leg, base: Decimal, side: Side, qty: Decimal) -> Decimal:
        slip = leg.book.spread_frac + self.terms.impact(leg.bar, qty)
        return taker_price(base, side, slip, leg.book.instrument.tick_size)

    def _make(self, leg: Leg, working: Working, events: list[VenueEvent]) -> None:
        """The price went through a resting order: it fills at its own price, as far as the volume goes."""
        price = working.order.intent.price
        assert price is not None, "only limit orders rest"
        qty = min(self._fillable(leg.book, working), leg.capacity)
        if qty <= ZERO:
            self._end(leg.book, working, "CancelByReduceOnly", leg.ts_ms(leg.place), events)
            return
        leg.capacity -= qty
        self._fill_order(leg, working, qty, price, None, events)

    def _fill_order(
        self,
        leg: Leg,
        working: Working,
        qty: Decimal,
        price: Decimal,
        base: Decimal | None,
        events: list[VenueEvent],
    ) -> None:
        """Book a fill of one of our orders; ``base`` is the price without slippage, None for a maker."""
        order, book, ts_ms = working.order, leg.book, leg.ts_ms(leg.place)
        first = not order.filled_qty
        order.filled_qty += qty
        done = order.filled_qty == order.intent.qty
        order.move(OrderState.FILLED if done else OrderState.PARTIAL)
        if done:
            book.orders.remove(working)
        fill = self._fill(
            book, order.intent.side, qty, price, ts_ms, order.order_id, base=base, maker=base is None
        )
        self._book_fill(book, fill, order.intent if first else None, events)

    def _end_rest(self, leg: Leg, working: Working, reason: str, events: list[VenueEvent]) -> None:
        """Cancel what is left of an order, if it was not filled whole."""
        if working.order.leaves_qty:
            intent = working.order.intent
            if intent.reduce_only and not self._fillable(leg.book, working):
                reason = "CancelByReduceOnly"
            self._end(leg.book, working, reason, leg.ts_ms(leg.place), events)

    def _end(self, book: Book, working: Working, reason: str, ts_ms: int, events: list[VenueEvent]) -> None:
        working.order.move(OrderState.CANCELLED)
        book.orders.remove(working)
        events.append(OrderCancelled(ts_ms, working.order.order_id, reason))

    # Closes that the venue makes

    def _protect(self, leg: Leg, cause: FillCause, events: list[VenueEvent]) -> None:
        """A stop or target was touched: close at the market from its price, or from beyond it after a gap."""
        book = leg.book
        level = book.stop_loss if cause == "stop_loss" else book.take_profit
        assert level is not None, "only a stop that is set can trigger"
        price = to_decimal(leg.price(leg.place))
        base = price if abs(price - level) > level * _NEAR else level
        qty = min(abs(book.position.qty), leg.capacity)
        leg.capacity -= qty
        side: Side = "Sell" if book.position.qty > ZERO else "Buy"
        worsened = self._taker_price(leg, base, side, qty)
        self._close(book, qty, worsened, base, cause, leg.ts_ms(leg.place), events)

    def _liquidate_position(self, leg: Leg, events: list[VenueEvent]) -> None:
        """Isolated: the position is taken over at its bankruptcy price, which costs its margin."""
        book, ts_ms = leg.book, leg.ts_ms(leg.place)
        for working in list(book.orders):
            self._end(book, working, "CancelByPrepareLiq", ts_ms, events)
        entry, long = book.position.entry_price, book.position.qty > ZERO
        assert entry is not None, "only an open position is liquidated"
        # Rounded in our favour: a tick more could cost more than the margin.
        price = worse(
            bankruptcy_price(entry, book.leverage, long), "Buy" if long else "Sell", book.instrument.tick_size
        )
        self._close(book, abs(book.position.qty), price, price, "liquidation", ts_ms, events)
        self._count_liquidation()

    def _liquidate_account(self, legs: Sequence[Leg], place: float, events: list[VenueEvent]) -> None:
        """Cross: every order is cancelled and every position closed at the market, whatever the volume.

        Simpler than the venue's ladder, and never kinder: a gap can leave the wallet below zero, which
        ``facts`` then says.
        """
        ts_ms = legs[0].ts_ms(place)
        walked = {leg.book.symbol: leg for leg in legs}
        for book in self._books.values():
            for working in list(book.orders):
                self._end(book, working, "CancelAllBeforeLiq", ts_ms, events)
        for book in list(self.account.held.values()):
            leg = walked.get(book.symbol)
            qty = abs(book.position.qty)
            side: Side = "Sell" if book.position.qty > ZERO else "Buy"
            assert book.last is not None, "a position was filled on a bar"
            if leg is not None:
                leg.place = place
                base = to_decimal(leg.price(place))
                price = self._taker_price(leg, base, side, qty)
            else:
                base = to_decimal(book.last.close)
                price = taker_price(base, side, book.spread_frac, book.instrument.tick_size)
            self._close(book, qty, price, base, "liquidation", ts_ms, events)
        for book in self._books.values():
            self._watch(book)
        self._count_liquidation()

    def _count_liquidation(self) -> None:
        self.facts.liquidations += 1
        self.facts.bankruptcies += self.wallet_quote < ZERO

    def _breach(self, legs: Sequence[Leg], place: float) -> float:
        """First place from ``place`` on where a cross account's equity is below its maintenance margin.

        Equity is linear between the points of the paths, so it is looked at there and interpolated.
        """
        held = self.account.held
        walked = {leg.book.symbol: leg for leg in legs if leg.book.symbol in held}
        if all(leg.safe() for leg in walked.values()):
            return inf

        def slack(at: float) -> float:
            return self.account.slack(
                lambda book: walked[book.symbol].mark(at) if book.symbol in walked else book.mark()
            )

        before = slack(place)
        if before < 0.0:
            return place
        for at in sorted({at for leg in walked.values() for at in leg.mark_path.places() if at > place}):
            after = slack(at)
            if after < 0.0:
                return place + (at - place) * before / (before - after)
            place, before = at, after
        return inf

    def _close(
        self,
        book: Book,
        qty: Decimal,
        price: Decimal,
        base: Decimal,
        cause: FillCause,
        ts_ms: int,
        events: list[VenueEvent],
    ) -> None:
        """Book an execution that nobody of ours ordered."""
        self._closes += 1
        order_id = f"{book.symbol}-{_PROTECTIVE[cause]}-{self._closes}"
        side: Side = "Sell" if book.position.qty > ZERO else "Buy"
        fill = self._fill(book, side, qty, price, ts_ms, order_id, base=base, cause=cause)
        self._book_fill(book, fill, None, events)

    # Fills

    def _fill(
        self,
        book: Book,
        side: Side,
        qty: Decimal,
        price: Decimal,
        ts_ms: int,
        order_id: str,
        *,
        base: Decimal | None,
        maker: bool = False,
        cause: FillCause = "order",
    ) -> Fill:
        self._executions += 1
        return Fill(
            ts_ms=ts_ms,
            symbol=book.symbol,
            side=side,
            qty=qty,
            price=price,
            fee_quote=self.terms.fee_quote(qty, price, maker),
            order_id=order_id,
            exec_id=f"exec-{self._executions}",
            maker=maker,
            cause=cause,
            slippage_quote=ZERO if base is None else to_money(abs(price - base) * qty),
        )

    def _book_fill(self, book: Book, fill: Fill, intent: Intent | None, events: list[VenueEvent]) -> None:
        """Move position and cash, then the protective orders: they end with the position they protect."""
        cash, before = self.account.cash, book.position.qty
        realised = book.position.apply(fill.side, fill.qty, fill.price)
        cash.realised += realised
        cash.fees += fill.fee_quote
        if realised < ZERO:
            self.facts.shortfall_quote = max(self.facts.shortfall_quote, -cash.balance)
        book.changes.append((fill.ts_ms, before))
        events.append(Filled(fill))
        after = book.position.qty
        if after:
            self.account.held[book.symbol] = book
        else:
            self.account.held.pop(book.symbol, None)
        ended = bool(before) and (not after or (after > ZERO) != (before > ZERO))
        self._follow_stops(book, fill, ended, intent, events)
        if ended:
            self._end_reducing(book, fill.ts_ms, events)

    def _follow_stops(
        self, book: Book, fill: Fill, ended: bool, intent: Intent | None, events: list[VenueEvent]
    ) -> None:
        """Drop the stops of a position that ended, take over those of an order that opened or added."""
        old = (book.stop_loss, book.take_profit)
        new = (None, None) if ended else old
        qty = book.position.qty
        if intent is not None and qty and (qty > ZERO) == (fill.side == "Buy"):
            new = (
                intent.stop_loss if intent.stop_loss is not None else new[0],
                intent.take_profit if intent.take_profit is not None else new[1],
            )
        if new != old:
            book.stop_loss, book.take_profit = new
            events.append(StopsChanged(fill.ts_ms, book.symbol, *new))

    def _end_reducing(self, book: Book, ts_ms: int, events: list[VenueEvent]) -> None:
        """Resting reduce-only orders go with the position they were to reduce."""
        for working in [w for w in book.orders if w.resting and w.order.intent.reduce_only]:
            if not self._fillable(book, working):
                self._end(book, working, "CancelByReduceOnly", ts_ms, events)


def _earliest(legs: Sequence[Leg], steps: Sequence[Step | None]) -> tuple[Leg | None, Step | None]:
    """The leg whose next step comes first, symbol order deciding ties."""
    first: tuple[Leg | None, Step | None] = (None, None)
    for leg, step in zip(legs, steps, strict=True):
        if step is not None and (first[1] is None or step[:2] < first[1][:2]):
            first = (leg, step)
    return first
