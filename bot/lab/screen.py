"""``screen``: a rule at every point of a large grid without the engine, the best ones again with it."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles
from bot.app.inputs import read_history
from bot.app.places import check_writable
from bot.app.runs.backtest import make_plan
from bot.app.search.screens import Tried, key_of, write_down
from bot.app.wiring import RunPlan
from bot.domain.errors import BadUsage, BotError
from bot.domain.market import DAY_MS
from bot.domain.words import counted
from bot.lab.backtest import backtest
from bot.lab.calling import context_of, one_line, one_of, path_of
from bot.lab.candles import Source, candles_or_files
from bot.lab.options import RunOptions, plan_options
from bot.lab.result import BacktestResult
from bot.metrics import (
    YEAR_DAYS,
    Metrics,
    daily_equity,
    deflated_sharpe,
    max_drawdown,
    sharpe,
    simple_returns,
    whole_day_returns,
)
from bot.strategy import Target, View
from bot.strategy.failing import place_of
from bot.web.figure import Figure, figure_of_nothing
from bot.web.numbers import describe, show

if TYPE_CHECKING:
    import pyarrow as pa

    from bot.features.ops import Op

Floats = NDArray[np.float64]
Point = Mapping[str, Any]
Pair = tuple["Op | float", "Op | float"]
"""Two indicators, or an indicator and a number; true while the first is above the second."""
Sides = tuple[Pair, Pair]

POINTS_MAX = 1_000_000
"""Points of one grid; more is a slip of the pen."""
_FIGURES = ("total_return", "sharpe", "max_drawdown", "trades")
_CHUNK = 1 << 22
"""Values of daily equity, or of indicators, that are in memory beside the columns at once: 32 MiB."""
_REFUSED = ("start", "end", "model", "form", "detail", "mark")


@dataclass(frozen=True)
class Rule:
    """When to hold a position, from indicators of ``bot.features.indicators`` and a point of a grid.

    ``bot.Rule(lambda p: (ema(close, p["fast"]), ema(close, p["slow"])))`` is long while the first is above
    the second. A pair may hold one number: ``(30, rsi(close, p["n"]))``. An unknown value is no signal: the
    position stays, as on a tie.
    """

    enter: Callable[[Point], Pair]
    """Returns the pair that makes the rule long. It wins if both pairs hold."""
    leave: Callable[[Point], Pair] | None = None
    """Returns the pair that ends this. Default: the pair of ``enter``, the other way round."""
    short: bool = False
    """The rule goes short where it would leave, instead of flat; also before it was ever long."""

    def sides(self, point: Point) -> Sides:
        """Return both pairs at a point.

        Raises:
            BadUsage: a pair is none, or the point lacks a parameter.
        """
        above, below = self._pair("enter", self.enter, point)
        if self.leave is None:
            return (above, below), (below, above)
        return (above, below), self._pair("leave", self.leave, point)

    def at(self, point: Point, leverage: float = 0.5) -> "RuleStrategy":
        """Return the strategy of a point: ``bot.backtest(candles, rule.at({"fast": 12, "slow": 48}))``.

        Raises:
            BadUsage: as ``sides``.
        """
        return RuleStrategy(self, point, leverage)

    @staticmethod
    def _pair(name: str, asked: Callable[[Point], Pair], point: Point) -> Pair:
        from bot.features.ops import Op
        from bot.features.program import lane_of

        if not callable(asked):
            raise BadUsage(f"{name}: must be a function of a point of the grid, was {asked!r}")
        try:
            pair: object = asked(point)
        except KeyError as error:
            raise BadUsage(f"{name}: the grid has no parameter {error}; it has {', '.join(point)}") from None
        except BotError:
            raise
        except Exception as error:  # the code of a user may raise anything
            hint = "; return the two indicators as a pair, not compared" if _compared(error) else ""
            raise BadUsage(f"{name}: {place_of(error)}{hint}") from error
        found = pair if isinstance(pair, tuple) else ()
        if len(found) != 2 or not any(isinstance(each, Op) for each in found):
            raise BadUsage(
                f"{name}: must return two indicators such as (ema(close, 12), sma(close, 48)), or one and a "
                f"number, returned {pair!r}"
            )
        for each in found:
            if isinstance(each, Op):
                if lane_of(each):
                    raise BadUsage(f"{name}: reads a second symbol's bars; a rule trades one symbol")
            elif not _is_number(each):
                raise BadUsage(
                    f"{name}: compares operators such as ema(close, 12) and finite numbers, not {each!r}; "
                    "functions of your own (past) and models need bot.sweep"
                )
        return found


class RuleStrategy:
    """A rule at one point of its grid, as the engine trades it. ``Rule.at`` makes one."""

    def __init__(self, rule: Rule, point: Point, leverage: float) -> None:
        from bot.features.ops import Op

        self.leverage, self.other_side, self.side = leverage, -1 if rule.short else 0, 0
        names = (("enter_above", "enter_below"), ("leave_above", "leave_below"))
        given = dict(
            pair
            for keys, values in zip(names, rule.sides(point), strict=True)
            for pair in zip(keys, values, strict=True)
        )
        self.indicators = {name: each for name, each in given.items() if isinstance(each, Op)}
        self._numbers = {name: float(each) for name, each in given.items() if not isinstance(each, Op)}

    def on_bar(self, view: View) -> Target | None:
        """Return a target where the side changes; None keeps the position."""
        now = {**view.ind, **self._numbers}
        side = self.side
        if now["enter_above"] > now["enter_below"]:
            side = 1
        elif now["leave_above"] > now["leave_below"]:
            side = self.other_side
        if side == self.side:
            return None
        self.side = side
        return Target(view.worth(side * self.leverage), "enter" if side else "leave")


@one_line
def screen(
    candles: Source | Sequence[Source],
    rule: Rule,
    grid: Mapping[str, Sequence[object]],
    *,
    top: int = 10,
    objective: Literal["sharpe", "total_return"] = "sharpe",
    leverage: float = 0.5,
    config: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> "ScreenResult":
    """Try a rule at every point of a large grid without the engine, then run the best ones through it.

    ``bot.screen(candles, rule, {"fast": range(4, 40), "slow": range(48, 240, 4)})``

    The screen decides at a bar's close and fills at the next bar's open, for the fee and the half-spread of
    ``bot.backtest``. Each different indicator is computed once, by the code that the engine runs.

    It ignores steps and minima of lots and prices, volume and impact, funding, margin, liquidation, and every
    limit of ``risk``. Only the figures of ``confirmed`` have these. Every point is a trial of the deflated
    Sharpe ratio, not only those that the engine ran. Points are written down in the state directory: what
    other screens, sweeps and walk-forwards tried on these symbols counts, too.

    Args:
        candles: of ``read_candles``, or files; a list trades several symbols on one account.
        rule: what is compared, from a point of the grid.
        grid: parameter to the values that are tried: numbers or texts.
        top: how many of the best points the engine runs.
        objective: the figure to be large: ``sharpe`` or ``total_return``.
        leverage: value of a position over equity when it is entered; of several symbols, of all together.
        config: a settings file, as ``bot -c FILE``.
        options: further keywords of ``bot.backtest``, such as ``fee_bps``, ``slippage_bps`` or ``risk``.

    Raises:
        BadUsage: arguments that name nothing or contradict each other.
        BadSettings, BadFile, BadBar: as ``bot.backtest``.
    """
    points = _points(grid)
    if not isinstance(rule, Rule):
        raise BadUsage(f"rule: must be a bot.Rule, was a {type(rule).__name__}")
    one_of(objective, ("sharpe", "total_return"), "objective")
    if not (_is_number(top) and top >= 1 and top == int(top)):
        raise BadUsage(f"top={top!r}: must be a whole number, 1 or more")
    if not (_is_number(leverage) and leverage > 0.0):
        raise BadUsage(f"leverage={leverage!r}: must be a number above 0")
    refused = next((name for name in _REFUSED if name in options), None)
    if refused is not None:
        span = f"give the candles of the span: bot.read_candles(..., {refused}=...)"
        why = (
            span
            if refused in ("start", "end")
            else "give it to bot.backtest, for the points that are worth it"
        )
        raise BadUsage(f"{refused}: the screen does not take it; {why}")
    series = list(read_history(candles_or_files(candles), "none").candles)
    if len({each.interval_ms for each in series}) > 1:
        raise BadUsage("candles: bars of different lengths; a screen needs the same of all symbols")
    spot = next((each.symbol for each in series if each.market == "spot"), None)
    if rule.short and spot is not None:
        raise BadUsage(f"{spot}: spot is never sold short; give a rule without short=True")
    # For costs and for checks of the options: a strategy without a warm-up always fits.
    context = context_of(config)
    plan = make_plan(context, **plan_options(series, "flat", {}, options))  # type: ignore[arg-type]
    sides = [rule.sides(point) for point in points]
    figures = _screened(series, rule, sides, leverage, plan)
    kind = {"leverage": leverage, "short": rule.short}
    keys = (key_of(f"{each!r} {rule.short}") for each in sides)
    earlier, log = write_down(context.state_dir(), plan, kind, keys)
    best = _ranked(figures[objective])[: int(top)].tolist()
    runs = [
        backtest(series, rule.at(points[k], leverage / len(series)), config=config, **options)  # type: ignore[arg-type]
        for k in best
    ]  # a model is refused above
    return ScreenResult(plan, points, figures, best, runs, objective, earlier, log)


class ScreenResult:
    """Every point of a screen, and the best ones by the engine. Tables are Arrow; figures are fractions."""

    def __init__(
        self,
        plan: RunPlan,
        points: Sequence[Point],
        figures: Mapping[str, Floats],
        best: Sequence[int],
        runs: Sequence[BacktestResult],
        objective: str,
        earlier: Tried,
        log: Path,
    ) -> None:
        self._plan, self._points, self._figures = plan, points, figures
        self._best, self._objective = best, objective
        self.runs = tuple(runs)
        """The engine's results of the confirmed points, best of the screen first."""
        self._earlier = earlier
        self.earlier_trials = earlier.points
        """Other points that were tried on these symbols before, in other screens."""
        self.searched_trials = earlier.trials
        """Parameters of strategies that sweeps and walk-forwards tried on these symbols before."""
        self.log = log
        """The file that remembers the points of this screen."""

    @property
    def trials(self) -> int:
        """Points that were tried. All of them count when the luck of the best is judged."""
        return len(self._points)

    @cached_property
    def table(self) -> "pa.Table":
        """All points in the order of the grid: ``param_NAME`` and the screen's figures; null: undefined."""
        return self._with_params(range(self.trials), {name: self._figures[name] for name in _FIGURES})

    @cached_property
    def confirmed(self) -> "pa.Table":
        """The best points: ``screen_NAME``, ``engine_NAME`` and their difference ``NAME_off``, a figure."""
        columns: dict[str, Floats] = {}
        for name in _FIGURES:
            ours = self._figures[name][list(self._best)]
            engine = np.array([_real(run.metrics.get(name)) for run in self.runs])
            columns |= {f"screen_{name}": ours, f"engine_{name}": engine, f"{name}_off": engine - ours}
        return self._with_params(self._best, columns)

    @property
    def best(self) -> Point | None:
        """Parameters of the point that the engine found best; None if no point has the objective."""
        order = self._engine_order
        return None if not order else self._points[self._best[order[0]]]

    @property
    def metrics(self) -> Metrics | None:
        """The engine's figures of ``best``: it was chosen for them, so they flatter. None without one."""
        run = self._best_run
        return None if run is None else run.metrics

    @property
    def _best_run(self) -> BacktestResult | None:
        return self.runs[self._engine_order[0]] if self._engine_order else None

    def plot(self) -> Figure:
        """Return the engine's run of ``best`` beside buy and hold; its days chose it, so it flatters.

        ``found.plot().save("best.svg")`` writes it.
        """
        run = self._best_run
        return figure_of_nothing("No point has a figure: nothing to draw.") if run is None else run.plot()

    def report(self, path: str | Path) -> Path:
        """Write the page of the screen, one file that needs no network, and return its path.

        Raises:
            BadUsage: the file cannot be written.
        """
        return _write(self, path)

    @property
    def deflated_sharpe(self) -> float | None:
        """Probability that the engine's Sharpe ratio of ``best`` is more than luck; all points count.

        Those of earlier screens, sweeps and walk-forwards on these symbols do, too. None: unknown.
        """
        if self._best_run is None:
            return None
        run = self._best_run._result.unseen
        _, returns = whole_day_returns(run.ts_ms, run.equity)
        daily = self._figures["sharpe"][np.isfinite(self._figures["sharpe"])] / math.sqrt(YEAR_DAYS)
        spread = float(np.var(daily, ddof=1)) if len(daily) > 1 else None
        tried = self.trials + self.earlier_trials + self.searched_trials
        return deflated_sharpe(returns, tried, spread)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know to judge the table."""
        before = f", and {self.earlier_trials:,} others before" if self.earlier_trials else ""
        if self.searched_trials:
            before += f", and {self.searched_trials:,} parameters in sweeps and walk-forwards"
        were = "was" if self.trials == 1 else "were"
        told = [f"{counted(self.trials, 'point')} {were} tried{before}: the best of so many is partly luck"]
        if not self._best:
            told.append(f"no point has the figure {self._objective}: none traded, or the candles are too few")
        lost = len(self.runs) - len(self._engine_order)
        if lost:
            told.append(f"{lost} of {len(self.runs)} runs of the engine have no {self._objective}: see .runs")
        if self._engine_order != sorted(self._engine_order):
            told.append("the engine puts these points in another order than the screen")
        halted = sum(run.numbers["halt"] is not None for run in self.runs)
        if halted:
            told.append(f"the limits of risk halted {halted} of {len(self.runs)} runs of the engine")
        return tuple(told)

    @cached_property
    def _engine_order(self) -> list[int]:
        found = np.array([_real(run.metrics.get(self._objective)) for run in self.runs])
        order: list[int] = _ranked(found).tolist()
        return order

    def _with_params(self, rows: Sequence[int], columns: Mapping[str, Floats]) -> "pa.Table":
        import pyarrow as pa

        params = {
            f"param_{name}": pa.array([self._points[k][name] for k in rows]) for name in self._points[0]
        }
        return pa.table(params | {name: _column(name, values) for name, values in columns.items()})

    def __repr__(self) -> str:
        names, told = list(self._points[0]), list(dict.fromkeys((self._objective, "total_return")))
        titles = list(names)
        for each in told:
            titles += [f"{describe(each).label}: screen", "engine", "difference"]
        rows = [titles]
        for k, run in zip(self._best, self.runs, strict=True):
            row = [str(self._points[k][name]) for name in names]
            for each in told:
                ours, engine = float(self._figures[each][k]), _real(run.metrics.get(each))
                kind = describe(each).kind
                row += [show(_known(value), kind) for value in (ours, engine, engine - ours)]
            rows.append(row)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
        symbols = ", ".join(self._plan.history.symbols)
        head = f"{counted(self.trials, 'point')} on {symbols}, {len(self.runs)} confirmed by the engine"
        return "\n".join([head, *table, *(f"note: {each}" for each in self.warnings)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self.plot()._repr_html_()}"


@one_line
def _write(found: ScreenResult, path: str | Path) -> Path:
    from bot.app.search.screen_page import Screened, curve_of_run, write_screen

    path = path_of(path, "path")
    check_writable(path, "report")
    order, run = found._engine_order, found._best_run
    screened = Screened(
        plan=found._plan,
        points=found._points,
        figures=found._figures,
        ranked=_ranked(found._figures[found._objective]).tolist(),
        confirmed=[(at, each.metrics) for at, each in zip(found._best, found.runs, strict=True)],
        best=found._best[order[0]] if order else None,
        curve=None if run is None else curve_of_run(run._result),
        objective=found._objective,
        earlier=found._earlier,
        deflated_sharpe=found.deflated_sharpe,
        notes=found.warnings,
        log=found.log,
    )
    write_screen(path, screened)
    return path


# The screen


def _points(grid: object) -> list[dict[str, Any]]:
    """Return every point of a grid; the last parameter changes first.

    Raises:
        BadUsage: no grid, or values that are neither numbers nor texts.
    """
    if not isinstance(grid, Mapping) or not grid:
        raise BadUsage('grid: must be a dict such as {"fast": [6, 12], "slow": range(24, 96, 4)}')
    axes: dict[str, list[Any]] = {}
    for name, given in grid.items():
        values: list[Any] = [] if isinstance(given, str) or not hasattr(given, "__iter__") else list(given)
        values = [each.item() if isinstance(each, np.generic) else each for each in values]
        if not values or not (all(map(_is_number, values)) or all(isinstance(each, str) for each in values)):
            raise BadUsage(f"grid[{name!r}]: must be a list of numbers, or of texts, was {given!r}")
        if len(set(values)) < len(values):
            raise BadUsage(f"grid[{name!r}]: names a value twice; each is tried once")
        axes[name] = values
    count = math.prod(map(len, axes.values()))
    if count > POINTS_MAX:
        raise BadUsage(f"grid: has {count:,} points; give at most {POINTS_MAX:,}")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _screened(
    series: Sequence[Candles], rule: Rule, sides: Sequence[Sides], leverage: float, plan: RunPlan
) -> dict[str, Floats]:
    """Return the figures of every point, NaN where undefined, as ``bot.metrics`` defines them."""
    from bot.research.search.screen import walk  # it loads a compiler

    starts_ms = np.unique(np.concatenate([each.start_ms for each in series]))
    opens, closes, is_late, columns, places = _lined_up(series, starts_ms, sides)
    times = np.append(starts_ms[0], starts_ms + series[0].interval_ms)
    ends, kept = daily_equity(times, np.arange(len(times), dtype=np.float64))
    whole = np.diff(ends) == DAY_MS
    fee_frac = float(plan.terms.taker_fee_frac)
    half_spread_frac = np.array([float(plan.terms.half_spread_frac(each.symbol)) for each in series])
    found: dict[str, Floats] = {name: np.full(len(sides), np.nan) for name in _FIGURES}
    rows = max(1, _CHUNK // len(kept))
    for first in range(0, len(sides), rows):
        equities, closed = walk(
            opens,
            closes,
            is_late,
            columns,
            places[first : first + rows],
            -1 if rule.short else 0,
            float(leverage) / len(series),
            fee_frac,
            half_spread_frac,
            kept.astype(np.int64),
        )
        found["trades"][first : first + rows] = closed
        for k, daily in enumerate(equities, first):
            returns = simple_returns(daily)
            found["total_return"][k] = daily[-1] / daily[0] - 1.0
            found["sharpe"][k] = _real(sharpe(returns[whole[: len(returns)]]))
            found["max_drawdown"][k] = _real(max_drawdown(returns))
    return found


def _lined_up(
    series: Sequence[Candles], starts_ms: NDArray[np.int64], sides: Sequence[Sides]
) -> tuple[Floats, Floats, NDArray[np.bool_], Floats, NDArray[np.int64]]:
    """Return what ``walk`` takes, over the bars of all symbols: opens, closes, late bars, columns, points."""
    place: dict[Op | float, int] = {}
    places = [[place.setdefault(each, len(place)) for pair in both for each in pair] for both in sides]
    shape = (len(series), len(starts_ms))
    opens, closes, is_late = np.full(shape, np.nan), np.empty(shape), np.zeros(shape, np.bool_)
    columns = np.full((shape[0], len(place), shape[1]), np.nan)
    for s, each in enumerate(series):
        at = np.searchsorted(starts_ms, each.start_ms)
        opens[s, at] = each.ohlcv[:, 0]
        is_late[s, at[1:]] = np.diff(each.start_ms) > each.interval_ms
        latest = np.searchsorted(each.start_ms, starts_ms, side="right") - 1
        closes[s] = each.ohlcv[np.maximum(latest, 0), 3]
        columns[s][:, at] = _columns(each, list(place))
    return opens, closes, is_late, columns, np.array(places, np.int64)


def _columns(series: Candles, compared: "Sequence[Op | float]") -> Floats:
    """Return what the points compare, ``(C, T)``."""
    from bot.engine.indicators import rates_at
    from bot.features.ops import Op
    from bot.features.spec import FeatureSet
    from bot.features.stream import FeatureStream

    columns = np.empty((len(compared), len(series.start_ms)))
    place = {each: at for at, each in enumerate(compared)}
    for each, at in place.items():
        if not isinstance(each, Op):
            columns[at] = each
    operators = [each for each in compared if isinstance(each, Op)]
    funding = rates_at(series.start_ms + series.interval_ms)
    size = max(1, _CHUNK // len(series.start_ms))
    for first in range(0, len(operators), size):
        chosen = operators[first : first + size]
        made = FeatureSet("screen", series.interval_ms, tuple((repr(op), op) for op in chosen))
        rows = FeatureStream(made, 1).replay(0, series.ohlcv, series.start_ms, funding)
        columns[[place[op] for op in chosen]] = np.where(np.isfinite(rows), rows, np.nan).T
    return columns


def _ranked(values: Floats) -> NDArray[np.int64]:
    """Return the places of the known values, the largest first; of equal ones the earlier first."""
    order = np.argsort(-values, kind="stable")
    return order[np.isfinite(values[order])]


def _compared(error: Exception) -> bool:
    """Return True if somebody compared two indicators, which have no value yet."""
    return isinstance(error, TypeError) and "not supported between instances" in str(error)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _real(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _column(name: str, values: Floats) -> "pa.Array[Any]":
    import pyarrow as pa

    kind = pa.int64() if "trades" in name else pa.float64()
    return pa.array(values, from_pandas=True).cast(kind)
