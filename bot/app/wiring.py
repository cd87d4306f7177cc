"""Builds an engine, a venue and their tape from a plan.

Backtest, paced replay and demo all call ``assemble``; they differ only in what drives the result.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bot.adapters.files import shipped
from bot.app.inputs import load_model
from bot.domain.errors import BadSettings, BadUsage
from bot.domain.market import Bar, Instrument
from bot.domain.money import ZERO
from bot.engine.core import Assignment, Engine
from bot.engine.drift import DriftWatch
from bot.engine.forecasting import Forecaster, Successor
from bot.engine.orders.execution import ExecutionPolicy
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.model.drift import DriftBounds
from bot.ports import Predictor
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits, check
from bot.risk.observing import Observer
from bot.service.backtest.history import History
from bot.service.backtest.run import Run
from bot.service.backtest.tape import RunTape
from bot.settings import Settings
from bot.strategy import AnyStrategy, build
from bot.strategy.declared import declared_warmup_bars
from bot.strategy.indicators import indicator_warmup_bars, indicators_of, indicators_trained_to_ms
from bot.strategy.portfolio import for_each_symbol

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel
    from bot.engine.indicators import Indicators

Form = Literal["step", "bulk", "torch"]
Risk = Literal["enforce", "observe"]
"""Whether limits act, or are only noted."""


@dataclass(frozen=True)
class RunPlan:
    """Everything a run is made of, read and checked."""

    settings: Settings
    history: History
    instruments: Mapping[str, Instrument]
    strategy: type
    strategy_name: str
    params: Mapping[str, object]
    prototype: AnyStrategy | None = None
    """An instance from Python: each run trades with copies of it, made without ``params``."""
    model: "Checkpoint | OwnModel | None" = None
    form: Form = "step"
    start_ms: int | None = None
    end_ms: int | None = None
    intrabar: Literal["path", "worst"] = "path"
    detail: Mapping[str, Mapping[int, Sequence[Bar]]] = field(default_factory=dict)
    marks: Mapping[str, Mapping[int, Bar]] = field(default_factory=dict)
    risk: Risk = "enforce"
    costs_times: int = 1
    """Fees, spread and impact are so many times the settings'; a strategy weighs those of the settings."""
    own_at_once: bool = True
    """Models of the user's own predict the history in one call. Bar by bar they say what they say live, to
    the bit."""
    warnings: tuple[str, ...] = ()
    """What was noticed before the run."""

    @property
    def warmup_bars(self) -> int:
        """Bars that the model needs before the first decision."""
        return self.model.warmup_bars if self.model is not None else 0

    @property
    def indicator_bars(self) -> int:
        """Bars that the strategy's indicators need until all are known; 0 if it declares none."""
        return indicator_warmup_bars(self.declaring)

    @property
    def declaring(self) -> object:
        """What declares the indicators: a fresh strategy, or its class while a search has its parameters."""
        try:
            return self.make_strategy()
        except BadUsage:  # raised again when the run is assembled
            return self.strategy

    @property
    def trained_to_ms(self) -> int | None:
        """Bars before this time were used to fit the model, or one that an indicator is; None: no bar was."""
        fitted = indicators_trained_to_ms(self.declaring)
        known = (fitted, self.model.trained_to_ms if self.model is not None else None)
        return max((each for each in known if each is not None), default=None)

    @property
    def read_from_ms(self) -> int:
        """Time from which bars are read: the warm-up of every symbol before ``start_ms``."""
        if self.start_ms is None:
            return 0
        longest = max(each.interval_ms for each in self.history.candles)
        declared = declared_warmup_bars(self.strategy, longest)
        bars = max(self.warmup_bars, self.indicator_bars, declared, WARMUP_BARS)
        return max(0, self.start_ms - bars * longest)

    @property
    def terms(self) -> Terms:
        """The terms of the simulated venue."""
        return _costing(make_terms(self.settings, self.intrabar), self.costs_times)

    @property
    def limits(self) -> Limits:
        """Return the risk limits of the settings."""
        return make_limits(self.settings)

    @property
    def execution(self) -> ExecutionPolicy:
        """How targets become orders."""
        return make_execution(self.settings)

    def make_strategy(self) -> AnyStrategy:
        """Return a fresh strategy, for one symbol or for all.

        Raises:
            BadUsage: parameters that its class does not take, or an instance that cannot be copied.
        """
        if self.prototype is None:
            return build(self.strategy, self.params)
        try:
            return deepcopy(self.prototype)
        except Exception as error:  # the code of a user may raise anything
            raise BadUsage(
                f"{self.strategy_name}: the instance cannot be copied ({type(error).__name__}: {error}); "
                "give the class, with its parameters as keywords"
            ) from error

    def round_trip_bps(self, symbol: str) -> float:
        """Return fees and half-spreads of entry and exit, in bps."""
        return round_trip_bps(make_terms(self.settings, self.intrabar), symbol)


