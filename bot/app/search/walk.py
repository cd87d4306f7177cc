"""``bot walkforward``: choose parameters on the past, trade them on what follows, move on."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.adapters.state.trials import FOLDER as SWEEPS
from bot.adapters.state.trials import WALKS
from bot.app.runs.backtest import run_plan
from bot.app.runs.results import record
from bot.app.search.cost import Load
from bot.app.search.memory import earlier_headers, remembering
from bot.app.search.processes.workers import Crew, Here
from bot.app.search.refit import Refits, refits_of
from bot.app.search.samplers import Point
from bot.app.search.search import Search, best_of, results_hash, value_of, without_a_trade
from bot.app.search.sweep import Best, Progress
from bot.app.search.trial import Job, Outcome, returns_of
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS
from bot.metrics import (
    Metrics,
    cagr,
    calmar,
    daily_equity,
    deflated_sharpe,
    max_drawdown,
    sharpe,
    simple_returns,
    sortino,
    volatility,
)
from bot.research.search.folds import Fold, make_folds
from bot.research.search.selection import probability_of_overfitting
from bot.service.moments import minute_words

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One step: what the past chose, and what came of it. None: no trial of the past had the figure.

    ``overfit``: how often the best trial of one half of the days that chose is in the worse half of the
    trials on the others; None: too few days or trials.
    """

    fold: Fold
    chosen: Outcome | None
    test: Outcome | None
    overfit: float | None


@dataclass(frozen=True)
class WalkForward:
    """A walk-forward that was run to its end; returns are those of the tests alone, day by day."""

    search: Search
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    remembered: int
    returns: Floats
    hold_returns: Floats
    refits: Refits | None
    earlier: int
    """Other walk-forwards of this strategy on these symbols."""
    earlier_sweeps: int
    log: Path

    @property
    def metrics(self) -> Metrics:
        """Figures of the tests, one after the other."""
        return figures_of(self.returns)

    @property
    def stability(self) -> dict[str, object]:
        """Say how steady the choice is.

        ``same_choice_frac``: steps that chose what the step before chose. ``chosen``: by parameter, value →
        steps. ``efficiency``: mean figure of the tests by the mean figure of the chosen trials in training;
        1: nothing is lost, 0: all of it was luck. None where that is not defined.
        """
        chosen = [step.chosen.params for step in self.steps if step.chosen is not None]
        same = [one == two for one, two in itertools.pairwise(chosen)]
        pairs = [
            (value_of(self.search.objective, step.chosen), value_of(self.search.objective, step.test))
            for step in self.steps
            if step.chosen is not None and step.test is not None
        ]
        known = np.array([pair for pair in pairs if np.isfinite(pair).all()]).reshape(-1, 2)
        trained, tested = known.mean(axis=0) if len(known) else (0.0, 0.0)
        return {
            "same_choice_frac": sum(same) / len(same) if same else None,
            "chosen": {
                axis.name: dict(Counter(params[axis.name] for params in chosen)) for axis in self.search.axes
            },
            "efficiency": float(tested / trained) if trained > 0.0 else None,
            "steps_without_choice": sum(step.chosen is None for step in self.steps),
        }

    @property
    def overfit_probability(self) -> float | None:
        """The mean probability of overfitting of the steps; None if it is known of none."""
        known = [step.overfit for step in self.steps if step.overfit is not None]
        return sum(known) / len(known) if known else None

    def numbers(self) -> dict[str, object]:
        """Return the JSON for programs."""
        tested = [step.fold for step in self.steps]
        return {
            **record("walkforward", self.search.plan),
            "first_ms": tested[0].test_from_ms,
            "headline": {"from_ms": tested[0].test_from_ms, "to_ms": tested[-1].test_to_ms},
            "trials": self.search.count * len(self.steps),
            "failed": sum(each.error is not None for each in self.outcomes),
            "remembered": self.remembered,
            "sampler": self.search.sampler,
            "objective": self.search.objective,
            "steps": [
                {
                    **msgspec.to_builtins(step.fold),
                    **({} if self.refits is None else self.refits.spans(step.fold)),
                    "params": None if step.chosen is None else step.chosen.params,
                    "train": None if step.chosen is None else step.chosen.figures,
                    "test": None if step.test is None else step.test.figures,
                    "overfit_probability": step.overfit,
                    "halted": None if step.test is None else step.test.halted,
                    "error": None if step.test is None else step.test.error,
                }
                for step in self.steps
            ],
            "metrics": self.metrics,
            "buy_and_hold": figures_of(self.hold_returns),
            "stability": self.stability,
            "earlier_walkforwards": self.earlier,
            "earlier_sweeps": self.earlier_sweeps,
            "overfit_probability": self.overfit_probability,
            "deflated_sharpe": deflated_sharpe(self.returns, 1 + self.earlier + self.earlier_sweeps),
            "returns": self.returns,
            "results_sha256": results_hash(self.outcomes),
            "log": str(self.log),
        }


