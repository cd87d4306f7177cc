"""What a check runs: a strategy, a model, or a function of candles."""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.adapters.files.diverted import Reads, diverted
from bot.app.checks.copies import Files
from bot.app.checks.known import tables_in, tables_known_to, unchanged_note
from bot.app.checks.tables import EXACT, FLOAT32, Log, Table
from bot.app.checks.watching import read_anew, watched
from bot.app.context import Context
from bot.app.inputs import load_model, read_history, read_module
from bot.app.runs.backtest import make_plan
from bot.app.wiring import WARMUP_BARS, RunPlan, assemble
from bot.domain.errors import BadUsage, BotError, StrategyFailed
from bot.domain.messages import BarsClosed, PlaceOrder
from bot.features.spec import FeatureSet
from bot.strategy.failing import place_of

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import Part

SETTLED = 1e-6
FORECAST_SETTLED = 0.01
"""Of a forecast's standard deviation: what the ``warmup_bars`` of a model's manifest mean."""


@dataclass(frozen=True)
class Said:
    """What a subject said on some files, what it read itself, and why it ended early, if it did."""

    tables: Mapping[str, Table]
    reads: Reads
    error: BotError | None = None


class Subject(Protocol):
    """Something that says values at each close, from candle files."""

    @property
    def name(self) -> str:
        """What is checked, for people."""

    @property
    def warmup_bars(self) -> int:
        """Bars that a run gives it before its values count."""

    @property
    def same_frac(self) -> float:
        """Relative difference below which a value is the same, computed in another order."""

    @property
    def settled_frac(self) -> float:
        """Relative difference below which a value no longer depends on where the history begins."""

    @property
    def notes(self) -> Sequence[str]:
        """What a check cannot see of it, in words."""

    def say(self, files: Files, *, to_ms: int, start_ms: int | None = None) -> Said:
        """Run it on ``files`` until the close at ``to_ms``; a strategy trades from ``start_ms`` on.

        Raises:
            BotError: it cannot be run at all.
        """

    def say_again(self, files: Files, *, to_ms: int) -> Said | None:
        """Run the class of the last run once more; None if nothing can be left over from a run."""


@dataclass
class StrategySubject:
    """A strategy, run as ``bot backtest`` runs it, on the account of the settings."""

    context: Context
    strategy: str | type
    params: Sequence[str] | Mapping[str, object] = ()
    model: "Path | Checkpoint | Sequence[Part] | None" = None
    instrument: str | None = None
    _plan: RunPlan | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        if self._plan is not None:
            return self._plan.strategy_name
        return self.strategy if isinstance(self.strategy, str) else self.strategy.__name__

    @property
    def warmup_bars(self) -> int:
        """What a run reads before ``--start``."""
        plan = self._plan
        return WARMUP_BARS if plan is None else max(WARMUP_BARS, plan.warmup_bars, plan.indicator_bars)

    @property
    def same_frac(self) -> float:
        return EXACT

    @property
    def settled_frac(self) -> float:
        return SETTLED if self._plan is None or self._plan.model is None else FORECAST_SETTLED

    @property
    def notes(self) -> Sequence[str]:
        """Which tables in memory the class knows, beside the candles."""
        known = () if isinstance(self.strategy, str) else tables_known_to(self.strategy)
        return unchanged_note([*known, *tables_in(self.params)])

    def say(self, files: Files, *, to_ms: int, start_ms: int | None = None) -> Said:
        """Run it with its module read anew."""
        with diverted(files.replaced, files.folder) as reads, read_anew():
            tables: Mapping[str, Table] = {}
            try:
                self._plan = self._make(files, start_ms)
            except StrategyFailed as failed:  # while its module was imported
                return Said(tables, reads, failed)
            tables, error = _played(self._plan, to_ms)
        return Said(tables, reads, error)

    def say_again(self, files: Files, *, to_ms: int) -> Said | None:
        """Run the class of the last run once more, as a search runs its trials."""
        if self._plan is None:
            return None
        with diverted(files.replaced, files.folder) as reads:
            plan = replace(self._plan, history=self._make(files, None, self._plan.strategy).history)
            tables, error = _played(plan, to_ms)
        return Said(tables, reads, error)

    def _make(self, files: Files, start_ms: int | None, cls: type | None = None) -> RunPlan:
        return make_plan(
            self.context,
            data=files.data,
            strategy=self.strategy if cls is None else cls,
            model=self.model,
            param=self.params,
            start=start_ms,
            end=None,
            fee_bps=None,
            slippage_bps=None,
            equity=None,
            instrument=self.instrument,
            liquidity=None,
            funding=None,
            form="step",
            intrabar="path",
            detail=(),
            mark=(),
            seed=None,
            risk="observe",
        )