def make_terms(settings: Settings, intrabar: Literal["path", "worst"] = "path") -> Terms:
    """Return the terms of the simulated venue; without a given slippage, each symbol's measured spread.

    Raises:
        BadSettings: two of them exclude each other.
    """
    costs, account = settings.costs, settings.account
    given = costs.slippage_bps
    measured = shipped.spreads()
    if costs.limit_fills == "queue" and costs.liquidity == "full":
        raise BadSettings(
            "costs.limit_fills = queue counts the bars' volume, costs.liquidity = full ignores it; set one"
        )
    return Terms(
        taker_fee_frac=costs.taker_bps / 10_000,
        maker_fee_frac=costs.maker_bps / 10_000,
        half_spread_bps=measured.half_spread_bps if given is None else {},
        default_half_spread_bps=measured.default_bps if given is None else float(given),
        # No slippage at all means no impact either: fills at the path's price.
        impact_frac=0.0 if given is not None and not given else costs.impact_frac,
        liquidity=costs.liquidity,
        participation_frac=costs.participation_frac,
        latency_ms=costs.latency_ms,
        limit_fills=costs.limit_fills,
        queue_ahead_ms=costs.queue_ahead_ms,
        intrabar=intrabar,
        margin_mode=account.margin_mode,
        leverage=account.leverage,
    )


def _costing(terms: Terms, times: int) -> Terms:
    """Return terms with ``times`` the fees, spreads and impact."""
    return replace(
        terms,
        taker_fee_frac=terms.taker_fee_frac * times,
        maker_fee_frac=terms.maker_fee_frac * times,
        half_spread_bps={symbol: bps * times for symbol, bps in terms.half_spread_bps.items()},
        default_half_spread_bps=terms.default_half_spread_bps * times,
        impact_frac=terms.impact_frac * times,
    )


def make_limits(settings: Settings) -> Limits:
    """Return the risk limits of the settings."""
    account = settings.account
    isolated = account.leverage if account.margin_mode == "isolated" else ZERO
    return Limits(**settings.risk.model_dump(), isolated_leverage=isolated)


def make_drift_bounds(settings: Settings) -> DriftBounds:
    """Return what counts as drift."""
    chosen = settings.drift.model_dump()
    return DriftBounds(reduces=chosen.pop("on_drift") == "reduce", **chosen)


def make_execution(settings: Settings) -> ExecutionPolicy:
    """How targets become orders."""
    chosen = settings.execution
    return ExecutionPolicy(
        maker=chosen.policy == "maker",
        reprice_ms=chosen.reprice_ms,
        max_reprices=chosen.max_reprices,
        deadline_ms=chosen.deadline_ms,
    )


def round_trip_bps(terms: Terms, symbol: str) -> float:
    """Return fees and half-spreads of entry and exit, in bps."""
    return 2.0 * float(10_000 * (terms.taker_fee_frac + terms.half_spread_frac(symbol)))


WARMUP_BARS = 1_000
"""Bars before ``--start`` for the averages of strategies without a model."""


def assemble(plan: RunPlan) -> Run:
    """Build the engine, the venue and the tape of a plan."""
    trade_from_ms = 0 if plan.start_ms is None else plan.start_ms + 1
    candles = plan.history.candles
    strategies = for_each_symbol(plan.make_strategy, len(candles))
    assignments = [
        Assignment(
            plan.instruments[each.symbol], each.interval_ms, strategy, plan.round_trip_bps(each.symbol)
        )
        for each, strategy in zip(candles, strategies, strict=True)
    ]
    equity = plan.settings.account.equity_quote
    observer = Observer() if plan.risk == "observe" else None
    engine = Engine(
        assignments,
        equity,
        plan.limits,
        forecasters=_forecasters(plan),
        indicators=_indicators(plan, assignments),
        breaker=Breaker() if observer is None else observer.breaker,
        check=check if observer is None else observer.check,
        trade_from_ms=trade_from_ms,
        execution=plan.execution,
    )
    venue = BarVenue(
        {each.symbol: plan.instruments[each.symbol] for each in plan.history.candles},
        equity,
        plan.terms,
        seed=plan.settings.seed,
        detail=plan.detail,
        mark_bars=plan.marks,
    )
    return Run(engine, venue, RunTape(trade_from_ms), observer=observer)