def figures_of(returns: Floats) -> Metrics:
    """Return the figures of daily returns."""
    return {
        "days": len(returns),
        "total_return": float(np.prod(1.0 + returns) - 1.0) if len(returns) else None,
        "cagr": cagr(returns),
        "volatility": volatility(returns),
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(returns),
        "max_drawdown": max_drawdown(returns),
    }


def spans(
    search: Search,
    *,
    train_s: float,
    test_s: float,
    gap_s: float,
    is_growing: bool,
    days: float | None = None,
) -> list[Fold]:
    """Return the steps that fit into the bars of a search, or into ``days`` of others.

    If models are refitted, the gap is at least their horizon.

    Raises:
        BadUsage: see ``make_folds``; or a gap that is shorter than a horizon, but not 0.
    """
    refits = refits_of(search.plan)
    gap_ms = round(gap_s * 1000) if refits is None else refits.gap_ms(round(gap_s * 1000))
    traded = [each.between(search.plan.start_ms, search.plan.end_ms) for each in search.plan.history.candles]
    first_ms, end_ms = min(each.first_ms for each in traded), max(each.end_ms for each in traded)
    return make_folds(
        first_ms,
        end_ms if days is None else first_ms + round(days * DAY_MS),
        train_ms=round(train_s * 1000),
        test_ms=round(test_s * 1000),
        gap_ms=gap_ms,
        is_growing=is_growing,
    )


def trials_of(search: Search, folds: Sequence[Fold]) -> int:
    """Return how many trials a walk-forward has: those that choose, and a test in each step."""
    return len(folds) * (search.count * _chooses(search) + 1)


def load_of_walk(search: Search, folds: Sequence[Fold]) -> Load:
    """Return the trials of a walk-forward; each reads the bars of its warm-up, too."""
    begin_ms = folds[0].test_from_ms
    warmup_ms = begin_ms - replace(search.plan, start_ms=begin_ms).read_from_ms
    choices = search.count * _chooses(search)
    training = [each.train_to_ms - each.train_from_ms + warmup_ms for each in folds]
    tests = [each.test_to_ms - each.test_from_ms + warmup_ms for each in folds]
    return Load(
        trials=trials_of(search, folds),
        days=(choices * sum(training) + sum(tests)) / DAY_MS,
        longest_days=max(*training, *tests) / DAY_MS,
    )


def _chooses(search: Search) -> bool:
    """Return whether trials choose; a single point whose model is refitted is only tested."""
    return search.count > 1 or refits_of(search.plan) is None


def run_walk(
    search: Search,
    folds: Sequence[Fold],
    folder: Path,
    *,
    crew: Crew,
    resume: bool,
    fresh: bool,
    progress: Progress = lambda done, words: None,
) -> WalkForward:
    """Run all trials of all training spans, choose in each, run the tests, and put these together.

    Raises:
        BadUsage: a test lies before the end of what the model was trained on; or see ``remembering``.
        BotError: the log cannot be written; workers die.
    """
    _check_model(search, folds)
    refits = refits_of(search.plan, travels=not isinstance(crew, Here))
    points = search.count
    chooses = _chooses(search)
    header = {**search.header, "folds": [msgspec.to_builtins(fold) for fold in folds]}
    if refits is not None:
        header |= {"own_models": refits.header}
    with remembering(folder / WALKS, header, trials_of(search, folds), resume=resume, fresh=fresh) as memory:
        known = memory.known
        so_far = _SoFar(search, len(folds), known.values())

        def run(jobs: Sequence[Job]) -> None:
            waiting = [job for job in jobs if job.index not in known]
            ready = waiting if refits is None else map(refits.fitted, waiting)
            for outcome in crew.run(search, ready):
                memory.keep(outcome)
                so_far.see(outcome)
                progress(len(known), so_far.words())

        progress(len(known), so_far.words())
        firsts = [at * (points + 1) for at in range(len(folds))]
        if chooses:
            _train(search, folds, firsts, refits, known, run)
            trained = [[known[at] for at in range(i, i + points)] for i in firsts]
            chosen = [best_of(search.objective, each) for each in trained]
            overfit = [_overfit(*each, refits) for each in zip(folds, trained, strict=True)]
        else:
            (only,) = search.asking().ask()
            chosen = [Outcome(index=first, params=dict(only)) for first in firsts]
            overfit = [None] * len(folds)
        numbers = [(at + 1) * (points + 1) - 1 for at in range(len(folds))]
        run(
            [
                _test(fold, best.params, number, refits)
                for fold, best, number in zip(folds, chosen, numbers, strict=True)
                if best is not None
            ]
        )
        steps = tuple(
            Step(fold, best, known.get(number), share)
            for fold, best, number, share in zip(folds, chosen, numbers, overfit, strict=True)
        )
    return WalkForward(
        search=search,
        steps=steps,
        outcomes=tuple(known[index] for index in sorted(known)),
        remembered=memory.remembered,
        returns=np.concatenate([_returns(step) for step in steps]),
        hold_returns=np.concatenate([_hold_returns(search, step.fold) for step in steps]),
        refits=refits,
        earlier=_earlier(search, memory.path),
        earlier_sweeps=_earlier(search, folder / SWEEPS / memory.path.name),
        log=memory.path,
    )


