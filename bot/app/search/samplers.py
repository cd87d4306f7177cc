"""Which points a search tries: all of them at once, or by TPE in batches that learn from the ones before."""

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from bot.domain.errors import BadUsage
from bot.research.search.space import Axis, in_order, points_at_random, size

if TYPE_CHECKING:
    from optuna.trial import Trial

Sampler = Literal["grid", "random", "tpe"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Point = Mapping[str, str]

BATCH = 8
"""TPE is asked for so many points at once, on any number of workers: else the points would depend on it."""
STARTUP = 16
"""So many points are drawn before TPE chooses."""
_TRIES = 20
"""TPE may name a point again so often before another one is drawn instead of it."""


def choose_sampler(trials: int | None, sampler: str | None) -> Sampler:
    """Return the sampler that is asked for: without a name ``random`` if ``trials`` is given, else the grid.

    Raises:
        BadUsage: ``trials`` and the sampler contradict each other.
    """
    if sampler == "grid" and trials is not None:
        raise BadUsage("--trials: a grid has all its points; use --sampler random to draw some")
    if sampler == "tpe" and trials is None:
        raise BadUsage("--sampler tpe: needs --trials N, how many points it may try")
    found = sampler or ("grid" if trials is None else "random")
    return next(each for each in SAMPLERS if each == found)


class Asking(Protocol):
    """Who names the points of one search or of one training span."""

    def ask(self) -> Sequence[Point]:
        """Return the next points; none at the end. The values of the ones before must have been told."""
        ...

    def tell(self, values: Sequence[float]) -> None:
        """Take the values of the points of the last batch, in their order. Large is good; -inf: undefined."""
        ...


class Listed(Asking):
    """Points that are known before the first trial."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._batches = iter([points])

    def ask(self) -> Sequence[Point]:
        """Return all points, once."""
        return next(self._batches, ())

    def tell(self, values: Sequence[float]) -> None:
        """Nothing depends on the values."""


def optuna_version() -> str:
    """Return the version of Optuna, on which the points of TPE depend.

    Raises:
        BadUsage: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise BadUsage(
            f"the sampler tpe needs {error.name}, which is not installed (pip install 'bot[tpe]'); the "
            "sampler random needs nothing more"
        ) from None
    return optuna.__version__


class Tpe(Asking):
    """Optuna's tree-structured Parzen estimator on the grid: the same points for the same seed and values.

    Numbers are ordered choices, other texts are choices without an order. No point is named twice.
    """

    def __init__(self, axes: Sequence[Axis], count: int, seed: int) -> None:
        optuna_version()
        import optuna
        from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed % 2**32, n_startup_trials=STARTUP, multivariate=True, constant_liar=True
            )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._left = min(count, size(axes))
        self._ordered = {axis.name: values for axis in axes if (values := in_order(axis)) is not None}
        self._space: dict[str, BaseDistribution] = {
            axis.name: IntDistribution(0, len(axis.values) - 1)
            if axis.name in self._ordered
            else CategoricalDistribution(axis.values)
            for axis in axes
        }
        self._seen = set[tuple[str, ...]]()
        self._others = points_at_random(axes, random.Random(seed))  # noqa: S311 - draws points, no secrets
        self._open: list[Trial] = []

    def ask(self) -> Sequence[Point]:
        """Return the next ``BATCH`` points, or what is left."""
        points = []
        for _ in range(min(BATCH, self._left)):
            trial, point = self._next()
            self._open.append(trial)
            self._seen.add(tuple(point.values()))
            points.append(point)
        self._left -= len(points)
        return points

    def tell(self, values: Sequence[float]) -> None:
        """Let TPE learn the values of the last batch."""
        for trial, value in zip(self._open, values, strict=True):
            self._study.tell(trial, value)
        self._open = []

    def _next(self) -> "tuple[Trial, Point]":
        """Return a point that was not named before."""
        from optuna.trial import TrialState

        for _ in range(_TRIES):
            trial = self._study.ask(self._space)
            point = self._point_of(trial)
            if tuple(point.values()) not in self._seen:
                return trial, point
            self._study.tell(trial, state=TrialState.FAIL)  # TPE does not learn from it
        fresh = next(each for each in self._others if tuple(each.values()) not in self._seen)
        self._study.enqueue_trial(
            {
                name: self._ordered[name].index(value) if name in self._ordered else value
                for name, value in fresh.items()
            }
        )
        return self._study.ask(self._space), fresh

    def _point_of(self, trial: "Trial") -> Point:
        return {
            name: self._ordered[name][trial.params[name]] if name in self._ordered else trial.params[name]
            for name in self._space
        }