def _indicators(plan: RunPlan, assignments: Sequence[Assignment]) -> "dict[str, Indicators]":
    """Compute the indicators of the whole history, where strategies declare some."""
    made = {}
    rates = {each.symbol: each for each in plan.history.funding}
    for candles, each in zip(plan.history.candles, assignments, strict=True):
        if not indicators_of(each.strategy):
            continue
        from bot.engine import indicators

        read = candles.between(0, plan.end_ms)
        settled = rates.get(candles.symbol)
        funding = indicators.rates_at(
            read.start_ms + read.interval_ms, *((settled.start_ms, settled.rate) if settled else ())
        )
        made[candles.symbol] = indicators.Indicators(
            each.strategy,
            read.interval_ms,
            (read.start_ms, read.ohlcv, funding),
            at_once=plan.own_at_once,
        )
    return made


def _forecasters(plan: RunPlan) -> dict[int, Forecaster]:
    if plan.model is None:
        return {}
    symbols = plan.history.symbols
    return make_forecasters(
        plan.model, symbols, _predictor(plan, plan.model), drift=make_drift_bounds(plan.settings)
    )


def make_forecasters(
    model: "Checkpoint | OwnModel",
    symbols: Sequence[str],
    predictor: Predictor | None = None,
    *,
    named: bool = True,
    drift: DriftBounds | None = None,
) -> dict[int, Forecaster]:
    """Return compiled forecasters for ``symbols`` (in order); ``predictor`` None: one that streams.

    ``named`` False: orders do not carry the model's hash, as in journals of older programs.
    ``drift``: the bounds of its measures; None measures none.
    """
    from bot.features.stream import FeatureStream

    predictor = predictor or _streaming(model, len(symbols))
    features = FeatureStream(model.feature_set, len(symbols))
    forecaster = Forecaster(
        symbols,
        features,
        predictor,
        model.bridge,
        model=model.hash if named else "",
        drift=None if drift is None else _drift_watch(model, len(symbols), drift),
    )
    forecaster.rehearse()
    return {model.interval_ms: forecaster}


def make_successor(
    model: "Checkpoint", symbols: Sequence[str], *, drift: DriftBounds | None = None
) -> Successor:
    """Return a model that may take over from another one of ``symbols`` (in order)."""
    return Successor(
        model.hash,
        model.feature_set.hash,
        _streaming(model, len(symbols)),
        model.bridge,
        None if drift is None else _drift_watch(model, len(symbols), drift),
    )


def _drift_watch(model: "Checkpoint | OwnModel", symbols: int, bounds: DriftBounds) -> DriftWatch:
    """Return what measures a model's drift. A model of the user's own has no bands, and stops no entries."""
    from bot.adapters.model.own import OwnModel

    own = isinstance(model, OwnModel)
    if own:
        bounds = replace(bounds, reduces=False)
    return DriftWatch(
        symbols,
        model.interval_ms,
        model.feature_set.names,
        model.drift,
        bounds,
        model.horizons,
        calendar=model.feature_set.calendar,
        has_bands=not own,
    )


def _streaming(model: "Checkpoint | OwnModel", symbols: int) -> Predictor:
    from bot.adapters.model.own import OwnModel, OwnPredictor
    from bot.adapters.model.predictor import KernelPredictor

    return OwnPredictor(model) if isinstance(model, OwnModel) else KernelPredictor(model, symbols)


def _predictor(plan: RunPlan, model: "Checkpoint | OwnModel") -> Predictor:
    from bot.adapters.model import own, predictor

    if isinstance(model, own.OwnModel):
        if not plan.own_at_once:
            return own.OwnPredictor(model)
        return own.own_history(model, _own_rows(plan, model))
    symbols = len(plan.history.symbols)
    if plan.form == "step":
        return predictor.KernelPredictor(model, symbols)
    if plan.form == "torch":
        return predictor.TorchPredictor(model, symbols)
    funding = {each.symbol: each for each in plan.history.funding}
    tables = []
    for candles in sorted(plan.history.candles, key=lambda each: each.symbol):
        read = candles.between(plan.read_from_ms, plan.end_ms)
        bars = predictor.bridged_candles(model, read, funding.get(read.symbol))
        rows = predictor.feature_rows(model, bars)
        forecasts = predictor.bulk_forecasts(model, bars.start_ms, rows)
        tables.append(forecasts[predictor.complete(rows)])
    return predictor.BulkPredictor(tables, model.warmup_bars, model.horizons)


def _own_rows(plan: RunPlan, model: "OwnModel") -> NDArray[np.float64]:
    """Return the feature rows of all symbols, one after the other, from the first bar that is read on."""
    from bot.features.stream import FeatureStream

    rows = []
    for candles in plan.history.candles:
        read = candles.between(plan.read_from_ms, plan.end_ms)
        stream = FeatureStream(model.feature_set, 1)
        rows.append(stream.replay(0, read.ohlcv, read.start_ms, np.zeros(len(read))))
    return np.concatenate(rows)


def compile_model() -> None:
    """Compile the streaming model and its features into the cache, as the installation does."""
    make_forecasters(load_model(None, ()), ["ANY"])
