"""``bot sweep``: a grid or seeded draws of parameters, remembered trial by trial, and judged as a whole."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.adapters.state.trials import FOLDER
from bot.app.runs.results import record
from bot.app.search.memory import earlier_headers, remembering
from bot.app.search.processes.workers import Crew
from bot.app.search.search import Search, best_of, hash_of, results_hash, value_of
from bot.app.search.trial import Job, Outcome, returns_of
from bot.app.search.words import best_words
from bot.metrics import daily_equity, simple_returns
from bot.research.search.selection import Selection, judge

Floats = NDArray[np.float64]
Progress = Callable[[int, str], None]
"""Called with the number of trials that are done, and words on the best so far; empty: there is none."""


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
        return sorted(found, key=lambda each: (-value_of(self.search.objective, each), each.index))

    @property
    def best(self) -> Outcome | None:
        """The outcome with the best objective; None if none has one."""
        return best_of(self.search.objective, self.outcomes)

    @property
    def sha256(self) -> str:
        """Names the decisions of all trials; equal on any number of workers."""
        return results_hash(self.outcomes)

    def returns_of(self, outcomes: Sequence[Outcome]) -> Floats:
        """Return daily returns ``(days, outcomes)``; after a halt or ruin an account earns nothing."""
        return returns_of(outcomes, len(_hold_returns(self.search)))

    def numbers(self) -> dict[str, object]:
        """Return the JSON for programs."""
        best, judged, hold = self.best, self.selection, self.search.hold.numbers()
        return {
            **record("sweep", self.search.plan),
            "first_ms": hold["first_ms"],
            "headline": hold["headline"],
            "trials": len(self.outcomes),
            "failed": sum(each.error is not None for each in self.outcomes),
            "halted": sum(each.halted is not None for each in self.outcomes),
            "remembered": self.remembered,
            "sampler": self.search.sampler,
            "objective": self.search.objective,
            "best": None if best is None else {**row(best), "returns": best.returns},
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
    crew: Crew,
    resume: bool,
    fresh: bool,
    progress: Progress = lambda done, words: None,
) -> Sweep:
    """Run what is not remembered, write each outcome as it comes, and judge the whole.

    Args:
        search: what is tried.
        folder: the state directory.
        crew: who runs the trials.
        resume: go on with the same search where it was cut off.
        fresh: forget the trials of a search that was cut off.
        progress: told of each outcome.

    Raises:
        BadUsage: the search was cut off before and neither ``resume`` nor ``fresh`` is given, or there is
            nothing to resume.
        BotError: the log cannot be written; workers die.
    """
    with remembering(folder / FOLDER, search.header, search.count, resume=resume, fresh=fresh) as memory:
        known = memory.known
        best = Best(search.objective, known.values())
        progress(len(known), best.words())
        asking, first = search.asking(), 0
        while points := asking.ask():
            jobs = [Job(index=at, params=dict(each)) for at, each in enumerate(points, first)]
            for outcome in crew.run(search, [job for job in jobs if job.index not in known]):
                memory.keep(outcome)
                best.see(outcome)
                progress(len(known), best.words())
            asking.tell([value_of(search.objective, known[job.index]) for job in jobs])
            first += len(jobs)
    outcomes = tuple(known[index] for index in sorted(known))
    return Sweep(search, outcomes, memory.remembered, _judge(search, outcomes, memory.path), memory.path)


class Best:
    """The best of the outcomes so far, in words."""

    def __init__(self, objective: str, known: Iterable[Outcome] = ()) -> None:
        self._objective = objective
        self.outcome = best_of(objective, known)

    def see(self, outcome: Outcome) -> None:
        """Take one more."""
        self.outcome = best_of(
            self._objective, [outcome] if self.outcome is None else [self.outcome, outcome]
        )

    def words(self) -> str:
        """Say how good it is; empty while there is none."""
        return "" if self.outcome is None else best_words(self.outcome, self._objective)


def _hold_returns(search: Search) -> Floats:
    return simple_returns(daily_equity(search.hold.unseen.ts_ms, search.hold.unseen.hold)[1])


def _judge(search: Search, outcomes: Sequence[Outcome], path: Path) -> Selection | None:
    hold = _hold_returns(search)
    best = best_of(search.objective, outcomes)
    if best is None or not len(hold):
        return None
    columns = [each for each in outcomes if each.error is None]
    return judge(
        returns_of(columns, len(hold)),
        columns.index(best),
        hold,
        earlier_trials=_earlier_trials(search, outcomes, path),
        seed=search.seed,
    )


def _earlier_trials(search: Search, outcomes: Sequence[Outcome], path: Path) -> int:
    """Count the other parameters of this strategy that were tried on these symbols."""
    now, before = {hash_of(each.params) for each in outcomes}, set[str]()
    for _, *lines in earlier_headers(path, search.plan.strategy_name, set(search.plan.history.symbols)):
        before |= {hash_of(line["params"]) for line in lines if line.get("error") is None}
    return len(before - now)
