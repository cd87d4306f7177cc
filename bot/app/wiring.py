"""The composition root: from settings and files to an engine, a venue and their tape.

Backtest, paced replay and demo call ``assemble`` and differ only in what drives the result.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bot.adapters.files import shipped
from bot.adapters.files.candles import Candles, funding_beside, read_candles, read_funding
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadModel, BadUsage
from bot.domain.market import Bar, Instrument, interval_name
from bot.engine.core import Assignment, Engine
from bot.engine.execution import ExecutionPolicy
from bot.engine.forecasting import Forecaster
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.ports import Predictor
from bot.risk.limits import Limits
from bot.service.backtest import Run
from bot.service.finer import FinerBars, MarkBars
from bot.service.history import History
from bot.service.tape import RunTape
from bot.settings import Settings
from bot.strategy import SHIPPED, build

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.adapters.model.checkpoint import Checkpoint

Form = Literal["step", "bulk", "torch"]


@dataclass(frozen=True)
class Plan:
    """Everything a run is made of, read and checked."""

    settings: Settings
    history: History
    instruments: Mapping[str, Instrument]
    strategy: type
    strategy_name: str
    params: Mapping[str, str]
    model: "Checkpoint | None" = None
    form: Form = "step"
    start_ms: int | None = None
    end_ms: int | None = None
    intrabar: Literal["random", "worst"] = "random"
    detail: Mapping[str, Mapping[int, Sequence[Bar]]] = field(default_factory=dict)
    marks: Mapping[str, Mapping[int, Bar]] = field(default_factory=dict)

    @property
    def warmup_bars(self) -> int:
        """Bars before the first decision that the model wants to have seen."""
        return self.model.warmup_bars if self.model is not None else 0

    @property
    def read_from_ms(self) -> int:
        """Where reading starts: the warm-up of every symbol before ``start_ms``."""
        if self.start_ms is None:
            return 0
        longest = max(each.interval_ms for each in self.history.candles)
        return max(0, self.start_ms - max(self.warmup_bars, WARMUP_BARS) * longest)

    @property
    def terms(self) -> Terms:
        """The venue's terms by the settings; without a given slippage, each symbol's measured spread."""
        return make_terms(self.settings, self.intrabar)

    @property
    def limits(self) -> Limits:
        """What risk allows."""
        return make_limits(self.settings)

    @property
    def execution(self) -> ExecutionPolicy:
        """How wishes become orders."""
        return make_execution(self.settings)

    def round_trip_bps(self, symbol: str) -> float:
        """Fees and half-spread, in and out."""
        return round_trip_bps(self.terms, symbol)


def make_terms(settings: Settings, intrabar: Literal["random", "worst"] = "random") -> Terms:
    """The simulated venue's terms; without a given slippage, each symbol's measured spread."""
    costs, account = settings.costs, settings.account
    given = costs.slippage_bps
    measured = shipped.spreads()
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
        intrabar=intrabar,
        margin_mode=account.margin_mode,
        leverage=account.leverage,
    )


def make_limits(settings: Settings) -> Limits:
    """What risk allows."""
    return Limits(**settings.risk.model_dump())


def make_execution(settings: Settings) -> ExecutionPolicy:
    """How wishes become orders."""
    chosen = settings.execution
    return ExecutionPolicy(
        maker=chosen.policy == "maker",
        reprice_ms=chosen.reprice_ms,
        max_reprices=chosen.max_reprices,
        deadline_ms=chosen.deadline_ms,
    )


def round_trip_bps(terms: Terms, symbol: str) -> float:
    """Fees and half-spread, in and out."""
    return 2.0 * float(10_000 * (terms.taker_fee_frac + terms.half_spread_frac(symbol)))


WARMUP_BARS = 1_000
"""Bars before ``--start`` that strategies without a model see, for their own averages."""


def assemble(plan: Plan) -> Run:
    """Build the engine, the venue and the tape of a plan."""
    trade_from_ms = 0 if plan.start_ms is None else plan.start_ms + 1
    assignments = [
        Assignment(
            plan.instruments[each.symbol],
            each.interval_ms,
            build(plan.strategy, plan.params),
            plan.round_trip_bps(each.symbol),
        )
        for each in plan.history.candles
    ]
    equity = plan.settings.account.equity_quote
    engine = Engine(
        assignments,
        equity,
        plan.limits,
        forecasters=_forecasters(plan),
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
    return Run(engine, venue, RunTape(trade_from_ms))


def _forecasters(plan: Plan) -> dict[int, Forecaster]:
    if plan.model is None:
        return {}
    symbols = plan.history.symbols
    return make_forecasters(plan.model, symbols, _predictor(plan, plan.model))


def make_forecasters(
    model: "Checkpoint", symbols: Sequence[str], predictor: Predictor | None = None
) -> dict[int, Forecaster]:
    """The model at work on ``symbols`` (in order), compiled; ``predictor`` None: the streaming kernel."""
    from bot.features.stream import FeatureStream

    if predictor is None:
        from bot.adapters.model.predictor import KernelPredictor

        predictor = KernelPredictor(model, len(symbols))
    forecaster = Forecaster(symbols, FeatureStream(model.feature_set, len(symbols)), predictor)
    forecaster.rehearse()
    return {model.interval_ms: forecaster}


def _predictor(plan: Plan, model: "Checkpoint") -> Predictor:
    from bot.adapters.model import predictor

    symbols = len(plan.history.symbols)
    if plan.form == "step":
        return predictor.KernelPredictor(model, symbols)
    if plan.form == "torch":
        return predictor.TorchPredictor(model, symbols)
    funding = {each.symbol: each for each in plan.history.funding}
    tables = []
    for candles in sorted(plan.history.candles, key=lambda each: each.symbol):
        read = candles.between(plan.read_from_ms, plan.end_ms)
        rows = predictor.feature_rows(model, read, funding.get(read.symbol))
        forecasts = predictor.bulk_forecasts(model, read.start_ms, rows)
        tables.append(forecasts[predictor.complete(rows)])
    return predictor.BulkPredictor(tables, model.warmup_bars)


def compile_model() -> None:
    """Compile the streaming model and its features into the cache, as the installation does."""
    make_forecasters(load_model(None, ()), ["ANY"])


# Reading what a run needs


def read_history(data: Sequence[Path], funding: str | None) -> History:
    """Candle files and their funding: ``None`` = the file beside each, ``none`` = none, else one file.

    Raises:
        BadFile: a file that is not as documented.
        BadUsage: one funding file for several symbols.
    """
    now_ms = WallClock().now_ms()  # a bar that has not closed yet is no bar
    candles = tuple(read_candles(path, now_ms=now_ms) for path in data)
    if funding is None:
        beside = [funding_beside(path) for path in data]
        return History(candles, tuple(read_funding(path) for path in beside if path is not None))
    if funding == "none":
        return History(candles)
    rates = read_funding(Path(funding))
    if rates.symbol not in {each.symbol for each in candles}:
        raise BadUsage(
            f"--funding {funding}: rates of {rates.symbol}, but no candles of that symbol are given"
        )
    return History(candles, (rates,))


def choose_instruments(symbols: Sequence[str], given: str | None) -> dict[str, Instrument]:
    """Rules by symbol: shipped ones, a file's, or ``exact`` for no steps and no minima.

    Raises:
        BadUsage: a symbol whose rules are not known.
    """
    if given == "exact":
        return {symbol: Instrument.exact(symbol) for symbol in symbols}
    known = shipped.instruments() if given is None else shipped.read_instruments(Path(given))
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        place = "ship with the program" if given is None else f"are in {given}"
        raise BadUsage(
            f"no instrument rules for {', '.join(missing)} {place}; "
            "give --instrument FILE, or --instrument exact for no steps and minima"
        )
    return {symbol: known[symbol] for symbol in symbols}


def choose_strategy(name: str) -> type:
    """A strategy that ships, by name, or a user's class as ``package.module:Class``.

    Raises:
        BadUsage: there is no such strategy, module or class.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        near = get_close_matches(name, SHIPPED, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(SHIPPED)}"
        raise BadUsage(f"no strategy {name!r}; {hint} (your own is written package.module:Class)")
    sys.path.insert(0, "")  # a user's module lies in the working directory
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except (ImportError, SyntaxError) as error:
        raise BadUsage(f"--strategy {name}: cannot import {module_name} ({error})") from error
    finally:
        sys.path.remove("")
    if not isinstance(found, type) or not callable(getattr(found, "on_bar", None)):
        raise BadUsage(f"--strategy {name}: {class_name} must be a class with a method on_bar(view)")
    return found


