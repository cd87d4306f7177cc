"""The engine: ``handle(event) -> effects``. No I/O, no clock, no randomness.

Live, paper, backtest and crash recovery all call this one function. They differ only in where events come
from and where effects go. The way of one close stands in ``closes.py``. ``Filled`` changes positions and
cash, ``FundingPaid`` changes cash, and ``Synced`` sets both to what the venue says; no other event changes
either.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf, nan
from typing import TYPE_CHECKING, assert_never

from bot.domain.errors import BadInput
from bot.domain.market import HOUR_MS, Bar, Forecast, Instrument
from bot.domain.messages import (
    BarsClosed,
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
    ModelSwapped,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    ProcessStarted,
    Quote,
    Reconciled,
    RiskChanged,
    StopsChanged,
    StopsRejected,
    StrategyBroke,
    Synced,
    TimePassed,
    Transferred,
)
from bot.engine import snapshot
from bot.engine.closes import CloseHandler, funding_rates
from bot.engine.exposure import usage
from bot.engine.forecasting import Forecaster, Successor
from bot.engine.orders.activity import Resting
from bot.engine.orders.execution import ExecutionPolicy
from bot.engine.orders.expiry import cancel_missed
from bot.engine.orders.trader import Trader
from bot.engine.reconcile import ended_words
from bot.engine.snapshot import Ahead
from bot.engine.state import EngineState, SymbolState
from bot.engine.venue_events import VenueEventHandler
from bot.risk.breaker import Breaker, Cause
from bot.risk.limits import Judge, Limits, check
from bot.risk.usage import Usage
from bot.strategy.failing import failure_of
from bot.strategy.memory import Unkept, remembers
from bot.strategy.portfolio import AnyStrategy
from bot.strategy.signal import View

if TYPE_CHECKING:  # a run without indicators does not load the compiler behind them
    from bot.engine.indicators import Indicators

_NOTHING: tuple[Effect, ...] = ()


class Assignment:
    """What the engine needs to trade one symbol: rules, decision interval and strategy instance.

    Each symbol has an instance of its own, but a strategy with ``on_close`` is one for all symbols.
    ``round_trip_bps`` is the cost of an entry and an exit, fees and spread; strategies may weigh it.
    """

    __slots__ = ("instrument", "interval_ms", "round_trip_bps", "strategy")

    def __init__(
        self, instrument: Instrument, interval_ms: int, strategy: AnyStrategy, round_trip_bps: float
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
        forecasters: one per interval, for strategies that ask for forecasts (``needs_forecast``).
        indicators: by symbol, those that were computed for all bars to come; others are streamed.
        breaker: the breaker of an earlier run, or None for a fresh one.
        check: judges every intent; ``risk.Observer`` has one, and a breaker, that only note limits.
        name: first part of every order id, at most 20 characters.
        trade_from_ms: closes before this only warm up: strategies see them, their targets are ignored.
        execution: how a target becomes orders; market orders by default.
        protective_stop_frac: distance from its price at which an entry without a stop gets one, as a
            fraction of the price; None sets no stop.
        awaits_account: True for a remote venue's account that this engine has never seen. Until ``Synced`` no
            entry is sent, executions are only remembered, and the breaker does not judge the equity.
        adopts_positions: True to take over a position that the first reading shows and no order of ours
            opened. By default it stays foreign: its symbol takes no entries while it is there.
        venue_prices: True if closes come from another market than the one traded. A target then keeps only
            the fraction of equity that it stands for, and marks come from quotes and mark prices alone.
        redact: takes secrets out of the words of a strategy that raises.
    """

    def __init__(
        self,
        assignments: Sequence[Assignment],
        cash_quote: Decimal,
        limits: Limits,
        *,
        forecasters: Mapping[int, Forecaster] | None = None,
        indicators: "Mapping[str, Indicators] | None" = None,
        breaker: Breaker | None = None,
        check: Judge = check,
        name: str = "bot1",
        trade_from_ms: int = 0,
        execution: ExecutionPolicy | None = None,
        protective_stop_frac: Decimal | None = None,
        awaits_account: bool = False,
        adopts_positions: bool = False,
        venue_prices: bool = False,
        redact: Callable[[str], str] = str,
    ) -> None:
        if not 0 < len(name) <= 20:
            raise BadInput(f"the engine's name must have 1 to 20 characters, was {name!r}")
        self._forecasters = dict(forecasters or {})
        self._successors: dict[str, list[Successor]] = {}
        self._venue_prices = venue_prices
        self._redact = redact
        if breaker is None:
            breaker = Breaker()
        breaker.use(limits)
        ordered = sorted(assignments, key=lambda each: each.instrument.symbol)
        symbols = {each.instrument.symbol: _symbol_state(each) for each in ordered}
        self.state = EngineState(cash_quote, symbols, breaker, self._forecasters, indicators)
        self._trader = Trader(
            self.state, limits, name, execution or ExecutionPolicy(), protective_stop_frac, check
        )
        self._closes = CloseHandler(
            self.state,
            self._trader,
            self._forecasters,
            trade_from_ms=trade_from_ms,
            venue_prices=venue_prices,
            redact=redact,
        )
        self._venue_events = VenueEventHandler(
            self.state, self._trader, limits, name, adopts_positions=adopts_positions
        )
        self._awaits_account = awaits_account
        if awaits_account:
            self.state.account_known = False
            self.state.await_account()

    def handle(self, event: Event) -> Sequence[Effect]:
        """Apply one event and return what the world should do. State changes in no other way."""
        state = self.state
        state.seq += 1
        if type(event) is BarsClosed:  # nearly every event of a backtest
            if not state.unknown:
                return self._closes.on_bars(event)
            state.now_ms = max(state.now_ms, event.close_ms, event.seen_ms)
            effects = [*self._trader.judge_unknown(), *self._closes.on_bars(event)]
            state.note_causes()
            return effects
        state.now_ms = max(state.now_ms, event.ts_ms)
        if not state.unknown and not state.retries and not state.expiring:  # nearly always
            applied = self._apply(event)
            state.note_causes()
            return applied
        # Before the event, so that no entry follows from it; after it, because it may be an answer.
        before = self._trader.judge_unknown()
        applied = self._apply(event)
        after = [
            *self._trader.judge_unknown(),
            *self._trader.send_exits_due(),
            *cancel_missed(state, state.breaker.limits.max_signal_age_ms),
        ]
        state.note_causes()
        return [*before, *applied, *after]

    def _apply(self, event: Event) -> Sequence[Effect]:
        state = self.state
        match event:
            case (
                Filled()
                | OrderAccepted()
                | OrderRejected()
                | OrderUnknown()
                | OrderCancelled()
                | FundingPaid()
                | StopsChanged()
                | StopsRejected()
                | OrderRepriced()
                | OrderResized()
                | Synced()
                | Transferred()
            ):
                return self._venue_events.handle(event)
            case LinkDown() | LinkUp():
                return self._on_link(event)
            case Command():
                return self._on_command(event)
            case ProcessStarted():
                return self._on_process_started(event)
            case InstrumentChanged():
                return self._on_instrument(event)
            case FundingRate(_, symbol, rate):
                if symbol in state.symbols:
                    state.symbols[symbol].funding_rate = float(rate)
                return _NOTHING
            case Candle() | Quote() | MarkPrice():
                return self._on_mark(event) if event.symbol in state.symbols else _NOTHING
            case Gap():  # for the record; the forecaster sees a hole in the bars by itself
                return _NOTHING
            case StrategyBroke(_, symbol, failure):
                sym = state.symbols.get(symbol)
                return _NOTHING if sym is None else self._closes.stopped(sym, failure)
            case ModelSwapped():
                return self._on_swap(event)
            case TimePassed():  # what it leads to is done after every event
                return _NOTHING
            case BarsClosed():  # unreachable: handled above; here so that the match is complete
                return self._closes.on_bars(event)
        assert_never(event)

    def offer(self, successor: Successor) -> None:
        """Hand over a model that a ``ModelSwapped`` may name from now on; changes no decision."""
        self._successors.setdefault(successor.model, []).append(successor)

    # What survives the process

    def snapshot(self) -> bytes:
        """Return the whole state between two events, as JSON with a version and a checksum.

        Raises:
            BadUsage: a strategy's ``state()`` does not return a JSON value.
        """
        return snapshot.of(self.state)

    def snapshot_ahead(self) -> Ahead:
        """Return a snapshot that may be written in two parts, nearly all of it on another thread."""
        return Ahead(self.state)

    def restore(self, body: bytes) -> None:
        """Go on from a snapshot: the same events then lead to the same effects as without the break.

        The engine must be built from the same arguments and is then changed in place. A strategy that has no
        state (``forgetful``) keeps what it knows: show it past bars with ``live=False`` first.

        Raises:
            BadInput: the snapshot is damaged, of another version, or of other symbols or models; or a
                strategy's ``restore`` failed. The engine must not be used then.
        """
        snapshot.restore(self.state, body)

    def move_in(self, body: bytes) -> None:
        """Take over the account of a snapshot on an engine with other symbols, strategies, models or limits.

        Positions with their stops, orders, cash, breaker and counters move; strategies, features and models
        begin with the bars that they have seen here. Targets that an old strategy had not finished are given
        up, except that an exit stays active.

        Raises:
            BadInput: the snapshot is damaged, or it holds a position or an order in a symbol that this engine
                does not trade. The engine must not be used then.
        """
        snapshot.move(self.state, body)

    def usage(self, now_ms: int) -> Usage:
        """Return how much of each limit is used at ``now_ms``."""
        return usage(self.state, now_ms)

    def unkept(self, error: Unkept, now_ms: int) -> StrategyBroke:
        """Return the event that stops the strategy whose memory could not be kept."""
        sym = self.state.symbols[error.symbol]
        failure = failure_of(sym.strategy, error.cause, sym.view.bar, self._redact, "state")
        return StrategyBroke(now_ms, sym.symbol, failure)

    def forgetful(self) -> tuple[str, ...]:
        """Return the symbols whose strategies forget at the end of the process: they have no ``state()``."""
        return tuple(sym.symbol for sym in self.state.symbols.values() if not remembers(sym.strategy))

    def peek(self, candles: Sequence[Candle]) -> dict[str, Forecast]:
        """Return the forecasts as if these open candles closed now; changes nothing."""
        forecasts: dict[str, Forecast] = {}
        for interval_ms, forecaster in self._forecasters.items():
            bars = [
                Bar(c.symbol, c.interval_ms, c.start_ms, c.open, c.high, c.low, c.close, c.volume)
                for c in candles
                if c.interval_ms == interval_ms and c.symbol in self.state.symbols
            ]
            if bars:
                peeked = forecaster.peek(bars, funding_rates(self.state, bars))
                forecasts |= {b.symbol: f for b, f in zip(bars, peeked, strict=True) if f is not None}
        return forecasts

    # The world between closes

    def _on_mark(self, event: Candle | Quote | MarkPrice) -> Sequence[Effect]:
        state, sym = self.state, self.state.symbols[event.symbol]
        match event:
            case Candle():
                if self._venue_prices:
                    return _NOTHING
                mark = event.close
            case Quote():
                if event.bid <= 0.0 or event.ask < event.bid:  # a crossed or empty order book
                    state.refusals["bad_quote"] += 1
                    return _NOTHING
                mark = (event.bid + event.ask) / 2.0
            case MarkPrice():
                mark = event.price
        if not 0.0 < mark < inf:
            # The last good mark stays: an open position must still be closed at some price.
            if not sym.position_base or not state.synced:
                state.refusals["bad_mark"] += 1
                return _NOTHING
            return self._trader.breaker_moved(state.breaker.on_equity(event.ts_ms, nan))
        sym.last_data_ms = max(sym.last_data_ms, event.ts_ms)
        sym.mark = mark
        if isinstance(event, Quote):
            sym.bid, sym.ask, sym.quote_ms = event.bid, event.ask, event.ts_ms
        state.remark()
        effects = self._trader.breaker_moved(state.judge(event.ts_ms))
        if type(sym.activity) is not Resting:
            return effects
        return [*effects, *self._trader.step(sym)]

    def _on_instrument(self, event: InstrumentChanged) -> Sequence[Effect]:
        """Take new rules, and bring what was made under the old ones onto them.

        Name a contract that takes no entries any more, and what we hold in it.
        """
        sym = self.state.symbols.get(event.instrument.symbol)
        if sym is None:
            return _NOTHING
        before, now = sym.instrument, event.instrument
        effects: tuple[Effect, ...] = ()
        sym.instrument = now
        if (before.tick_size, before.qty_step, before.min_qty) != (now.tick_size, now.qty_step, now.min_qty):
            effects += self._trader.fit(sym)
        if now.status in (before.status, "Trading"):
            return effects
        return (
            *effects,
            Reconciled(event.ts_ms, False, (ended_words(sym),)),
        )

    def _on_link(self, event: LinkDown | LinkUp) -> Sequence[Effect]:
        breaker = self.state.breaker
        down = isinstance(event, LinkDown)
        return self._trader.breaker_moved((breaker.link_down if down else breaker.link_up)(event.what))

    def _on_command(self, event: Command) -> Sequence[Effect]:
        breaker = self.state.breaker
        match event.what:
            case "pause":
                return self._trader.breaker_moved(breaker.pause())
            case "resume":
                self.state.flattening = False
                return self._trader.breaker_moved(breaker.resume())
            case "halt":
                return self._trader.breaker_moved(breaker.halt())
            case "unhalt":
                return self._unhalt()
            case "flatten":
                self.state.flattening = True
                return self._trader.breaker_moved(breaker.pause()) or self._trader.flatten()
            case "close":
                sym = self.state.symbols.get(event.symbol)
                return _NOTHING if sym is None else self._trader.leave(sym)

    def _unhalt(self) -> Sequence[Effect]:
        """Lift every halt, and ask stopped strategies again; where only these are, no limit moves."""
        state, breaker = self.state, self.state.breaker
        only_strategies = bool(state.stopped) and not breaker.halting
        state.stopped.clear()
        state.bind_strategies()
        if only_strategies:
            return _NOTHING
        state.day.before_start_moves(breaker)
        return self._trader.breaker_moved(breaker.unhalt())

    def _on_process_started(self, event: ProcessStarted) -> Sequence[Effect]:
        """Take the state of an ended process over: what only that process could know is unknown again.

        Lines to feed and venue count as down until their ``LinkUp``. That holds entries back but cancels
        nothing: resting orders outlive a restart.
        """
        state, breaker = self.state, self.state.breaker
        breaker.begin_process()
        breaker.drifted(state.drift_beyond())
        if self._awaits_account:
            state.await_account()
            state.orders.doubt(event.ts_ms)
        self._trader.count_unknown_anew()
        for halt in event.halts:
            breaker.halt(Cause(halt.cause), halt.detail)
        return (RiskChanged(state.now_ms, breaker.state, breaker.reason),)

    def _on_swap(self, event: ModelSwapped) -> Sequence[Effect]:
        """Let a newer model forecast from the next close on; forecasts shown until then stay.

        Raises:
            BadInput: the model was not offered, or it does not follow the bars that the symbols have seen.
        """
        forecaster = self._forecasters.get(event.interval_ms)
        offered = self._successors.get(event.model)
        if forecaster is None or not offered:
            raise BadInput(f"model {event.model[:12]} cannot take over: it was not offered to this engine")
        forecaster.succeed(offered.pop(0), event)
        return _NOTHING


def _symbol_state(assignment: Assignment) -> SymbolState:
    strategy = assignment.strategy
    symbol = assignment.instrument.symbol
    # Replaced before the first decision.
    first = Bar(symbol, assignment.interval_ms, 0, 1.0, 1.0, 1.0, 1.0, 0.0)
    view = View(
        symbol=symbol,
        bar=first,
        position=0.0,
        entry_price=nan,
        equity=nan,
        forecast=None,
        warm=not getattr(strategy, "needs_forecast", False),
        round_trip_bps=assignment.round_trip_bps,
        bars_per_hour=HOUR_MS / assignment.interval_ms,
        bars_held=0,
    )
    return SymbolState(assignment.interval_ms, assignment.instrument, strategy, view)
