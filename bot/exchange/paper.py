"""Paper trading: an exchange in this process, moved by the events of a live feed.

A market order fills at the bid or ask that is current when it arrives, ``latency_ms`` after it was sent;
one that arrives more than ``stale_ms`` after the last quote is cancelled (``NoMarketData``), so nothing is
ever filled at a price that may be gone. Nothing is random: the same events give the same fills.

A live feed leaves some things unknown. They are assumed as follows:

- sizes at the touch: ``participation_frac`` of the last closed bar's volume for all orders together until
  the next close (``liquidity="full"``: enough);
- the touch after a trade outside it: around the trade's price, the spread kept, until the next quote;
- a bar that comes late, after an outage or a restart: its open, its extremes and its close are trades, so
  what rested meanwhile meets them; if the marks of its time did not come either, they are marks, too, so a
  position is liquidated that a backtest of this bar would liquidate;
- trades: each update of an open candle is a trade at its close, and at a new high or low of the candle,
  the one further from the close first; so resting orders and stops see every price of the feed;
- the mark, if no mark prices come: the close of each bar. A rate that becomes known late is paid at the mark
  of its own time, or at the close of the bar that ended then.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import assert_never

from bot.domain.market import Bar, Instrument
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Filled,
    FundingRate,
    Gap,
    InstrumentChanged,
    MarketEvent,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    PlaceOrder,
    Quote,
    SetStops,
    SetTrailing,
    VenueEffect,
    VenueEvent,
)
from bot.domain.money import ZERO, to_decimal
from bot.exchange import snapshot
from bot.exchange.inner import InnerVenue
from bot.exchange.ledger.booking import SimulationFacts
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.reports import VenueReports
from bot.exchange.terms import UNLIMITED, Terms
from bot.exchange.touch import Seen, Touch

STALE_MS = 5_000


class PaperVenue(InnerVenue):
    """Implements ``ports.Venue`` on ``QuoteExchange``: one-way mode, one account.

    Args:
        instruments: rules per symbol; an order for any other symbol is refused.
        wallet_quote: USDT at the start.
        terms: fees, leverage, margin mode, latency and share of the volume.
        stale_ms: oldest quote at which an order is still executed.

    With a latency, the ``advance`` after an order's arrival returns its events.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms | None = None,
        *,
        stale_ms: int = STALE_MS,
    ) -> None:
        self.terms = terms if terms is not None else Terms()
        self.exchange = QuoteExchange(instruments, wallet_quote, self.terms)
        """The exchange itself, for reports."""
        self._stale_ms = stale_ms
        self._now_ms = 0
        self._under_way: list[tuple[int, VenueEffect]] = []
        """(arrival, effect), oldest first."""
        self._touches = {symbol: Touch() for symbol in instruments}
        self._reports = VenueReports(self.exchange)

    @property
    def facts(self) -> SimulationFacts:
        """Counts that a report must give."""
        return self.exchange.facts

    @property
    def wallet_quote(self) -> Decimal:
        """Wallet balance."""
        return self.exchange.account.wallet_quote

    @property
    def equity_quote(self) -> Decimal:
        """Wallet plus open profit at the marks."""
        return self.exchange.account.equity_quote

    # What we send

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops at the time of the last event advanced.

        A refused ``SetStops`` is answered with ``StopsRejected``, a cancel of an order that is gone with
        nothing.
        """
        if self.terms.latency_ms:
            self._under_way.append((self._now_ms + self.terms.latency_ms, effect))
            return ()
        return self._arrive(effect, self._now_ms)

    def _arrive(self, effect: VenueEffect, ts_ms: int) -> list[VenueEvent]:
        match effect:
            case PlaceOrder():
                return self._place(effect, ts_ms)
            case CancelOrder(order_id=order_id, symbol=symbol):
                return self._counted(self._reports.cancel(symbol, order_id, ts_ms))
            case SetStops():
                return self._counted(self._reports.set_stops(effect, ts_ms))
            case SetTrailing():
                return self._counted(self._reports.set_trailing(effect, ts_ms))
        assert_never(effect)

    def _place(self, effect: PlaceOrder, ts_ms: int) -> list[VenueEvent]:
        touch = self._touches.get(effect.intent.symbol)
        if touch is not None and ts_ms - touch.quoted_ms > self._stale_ms:
            order_id = effect.order_id
            return [OrderAccepted(ts_ms, order_id), OrderCancelled(ts_ms, order_id, "NoMarketData")]
        answers = self._reports.place(effect, ts_ms)
        if touch is not None:
            touch.acted_ms = ts_ms
        return [*answers, *self._counted(self._reports.drain())]

    def _counted(self, events: list[VenueEvent]) -> list[VenueEvent]:
        """Return ``events`` unchanged; subtract their fills from the volume that may still be used."""
        for event in events:
            if isinstance(event, Filled):
                touch = self._touches[event.fill.symbol]
                touch.left -= event.fill.qty
                touch.acted_ms = max(touch.acted_ms, event.fill.ts_ms)
        return events

    # What survives the process

    def snapshot(self) -> bytes:
        """Return the whole venue between two events, as JSON with a version and a checksum."""
        return snapshot.of_paper(self)

    def _take_over(self, body: bytes, *, moves: bool) -> None:
        snapshot.restore_paper(self, body, moves=moves)

    # What the market does

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let submitted orders and cancels arrive, then let the market move."""
        self._now_ms = max(self._now_ms, event.ts_ms)
        events: list[VenueEvent] = []
        while self._under_way and self._under_way[0][0] <= self._now_ms:
            arrival_ms, effect = self._under_way.pop(0)
            events.extend(self._arrive(effect, arrival_ms))
        self._move(event)
        events.extend(self._counted(self._reports.drain()))
        return events

    def _move(self, event: MarketEvent) -> None:
        match event:
            case Quote():
                self._quote(event)
            case Candle():
                self._candle(event)
            case MarkPrice(ts_ms=ts_ms, symbol=symbol, price=price):
                if 0.0 < price < inf and symbol in self._touches:
                    self._touches[symbol].marked = True
                    self.exchange.mark(symbol, ts_ms, to_decimal(price))
            case FundingRate(ts_ms=ts_ms, symbol=symbol, rate=rate):
                self.exchange.settle_funding(symbol, ts_ms, rate)
            case InstrumentChanged(instrument=instrument):
                self.exchange.change(instrument, self._now_ms)
                self._touches.setdefault(instrument.symbol, Touch())
            case BarsClosed(bars=bars, live=live):
                for bar in bars:
                    if bar.symbol in self._touches:
                        self._bar(bar, live)
            case Gap():
                pass
            case _:
                assert_never(event)

    def _quote(self, quote: Quote) -> None:
        touch = self._touches.get(quote.symbol)
        if touch is None or not 0.0 < quote.bid <= quote.ask < inf or quote.ts_ms < touch.quoted_ms:
            return
        touch.quoted_ms = quote.ts_ms
        depth = Depth.touch(to_decimal(quote.bid), to_decimal(quote.ask), max(touch.left, ZERO))
        self.exchange.quote(quote.symbol, quote.ts_ms, depth)

    def _candle(self, candle: Candle) -> None:
        touch = self._touches.get(candle.symbol)
        if touch is None:
            return
        fresh = candle.start_ms != touch.start_ms
        if candle.start_ms < touch.start_ms:
            return
        before = Seen(candle.open, candle.open, 0.0) if fresh else touch.seen
        touch.start_ms, touch.seen = candle.start_ms, Seen(candle.high, candle.low, candle.volume)
        extremes = [candle.high] if candle.high > before.high else []
        extremes += [candle.low] if candle.low < before.low else []
        prices = sorted(extremes, key=lambda price: -abs(price - candle.close))
        prices.append(candle.close)
        share = self._share((candle.volume - before.volume) / len(prices))
        for price in prices:
            qty = max(min(share, touch.left), ZERO)
            self.exchange.trade(candle.symbol, candle.ts_ms, to_decimal(price), qty)

    def _share(self, volume: float) -> Decimal:
        """Return the part of the offered quantity that our orders may fill."""
        if self.terms.liquidity == "full":
            return UNLIMITED
        return to_decimal(max(volume, 0.0) * self.terms.participation_frac)

    def _bar(self, bar: Bar, live: bool) -> None:
        """Take a closed bar: set the volume until the next close, and the mark if no marks come.

        A bar that comes late was not seen as it formed: orders meet its prices now, and nothing is spared.
        """
        touch = self._touches[bar.symbol]
        if not live and bar.close_ms > touch.acted_ms and self.exchange.is_busy(bar.symbol):
            self._meet(bar, touch)
        touch.left = self.terms.capacity(bar, self.exchange.instrument(bar.symbol))
        if not touch.marked:
            self.exchange.mark(bar.symbol, bar.close_ms, to_decimal(bar.close))
        self.exchange.fill_mark(bar.symbol, bar.close_ms - 1, to_decimal(bar.close))
        if live:
            self.exchange.trade(bar.symbol, bar.close_ms, to_decimal(bar.close), ZERO)

    def _meet(self, bar: Bar, touch: Touch) -> None:
        """Let orders meet the prices of a bar whose candle nobody saw, or saw in part, as trades in it.

        Only prices beyond those seen count, from the open on, the extreme further from the close first.
        """
        partly = bar.start_ms == touch.start_ms
        seen = touch.seen if partly else Seen(bar.open, bar.open, 0.0)
        extremes = [bar.high] if bar.high > seen.high else []
        extremes += [bar.low] if bar.low < seen.low else []
        prices = [] if partly else [bar.open]
        prices += [*sorted(extremes, key=lambda price: -abs(price - bar.close)), bar.close]
        share = self._share((bar.volume - seen.volume) / len(prices))
        marks_known = self.exchange.knows_marks(bar.symbol, bar.start_ms, bar.close_ms)
        for price in map(to_decimal, prices):
            self.exchange.trade(bar.symbol, bar.close_ms, price, max(share, ZERO))
            if not marks_known:
                self.exchange.meet_mark(bar.symbol, bar.close_ms, price)
        if partly:
            touch.seen = Seen(bar.high, bar.low, bar.volume)
