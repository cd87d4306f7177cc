"""Orders, stops and margin calls against one bar: each step of the walk, and what it does.

- A market order takes at the price of its place, made worse by half the spread and the impact; what the
  bar's volume cannot fill is cancelled.
- A limit order that the quote already crosses takes, never beyond its limit; one that rests fills as maker
  at its own price once the path goes *through* it, as far as the volume goes. A touch fills nothing: we
  are last in the queue. Where a whole bar lies beyond the limit it fills at the bar's nearest price, so
  that no fill has a price that nobody traded at.
- Stop and target are market orders triggered by a touch of the last price. A gap over the stop fills at
  the first price behind it. What the volume cannot close stays open behind the same stop.
- Isolated liquidation is a take-over at the bankruptcy price; cross liquidation closes everything at the
  market, whatever the volume.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf

from bot.domain.ledger import FillCause
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Side
from bot.exchange.account import Account, bankruptcy_price
from bot.exchange.book import Book, Working
from bot.exchange.clearing import Clearing
from bot.exchange.terms import Terms, taker_price, worse
from bot.exchange.walk import Leg, Step

_NEAR = Decimal("1e-9")
"""A stop met on the way is a float's error from its own price; a gap is farther."""


class Matching:
    """Carries out steps; every change goes through the clearing."""

    def __init__(
        self, terms: Terms, account: Account[Book], clearing: Clearing, books: Mapping[str, Book]
    ) -> None:
        self._terms = terms
        self._account = account
        self._clearing = clearing
        self._books = books

    def act(self, leg: Leg, step: Step) -> None:
        """Do one step at ``leg.place``."""
        action, working = step.action, step.working
        if working is None:
            if action == "funding":
                self._pay_due(leg)
            elif action == "liquidation":
                self._take_over(leg)
            else:
                self._protect(leg, "stop_loss" if action == "stop_loss" else "take_profit")
        elif action == "arrive":
            self._arrive(leg, working)
        elif action == "limit":
            self._make(leg, working)
        else:
            self._clearing.end(leg.book, working, "CancelByUser", leg.ts_ms(leg.place))

    def _pay_due(self, leg: Leg) -> None:
        book = leg.book
        for rate in [rate for rate in book.due if leg.place_of(rate.ts_ms) <= leg.place]:
            book.due.remove(rate)
            self._clearing.pay_funding(book, rate, book.position.qty, leg.mark(leg.place))

    # Orders

    def _arrive(self, leg: Leg, working: Working) -> None:
        """An order reaches the venue's book: it takes, rests, or is cancelled."""
        base = to_decimal(leg.price(leg.place))
        if working.order.intent.order_type == "Market":
            if self._is_stale(leg, working):
                self._end_rest(leg, working, "NoMarketData")
                return
            self._take(leg, working, base, None)
            self._end_rest(leg, working, "EC_NoImmediateQtyToFill")
        else:
            self._arrive_limit(leg, working, base)

    def _is_stale(self, leg: Leg, working: Working) -> bool:
        """Whether a hole in the bars lies between an entry and the first price: it was meant for another."""
        late_ms = leg.bar.start_ms - working.active_ms
        return late_ms >= leg.bar.interval_ms and not working.order.intent.reduce_only

    def _arrive_limit(self, leg: Leg, working: Working, base: Decimal) -> None:
        intent, book = working.order.intent, leg.book
        limit = working.limit
        touch = taker_price(base, intent.side, book.spread_frac, book.instrument.tick_size)
        marketable = limit >= touch if working.buy else limit <= touch
        qty = working.fillable(book.position.qty)
        if intent.time_in_force == "PostOnly" and marketable:
            self._end_rest(leg, working, "EC_PostOnlyWillTakeLiquidity")
            return
        if intent.time_in_force == "FOK" and not (marketable and ZERO < qty <= leg.capacity):
            self._end_rest(leg, working, "EC_CancelForNoFullFill")
            return
        if marketable:
            self._take(leg, working, base, limit)
        if intent.time_in_force in ("IOC", "FOK") or not qty:
            self._end_rest(leg, working, "EC_NoImmediateQtyToFill")
        else:
            working.resting = True

    def _take(self, leg: Leg, working: Working, base: Decimal, limit: Decimal | None) -> None:
        """Fill from ``base`` on, as far as the volume goes."""
        qty = min(working.fillable(leg.book.position.qty), leg.capacity)
        if qty <= ZERO:
            return
        price = self._worsened(leg, base, working.order.intent.side, qty)
        if limit is not None:
            price = min(price, limit) if working.buy else max(price, limit)
        leg.capacity -= qty
        self._clearing.fill(leg.book, working, qty, price, base, leg.ts_ms(leg.place))

    def _make(self, leg: Leg, working: Working) -> None:
        """The price went through a resting order."""
        qty = min(working.fillable(leg.book.position.qty), leg.capacity)
        leg.capacity -= qty
        if working.buy:
            price = min(working.limit, to_decimal(leg.bar.high))
        else:
            price = max(working.limit, to_decimal(leg.bar.low))
        self._clearing.fill(leg.book, working, qty, price, None, leg.ts_ms(leg.place))

    def _end_rest(self, leg: Leg, working: Working, reason: str) -> None:
        """Cancel what is left of an order, if it was not filled whole."""
        if working.order.leaves_qty:
            if working.order.intent.reduce_only and not working.fillable(leg.book.position.qty):
                reason = "CancelByReduceOnly"
            self._clearing.end(leg.book, working, reason, leg.ts_ms(leg.place))

    def _worsened(self, leg: Leg, base: Decimal, side: Side, qty: Decimal) -> Decimal:
        slip = leg.book.spread_frac + self._terms.impact(leg.bar, qty)
        return taker_price(base, side, slip, leg.book.instrument.tick_size)

    # Closes that the venue makes

    def _protect(self, leg: Leg, cause: FillCause) -> None:
        """A stop or target was touched: close at the market from its price, or from beyond it after a gap."""
        book = leg.book
        level = book.stop_loss if cause == "stop_loss" else book.take_profit
        assert level is not None, "only a stop that is set can trigger"
        price = to_decimal(leg.price(leg.place))
        base = price if abs(price - level) > level * _NEAR else level
        qty = min(abs(book.position.qty), leg.capacity)
        leg.capacity -= qty
        worsened = self._worsened(leg, base, "Sell" if book.size > 0.0 else "Buy", qty)
        self._clearing.close(book, qty, worsened, base, cause, leg.ts_ms(leg.place))

    def _take_over(self, leg: Leg) -> None:
        """Isolated liquidation: at the bankruptcy price, which costs the position its margin."""
        book, ts_ms = leg.book, leg.ts_ms(leg.place)
        self._clearing.end_all(book, "CancelByPrepareLiq", ts_ms)
        entry, long = book.position.entry_price, book.size > 0.0
        assert entry is not None, "only an open position is liquidated"
        bankrupt = bankruptcy_price(entry, book.leverage, long)
        # Rounded in our favour: a tick the other way could cost more than the margin.
        price = worse(bankrupt, "Buy" if long else "Sell", book.instrument.tick_size)
        self._clearing.close(book, abs(book.position.qty), price, price, "liquidation", ts_ms)
        self._clearing.count_liquidation()

    def liquidate_account(self, legs: Sequence[Leg], place: float) -> None:
        """Cross liquidation at ``place``: every order is cancelled, every position closed at the market.

        Simpler than the venue's ladder, and never kinder: a gap can leave the wallet below zero, which
        ``facts`` then says.
        """
        ts_ms = legs[0].ts_ms(place)
        walked = {leg.book.symbol: leg for leg in legs}
        for book in self._books.values():
            self._clearing.end_all(book, "CancelAllBeforeLiq", ts_ms)
        for book in list(self._account.held.values()):
            qty = abs(book.position.qty)
            base, price = self._market_close(book, walked.get(book.symbol), place, qty)
            self._clearing.close(book, qty, price, base, "liquidation", ts_ms)
        for book in self._books.values():
            self._clearing.watch(book)
        self._clearing.count_liquidation()

    def _market_close(
        self, book: Book, leg: Leg | None, place: float, qty: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Price without and with slippage; a symbol without a bar now closes around its last close."""
        side: Side = "Sell" if book.size > 0.0 else "Buy"
        if leg is not None:
            leg.place = place
            base = to_decimal(leg.price(place))
            return base, self._worsened(leg, base, side, qty)
        last = book.last_price()
        assert last is not None, "a position was filled on a bar"
        return last, taker_price(last, side, book.spread_frac, book.instrument.tick_size)

    def breach(self, legs: Iterable[Leg], place: float) -> float:
        """First place from ``place`` on where a cross account's equity is below its maintenance margin.

        Equity is linear between the points of the paths, so it is looked at there and interpolated.
        """
        held = self._account.held
        walked = {leg.book.symbol: leg for leg in legs if leg.book.symbol in held}

        def slack(at: float) -> float:
            return self._account.slack(
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
