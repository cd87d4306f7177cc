"""Chooses what a check runs, and on which bars."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bot.app.checks.copies import read_sources
from bot.app.checks.subjects import FunctionSubject, ModelSubject, StrategySubject, Subject
from bot.app.context import Context
from bot.app.inputs import choose_strategy, load_model
from bot.domain.errors import BadUsage

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import Part

LOOKAHEAD_BARS = 2_000
"""Bars that a check of the future reads by default, beside the warm-up of a model."""
WARMUP_CHECK_BARS = 5_000
"""The same for a check of the beginning."""


def choose(
    context: Context,
    *,
    strategy: str | type | None,
    params: Sequence[str] | Mapping[str, object],
    model: "Path | Checkpoint | Sequence[Part] | None",
    features: str | Callable[..., object] | None,
    instrument: str | None,
) -> Subject:
    """Return the subject of a check: a function, a model alone, or a strategy; by name, or as it is.

    Raises:
        BadUsage: options that contradict each other.
    """
    if features is not None:
        if strategy is not None or params or model is not None:
            raise BadUsage("--features: is checked alone; leave --strategy, --param and --model out")
        return FunctionSubject(features)
    if model is not None and strategy is None:
        if params:
            raise BadUsage("--param: belongs to --strategy, which is not given")
        if isinstance(model, Sequence):
            raise BadUsage("--model: a model of your own is checked with the --strategy that uses it")
        return ModelSubject(model)
    given = params if isinstance(params, Mapping) else tuple(params)
    return StrategySubject(context, strategy or context.settings().strategy.name, given, model, instrument)


def bars_for(subject: Subject, given: int | None, default: int) -> int:
    """Return how many bars to read: those given, else ``default`` beside the warm-up of a model."""
    if given is not None:
        return given
    match subject:
        case ModelSubject():
            return default + 2 * load_model(subject.path, ()).warmup_bars
        case StrategySubject() if _needs_forecast(subject):
            if isinstance(subject.model, Sequence):
                return default + 2 * max((each.warmup for each in subject.model), default=0)
            return default + 2 * load_model(subject.model, ()).warmup_bars
    return default


def cuts_for(subject: Subject) -> int:
    """Return how many closes to cut at: more where a run costs little, for leaks that act rarely."""
    match subject:
        case FunctionSubject():
            return 40
        case StrategySubject() if not _needs_forecast(subject):
            return 16
    return 6


def _needs_forecast(subject: StrategySubject) -> bool:
    from bot.app.checks.watching import read_anew

    with read_anew():
        given = subject.strategy
        cls = choose_strategy(given) if isinstance(given, str) else given
        return bool(getattr(cls, "needs_forecast", False))


__all__ = ["bars_for", "choose", "cuts_for", "read_sources"]