def load_model(path: Path | None, candles: Sequence[Candles]) -> "Checkpoint":
    """The model directory (None: the shipped one), refused unless it is made for these bars.

    Raises:
        BadModel: damaged, or of another interval.
    """
    from bot.adapters.model import checkpoint

    model = checkpoint.load(path if path is not None else shipped.model_path())
    if model.feature_set.is_joined:
        raise BadModel(
            "the model reads a second symbol's bars, which no run can give it yet; train one without"
        )
    for each in candles:
        if each.interval_ms != model.interval_ms:
            raise BadModel(
                f"{each.path}: {interval_name(each.interval_ms)} bars, but the model is for "
                f"{interval_name(model.interval_ms)}; use candles of that interval or train a model for these"
            )
    return model


def finer(paths: Sequence[Path], candles: Sequence[Candles]) -> dict[str, FinerBars]:
    """``--detail`` files by symbol.

    Raises:
        BadUsage: a file that is not finer than, or not of a symbol of, the candles.
    """
    by_symbol = {each.symbol: each for each in candles}
    found = {}
    for path in paths:
        fine = read_candles(path)
        coarse = by_symbol.get(fine.symbol)
        if coarse is None or fine.interval_ms >= coarse.interval_ms or coarse.interval_ms % fine.interval_ms:
            raise BadUsage(f"--detail {path}: must hold finer candles of a symbol given with --data")
        found[fine.symbol] = FinerBars(fine, coarse.interval_ms)
    return found


def mark_bars(paths: Sequence[Path], candles: Sequence[Candles]) -> dict[str, MarkBars]:
    """``--mark`` files by symbol.

    Raises:
        BadUsage: a file of another interval or symbol than the candles.
    """
    by_symbol = {each.symbol: each for each in candles}
    found = {}
    for path in paths:
        marks = read_candles(path)
        traded = by_symbol.get(marks.symbol)
        if traded is None or marks.interval_ms != traded.interval_ms:
            raise BadUsage(
                f"--mark {path}: must hold mark-price candles of a symbol and interval given with --data"
            )
        found[marks.symbol] = MarkBars(marks)
    return found


def parse_params(pairs: Sequence[str]) -> dict[str, str]:
    """``k=v`` texts.

    Raises:
        BadUsage: a text without ``=``, or a name twice.
    """
    params: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadUsage(f"--param {pair}: write name=value")
        if name in params:
            raise BadUsage(f"--param {name}: given twice")
        params[name] = value
    return params
