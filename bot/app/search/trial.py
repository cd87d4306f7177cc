"""One trial of a search: a backtest with its own parameters, cut down to what is compared and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.app.context import Context
from bot.app.runs.backtest import make_plan, run_plan
from bot.app.wiring import RunPlan
from bot.domain.errors import BotError
from bot.metrics import Metrics, curve_summary, daily_equity, exposure, simple_returns, turnover
from bot.service.backtest.run import Part, Result

if TYPE_CHECKING:  # they load a compiler
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel
    from bot.features.fitted import Fitted

_WHOLE = ("final_equity", "orders")
"""Figures of the whole run; all others are of the headline part."""


class Own(NamedTuple):
    """The models of one trial: the user's own that are parameters, fitted, and the one that forecasts."""

    params: "Mapping[str, Fitted]"
    model: "Checkpoint | OwnModel | None"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One trial that is to run: its number, its parameters, and the bars it trades (None: the plan's).

    ``fit_ms``: the bars, ``[from, to)``, that the user's own models are fitted on; ``own``: these models.
    """

    index: int
    params: dict[str, str]
    start_ms: int | None = None
    end_ms: int | None = None
    fit_ms: tuple[int, int] | None = None
    own: Own | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one trial.

    Attributes:
        index: its number in the search, from 0.
        params: its parameters, as texts.
        error: why it has no result; None if it has one.
        halted: why risk stopped it; None if it ran to the end.
        fills_sha256: names its fills; equal decisions have equal hashes.
        figures: the figures of ``bot backtest --json``: money, counts and metrics; of a halted trial over the
            same days as the others. None: not defined.
        returns: the daily returns of the headline part.
    """

    index: int
    params: dict[str, str]
    error: str | None = None
    halted: str | None = None
    fills_sha256: str = ""
    figures: dict[str, float | None] = {}
    returns: tuple[float, ...] = ()

    @property
    def decision(self) -> str:
        """What must be equal on any number of workers."""
        return f"{self.index} {self.params} {self.fills_sha256 or self.error}"


@dataclass(frozen=True)
class Recipe:
    """How any process makes the plan of a search: the settings file and the options of ``bot backtest``."""

    config: Path | None
    options: Mapping[str, object]

    def plan(self, context: Context | None = None) -> RunPlan:
        """Read settings, candles and model.

        Raises:
            BotError: one of them is wrong.
        """
        if context is None:
            context = Context()
            context.config, context.is_quiet = self.config, True
        return make_plan(context, **self.options)  # type: ignore[arg-type]  # click's options are its arguments


def attempt(plan: RunPlan, job: Job) -> Outcome:
    """Run one trial. What the strategy raises or refuses is its outcome."""
    start_ms = plan.start_ms if job.start_ms is None else job.start_ms
    end_ms = plan.end_ms if job.end_ms is None else job.end_ms
    own = job.own or Own({}, plan.model)
    params = {**plan.params, **job.params, **own.params}
    try:
        result = run_plan(replace(plan, params=params, model=own.model, start_ms=start_ms, end_ms=end_ms))
    except BotError as error:
        return Outcome(index=job.index, params=job.params, error=str(error))
    breaker = result.run.engine.state.breaker
    return Outcome(
        index=job.index,
        params=job.params,
        halted=None if breaker.state == "active" else f"{breaker.state} ({breaker.reason})",
        fills_sha256=result.digest,
        figures=figures(result),
        returns=tuple(daily_returns(result).tolist()),
    )


def figures(result: Result) -> dict[str, float | None]:
    """Return the numbers of a result that trials are compared by.

    All trials are measured over the same days: after a halt the account earns nothing. Else the largest
    Sharpe ratio would be that of a few lucky weeks before an early halt.
    """
    numbers = result.numbers()
    metrics, rest = result.unseen.metrics, result.after_halt
    if rest is not None and result.unseen.bars:
        metrics = {**metrics, **_to_the_end(result.unseen, rest)}
    return {**{name: float(numbers[name]) for name in _WHOLE}, **metrics}  # type: ignore[arg-type]


def _to_the_end(ended: Part, rest: Part) -> Metrics:
    """Return the figures of a halted part that depend on time, with an idle account for the rest."""
    idle = rest.ts_ms[rest.ts_ms > ended.ts_ms[-1]]
    ts_ms = np.concatenate((ended.ts_ms, idle))
    equity = np.concatenate((ended.equity, np.full(len(idle), ended.equity[-1])))
    held = np.concatenate((ended.notional[len(ended.notional) - ended.bars :], np.zeros(len(idle))))
    traded = ended.metrics["traded_notional"]
    return curve_summary(ts_ms, equity) | {
        "exposure": exposure(held),
        "turnover": None if traded is None else turnover(ts_ms, equity, traded),
    }


def returns_of(outcomes: Sequence[Outcome], days: int) -> NDArray[np.float64]:
    """Return daily returns ``(days, outcomes)``; after a halt or ruin an account earns nothing."""
    found = np.zeros((days, len(outcomes)))
    for at, each in enumerate(outcomes):
        found[: len(each.returns), at] = each.returns[:days]
    return found


def daily_returns(result: Result) -> NDArray[np.float64]:
    """Return the returns of each UTC day of the headline part."""
    return simple_returns(daily_equity(result.unseen.ts_ms, result.unseen.equity)[1])
