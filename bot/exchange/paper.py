"""Paper trading: the live exchange in this process, moved by what a live feed tells.

A market order fills at the bid or ask that is current when it arrives, ``latency_ms`` after it was sent;
one that arrives more than ``stale_ms`` after the last quote is cancelled (``NoMarketData``), so nothing is
ever filled at a price that may be gone. There is no chance in it: the same events give the same fills.

What the feed does not tell is taken so:

- sizes at the touch: ``participation_frac`` of the last closed bar's volume for all orders together until
  the next close (``liquidity="full"``: enough);
- trades: each update of an open candle is a trade at its close, and at a new high or low of the candle,
  the one further from the close first; so resting orders and stops see every price the feed told of;
- a mark, where no mark prices come: the close of each bar.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import assert_never

import msgspec

from bot.domain.ledger import Fill, FillCause
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
    StopsRejected,
    VenueEffect,
    VenueEvent,
)
from bot.domain.money import ZERO, to_decimal, to_money
from bot.exchange.clearing import Facts
from bot.exchange.depth import Depth
from bot.exchange.live import LiveExchange
from bot.exchange.live_orders import Executed, Execution, LiveOrder, NewOrder, OrderChanged
from bot.exchange.protection import NOT_MODIFIED
from bot.exchange.rules import Refusal
from bot.exchange.terms import UNLIMITED, Terms

STALE_MS = 5_000
_CAUSES: dict[str, FillCause] = {
    "CreateByStopLoss": "stop_loss",
    "CreateByTrailingStop": "stop_loss",
    "CreateByTakeProfit": "take_profit",
    "CreateByLiq": "liquidation",
    "CreateByTakeOver_PassThrough": "liquidation",
    "CreateByAdl_PassThrough": "liquidation",
}
_GENERAL = ("EC_NoError", "EC_PerCancelRequest")


class PaperVenue:
    """Implements ``ports.Venue`` on ``LiveExchange``: one-way mode, one account.

    Args:
        instruments: rules per symbol; an order for any other symbol is refused.
        wallet_quote: USDT at the start.
        terms: fees, leverage, margin mode, latency and share of the volume.
        stale_ms: oldest quote at which an order is still executed.

    With a latency, what was submitted is answered by the ``advance`` after its arrival.
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
        self.live = LiveExchange(instruments, wallet_quote, self.terms)
        """The exchange itself, for reports."""
        self._stale_ms = stale_ms
        self._now_ms = 0
        self._under_way: list[tuple[int, VenueEffect]] = []
        """(arrival, effect), oldest first."""
        self._touches = {symbol: _Touch() for symbol in instruments}
        self._stops: dict[str, tuple[Decimal | None, Decimal | None]] = {}
        """Last told per symbol."""
        self._orders: dict[str, str] = {}
        """Our id by the exchange's order id, of orders not ended."""

    @property
    def facts(self) -> Facts:
        """Counts that a report must give."""
        return self.live.facts

    @property
    def wallet_quote(self) -> Decimal:
        """Wallet balance."""
        return self.live.account.wallet_quote

    @property
    def equity_quote(self) -> Decimal:
        """Wallet plus open profit at the marks."""
        return self.live.account.equity_quote

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
                there = self.live.order_id_of(order_id)
                if there is not None and self.live.order(symbol, there) is not None:
                    self.live.cancel(symbol, there, ts_ms)
                return self._told(ts_ms)
            case SetStops():
                return self._set_stops(effect, ts_ms)
        assert_never(effect)

    def _place(self, effect: PlaceOrder, ts_ms: int) -> list[VenueEvent]:
        intent, order_id = effect.intent, effect.order_id
        touch = self._touches.get(intent.symbol)
        if touch is not None and ts_ms - touch.quoted_ms > self._stale_ms:
            return [OrderAccepted(ts_ms, order_id), OrderCancelled(ts_ms, order_id, "NoMarketData")]
        new = NewOrder(
            order_id=order_id,
            link_id=order_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            qty=intent.qty,
            price=intent.price,
            time_in_force=intent.time_in_force,
            reduce_only=intent.reduce_only,
            stop_loss=intent.stop_loss,
            take_profit=intent.take_profit,
        )
        refusal = self.live.place(new, ts_ms)
        if refusal is not None:
            return [_rejected(ts_ms, order_id, refusal)]
        self._orders[order_id] = order_id
        return [OrderAccepted(ts_ms, order_id), *self._told(ts_ms)]

    def _set_stops(self, effect: SetStops, ts_ms: int) -> list[VenueEvent]:
        refusal = self.live.trading_stop(
            effect.symbol,
            0,
            now_ms=ts_ms,
            stop_loss=effect.stop_loss if effect.stop_loss is not None else ZERO,
            take_profit=effect.take_profit if effect.take_profit is not None else ZERO,
        )
        if refusal is not None and refusal != NOT_MODIFIED:
            return [StopsRejected(ts_ms, effect.symbol, refusal.code, refusal.reason)]
        self._stops[effect.symbol] = (effect.stop_loss, effect.take_profit)
        told = self._told(ts_ms)
        return [*told, StopsChanged(ts_ms, effect.symbol, effect.stop_loss, effect.take_profit)]

    # What the market does

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let what was sent arrive, then let the market move."""
        self._now_ms = max(self._now_ms, event.ts_ms)
        told: list[VenueEvent] = []
        while self._under_way and self._under_way[0][0] <= self._now_ms:
            arrival_ms, effect = self._under_way.pop(0)
            told.extend(self._arrive(effect, arrival_ms))
        self._move(event)
        told.extend(self._told(self._now_ms))
        return told

    def _move(self, event: MarketEvent) -> None:
        match event:
            case Quote():
                self._quote(event)
            case Candle():
                self._candle(event)
            case MarkPrice(ts_ms=ts_ms, symbol=symbol, price=price):
                if 0.0 < price < inf and symbol in self._touches:
                    self._touches[symbol].marked = True
                    self.live.mark(symbol, ts_ms, to_decimal(price))
            case FundingRate(ts_ms=ts_ms, symbol=symbol, rate=rate):
                self.live.settle_funding(symbol, ts_ms, rate)
            case InstrumentChanged(instrument=instrument):
                self.live.change(instrument)
                self._touches.setdefault(instrument.symbol, _Touch())
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
        self.live.quote(quote.symbol, quote.ts_ms, depth)

    def _candle(self, candle: Candle) -> None:
        touch = self._touches.get(candle.symbol)
        if touch is None:
            return
        fresh = candle.start_ms != touch.start_ms
        if candle.start_ms < touch.start_ms:
            return
        before = _Seen(candle.open, candle.open, 0.0) if fresh else touch.seen
        touch.start_ms, touch.seen = candle.start_ms, _Seen(candle.high, candle.low, candle.volume)
        extremes = [candle.high] if candle.high > before.high else []
        extremes += [candle.low] if candle.low < before.low else []
        prices = sorted(extremes, key=lambda price: -abs(price - candle.close))
        prices.append(candle.close)
        share = self._share((candle.volume - before.volume) / len(prices))
        for price in prices:
            qty = max(min(share, touch.left), ZERO)
            self.live.trade(candle.symbol, candle.ts_ms, to_decimal(price), qty)

    def _share(self, volume: float) -> Decimal:
        """What of others' volume we may count on."""
        if self.terms.liquidity == "full":
            return UNLIMITED
        return to_decimal(max(volume, 0.0) * self.terms.participation_frac)

    def _bar(self, bar: Bar, live: bool) -> None:
        """A close: the volume that may be used until the next, and a mark where none are told."""
        touch = self._touches[bar.symbol]
        touch.left = self.terms.capacity(bar, self.live.instrument(bar.symbol))
        if not touch.marked:
            self.live.mark(bar.symbol, bar.close_ms, to_decimal(bar.close))
        if live:
            self.live.trade(bar.symbol, bar.close_ms, to_decimal(bar.close), ZERO)

    # What is told

    def _told(self, ts_ms: int) -> list[VenueEvent]:
        """What happened, in our words: executions, then ends of orders, then stops that moved."""
        events: list[VenueEvent] = []
        ends: list[VenueEvent] = []
        symbols: dict[str, None] = {}
        for each in self.live.drain():
            if isinstance(each, Executed):
                events.append(self._executed(each))
                symbols[each.execution.symbol] = None
            elif isinstance(each, OrderChanged):
                ends.extend(self._ended(each.order, each.ts_ms))
                symbols[each.order.symbol] = None
        for symbol in symbols:
            ends.extend(self._stops_moved(symbol, ts_ms))
        return [*events, *ends]

    def _executed(self, told: Executed) -> VenueEvent:
        done = told.execution
        if done.exec_type == "Funding":
            return FundingPaid(done.ts_ms, done.symbol, -done.fee_quote)
        self._touches[done.symbol].left -= done.qty
        return Filled(
            Fill(
                done.ts_ms,
                done.symbol,
                done.side,
                done.qty,
                done.price,
                done.fee_quote,
                done.link_id or done.order_id,
                done.exec_id,
                done.maker,
                _CAUSES.get(done.create_type, "order"),
                _slippage_quote(done),
            )
        )

    def _ended(self, order: LiveOrder, ts_ms: int) -> list[VenueEvent]:
        if order.open or order.status == "Triggered" or self._orders.pop(order.order_id, None) is None:
            return []
        if order.status == "Filled":
            return []
        reason = order.cancel_type if order.reject_reason in _GENERAL else order.reject_reason
        return [OrderCancelled(ts_ms, order.link_id, reason)]

    def _stops_moved(self, symbol: str, ts_ms: int) -> list[VenueEvent]:
        view = self.live.position(symbol, 0)
        assert view is not None, "a symbol of an order is known, in one-way mode"
        now = (view.stop_loss or None, view.take_profit or None)
        if now == self._stops.get(symbol, (None, None)):
            return []
        self._stops[symbol] = now
        return [StopsChanged(ts_ms, symbol, *now)]


class _Seen(msgspec.Struct, frozen=True):
    """An open candle as far as it was told."""

    high: float
    low: float
    volume: float


class _Touch:
    """What is known of one symbol's market."""

    __slots__ = ("left", "marked", "quoted_ms", "seen", "start_ms")

    def __init__(self) -> None:
        self.quoted_ms = -(10**15)
        self.left: Decimal = UNLIMITED
        """Base that may still be executed until the next close."""
        self.marked = False
        self.start_ms = -1
        self.seen = _Seen(0.0, 0.0, 0.0)


def _rejected(ts_ms: int, order_id: str, refusal: Refusal) -> OrderRejected:
    return OrderRejected(ts_ms, order_id, refusal.code, refusal.reason)


def _slippage_quote(done: Execution) -> Decimal:
    """What was paid against the middle of the touch."""
    if done.base_price is None:
        return ZERO
    worse = done.price - done.base_price if done.side == "Buy" else done.base_price - done.price
    return to_money(max(worse, ZERO) * done.qty)
