"""A search as Python asks for it, in the words that the command line takes."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from bot.app.search.processes.portable import NotPortable, to_bytes
from bot.app.search.processes.workers import Crew, Here, crew_for, usable_cores
from bot.app.search.samplers import SAMPLERS, Sampler, choose_sampler
from bot.app.search.search import Search, plan_search
from bot.app.search.trial import Recipe
from bot.app.times import read_span
from bot.domain.errors import BadUsage
from bot.lab.calling import context_of, one_of
from bot.lab.candles import Source
from bot.lab.options import RunOptions, plan_options, unfitted_in

Grid = Mapping[str, Sequence[object]]
"""Parameter to its values, or to a text as ``--grid`` takes it, such as the range ``"0.5..5"``."""
Span = str | int | float | timedelta
"""``"90d"``, ``"12h"``, seconds, or a timedelta."""


class SearchRequest:
    """What ``sweep`` and ``walkforward`` are asked for alike; their docstrings say what each argument is.

    Raises:
        BadUsage: arguments that name nothing or contradict each other.
        BadSettings: a settings file with a mistake.
    """

    def __init__(
        self,
        candles: Source | Sequence[Source],
        strategy: str | type,
        grid: Grid,
        *,
        trials: int | None,
        sampler: Sampler | None,
        objective: str,
        search_seed: int,
        resume: bool,
        fresh: bool,
        params: Mapping[str, object] | None,
        config: str | Path | None,
        options: RunOptions,
    ) -> None:
        if not isinstance(strategy, str | type):
            raise BadUsage(
                f"{type(strategy).__name__}: an instance cannot take other parameters; give the class"
            )
        if sampler is not None:
            one_of(sampler, SAMPLERS, "sampler")
        if sampler == "grid" and trials is not None:
            raise BadUsage("trials: a grid has all its points; use sampler='random' to draw some")
        if sampler == "tpe" and trials is None:
            raise BadUsage("sampler='tpe': needs trials=N, how many points it may try")
        if trials is not None and trials < 1:
            raise BadUsage(f"trials={trials}: must be at least 1")
        if resume and fresh:
            raise BadUsage("resume and fresh: give one of them")
        self._context = context_of(config)
        self._options = plan_options(candles, strategy, params or {}, options)
        self._axes = list(_axes(grid))
        self._trials = trials
        self._sampler = choose_sampler(trials, sampler)
        self._objective = objective
        self._search_seed = search_seed
        self._allows_none = unfitted_in(params or {}, options.get("model")) is not None
        if not grid and not self._allows_none:
            raise BadUsage("grid: needs at least one parameter and the values to try, as {'bars': [24, 36]}")

    def crew(self, workers: int | None, cluster: str | None) -> tuple[Crew, list[str]]:
        """Return who can run the trials, and what to say if that is not as asked.

        Raises:
            BadUsage: no worker, or a cluster that cannot be reached.
        """
        if workers is not None and workers < 1:
            raise BadUsage(f"workers={workers}: must be at least 1")
        if cluster is not None:
            return crew_for(self._axes, workers, cluster=cluster, say=warnings.warn), []
        try:
            to_bytes(Recipe(self._context.config, self._options))
        except NotPortable as error:
            if (workers or usable_cores()) == 1:
                return Here(), []
            note = f"the trials run in this process alone: {error}"
            warnings.warn(note, stacklevel=4)
            return Here(), [note]
        return crew_for(self._axes, workers, self._trials), []

    def plan(self, crew: Crew) -> Search:
        """Return what is tried, and by whom."""
        return plan_search(
            self._context,
            self._options,
            self._axes,
            trials=self._trials,
            sampler=self._sampler,
            objective=self._objective,
            search_seed=self._search_seed,
            crew=crew,
            allows_none=self._allows_none,
        )

    def state_dir(self) -> Path:
        """Return the directory that keeps the trials."""
        return self._context.state_dir()


def _axes(grid: Grid) -> Iterable[str]:
    """Yield the axes as ``--grid`` writes them."""
    if not isinstance(grid, Mapping):
        raise BadUsage(f"grid: cannot take a {type(grid).__name__}; give {{'bars': [24, 36]}}")
    for name, values in grid.items():
        if hasattr(values, "__len__") and not len(values):
            raise BadUsage(f"grid: {name} has no value; give a list such as [24, 36]")
        if isinstance(values, str) and ".." in values:
            yield f"{name}={values}"
            continue
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise BadUsage(f"grid: {name} needs a list of values or a range such as '0.5..5', got {values!r}")
        yield f"{name}={','.join(_text(name, value) for value in values)}"


def _text(name: str, value: object) -> str:
    """Return a value as ``--param`` takes it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not isinstance(value, str | int | float | Decimal) or "," in text or ".." in text:
        raise BadUsage(f"grid: {name} cannot take {value!r}; give numbers, True, False, None or plain texts")
    return text


def seconds(span: object, name: str) -> float:
    """Return the seconds of a ``Span``; ``name`` is the argument's, for the error.

    Raises:
        BadUsage: it is no span of time.
    """
    if isinstance(span, np.timedelta64):
        span = span.astype("timedelta64[ms]").item()
    if isinstance(span, timedelta):
        return span.total_seconds()
    try:
        if isinstance(span, int | float) and math.isfinite(span):
            return float(span)
        return read_span(str(span))
    except ValueError:
        raise BadUsage(f"{name}={span!r}: is no span of time; give '90d', '12h' or a timedelta") from None
