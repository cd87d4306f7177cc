"""What is searched: data, a strategy, axes of its parameters, and the figure that is to be large."""

import hashlib
import inspect
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import CodeType
from typing import assert_never

import msgspec

from bot.app.context import Context
from bot.app.runs.backtest import run_plan
from bot.app.runs.results import identity
from bot.app.search.processes.workers import Crew
from bot.app.search.samplers import Asking, Listed, Sampler, Tpe, optuna_version
from bot.app.search.trial import Outcome, Recipe, figures
from bot.app.wiring import RunPlan
from bot.domain.errors import BadUsage
from bot.research.search.space import Axis, check_axes, draws, grid, parse_axis, size
from bot.service.backtest.run import Result
from bot.strategy import SHIPPED


@dataclass(frozen=True)
class Search:
    """What is searched, checked."""

    recipe: Recipe
    plan: RunPlan
    axes: tuple[Axis, ...]
    sampler: Sampler
    count: int
    """How many trials it has."""
    points: tuple[Mapping[str, str], ...]
    """What they try; none if TPE names them later."""
    objective: str
    seed: int
    hold: Result
    """The same bars without a trade: its reference curve is buy-and-hold."""

    def asking(self, step: int = 0) -> Asking:
        """Return who names the points; in a walk-forward, those of a step."""
        return Tpe(self.axes, self.count, self.seed + step) if self.sampler == "tpe" else Listed(self.points)

    @property
    def header(self) -> dict[str, object]:
        """What makes two searches the same: then the trials of one serve the other."""
        plan = self.plan
        rules = msgspec.json.encode([plan.instruments[symbol] for symbol in sorted(plan.instruments)])
        made_of = {
            **identity(plan),
            "params": {
                name: value if isinstance(value, str) else repr(value) for name, value in plan.params.items()
            },
            "start_ms": plan.start_ms,
            "end_ms": plan.end_ms,
            "intrabar": plan.intrabar,
            "risk": plan.risk,
            "funding_sha256": {each.symbol: each.sha256 for each in plan.history.funding},
        }
        return {
            "format": 2,  # 1: the figures of a halted trial ended at its halt
            **made_of,
            "rules_sha256": hashlib.sha256(rules).hexdigest(),
            "finer": [_hashes(self.recipe.options.get(name)) for name in ("detail", "mark")],
            "code_sha256": code_hash(plan.strategy),
            "axes": {axis.name: axis.range or list(axis.values) for axis in self.axes},
            "points": self.count,
            "sampler": self.sampler,
            "search_seed": self.seed,
            # The points of TPE come from the values of the objective.
            **({"optuna": optuna_version(), "objective": self.objective} if self.sampler == "tpe" else {}),
        }


def _hashes(files: object) -> list[str]:
    """Name the content of files: the same name may hold other candles tomorrow."""
    assert files is None or isinstance(files, list | tuple), "files of an option"
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files or ()]


