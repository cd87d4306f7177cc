"""The venue of a backtest and a replay: the exchange that closed bars move, in this process."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import assert_never

from bot.domain.ledger import Position
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
    PlaceOrder,
    Quote,
    SetStops,
    SetTrailing,
    VenueEffect,
    VenueEvent,
)
from bot.exchange import snapshot
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.ids import NumberedIds
from bot.exchange.inner import InnerVenue
from bot.exchange.ledger.booking import SimulationFacts
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.orders import ExchangeOrder
from bot.exchange.reports import VenueReports
from bot.exchange.terms import Terms

_NOTHING: tuple[VenueEvent, ...] = ()


class BarVenue(InnerVenue):
    """Implements ``ports.Venue`` on ``BarExchange``, with its arguments: one-way mode, one account."""

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
    ) -> None:
        self.exchange = BarExchange(
            instruments,
            wallet_quote,
            terms,
            seed=seed,
            ids=ids if ids is not None else NumberedIds("exec-{}"),
            detail=detail,
            mark_bars=mark_bars,
            for_client=False,
        )
        """The exchange itself, for reports."""
        self._reports = VenueReports(self.exchange)

    @property
    def terms(self) -> Terms:
        """What trading costs here."""
        return self.exchange.terms

    @property
    def facts(self) -> SimulationFacts:
        """Counts that a report on the simulation must give."""
        return self.exchange.facts

    @property
    def account(self) -> MarginAccount:
        """Cash, positions and margin."""
        return self.exchange.account

    @property
    def now_ms(self) -> int:
        """The time of the latest event."""
        return self.exchange.now_ms

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
        return {slot.book.symbol: slot.position for slot in self.account.held.values()}

    @property
    def open_orders(self) -> list[ExchangeOrder]:
        """Our open orders, oldest first within a symbol."""
        return [order for order in self.exchange.open_orders(None) if order.link_id]

    @property
    def liquidation_on(self) -> dict[str, str]:
        """Per symbol whether liquidation looks at ``mark`` or ``last`` prices."""
        return self.exchange.liquidation_on

    def stops(self, symbol: str) -> tuple[Decimal | None, Decimal | None]:
        """Stop loss and take profit of a symbol's position."""
        return self._reports.stops(symbol)

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops at the time of the last event advanced.

        A refused ``SetStops`` is answered with ``StopsRejected``. A cancel of an order that is gone, or
        that acts before the cancel can arrive, is answered with nothing: its fill or end was or will be
        reported.
        """
        now_ms = self.exchange.now_ms
        match effect:
            case PlaceOrder(intent=intent):
                self.exchange.expect(intent.symbol, intent.ref_price)
                return self._reports.place(effect, now_ms)
            case CancelOrder(order_id=order_id, symbol=symbol):
                return self._reports.cancel(symbol, order_id, now_ms)
            case SetStops():
                return self._reports.set_stops(effect, now_ms)
            case SetTrailing():
                return self._reports.set_trailing(effect, now_ms)
        assert_never(effect)

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move up to ``event``; fills of a bar are reported with the bar, in time order."""
        exchange = self.exchange
        if type(event) is BarsClosed:
            return self._reports.drain() if exchange.close(event) else _NOTHING
        exchange.start(event.ts_ms)
        match event:
            case FundingRate(ts_ms=ts_ms, symbol=symbol, rate=rate):
                exchange.settle_funding(symbol, ts_ms, rate)
            case MarkPrice(ts_ms=ts_ms, symbol=symbol, price=price):
                exchange.mark(symbol, ts_ms, price)
            case InstrumentChanged(instrument=instrument):
                exchange.change(instrument, event.ts_ms)
            case BarsClosed() | Candle() | Quote() | Gap():
                pass
            case _:
                assert_never(event)
        return self._reports.drain()

    # What survives the process

    def snapshot(self) -> bytes:
        """Return the whole venue between two events, as JSON with a version and a checksum."""
        return snapshot.of_bars(self)

    def _take_over(self, body: bytes, *, moves: bool) -> None:
        snapshot.restore_bars(self, body, moves=moves)

    def settle(self, ts_ms: int) -> Sequence[VenueEvent]:
        """End the run: cancel every order, close every position at its last close for the taker fee."""
        self.exchange.settle(ts_ms)
        return self._reports.drain()
