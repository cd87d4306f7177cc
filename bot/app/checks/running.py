"""Chooses what a check runs, and on which bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bot.app.checks.copies import read_sources
from bot.app.checks.subjects import FunctionSubject, ModelSubject, StrategySubject, Subject
from bot.app.context import Context
from bot.app.inputs import choose_strategy, load_model
from bot.domain.errors import BadUsage


def choose(
    context: Context,
    *,
    strategy: str | None,
    params: Sequence[str],
    model: Path | None,
    features: str | None,
    instrument: str | None,
) -> Subject:
    """Return the subject of a check: a function, a model alone, or a strategy.

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
        return ModelSubject(model)
    name = strategy or context.settings().strategy.name
    return StrategySubject(context, name, tuple(params), model, instrument)


def bars_for(subject: Subject, given: int | None, default: int) -> int:
    """Return how many bars to read: those given, else ``default`` beside the warm-up of a model."""
    if given is not None:
        return given
    match subject:
        case ModelSubject():
            return default + 2 * load_model(subject.path, ()).warmup_bars
        case StrategySubject() if _needs_forecast(subject):
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
        return bool(getattr(choose_strategy(cast(str, subject.strategy)), "needs_forecast", False))


__all__ = ["bars_for", "choose", "cuts_for", "read_sources"]
