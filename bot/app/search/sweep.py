"""``bot sweep``: a grid or seeded draws of parameters, remembered trial by trial, and judged as a whole."""

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from bot.adapters.state.trials import FOLDER, TrialLog, other_logs
from bot.app.context import Context
from bot.app.runs.backtest import run_plan
from bot.app.runs.results import identity
from bot.app.search.trial import Outcome, Recipe, figures
from bot.app.search.workers import Job, run_here, run_in_processes
from bot.app.wiring import RunPlan
from bot.domain.errors import BadUsage
from bot.metrics import daily_equity, simple_returns
from bot.research.selection import Selection, judge
from bot.research.space import Axis, check_axes, draws, grid, parse_axis, size
from bot.service.backtest import Result
from bot.strategy import SHIPPED

Sampler = Literal["grid", "random"]
Progress = Callable[[int, Outcome | None], None]
"""Called with the number of trials that are done, and the best so far."""


@dataclass(frozen=True)
class Search:
    """What is searched, checked."""

    recipe: Recipe
    plan: RunPlan
    axes: tuple[Axis, ...]
    sampler: Sampler
    jobs: tuple[Job, ...]
    objective: str
    seed: int
    hold: Result
    """The same bars without a trade: its reference curve is buy-and-hold."""

    @property
    def header(self) -> dict[str, object]:
        """What makes two searches the same: then the trials of one serve the other."""
        plan = self.plan
        rules = msgspec.json.encode([plan.instruments[symbol] for symbol in sorted(plan.instruments)])
        made_of = {
            **identity(plan),
            "start_ms": plan.start_ms,
            "end_ms": plan.end_ms,
            "intrabar": plan.intrabar,
        }
        return {
            "format": 1,
            **made_of,
            "rules_sha256": hashlib.sha256(rules).hexdigest(),
            "finer": [str(self.recipe.options.get(name)) for name in ("detail", "mark")],
            "code_sha256": _code_hash(plan.strategy),
            "axes": {axis.name: list(axis.values) for axis in self.axes},
            "points": len(self.jobs),
            "sampler": self.sampler,
            "search_seed": self.seed,
        }


