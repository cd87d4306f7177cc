"""The engine: ``handle(event) -> effects``. No I/O, no clock, no randomness.

Live, paper, backtest and crash recovery all call this one function; they differ only in where events come
from and where effects go. The way of one bar: mark → equity → breaker → forecast → strategy → sizing →
risk → order. Positions and cash change only when a ``Filled`` or ``FundingPaid`` is handled.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf, nan

from bot.domain.errors import BadInput, BadUsage, Broken
from bot.domain.ledger import Fill
from bot.domain.market import HOUR_MS, MINUTE_MS, Bar, Forecast, Instrument
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Command,
    Effect,
    Event,
    Filled,
    FundingPaid,
    FundingRate,
    Gap,
    InstrumentChanged,
    LinkDown,
    LinkUp,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Quote,
    RequestBars,
    RiskChanged,
    SetStops,
    StopsChanged,
    Synced,
    Verdict,
)
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Approved, Intent, Order, OrderState, Side
from bot.engine.forecasting import Forecaster
from bot.engine.state import Desk, EngineState
from bot.risk.breaker import Breaker
from bot.risk.limits import Exposure, Limits, RiskView, check
from bot.strategy.signal import Strategy, Target, View
from bot.strategy.sizing import round_stops, to_intents

_NOTHING: tuple[Effect, ...] = ()


class Assignment:
    """What one symbol is traded with: its rules, its decision interval and its own strategy instance.

    ``round_trip_bps`` is what entering and leaving costs, fees and spread, for strategies to weigh.
    """

    __slots__ = ("instrument", "interval_ms", "round_trip_bps", "strategy")

    def __init__(
        self, instrument: Instrument, interval_ms: int, strategy: Strategy, round_trip_bps: float
    ) -> None:
        self.instrument = instrument
        self.interval_ms = interval_ms
        self.strategy = strategy
        self.round_trip_bps = round_trip_bps


class Engine:
    """The one decision maker.

    Args:
        assignments: what to trade, one entry a symbol.
        cash_quote: the account at the start.
        limits: what risk allows.
        forecasters: by interval, for strategies that ask for the model (``needs_forecast``).
        breaker: as it was left by an earlier run, or None for a fresh one.
        name: first part of every order id, at most 20 characters.
        trade_from_ms: closes before this only warm up: strategies see them, their wishes are ignored.
    """

    def __init__(
        self,
        assignments: Sequence[Assignment],
        cash_quote: Decimal,
        limits: Limits,
        *,
        forecasters: Mapping[int, Forecaster] | None = None,
        breaker: Breaker | None = None,
        name: str = "bot1",
        trade_from_ms: int = 0,
    ) -> None:
        if not 0 < len(name) <= 20:
            raise BadInput(f"the engine's name must have 1 to 20 characters, was {name!r}")
        self._limits = limits
        self._forecasters = dict(forecasters or {})
        self._name = name
        self._trade_from_ms = trade_from_ms
        if breaker is None:
            breaker = Breaker()
        breaker.use(limits)
        ordered = sorted(assignments, key=lambda each: each.instrument.symbol)
        desks = {each.instrument.symbol: _desk(each) for each in ordered}
        self.state = EngineState(cash_quote, desks, breaker)

    def handle(self, event: Event) -> Sequence[Effect]:
        """Apply one event: the only way state ever changes. Returns what the world should do."""
        state = self.state
        state.seq += 1
        if type(event) is BarsClosed:  # nearly every event of a backtest
            return self._on_bars(event)
        state.now_ms = max(state.now_ms, event.ts_ms)
        if self._is_of_others(event):
            return _NOTHING
        match event:
            case Filled(fill):
                return self._on_fill(fill)
            case OrderAccepted() | OrderRejected() | OrderUnknown() | OrderCancelled():
                return self._on_answer(event)
            case FundingPaid():
                return self._on_funding(event)
            case FundingRate(_, symbol, rate):
                self.state.desks[symbol].funding_rate = float(rate)
            case StopsChanged(_, symbol, stop_loss, take_profit):
                self.state.desks[symbol].stops = (stop_loss, take_profit)
            case Candle() | Quote() | MarkPrice():
                return self._on_mark(event)
            case Gap(_, symbol, interval_ms, from_ms, to_ms):
                return (RequestBars(symbol, interval_ms, from_ms, to_ms),)
            case InstrumentChanged(_, instrument):
                self.state.desks[instrument.symbol].instrument = instrument
            case LinkDown() | LinkUp():
                return self._on_link(event)
            case Command():
                return self._on_command(event)
            case Synced():
                return _NOTHING
            case BarsClosed():  # a subclass, which nobody makes; here for the type checker's list of cases
                return self._on_bars(event)
        return _NOTHING

    def peek(self, candles: Sequence[Candle]) -> dict[str, Forecast]:
        """What the model would say if these open candles closed as they stand; changes nothing."""
        forecasts: dict[str, Forecast] = {}
        for interval_ms, forecaster in self._forecasters.items():
            bars = [
                Bar(c.symbol, c.interval_ms, c.start_ms, c.open, c.high, c.low, c.close, c.volume)
                for c in candles
                if c.interval_ms == interval_ms and c.symbol in self.state.desks
            ]
            if bars:
                peeked = forecaster.peek(bars, self._funding_rates(bars))
                forecasts |= {b.symbol: f for b, f in zip(bars, peeked, strict=True) if f is not None}
        return forecasts

    def _is_of_others(self, event: Event) -> bool:
        """Whether this is market data of a symbol that is not traded here."""
        match event:
            case Candle() | Quote() | MarkPrice() | FundingRate() | Gap():
                return event.symbol not in self.state.desks
            case InstrumentChanged(_, instrument):
                return instrument.symbol not in self.state.desks
        return False

    # One close

    def _on_bars(self, event: BarsClosed) -> Sequence[Effect]:
        state, close_ms = self.state, event.close_ms
        desks, bars = state.desks, self._take_marks(event)
        effects: list[Effect] = []
        moved = state.breaker.on_equity(state.now_ms, state.equity)
        if moved:
            effects += self._breaker_moved(moved)
        forecasts = None
        if self._forecasters:
            forecaster = self._forecasters.get(event.interval_ms)
            if forecaster is not None and bars:
                forecasts = forecaster.step(bars, self._funding_rates(bars))
        flattening = (state.flattening or state.breaker.state == "halted") and self._wants_flat()
        trading, equity = close_ms >= self._trade_from_ms, state.equity
        for index, bar in enumerate(bars):
            desk = desks[bar.symbol]
            if desk.interval_ms != event.interval_ms:
                continue
            view = desk.view
            view.bar = bar
            view.equity = equity
            if desk.position_base:
                view.bars_held += 1
            if desk.needs_forecast:
                forecast = forecasts[index] if forecasts is not None else None
                view.forecast = forecast
                view.warm = forecast is not None
            try:
                target = desk.on_bar(view)
            except BadInput:  # a wish that is no number: counted, never traded
                state.refusals["not_finite"] += 1
                target = None
            if not trading:
                continue
            if target is None and desk.leaving is None and not flattening:  # nearly every bar
                desk.refused = False
                if not desk.position_base:
                    desk.count_flat("no_signal" if view.warm else "cold")
            else:
                effects += self._follow(desk, target, close_ms, flattening)
        if flattening and not moved:
            effects += self._flatten()
        return effects

    def _follow(
        self, desk: Desk, target: Target | None, decided_ms: int, flattening: bool
    ) -> Sequence[Effect]:
        """Pursue a wish, or one that still stands, and say why a bar is spent flat."""
        if target is not None and not isinstance(target, Target):
            raise BadUsage(
                f"{type(desk.strategy).__name__}.on_bar must return a Target or None, was {target!r}"
            )
        effects: Sequence[Effect] = _NOTHING
        desk.refused = flattening
        if target is None and desk.leaving is not None and not any(self.state.book.of(desk.symbol)):
            target = desk.leaving
        if target is not None and not flattening:
            effects = self._pursue(desk, target, decided_ms)
        if not desk.position_base:
            desk.count_flat(self._why_flat(desk, target))
        return effects

    def _take_marks(self, event: BarsClosed) -> Sequence[Bar]:
        """Mark the account at the closes; returns the bars of symbols that are traded here."""
        state, close_ms, bars = self.state, event.close_ms, event.bars
        for bar in bars:
            desk = state.desks.get(bar.symbol)
            if desk is None:
                bars = tuple(each for each in bars if each.symbol in state.desks)
            elif close_ms >= desk.last_data_ms:  # bars may come after newer quotes
                desk.mark = bar.close
                desk.last_data_ms = close_ms
        if close_ms > state.now_ms:
            state.now_ms = close_ms
        state.remark()
        return bars

    def _why_flat(self, desk: Desk, target: Target | None) -> str:
        """The first of: risk, cold, an entry under way or too small, what the strategy said, no signal."""
        if desk.refused:
            return "risk"
        if not desk.view.warm:
            return "cold"
        if target is None:
            return "no_signal"
        if target.qty:
            return "entering" if any(self.state.book.of(desk.symbol)) else "below_minimum"
        return target.reason or "no_signal"

    # From a wish to orders

    def _pursue(self, desk: Desk, target: Target, decided_ms: int) -> list[Effect]:
        """Turn a wish into orders; what else rests of the symbol is taken back first.

        What it asks to leave stands until it is left, whatever volume a bar has.
        """
        effects: list[Effect] = []
        desk.leaving = _leaving(target, desk.position_base)
        desk.waiting = None
        resting = list(self.state.book.of(desk.symbol))
        intents = to_intents(
            target,
            position=desk.position.qty,
            instrument=desk.instrument,
            ref_price=desk.mark,
            decided_ms=decided_ms,
        )
        if resting:
            if any(
                order.intent.order_type == "Market" or order.state is OrderState.UNKNOWN for order in resting
            ):
                return effects  # its outcome decides what is left to do
            left = [_wish(order.intent, order.leaves_qty) for order in resting]
            if left == [_wish(intent, intent.qty) for intent in intents]:
                return effects
            desk.waiting = (target, decided_ms)
            return [CancelOrder(order.order_id, desk.symbol) for order in resting]
        for intent in intents:
            effects += self._submit(desk, intent)
        if not intents and desk.position.qty:
            effects += self._move_stops(desk, target)
        return effects

    def _go_on(self, desk: Desk) -> Sequence[Effect]:
        """Pursue the wish that waited for resting orders, once they are gone."""
        if desk.waiting is None or any(self.state.book.of(desk.symbol)):
            return _NOTHING
        return self._pursue(desk, *desk.waiting)

    def _submit(self, desk: Desk, intent: Intent) -> list[Effect]:
        state = self.state
        verdict = check(intent, self._risk_view(desk), self._limits)
        if not isinstance(verdict, Approved):
            desk.refused = True
            state.refusals[verdict.reason] += 1
            return [Verdict(state.now_ms, verdict)]
        order_id = f"{self._name}-{state.seq}-{state.next_leg()}"
        state.book.add(order_id, intent)
        if not intent.reduce_only:
            state.entries_ms.append(state.now_ms)
        return [Verdict(state.now_ms, verdict), PlaceOrder(order_id, verdict)]

    def _risk_view(self, desk: Desk) -> RiskView:
        state = self.state
        minute_ago = state.now_ms - MINUTE_MS
        state.entries_ms = [ms for ms in state.entries_ms if ms > minute_ago]
        others = [self._exposure(other) for other in state.desks.values() if other is not desk]
        return RiskView(
            now_ms=state.now_ms,
            instrument=desk.instrument,
            exposure=self._exposure(desk),
            equity_quote=state.equity,
            last_data_ms=desk.last_data_ms,
            standing=state.breaker,
            others_notional_quote=sum((e.worst_notional_quote for e in others if e.worst_qty()), ZERO),
            entries_last_minute=len(state.entries_ms),
            warm=desk.view.warm,
        )

    def _exposure(self, desk: Desk) -> Exposure:
        buys, sells = self.state.book.resting_qty(desk.symbol)
        mark = to_decimal(desk.mark) if desk.mark == desk.mark else Decimal("NaN")
        return Exposure(desk.symbol, desk.position.qty, mark, buys, sells)

    def _move_stops(self, desk: Desk, target: Target) -> Sequence[Effect]:
        """Follow a wish that keeps the position but names other protective prices; naming none keeps them."""
        if target.stop_loss is None and target.take_profit is None:
            return _NOTHING
        side: Side = "Buy" if desk.position.qty > ZERO else "Sell"
        stop_loss, take_profit = round_stops(target, side, desk.instrument.tick_size)
        wished = (stop_loss or desk.stops[0], take_profit or desk.stops[1])
        if wished == desk.stops:
            return _NOTHING
        low, high = wished if side == "Buy" else wished[::-1]
        if not ((low is None or low < desk.mark) and (high is None or high > desk.mark)):
            self.state.refusals["stop_side"] += 1  # the price is past it: the venue would refuse, too
            return _NOTHING
        return (SetStops(desk.symbol, *wished),)

    def _wants_flat(self) -> bool:
        """Whether everything is to be closed: a halt that says so, or the operator until it is done."""
        state = self.state
        if state.flattening and not state.book.live:
            state.flattening = any(desk.position.qty for desk in state.desks.values())
        return state.flattening or state.breaker.wants_flat

    def _flatten(self) -> list[Effect]:
        """Take back what rests and close what is open; exits pass risk like any order."""
        state = self.state
        effects = self._take_back(state.book.live.values())
        target = Target(qty=0.0, reason="halt" if state.breaker.wants_flat else "operator")
        for desk in state.desks.values():
            exits = [order.intent for order in state.book.of(desk.symbol) if order.intent.reduce_only]
            desk.waiting = None
            if not desk.position.qty:
                continue
            if exits:
                if all(exit_.order_type == "Limit" for exit_ in exits):
                    desk.waiting = (target, state.now_ms)
                continue
            for intent in to_intents(
                target,
                position=desk.position.qty,
                instrument=desk.instrument,
                ref_price=desk.mark,
                decided_ms=state.now_ms,
            ):
                effects += self._submit(desk, intent)
        return effects

    def _take_back(self, orders: Iterable[Order]) -> list[Effect]:
        return [
            CancelOrder(order.order_id, order.intent.symbol)
            for order in orders
            if order.intent.order_type == "Limit"
        ]

    # What the venue says

    def _on_fill(self, fill: Fill) -> Sequence[Effect]:
        state = self.state
        if not state.book.is_new(fill):
            return _NOTHING
        desk = state.desks.get(fill.symbol)
        if desk is None:
            raise Broken(f"execution {fill.exec_id} is of {fill.symbol}, which is not traded here")
        state.book.fill(fill)
        was = desk.position.qty
        realised = desk.position.apply(fill.side, fill.qty, fill.price)
        state.cash.realised += realised
        state.cash.fees += fill.fee_quote
        state.rebook(desk)
        desk.trade_quote += realised - fill.fee_quote
        now = desk.position.qty
        if not was or (now and (was > 0) != (now > 0)):
            desk.view.bars_held = 0
        state.remark()
        effects: list[Effect] = []
        if was and (not now or (was > 0) != (now > 0)):
            effects += self._close_trade(desk, fill.ts_ms)
        effects += self._go_on(desk)
        return effects

    def _close_trade(self, desk: Desk, ts_ms: int) -> Sequence[Effect]:
        profit, desk.trade_quote = desk.trade_quote, ZERO
        desk.leaving = None
        if not desk.position.qty:
            desk.view.bars_held = 0
            desk.stops = (None, None)
        return self._breaker_moved(self.state.breaker.on_closed_trade(profit, ts_ms))

    def _on_answer(
        self, event: OrderAccepted | OrderRejected | OrderUnknown | OrderCancelled
    ) -> Sequence[Effect]:
        state = self.state
        order = state.book.answer(event)
        if isinstance(event, OrderAccepted):
            state.breaker.on_accept()
            return _NOTHING
        effects: list[Effect] = []
        if isinstance(event, OrderRejected):
            effects += self._breaker_moved(state.breaker.on_reject(event.ts_ms))
        if order is not None:
            effects += self._go_on(state.desks[order.intent.symbol])
        return effects

    def _on_funding(self, event: FundingPaid) -> Sequence[Effect]:
        state, desk = self.state, self.state.desks[event.symbol]
        if event.ts_ms <= desk.funding_ms:
            return _NOTHING
        desk.funding_ms = event.ts_ms
        state.cash.funding += event.amount_quote
        state.cash_quote = float(state.cash.balance)
        state.remark()
        desk.trade_quote += event.amount_quote
        return _NOTHING

    # The world between closes

    def _on_mark(self, event: Candle | Quote | MarkPrice) -> Sequence[Effect]:
        state, desk = self.state, self.state.desks[event.symbol]
        match event:
            case Candle():
                mark = event.close
            case Quote():
                mark = (event.bid + event.ask) / 2.0
            case MarkPrice():
                mark = event.price
        desk.last_data_ms = max(desk.last_data_ms, event.ts_ms)
        if not 0.0 < mark < inf:  # the last good mark stays: what is open must still be closed at some price
            equity = nan if desk.position_base else state.equity
            return self._breaker_moved(state.breaker.on_equity(event.ts_ms, equity))
        desk.mark = mark
        state.remark()
        return self._breaker_moved(state.breaker.on_equity(event.ts_ms, state.equity))

    def _on_link(self, event: LinkDown | LinkUp) -> Sequence[Effect]:
        breaker = self.state.breaker
        down = isinstance(event, LinkDown)
        return self._breaker_moved((breaker.link_down if down else breaker.link_up)(event.what))

    def _on_command(self, event: Command) -> Sequence[Effect]:
        breaker = self.state.breaker
        match event.what:
            case "pause":
                return self._breaker_moved(breaker.pause())
            case "resume":
                self.state.flattening = False
                return self._breaker_moved(breaker.resume())
            case "halt":
                return self._breaker_moved(breaker.halt())
            case "unhalt":
                return self._breaker_moved(breaker.unhalt())
            case "flatten":
                self.state.flattening = True
                return self._breaker_moved(breaker.pause()) or self._flatten()

    def _breaker_moved(self, moved: bool) -> Sequence[Effect]:
        if not moved:
            return _NOTHING
        breaker = self.state.breaker
        effects: list[Effect] = [RiskChanged(self.state.now_ms, breaker.state, breaker.reason)]
        if self._wants_flat():
            effects += self._flatten()
        elif breaker.state != "active":  # entries that rest would still be entries
            live = self.state.book.live.values()
            effects += self._take_back(order for order in live if not order.intent.reduce_only)
        return effects

    def _funding_rates(self, bars: Sequence[Bar]) -> list[float]:
        desks = self.state.desks
        return [desks[bar.symbol].funding_rate for bar in bars]


def _desk(assignment: Assignment) -> Desk:
    strategy = assignment.strategy
    symbol = assignment.instrument.symbol
    view = View(
        symbol=symbol,
        bar=Bar(symbol, assignment.interval_ms, 0, 1.0, 1.0, 1.0, 1.0, 0.0),  # replaced before anybody looks
        position=0.0,
        entry_price=nan,
        equity=nan,
        forecast=None,
        warm=not getattr(strategy, "needs_forecast", False),
        round_trip_bps=assignment.round_trip_bps,
        bars_per_hour=HOUR_MS / assignment.interval_ms,
        bars_held=0,
    )
    return Desk(assignment.interval_ms, assignment.instrument, strategy, view)


def _leaving(target: Target, position: float) -> Target | None:
    """The part of a wish that takes the position off: all of it where the wish is flat or the other side."""
    if not position or target.qty * position > 0.0:
        return None
    return Target(0.0, target.reason, target.limit_price)


def _wish(intent: Intent, qty: Decimal) -> tuple[object, ...]:
    return intent.side, qty, intent.price, intent.reduce_only