def _played(plan: RunPlan, to_ms: int) -> tuple[Mapping[str, Table], BotError | None]:
    """Replay a plan's history up to the close at ``to_ms``, and return what was said, and what was raised."""
    log = Log()
    try:
        run = assemble(replace(plan, strategy=watched(plan.strategy, log)))
        driver, placed = run.driver, run.tape.placed
        for event in plan.history.events():
            if event.ts_ms > to_ms:
                break
            log.now_ms = event.ts_ms
            known = len(placed)
            driver.take(event)
            if type(event) is BarsClosed:
                _note_orders(log, placed[known:])
    except (StrategyFailed, BadUsage) as error:  # BadUsage: raised by its constructor
        return log.tables(), error
    return log.tables(), None


def _note_orders(log: Log, orders: Sequence[PlaceOrder]) -> None:
    by_symbol: dict[str, list[str]] = {}
    for order in orders:
        intent = order.intent
        by_symbol.setdefault(intent.symbol, []).append(f"{intent.side} {intent.qty}")
    for symbol, words in by_symbol.items():
        log.say(symbol, {"orders": ", ".join(words)})


@dataclass
class ModelSubject:
    """A model: its features and its forecasts, in bulk and streamed."""

    path: "Path | Checkpoint | None"
    _warmup_bars: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        if self.path is None or isinstance(self.path, Path):
            return f"model {self.path or '(shipped)'}"
        return f"model {self.path.hash[:12]}"

    @property
    def warmup_bars(self) -> int:
        """That of the manifest."""
        return self._warmup_bars

    @property
    def same_frac(self) -> float:
        return FLOAT32

    @property
    def settled_frac(self) -> float:
        return FORECAST_SETTLED

    @property
    def notes(self) -> Sequence[str]:
        return ()

    def say(self, files: Files, *, to_ms: int, start_ms: int | None = None) -> Said:
        """Compute features and forecasts of each file."""
        from bot.adapters.model.predictor import forecast_table

        tables = {}
        with diverted(files.replaced, files.folder) as reads:
            history = read_history(files.data, None)
            funding = {each.symbol: each for each in history.funding}
            model = load_model(self.path, history.candles)
            self._warmup_bars = model.warmup_bars
            for candles in history.candles:
                rates = funding.get(candles.symbol)
                columns = _features_of(model.feature_set, candles, rates)
                for form in _FORMS:
                    table = forecast_table(model, candles, rates, form=form)
                    columns |= {
                        f"{form} {name}": column
                        for name, column in zip(model.horizons.columns, table.T, strict=True)
                    }
                tables[candles.symbol] = Table(
                    candles.symbol, candles.start_ms + candles.interval_ms, columns
                )
        return Said(tables, reads)

    def say_again(self, files: Files, *, to_ms: int) -> Said | None:
        """A model keeps nothing."""
        return None


_FORMS: tuple[Literal["bulk", "step"], ...] = ("bulk", "step")


def _features_of(feature_set: FeatureSet, candles: Candles, rates: Funding | None) -> dict[str, NDArray[Any]]:
    from bot.features import matrix

    settled: tuple[NDArray[Any], NDArray[Any]] = (np.empty(0, np.int64), np.empty(0))
    if rates is not None:
        settled = (rates.start_ms, rates.rate)
    rows = matrix.compute(feature_set, candles.start_ms, candles.ohlcv, *settled)
    return dict(zip(feature_set.names, rows.T, strict=True))