class _SoFar:
    """What is known of a walk-forward that runs: the best trial that chooses, then what the tests earned."""

    def __init__(self, search: Search, steps: int, known: Iterable[Outcome]) -> None:
        self._points, self._steps = search.count, steps
        self._best = Best(search.objective)
        self._tests, self._grown = 0, 1.0
        for each in known:
            self.see(each)

    def see(self, outcome: Outcome) -> None:
        """Take one more outcome; the last one of each step is its test."""
        if outcome.index % (self._points + 1) < self._points:
            self._best.see(outcome)
        else:
            self._tests += 1
            self._grown *= float(np.prod(1.0 + np.asarray(outcome.returns)))

    def words(self) -> str:
        """Say it; the best of one training is no result, so it goes once tests are there."""
        best = self._best.outcome
        if self._tests:
            return f"{self._tests} of {self._steps} steps tested, {self._grown - 1.0:+.2%} in all"
        if best is None:
            return ""
        return (
            f"{self._best.words()} in training, step {best.index // (self._points + 1) + 1} of {self._steps}"
        )


def _earlier(search: Search, path: Path) -> int:
    """Count the other searches beside ``path`` that tried this strategy on these symbols."""
    symbols = set(search.plan.history.symbols)
    found = earlier_headers(path, search.plan.strategy_name, symbols)
    return sum(1 for _, *outcomes in found if outcomes)


def _check_model(search: Search, folds: Sequence[Fold]) -> None:
    trained_to_ms = search.plan.trained_to_ms
    if trained_to_ms is not None and folds[0].train_from_ms < trained_to_ms:
        raise BadUsage(
            f"the model was trained to {minute_words(trained_to_ms)}, later than the first training "
            f"span begins ({minute_words(folds[0].train_from_ms)}); give --start at or after the former, or "
            "an older --model"
        )


def _train(
    search: Search,
    folds: Sequence[Fold],
    firsts: Sequence[int],
    refits: Refits | None,
    known: Mapping[int, Outcome],
    run: Callable[[Sequence[Job]], None],
) -> None:
    """Run the trials of all training spans, a batch of each at a time."""
    askings = [search.asking(at) for at in range(len(folds))]
    begins = list(firsts)
    while any(batches := [asking.ask() for asking in askings]):
        jobs = [_training(*each, refits) for each in zip(folds, begins, batches, strict=True)]
        run([job for each in jobs for job in each])
        for asking, each in zip(askings, jobs, strict=True):
            asking.tell([value_of(search.objective, known[job.index]) for job in each])
        begins = [begin + len(each) for begin, each in zip(begins, jobs, strict=True)]


def _overfit(fold: Fold, trained: Sequence[Outcome], refits: Refits | None) -> float | None:
    """Return the probability of overfitting of a choice among ``trained``."""
    days = (fold.train_to_ms - _choice_from_ms(fold, refits)) // DAY_MS
    found = probability_of_overfitting(returns_of([each for each in trained if each.error is None], days))
    return None if found is None else found.probability


def _choice_from_ms(fold: Fold, refits: Refits | None) -> int:
    """Return when the days begin that choose: all of training or, if models are refitted, its last part."""
    return fold.train_from_ms if refits is None else refits.choice_from_ms(fold)


def _training(fold: Fold, first: int, points: Sequence[Point], refits: Refits | None) -> list[Job]:
    """Return the trials that choose."""
    from_ms = _choice_from_ms(fold, refits)
    fit_ms = None if refits is None else refits.choice_fit_ms(fold)
    return [
        Job(index=first + at, params=dict(params), start_ms=from_ms, end_ms=fold.train_to_ms, fit_ms=fit_ms)
        for at, params in enumerate(points)
    ]


def _test(fold: Fold, params: Mapping[str, str], index: int, refits: Refits | None) -> Job:
    return Job(
        index=index,
        params=dict(params),
        start_ms=fold.test_from_ms,
        end_ms=fold.test_to_ms,
        fit_ms=None if refits is None else (fold.train_from_ms, fold.train_to_ms),
    )


def _returns(step: Step) -> Floats:
    """Return the test's daily returns; without a choice, or after ruin, nothing is earned."""
    found = np.zeros((step.fold.test_to_ms - step.fold.test_from_ms) // DAY_MS)
    if step.test is not None:
        known = step.test.returns[: len(found)]
        found[: len(known)] = known
    return found


def _hold_returns(search: Search, fold: Fold) -> Floats:
    flat = replace(without_a_trade(search.plan), start_ms=fold.test_from_ms, end_ms=fold.test_to_ms)
    part = run_plan(flat).unseen
    return simple_returns(daily_equity(part.ts_ms, part.hold)[1])
