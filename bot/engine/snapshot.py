"""The engine's state as bytes and back: a new process goes on where the old one ended.

``of`` writes all that changes in the engine, ``restore`` puts it onto an engine that was built from the same
arguments. After that both give the same effects for the same events. Arguments (limits, parameters, model,
name, fees) are not in a snapshot: they are the new engine's own.

Nearly all bytes of a snapshot are what forecasts and indicators remember, and that changes at a close alone.
So it may be written ahead, beside the loop: see ``Ahead``.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bot.domain.errors import BadInput
from bot.domain.ledger import Cash, Position
from bot.domain.market import Bar, Forecast, Instrument
from bot.domain.messages import StrategyFailure
from bot.domain.money import ZERO
from bot.domain.snapshots import Real, Sealing, overlay, record_of, to_real, unseal
from bot.engine.forecasting import ForecasterRecord
from bot.engine.orders.activity import DROPPED, IDLE, Activity, Idle, Turning, advance
from bot.engine.orders.execution import ExecutionCosts
from bot.engine.orders.open_orders import OpenOrders
from bot.engine.orders.protection import ProtectiveStops
from bot.engine.orders.retry import ExitRetry
from bot.engine.orders.takes import TakePlan
from bot.engine.orders.unknown import UnknownOrder
from bot.engine.told import Day
from bot.risk.breaker import Breaker
from bot.strategy.longer import LongerBars
from bot.strategy.memory import memory_of, remind
from bot.strategy.sized import TrailingVolatility

if TYPE_CHECKING:  # the state makes its digest from these records
    from bot.engine.state import EngineState, SymbolState

R = TypeVar("R", bound="DecisionRecord")

FORM = "bot-engine-1"
"""Name and version of the form.

A new field needs a default that is right for older snapshots. A field that goes, or whose meaning changes,
needs a new number: older snapshots are then refused.
"""


class ForecastRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``Forecast``; a model of the user's own leaves NaN what it does not forecast."""

    rv_60m: Real
    rv_log_sd: Real
    ret_15m: Real
    ret_60m: Real
    ret_15m_scale: Real
    ret_60m_scale: Real
    own: tuple[tuple[str, Real], ...] = ()