def plan_search(
    context: Context,
    options: Mapping[str, object],
    texts: Sequence[str],
    *,
    trials: int | None,
    sampler: Sampler,
    objective: str,
    search_seed: int,
    crew: Crew | None = None,
    allows_none: bool = False,
) -> Search:
    """Read the data, and check what can be known before the first trial.

    Args:
        context: settings.
        options: those of ``bot backtest``.
        texts: the axes, ``NAME=V1,V2`` or a range each: see ``parse_axis``.
        trials: how many points are tried (None: all), if ``sampler`` is not the grid.
        sampler: who names the points, see ``choose_sampler``.
        objective: name of the figure to be large; with ``-`` before it, to be small.
        search_seed: of the draws and of the judgement.
        crew: who will run the trials, and gets ready meanwhile.
        allows_none: a search without an axis has one point.

    Raises:
        NotPortable: the crew cannot have the strategy.
        BadUsage: no axis, an axis that the strategy does not have, an objective that is no figure.
        BotError: wrong settings, data or model.
    """
    axes = [parse_axis(text) for text in texts]
    recipe = Recipe(context.config, options)
    if axes or not allows_none:
        check_axes(axes, trials)
    if crew is not None:
        crew.prepare(recipe)
    plan = recipe.plan(context)
    known = inspect.signature(plan.strategy).parameters
    for axis in axes:
        if axis.name not in known:
            near = get_close_matches(axis.name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
            raise BadUsage(f"--grid {axis.name}: {plan.strategy_name} has no such parameter; {hint}")
        if axis.range and _takes_whole(known[axis.name]) and any("." in value for value in axis.values):
            raise BadUsage(
                f"--grid {axis.name}={axis.range}: {axis.name} takes whole numbers; give values, "
                "FROM..TO:STEP, or whole ends with log, such as 12..288:log"
            )
        if axis.name in plan.params:
            raise BadUsage(
                f"{axis.name} is fixed by --param or settings, and searched by --grid; take one away"
            )
    if sampler == "tpe":
        optuna_version()
    points = _points(axes, trials, sampler, search_seed)
    hold = run_plan(without_a_trade(plan))
    names = figures(hold)
    if objective.removeprefix("-") not in names:
        near = get_close_matches(objective, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise BadUsage(f"--objective {objective}: no such figure; {hint}")
    return Search(
        recipe,
        plan,
        tuple(axes),
        sampler,
        min(trials or size(axes), size(axes)),
        points,
        objective,
        search_seed,
        hold,
    )


def _takes_whole(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    return kind in (int, "int") or (kind is parameter.empty and type(parameter.default) is int)


def without_a_trade(plan: RunPlan) -> RunPlan:
    """Return the plan of buy-and-hold's reference curve; a model that was not fitted yet is left out."""
    fitted = plan.model is not None and plan.model.trained_to_ms is not None
    return replace(
        plan,
        strategy=SHIPPED["flat"],
        strategy_name="flat",
        params={},
        model=plan.model if fitted else None,
    )


def _points(
    axes: Sequence[Axis], trials: int | None, sampler: Sampler, seed: int
) -> tuple[Mapping[str, str], ...]:
    match sampler:
        case "grid":
            return tuple(grid(axes))
        case "random":
            return tuple(draws(axes, trials or size(axes), seed))
        case "tpe":
            return ()
        case _:
            assert_never(sampler)


def value_of(objective: str, outcome: Outcome) -> float:
    """Return what is to be large; minus infinity if it is not defined."""
    value = outcome.figures.get(objective.removeprefix("-"))
    if value is None or not math.isfinite(value):
        return -math.inf
    return -value if objective.startswith("-") else value


def best_of(objective: str, outcomes: Iterable[Outcome]) -> Outcome | None:
    """Return the outcome with the best objective, the first of equal ones; None if none has one."""
    found = max(
        (each for each in outcomes if each.error is None),
        key=lambda each: (value_of(objective, each), -each.index),
        default=None,
    )
    return None if found is None or value_of(objective, found) == -math.inf else found


def hash_of(value: object) -> str:
    """Name a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def results_hash(outcomes: Iterable[Outcome]) -> str:
    """Name the decisions of all trials; equal on any number of workers."""
    return hashlib.sha256("\n".join(each.decision for each in outcomes).encode()).hexdigest()


def code_hash(strategy: type) -> str:
    """Name the code of a strategy, so that a change of it begins another search.

    That is its file; for a class of ``__main__``, which may be a notebook, also the code of its methods.
    """
    try:
        file = hashlib.sha256(Path(inspect.getfile(strategy)).read_bytes()).hexdigest()
    except (OSError, TypeError):  # it has no file
        file = ""
    if strategy.__module__ != "__main__":
        return file
    methods = sorted(vars(strategy).items())
    return hash_of(
        [file, *((name, code_of(each.__code__)) for name, each in methods if inspect.isfunction(each))]
    )


def code_of(code: CodeType) -> list[object]:
    """Return what a function does as a JSON value; line numbers and addresses are no part of it."""
    constants = [code_of(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names]