@dataclass
class FunctionSubject:
    """A user's function: ``candles`` in, one row a bar out; for features, labels or signals."""

    given: str | Callable[..., object]
    """``path/file.py:function``, ``package.module:function``, or the function itself."""

    @property
    def name(self) -> str:
        return self.given if isinstance(self.given, str) else getattr(self.given, "__name__", "function")

    @property
    def warmup_bars(self) -> int:
        """What a run reads before ``--start``."""
        return WARMUP_BARS

    @property
    def same_frac(self) -> float:
        return EXACT

    @property
    def settled_frac(self) -> float:
        return SETTLED

    @property
    def notes(self) -> Sequence[str]:
        """Which tables in memory the function knows, beside the candles."""
        return () if isinstance(self.given, str) else unchanged_note(tables_known_to(self.given))

    def say(self, files: Files, *, to_ms: int, start_ms: int | None = None) -> Said:
        """Call it for each file, with its module read anew."""
        tables: dict[str, Table] = {}
        error: BotError | None = None
        with diverted(files.replaced, files.folder) as reads, read_anew():
            try:
                function = self._load(self.given) if isinstance(self.given, str) else self.given
            except StrategyFailed as failed:
                return Said(tables, reads, failed)
            for candles in read_history(files.data, "none").candles:
                try:
                    answer = function(candles)
                except BotError:
                    raise
                except Exception as raised:  # the code of a user may raise anything
                    error = StrategyFailed(place_of(raised))
                    continue
                tables[candles.symbol] = _rows_of(answer, candles, self.name)
        return Said(tables, reads, error)

    def say_again(self, files: Files, *, to_ms: int) -> Said | None:
        """Its module is read anew for each run, and a second call in one process is a run of its own."""
        return None

    @staticmethod
    def _load(written: str) -> Callable[..., object]:
        place, colon, name = written.rpartition(":")
        if not colon:
            raise BadUsage(f"--features {written}: write file.py:function or package.module:function")
        try:
            with _importing(place):
                module = read_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        except (ImportError, SyntaxError, OSError) as error:
            raise BadUsage(f"--features {written}: cannot import {place} ({error})") from error
        except Exception as error:  # the code of a user may raise anything
            raise StrategyFailed(f"{place_of(error)} (while {place} was imported)") from error
        found = getattr(module, name, None)
        if not callable(found):
            raise BadUsage(f"--features {written}: {place} has no function {name}")
        return found  # type: ignore[no-any-return]  # a user's: any callable


@contextmanager
def _importing(place: str) -> Iterator[None]:
    folder = str(Path(place).parent) if place.endswith(".py") else ""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _rows_of(answer: Any, candles: Candles, where: str) -> Table:
    """Read what a function returned: a frame, a series, an Arrow table, a dict of columns or an array.

    Raises:
        BadUsage: it has not one row a bar.
    """
    times = candles.start_ms + candles.interval_ms
    if hasattr(answer, "matrix") and hasattr(answer, "names"):
        columns = dict(zip(answer.names, np.asarray(answer.matrix).T, strict=True))
    elif hasattr(answer, "column_names") and hasattr(answer, "column"):
        columns = {name: answer.column(name).to_numpy() for name in answer.column_names}
    elif isinstance(answer, Mapping):
        columns = dict(answer)
    elif hasattr(answer, "columns") and hasattr(answer, "index"):
        columns = {str(name): answer[name].to_numpy() for name in answer.columns}
    else:
        array = np.asarray(answer, dtype=np.float64)
        columns = (
            {"value": array} if array.ndim == 1 else {f"column {i}": each for i, each in enumerate(array.T)}
        )
    given = {str(name): _floats(column) for name, column in columns.items()}
    rows = {len(column) for column in given.values()}
    index = getattr(answer, "index", None)
    if rows != {len(times)} and index is not None and hasattr(index, "asi8"):
        stamps = np.asarray(index.as_unit("ms").asi8, dtype=np.int64)
        return Table(candles.symbol, stamps + candles.interval_ms, given)
    if rows != {len(times)}:
        counts = ", ".join(f"{count:,}" for count in sorted(rows)) or "no"
        raise BadUsage(
            f"--features {where}: returned {counts} rows for {len(times):,} bars; return one row a bar (NaN "
            "where there is no value), or a frame indexed by the bars' open times"
        )
    return Table(candles.symbol, times, given)


def _floats(column: object) -> NDArray[np.float64]:
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        codes = {
            each: index for index, each in enumerate(dict.fromkeys(np.asarray(column, dtype=str).tolist()))
        }
        return np.array([codes[each] for each in np.asarray(column, dtype=str).tolist()], dtype=np.float64)