class ViewRecord(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``View`` carries from bar to bar."""

    bar: Bar
    position: Real
    entry_price: Real
    equity: Real
    forecast: ForecastRecord | None
    warm: bool
    bars_held: int


class IndicatorRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the ``Indicators`` of a symbol remember; numeric state is raw little-endian bytes."""

    definition: str
    """Hash of what was declared; the code of a function of one's own is not in it."""
    next_start_ms: int
    rows: bytes
    windows: tuple[tuple[tuple[Real, ...], ...], ...]
    """For each function of one's own: the last values of each of its sources, oldest first."""


class SymbolRecord(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``SymbolState`` holds, by the same names."""

    instrument: Instrument
    interval_ms: int
    strategy: str | None
    """JSON text (``strategy.memory``); None if the strategy has no state, was stopped, or trades an earlier
    symbol too."""
    view: ViewRecord
    activity: Activity
    position: Position
    position_base: Real
    entry_quote: Real
    trade_quote: Decimal
    stops: ProtectiveStops
    mark: Real
    bid: Real
    ask: Real
    quote_ms: int
    last_data_ms: int
    last_fill_ms: int
    funding_rate: Real
    funding_seen: list[int]
    refused: bool
    flat_bars: dict[str, int]
    foreign_qty: Decimal = ZERO
    due_qty: Decimal = ZERO
    waiting_ms: int = 0
    taken_qty: Decimal = ZERO
    taken_ms: int = 0
    compared_ms: int = 0
    takes: TakePlan = msgspec.field(default_factory=TakePlan)


class DecisionRecord(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``EngineState`` holds, by the same names; ``open``, ``working``, ``foreign`` name symbols.

    The digest is made of these fields and their order: older journals hold it.
    """

    symbols: tuple[SymbolRecord, ...]
    forecasters: dict[int, ForecasterRecord]
    open: tuple[str, ...]
    working: tuple[str, ...]
    seq: int
    legs: tuple[int, int]
    now_ms: int
    cash: Cash
    cash_quote: Real
    equity: Real
    net_notional: Real
    orders: OpenOrders
    breaker: Breaker
    flattening: bool
    entries_ms: list[int]
    synced: bool
    adopted_ms: int
    foreign_notional_quote: Decimal
    foreign_orders: int
    costs: ExecutionCosts
    refusals: dict[str, int]
    reconciled: dict[str, int]
    account_known: bool = True
    account_uid: str = ""
    wallet_ms: int = 0
    wallet_quote: Decimal = ZERO
    transfers: dict[str, None] = {}
    foreign: tuple[str, ...] = ()
    retries: dict[str, ExitRetry] = {}
    unknown: dict[str, UnknownOrder] = {}
    expiring: dict[str, int] = {}


class EngineRecord(DecisionRecord, kw_only=True, forbid_unknown_fields=True):
    """The whole state: what decides, and what people are told beside it."""

    stopped: dict[str, StrategyFailure] = {}
    day: Day = msgspec.field(default_factory=Day)
    causes_ms: dict[str, int] = {}
    opened_ms: dict[str, int] = {}
    longer: dict[str, LongerBars] = {}
    volatilities: dict[str, TrailingVolatility] = {}
    indicators: dict[str, IndicatorRecord] = {}


class SettledRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``EngineRecord`` that change at a close, or when another model takes over, alone."""

    forecasters: dict[int, ForecasterRecord]
    indicators: dict[str, IndicatorRecord]


LEFT_OUT: dict[str, dict[str, str]] = {
    "EngineState": {
        "closes_tell_time": "said by each close, and false wherever a feed sees them",
        "taking": "follows from the takes of the symbols",
        "turning": "follows from what the symbols are busy with",
        "portfolio": "made of the symbols and their strategy, whose state is in the first symbol's record",
    },
    "SymbolState": {
        "symbol": "the instrument's",
        "on_bar": "a method of the strategy",
        "needs_forecast": "a property of the strategy's class",
        "flat_reason": "shown to people only; the next close says it anew",
    },
    "View": {
        "symbol": "the instrument's",
        "round_trip_bps": "an argument of the engine",
        "bars_per_hour": "follows from the interval",
        "live": "said by each close",
        "longer": "shown again from the engine's ``longer``",
        "trailing_volatility": "shown again from the engine's ``volatilities``",
        "ind": "made anew at each close",
    },
}
"""Fields of the state that are not in a snapshot, and why. A test allows no others."""

_APART = (
    "symbols",
    "forecasters",
    "indicators",
    "breaker",
    "orders",
    "open",
    "working",
    "foreign",
    "refusals",
    "reconciled",
    "longer",
    "volatilities",
)


class Ahead:
    """A snapshot in two parts: what changes at a close alone, then the rest.

    ``first`` may run on another thread while the engine handles events; ``rest`` and ``digest`` then are of
    the present state. If a bar has closed or another model has taken over since, the parts do not fit
    together: begin anew.
    """

    def __init__(self, state: "EngineState") -> None:
        self._state = state
        self._settled = SettledRecord(
            forecasters={interval_ms: each.record() for interval_ms, each in state.forecasters.items()},
            indicators=_indicators(state),
        )
        self._sealing = Sealing(FORM)
        self._digests: dict[int, str] = {}

    def first(self) -> Iterator[bytes]:
        """Yield the first part in small pieces."""
        yield from self._sealing.first(self._settled)
        self._digests = {ms: record.digest() for ms, record in self._settled.forecasters.items()}

    def rest(self) -> bytes:
        """Return the second part, once the first is complete.

        Raises:
            BadUsage: a strategy's ``state()`` cannot be kept.
        """
        record = _record(EngineRecord, self._state, {}, indicators={})
        return self._sealing.rest(record, SettledRecord.__struct_fields__)

    def digest(self) -> str:
        """Return ``EngineState.digest``, once the first part is complete."""
        return _digest(self._state, self._digests, self._settled.indicators)


def of(state: "EngineState") -> bytes:
    """Return the whole state as a snapshot.

    Raises:
        BadUsage: a strategy's ``state()`` cannot be kept.
    """
    ahead = Ahead(state)
    return b"".join(ahead.first()) + ahead.rest()


def restore(state: "EngineState", body: bytes) -> None:
    """Put a snapshot onto the state of an engine with the same symbols; see ``Engine.restore``."""
    record = unseal(FORM, body, EngineRecord)
    _check_fit(state, record)
    for interval_ms, forecaster in state.forecasters.items():
        forecaster.restore(record.forecasters[interval_ms])
    for symbol, indicators in state.indicators.items():
        if symbol in record.indicators:  # else the strategy has only now got some: they warm up
            indicators.restore(record.indicators[symbol], symbol)
    for each in record.symbols:
        _restore_symbol(state.symbols[each.instrument.symbol], each)
    limits = state.breaker.limits
    overlay(record.breaker, state.breaker, apart=("limits",))
    state.breaker.use(limits)
    overlay(record.orders, state.orders)
    state.open = tuple(state.symbols[symbol] for symbol in record.open)
    state.working = tuple(state.symbols[symbol] for symbol in record.working)
    state.foreign = tuple(state.symbols[symbol] for symbol in record.foreign)
    state.refusals = Counter(record.refusals)
    state.reconciled = Counter(record.reconciled)
    overlay(record, state, apart=_APART)
    for symbol, longer in state.longer.items():
        kept = record.longer.get(symbol)
        if kept is not None and kept.names() == longer.names():
            state.longer[symbol] = kept
    for symbol, volatility in state.volatilities.items():
        measured = record.volatilities.get(symbol)
        if measured is not None and measured.bars == volatility.bars:
            state.volatilities[symbol] = measured
    state.taking = _taking(state)
    turning = (sym for sym in state.symbols.values() if isinstance(sym.activity, Turning))
    state.turning = tuple(sorted(turning, key=lambda sym: sym.symbol))
    state.show_followed()
    state.bind_strategies()


def move(state: "EngineState", body: bytes) -> None:
    """Put the account of a snapshot onto an engine with other arguments; see ``Engine.move_in``."""
    record = unseal(FORM, body, EngineRecord)
    _check_left_behind(state, record)
    kept = [each for each in record.symbols if each.instrument.symbol in state.symbols]
    for each in kept:
        sym = state.symbols[each.instrument.symbol]
        overlay(each, sym, apart=("instrument", "interval_ms", "strategy", "view", "flat_bars", "activity"))
        sym.activity = advance(each.activity, DROPPED)
        sym.view.bars_held = each.view.bars_held
        sym.rebook()
    limits = state.breaker.limits
    overlay(record.breaker, state.breaker, apart=("limits",))
    state.breaker.use(limits)
    overlay(record.orders, state.orders)
    overlay(record, state, apart=_APART)
    state.open = tuple(sym for sym in state.symbols.values() if sym.position.qty)
    state.foreign = tuple(sym for sym in state.symbols.values() if sym.foreign_qty)
    state.taking = _taking(state)
    state.adopted_ms = record.now_ms
    state.stopped = {symbol: each for symbol, each in state.stopped.items() if symbol in state.symbols}
    state.bind_strategies()
    state.remark()


def _taking(state: "EngineState") -> "tuple[SymbolState, ...]":
    """Return the symbols with a plan of takes, or with orders of one."""
    return tuple(
        sym for sym in state.symbols.values() if sym.takes.asked or state.orders.takes_of(sym.symbol)
    )


def _check_left_behind(state: "EngineState", record: EngineRecord) -> None:
    """Refuse to leave a position or an order behind in a symbol that is not traded any more.

    Raises:
        BadInput: there is one.
    """
    held = {each.instrument.symbol for each in record.symbols if each.position.qty}
    held |= {order.intent.symbol for order in record.orders.live.values()}
    left = held - set(state.symbols)
    if left:
        raise BadInput(f"it holds a position or orders in {_names(left)}, which would not be traded any more")


def digest(state: "EngineState") -> str:
    """Return the sha256 of all that can change a decision; see ``EngineState.digest``."""
    digests = {interval_ms: each.record().digest() for interval_ms, each in state.forecasters.items()}
    return _digest(state, digests, _indicators(state))


def _digest(state: "EngineState", forecasters: dict[int, str], indicators: dict[str, IndicatorRecord]) -> str:
    record = _record(DecisionRecord, state, {})
    record.refusals = record.reconciled = {}
    record.costs = ExecutionCosts()
    record.orders = msgspec.structs.replace(record.orders, ended={})
    for each in record.symbols:
        each.flat_bars = {}
    total = hashlib.sha256(msgspec.json.encode(record))
    for interval_ms, forecaster in sorted(forecasters.items()):
        total.update(f"{interval_ms} {forecaster}".encode())
    for followed in (state.longer, state.volatilities):
        if followed:
            total.update(msgspec.json.encode(sorted(followed.items())))
    if indicators:
        total.update(msgspec.json.encode(indicators, order="sorted"))
    if state.stopped:
        total.update(",".join(sorted(state.stopped)).encode())
    return total.hexdigest()


def _indicators(state: "EngineState") -> dict[str, IndicatorRecord]:
    return {symbol: each.record() for symbol, each in state.indicators.items()}


def _record(
    kind: type[R], state: "EngineState", forecasters: dict[int, ForecasterRecord], **given: object
) -> R:
    symbols: list[SymbolRecord] = []
    kept: set[int] = set()
    for sym in state.symbols.values():
        keeps = sym.symbol not in state.stopped and id(sym.strategy) not in kept
        if keeps:
            kept.add(id(sym.strategy))  # one that trades all symbols is kept once
        symbols.append(_symbol_record(sym, with_memory=keeps))
    return record_of(
        kind,
        state,
        symbols=tuple(symbols),
        forecasters=forecasters,
        open=tuple(sym.symbol for sym in state.open),
        working=tuple(sym.symbol for sym in state.working),
        foreign=tuple(sym.symbol for sym in state.foreign),
        **given,
    )


def _forecast_record(forecast: Forecast) -> ForecastRecord:
    own = tuple((name, to_real(value)) for name, value in forecast.own)
    return record_of(ForecastRecord, forecast, own=own)


def _symbol_record(sym: "SymbolState", *, with_memory: bool) -> SymbolRecord:
    forecast = sym.view.forecast
    kept = None if forecast is None else _forecast_record(forecast)
    return record_of(
        SymbolRecord,
        sym,
        strategy=memory_of(sym.strategy, sym.symbol) if with_memory else None,
        view=record_of(ViewRecord, sym.view, forecast=kept),
    )


def _check_fit(state: "EngineState", record: EngineRecord) -> None:
    """Refuse a snapshot of other symbols, intervals or models, before anything is changed.

    Raises:
        BadInput: it does not fit.
    """
    theirs = {each.instrument.symbol: each.interval_ms for each in record.symbols}
    ours = {sym.symbol: sym.interval_ms for sym in state.symbols.values()}
    if set(theirs) != set(ours):
        raise BadInput(f"the snapshot is of {_names(theirs)}, this engine trades {_names(ours)}")
    for symbol, interval_ms in ours.items():
        if theirs[symbol] != interval_ms:
            raise BadInput(
                f"the snapshot has {symbol} at {theirs[symbol]} ms a bar, this engine at {interval_ms} ms"
            )
    if set(record.forecasters) != set(state.forecasters):
        raise BadInput(
            f"the snapshot has forecasts for bars of {_names(record.forecasters)} ms, "
            f"this engine for {_names(state.forecasters)} ms"
        )
    unknown = {*record.open, *record.working, *record.foreign} - set(ours)
    if unknown:
        raise BadInput(f"the snapshot has positions of {_names(unknown)}, which are not among its symbols")


def _restore_symbol(sym: "SymbolState", record: SymbolRecord) -> None:
    """Put a symbol's record onto its state; a strategy without a kept state stays as it is."""
    if record.strategy is not None:
        remind(sym.strategy, sym.symbol, record.strategy)
    overlay(record.view, sym.view, apart=("forecast",))
    kept = record.view.forecast
    sym.view.forecast = None if kept is None else _forecast(kept)
    sym.flat_bars = Counter(record.flat_bars)
    # ``Idle`` is compared by identity.
    sym.activity = IDLE if isinstance(record.activity, Idle) else record.activity
    overlay(record, sym, apart=("strategy", "view", "flat_bars", "activity"))


def _forecast(kept: ForecastRecord) -> Forecast:
    *values, _ = msgspec.structs.astuple(kept)
    return Forecast.of(map(float, values), tuple((name, float(value)) for name, value in kept.own))


def _names(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
