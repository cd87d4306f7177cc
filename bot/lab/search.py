"""``sweep`` and ``walkforward``: ``bot sweep`` and ``bot walkforward`` as functions, and what they return."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from bot.app.places import check_writable
from bot.app.search.pages import curve_of_best, curve_of_tests, write_page
from bot.app.search.samplers import Sampler
from bot.app.search.sweep import Sweep, run_search
from bot.app.search.table import steps_of, table_of
from bot.app.search.trial import Outcome
from bot.app.search.walk import WalkForward, run_walk, spans, trials_of
from bot.app.search.words import halt_words, sampler_words, walk_words, words
from bot.domain.words import counted
from bot.lab.calling import one_line, path_of
from bot.lab.candles import Source
from bot.lab.options import RunOptions, refuse_unfitted
from bot.lab.progress import search_line
from bot.lab.request import Grid, SearchRequest, Span, seconds
from bot.metrics import Metrics
from bot.web.figure import Figure, figure_of_curve, figure_of_nothing
from bot.web.numbers import describe, show

if TYPE_CHECKING:
    import pyarrow as pa

    from bot.research.search.selection import Selection

_TOP = 10
"""Trials that a notebook shows."""


@one_line
def sweep(
    candles: Source | Sequence[Source],
    strategy: str | type,
    grid: Grid,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    trials: int | None = None,
    sampler: Sampler | None = None,
    objective: str = "sharpe",
    search_seed: int = 0,
    resume: bool = False,
    fresh: bool = False,
    progress: bool = True,
    params: Mapping[str, object] | None = None,
    config: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> "SweepResult":
    """Backtest a strategy with many parameters, and say which were best and how much of that is luck.

    ``bot.sweep(candles, Breakout, {"bars": [24, 36, 48]}, workers=2)``

    Each trial is written down in the state directory as it ends; a search that was interrupted goes on with
    ``resume=True``. Trials and hash are those of ``bot sweep``, on any number of workers. Worker processes
    import the strategy: a class of a notebook or of the script that runs is searched in this process alone,
    and a warning says so.

    Args:
        candles: of ``read_candles``, or files; a list trades several symbols on one account.
        strategy: a class, the name of a shipped one, or ``module:Class`` or ``path/file.py:Class``.
        grid: parameter to the values that are tried: numbers, texts, True, False or None; with ``trials``
            also to a range of numbers, ``"0.5..5"`` or, with equal ratios, ``"12..288:log"``.
        workers: processes. Default: one for each core.
        cluster: ``tcp://HOST:PORT`` of a Dask cluster, which runs the trials instead; it must be trusted.
        trials: how many points of the grid are drawn. Default: all are tried.
        sampler: ``grid``: every point in turn; ``random``: ``trials`` points; ``tpe``: ``trials`` points, the
            later ones near good ones (Optuna, the extra ``tpe``). Default: random if ``trials`` is given.
        objective: the figure to be large; ``-NAME``: to be small.
        search_seed: of the draws and of the judgement.
        resume: go on with the same search where it was cut off.
        fresh: forget the trials of the same search that was cut off.
        progress: show on a terminal or in a notebook how far it is; False: nothing.
        params: parameters that all trials share.
        config: a settings file, as ``bot -c FILE``.
        options: further keywords of ``bot.backtest``, such as ``fee_bps``, ``start`` or ``limits``.

    Raises:
        BadUsage: arguments that name nothing or contradict each other, or a search that was cut off before.
        BadSettings, BadFile, BadBar, BadModel: as ``bot.backtest``.
        BotError: a class that worker processes cannot import, or machines that cannot run the search, with
            ``cluster``.
    """
    refuse_unfitted(params or {}, options.get("model"))
    request = SearchRequest(
        candles,
        strategy,
        grid,
        trials=trials,
        sampler=sampler,
        objective=objective,
        search_seed=search_seed,
        resume=resume,
        fresh=fresh,
        params=params,
        config=config,
        options=options,
    )
    crew, notes = request.crew(workers, cluster)
    with crew:
        search = request.plan(crew)
        with search_line(search.count, is_on=progress) as told:
            found = run_search(
                search, request.state_dir(), crew=crew, resume=resume, fresh=fresh, progress=told
            )
    return SweepResult(found, notes)


@one_line
def walkforward(
    candles: Source | Sequence[Source],
    strategy: str | type,
    grid: Grid,
    *,
    train: Span,
    test: Span,
    growing: bool = False,
    purge: Span = 0,
    embargo: Span = 0,
    workers: int | None = None,
    cluster: str | None = None,
    trials: int | None = None,
    sampler: Sampler | None = None,
    objective: str = "sharpe",
    search_seed: int = 0,
    resume: bool = False,
    fresh: bool = False,
    progress: bool = True,
    params: Mapping[str, object] | None = None,
    config: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> "WalkForwardResult":
    """Choose parameters on the past, trade them on the days that follow, move on, and join these days.

    ``bot.walkforward(candles, Breakout, {"bars": [24, 36]}, train="90d", test="30d")``

    Only days that no choice has seen are in the result. Steps and hash are those of ``bot walkforward``.

    A model of ``bot.unfitted``, in ``params`` or as ``model``, is fitted anew on each training span and
    trades the test that follows. Then the gap between the two is at least its horizon. If the grid has
    several points, the model is first fitted on the first two thirds of the span's days, and the points
    trade the last third: nothing is chosen on bars that a model was fitted on.

    Args:
        candles: of ``read_candles``, or files; a list trades several symbols on one account.
        strategy: a class, the name of a shipped one, or ``module:Class`` or ``path/file.py:Class``.
        grid: parameter to the values that are tried: numbers, texts, True, False or None; with ``trials``
            also to a range of numbers, ``"0.5..5"`` or, with equal ratios, ``"12..288:log"``. With a model of
            ``bot.unfitted`` it may be empty.
        train: whole days that choose, such as ``"90d"``.
        test: whole days that follow and are traded.
        growing: each training span begins with the first bar.
        purge: time left out before each test, as long as a position is held.
        embargo: more time left out there.
        workers: processes. Default: one for each core.
        cluster: ``tcp://HOST:PORT`` of a Dask cluster, which runs the trials instead; it must be trusted.
        trials: how many points of the grid are drawn. Default: all are tried.
        sampler: ``grid``: every point in turn; ``random``: ``trials`` points; ``tpe``: ``trials`` points, the
            later ones near good ones (Optuna, the extra ``tpe``). Default: random if ``trials`` is given.
        objective: the figure to be large; ``-NAME``: to be small.
        search_seed: of the draws.
        resume: go on with the same walk-forward where it was cut off.
        fresh: forget the trials of the same walk-forward that was cut off.
        progress: show on a terminal or in a notebook how far it is; False: nothing.
        params: parameters that all trials share.
        config: a settings file, as ``bot -c FILE``.
        options: further keywords of ``bot.backtest``, such as ``fee_bps``, ``start`` or ``limits``.

    Raises:
        BadUsage: arguments that name nothing or contradict each other, or spans that do not fit.
        BadSettings, BadFile, BadBar, BadModel: as ``bot.backtest``.
        BotError: a class that worker processes cannot import, or machines that cannot run the search, with
            ``cluster``.
    """
    request = SearchRequest(
        candles,
        strategy,
        grid,
        trials=trials,
        sampler=sampler,
        objective=objective,
        search_seed=search_seed,
        resume=resume,
        fresh=fresh,
        params=params,
        config=config,
        options=options,
    )
    crew, notes = request.crew(workers, cluster)
    with crew:
        search = request.plan(crew)
        folds = spans(
            search,
            train_s=seconds(train, "train"),
            test_s=seconds(test, "test"),
            gap_s=seconds(purge, "purge") + seconds(embargo, "embargo"),
            is_growing=growing,
        )
        with search_line(trials_of(search, folds), is_on=progress) as told:
            found = run_walk(
                search, folds, request.state_dir(), crew=crew, resume=resume, fresh=fresh, progress=told
            )
    return WalkForwardResult(found, notes)


class _Found(ABC):
    """What both results show alike."""

    _found: Sweep | WalkForward

    def __init__(self, notes: Sequence[str]) -> None:
        self.warnings = tuple(notes)
        """How the search ran, if not as request."""

    @abstractmethod
    def _shown(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
        """Return a headline, a table with its head, and lines below it."""

    def report(self, path: str | Path) -> Path:
        """Write the page of the search, one file that needs no network, and return its path.

        Raises:
            BadUsage: the file cannot be written.
        """
        return _write(self._found, path)

    @abstractmethod
    def plot(self) -> Figure:
        """Return a drawing that a notebook shows; ``.save(path)`` writes it."""

    def __repr__(self) -> str:
        head, rows, lines = self._shown()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([head, *table, *lines, *(f"note: {each}" for each in self.warnings)])

    def _repr_html_(self) -> str:
        head, (titles, *rows), lines = self._shown()
        top = "".join(f"<th>{escape(each)}</th>" for each in titles)
        cells = "".join(
            "<tr>" + "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in row) + "</tr>"
            for row in rows
        )
        told = "".join(f"<li>{escape(each)}</li>" for each in (*lines, *self.warnings))
        return (
            f'<div style="max-width:900px"><p><b>{escape(head)}</b></p><table><thead><tr>{top}</tr></thead>'
            f"<tbody>{cells}</tbody></table><ul>{told}</ul>{self.plot()._repr_html_()}</div>"
        )


@one_line
def _write(found: Sweep | WalkForward, path: str | Path) -> Path:
    path = path_of(path, "path")
    check_writable(path, "report")
    write_page(path, found)
    return path


class SweepResult(_Found):
    """What a search found, and what that is worth. The table is Arrow; ``.to_pandas()`` makes a DataFrame."""

    _found: Sweep

    def __init__(self, found: Sweep, notes: Sequence[str] = ()) -> None:
        super().__init__(notes)
        self._found = found

    @property
    def best(self) -> dict[str, Any] | None:
        """The best trial: ``params`` (texts), ``metrics``, ``halted``; None if none has the objective.

        ``bot.backtest(candles, Breakout, params=found.best["params"])`` runs it again.
        """
        found: dict[str, Any] | None = self.numbers["best"]
        return found

    @cached_property
    def table(self) -> "pa.Table":
        """All trials in the order of their numbers: parameters (``param_NAME``), figures, halts, errors."""
        return table_of(self._found)

    @property
    def metrics(self) -> Metrics | None:
        """Figures of the best trial: it was chosen for them, so they flatter. None if there is no best."""
        return None if self.best is None else dict(self.best["metrics"])

    def plot(self) -> Figure:
        """Return the best trial beside buy and hold, and its drawdown; these days chose it, so it flatters.

        ``found.plot().save("best.svg")`` writes it.
        """
        curve = curve_of_best(self._found)
        if curve is None:
            return figure_of_nothing("No trial has the figure that was searched for: nothing to draw.")
        return figure_of_curve(f"Best of {counted(len(self._found.outcomes), 'trial')}, begin = 1", curve)

    @property
    def selection(self) -> "Selection | None":
        """The judgement; ``bot help search`` explains its figures. None: no trial has a result."""
        return self._found.selection

    @property
    def deflated_sharpe(self) -> float | None:
        """Probability that the best Sharpe ratio is more than luck; all trials count. None: unknown."""
        return None if self.selection is None else self.selection.deflated_sharpe

    @property
    def overfit_probability(self) -> float | None:
        """How often the best of one half of the days is in the worse half in the other. None: unknown."""
        return None if self.selection is None else self.selection.overfit_probability

    @property
    def results_sha256(self) -> str:
        """Hash of all decisions: the same on any number of workers and on the command line."""
        return self._found.sha256

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Everything that ``bot sweep --json`` prints, by the same names."""
        return self._found.numbers()

    def _shown(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
        found, told, search = self._found, self.numbers, self._found.search
        names = [axis.name for axis in search.axes]
        columns = list(dict.fromkeys([search.objective.removeprefix("-"), "total_return", "max_drawdown"]))
        rows = [
            (
                *(each.params[name] for name in names),
                *(show(each.figures.get(name), describe(name).kind) for name in columns),
                each.halted or "",
            )
            for each in found.ranked[:_TOP]
        ]
        head = (
            f"{search.plan.strategy_name} on {', '.join(search.plan.history.symbols)}: "
            f"{counted(told['trials'], 'trial')}, {told['halted']:,} halted by risk, {told['failed']:,} "
            "without a result"
        )
        titles = (*names, *(describe(name).label for name in columns), "halted")
        lines = [] if self.selection is None else words(self.selection)
        notes = [each for each in (halt_words(found.outcomes), sampler_words(search)) if each is not None]
        return head, [titles, *rows], [*_failures(found.outcomes), *notes, *lines]


class WalkForwardResult(_Found):
    """What a walk-forward earned on the days that no choice has seen. Tables are Arrow."""

    _found: WalkForward

    def __init__(self, found: WalkForward, notes: Sequence[str] = ()) -> None:
        super().__init__(notes)
        self._found = found

    @property
    def metrics(self) -> Metrics:
        """Figures of all tests, one after the other; fractions, not percent; None: undefined."""
        return self._found.metrics

    @property
    def buy_and_hold(self) -> Metrics:
        """The same figures of buy and hold on the same days."""
        found: Metrics = self.numbers["buy_and_hold"]
        return found

    @cached_property
    def table(self) -> "pa.Table":
        """One row a step: its days, the parameters that the past chose, and figures of training and test."""
        return steps_of(self._found)

    def plot(self) -> Figure:
        """Return all tests, joined, beside buy and hold, and their drawdown.

        ``found.plot().save("tests.svg")`` writes it.
        """
        return figure_of_curve("All tests, joined, begin = 1", curve_of_tests(self._found))

    @property
    def returns(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Daily returns of the tests, joined."""
        return self._found.returns

    @property
    def stability(self) -> dict[str, object]:
        """How steady the choice is; ``bot help search`` explains the figures."""
        return self._found.stability

    @property
    def overfit_probability(self) -> float | None:
        """How often the best of one half of a training is in the worse half in the other; 0.5 is chance.

        The mean of all steps. None: unknown.
        """
        return self._found.overfit_probability

    @property
    def deflated_sharpe(self) -> float | None:
        """Probability that the Sharpe ratio of the tests is more than luck. None: unknown."""
        found: float | None = self.numbers["deflated_sharpe"]
        return found

    @property
    def results_sha256(self) -> str:
        """Hash of all decisions: the same on any number of workers and on the command line."""
        found: str = self.numbers["results_sha256"]
        return found

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Everything that ``bot walkforward --json`` prints, by the same names."""
        return self._found.numbers()

    def _shown(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
        search, told = self._found.search, self.numbers
        head = (
            f"{search.plan.strategy_name} on {', '.join(search.plan.history.symbols)}: "
            f"{counted(len(self._found.steps), 'step')} of {counted(search.count, 'trial')}"
        )
        rows = [
            (
                describe(name).label,
                show(self.metrics.get(name), describe(name).kind),
                show(told["buy_and_hold"].get(name), describe(name).kind),
            )
            for name in ("total_return", "sharpe", "max_drawdown")
        ]
        lines = [*_failures(self._found.outcomes), *walk_words(self._found)]
        return head, [("all tests", "walk-forward", "buy and hold"), *rows], lines


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    """Say why trials have no result; nothing if all have one."""
    failed = [each.error for each in outcomes if each.error is not None]
    return [f"{counted(len(failed), 'trial')} without a result, the first: {failed[0]}"] if failed else []