def plan_search(
    context: Context,
    options: Mapping[str, object],
    texts: Sequence[str],
    *,
    trials: int | None,
    is_random: bool,
    objective: str,
    search_seed: int,
) -> Search:
    """Read the data, and check what can be known before the first trial.

    Args:
        context: settings.
        options: those of ``bot backtest``.
        texts: the axes, ``NAME=V1,V2`` each.
        trials: how many points are drawn (None: all), if ``is_random``.
        is_random: draw points; else try the grid in turn.
        objective: name of the figure to be large; with ``-`` before it, to be small.
        search_seed: of the draws and of the judgement.

    Raises:
        BadUsage: no axis, an axis that the strategy does not have, an objective that is no figure.
        BotError: wrong settings, data or model.
    """
    axes = [parse_axis(text) for text in texts]
    check_axes(axes)
    recipe = Recipe(context.config, options)
    plan = recipe.plan(context)
    known = inspect.signature(plan.strategy).parameters
    for axis in axes:
        if axis.name not in known:
            near = get_close_matches(axis.name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
            raise BadUsage(f"--grid {axis.name}: {plan.strategy_name} has no such parameter; {hint}")
        if axis.name in plan.params:
            raise BadUsage(
                f"{axis.name} is fixed by --param or settings, and searched by --grid; take one away"
            )
    points = draws(axes, trials or size(axes), search_seed) if is_random else grid(axes)
    hold = run_plan(replace(plan, strategy=SHIPPED["flat"], strategy_name="flat", params={}))
    names = figures(hold)
    if objective.removeprefix("-") not in names:
        near = get_close_matches(objective, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise BadUsage(f"--objective {objective}: no such figure; {hint}")
    return Search(
        recipe,
        plan,
        tuple(axes),
        "random" if is_random else "grid",
        tuple(enumerate(points)),
        objective,
        search_seed,
        hold,
    )


@dataclass(frozen=True)
class Sweep:
    """What a search found: outcomes in the order of their numbers, the best first in ``ranked``."""

    search: Search
    outcomes: tuple[Outcome, ...]
    remembered: int
    """Outcomes that an earlier run of the same search had left."""
    selection: Selection | None
    """None if no trial has a result."""
    log: Path

    @property
    def ranked(self) -> list[Outcome]:
        """Outcomes with a result, the best first; a figure that is not defined comes last."""
        found = [each for each in self.outcomes if each.error is None]
        return sorted(found, key=lambda each: (-_value(self.search, each), each.index))

    @property
    def best(self) -> Outcome | None:
        """The outcome with the best objective; None if none has one."""
        first = next(iter(self.ranked), None)
        return None if first is None or _value(self.search, first) == -math.inf else first

    @property
    def sha256(self) -> str:
        """Names the decisions of all trials; equal on any number of workers."""
        return hashlib.sha256("\n".join(each.decision for each in self.outcomes).encode()).hexdigest()

    def numbers(self) -> dict[str, object]:
        """Return the JSON for programs."""
        best, judged = self.best, self.selection
        return {
            "trials": len(self.outcomes),
            "failed": sum(each.error is not None for each in self.outcomes),
            "halted": sum(each.halted is not None for each in self.outcomes),
            "remembered": self.remembered,
            "objective": self.search.objective,
            "best": None if best is None else row(best),
            "table": [
                row(each) for each in (*self.ranked, *(x for x in self.outcomes if x.error is not None))
            ],
            "deflated_sharpe": None if judged is None else judged.deflated_sharpe,
            "overfit_probability": None if judged is None else judged.overfit_probability,
            "selection": None if judged is None else msgspec.to_builtins(judged),
            "buy_and_hold": self.search.hold.unseen.buy_and_hold,
            "results_sha256": self.sha256,
            "log": str(self.log),
        }


def row(outcome: Outcome) -> dict[str, object]:
    """Return one row of the table."""
    return {
        "trial": outcome.index,
        "params": outcome.params,
        "error": outcome.error,
        "halted": outcome.halted,
        "fills_sha256": outcome.fills_sha256 or None,
        "metrics": outcome.figures,
    }


def run_search(
    search: Search,
    folder: Path,
    *,
    workers: int,
    resume: bool,
    fresh: bool,
    progress: Progress = lambda done, best: None,
) -> Sweep:
    """Run what is not remembered, write each outcome as it comes, and judge the whole.

    Args:
        search: what is tried.
        folder: the state directory.
        workers: processes; 1 runs here.
        resume: go on with the same search where it was cut off.
        fresh: forget the trials of a search that was cut off.
        progress: told of each outcome.

    Raises:
        BadUsage: the search was cut off before and neither ``resume`` nor ``fresh`` is given, or there is
            nothing to resume.
        BotError: the log cannot be written; workers die.
    """
    header = search.header
    path = folder / FOLDER / f"{_hash(header)[:12]}.jsonl"
    if resume and not path.exists():
        raise BadUsage("--resume: no search with these data, settings, parameters and code was cut off")
    log = TrialLog(path, header, anew=fresh)
    try:
        known = _known(log.lines[1:])
        if known and len(known) < len(search.jobs) and not resume:
            raise BadUsage(
                f"this search was cut off after {len(known)} of {len(search.jobs)} trials; "
                "--resume goes on with it, --fresh begins it anew"
            )
        if known and not resume:
            known = {}
            log.restart(header)
        remembered = len(known)
        progress(remembered, _best(search, known.values()))
        for outcome in _run(search, [job for job in search.jobs if job[0] not in known], workers):
            log.append(msgspec.to_builtins(outcome))
            known[outcome.index] = outcome
            progress(len(known), _best(search, known.values()))
    finally:
        log.close()
    outcomes = tuple(known[index] for index in sorted(known))
    return Sweep(search, outcomes, remembered, _judge(search, outcomes, path), path)


def _run(search: Search, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    if workers == 1 or len(jobs) < 2:
        return run_here(search.plan, jobs)
    return run_in_processes(search.recipe, jobs, workers)


def _known(lines: Sequence[Mapping[str, object]]) -> dict[int, Outcome]:
    found = (msgspec.convert(line, Outcome) for line in lines)
    return {each.index: each for each in found}


def _judge(search: Search, outcomes: Sequence[Outcome], path: Path) -> Selection | None:
    hold = simple_returns(daily_equity(search.hold.unseen.ts_ms, search.hold.unseen.hold)[1])
    ranked = Sweep(search, tuple(outcomes), 0, None, path)
    best = ranked.best
    if best is None or not len(hold):
        return None
    columns = [each for each in outcomes if each.error is None]
    returns = np.zeros((len(hold), len(columns)))
    for at, each in enumerate(columns):  # an account that is halted or ruined earns nothing afterwards
        returns[: len(each.returns), at] = each.returns[: len(hold)]
    return judge(
        returns,
        columns.index(best),
        hold,
        earlier_trials=_earlier_trials(search, outcomes, path),
        seed=search.seed,
    )


def _earlier_trials(search: Search, outcomes: Sequence[Outcome], path: Path) -> int:
    """Count the other parameters of this strategy that were tried on these symbols."""
    symbols = set(search.plan.history.symbols)
    now = {_hash(each.params) for each in outcomes}
    before: set[str] = set()
    for header, *lines in other_logs(path.parent, but=path):
        named = {str(each["symbol"]) for each in header.get("data", ())}
        if header.get("strategy") == search.plan.strategy_name and named & symbols:
            before |= {_hash(line["params"]) for line in lines if line.get("error") is None}
    return len(before - now)


def _value(search: Search, outcome: Outcome) -> float:
    """Return what is to be large; minus infinity if it is not defined."""
    value = outcome.figures.get(search.objective.removeprefix("-"))
    if value is None or not math.isfinite(value):
        return -math.inf
    return -value if search.objective.startswith("-") else value


def _best(search: Search, outcomes: Iterable[Outcome]) -> Outcome | None:
    return max(
        (each for each in outcomes if each.error is None), key=lambda x: _value(search, x), default=None
    )


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _code_hash(strategy: type) -> str:
    """Name the file that a strategy stands in, so that a change of it begins another search."""
    try:
        return hashlib.sha256(Path(inspect.getfile(strategy)).read_bytes()).hexdigest()
    except (OSError, TypeError):  # it has no file
        return ""
