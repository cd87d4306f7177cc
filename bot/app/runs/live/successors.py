"""Which model a live run begins with, and which ones a replay of its journal needs.

::

    a fresh account        the newest promoted model in the line of the one that the settings name
    a journal              the model it ended with, if it is of that line; a newer one then takes over live
    a replay               the model of the segment's header, then each one that a ``ModelSwapped`` names
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bot.adapters.state.journal import Journal, Segment
from bot.app.runs.live.arguments import Arguments, with_model
from bot.app.runs.live.plan import LivePlan
from bot.app.wiring import make_drift_bounds, make_successor
from bot.domain.errors import StoreFailed
from bot.domain.messages import ModelSwapped
from bot.engine.core import Engine
from bot.engine.forecasting import Successor
from bot.settings.models import FOLDER

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.lineage import Lineage


def lineage_at(state_dir: Path) -> "Lineage":
    """Return the retrained models of a state directory."""
    from bot.adapters.model.lineage import Lineage

    return Lineage(state_dir / FOLDER)


def begin_with(plan: LivePlan, folder: Path) -> tuple[LivePlan, str]:
    """Return the plan with the model to begin with, and in words what is wrong with a newer one, if any.

    ``folder`` is that of the account's journal.

    Raises:
        StoreFailed: the record of retrained models, or the journal, is damaged.
    """
    base = plan.checkpoint
    if base is None:
        return plan, ""
    lineage = lineage_at(plan.settings.state_dir)
    current, trouble = lineage.current(base)
    last = None if plan.fresh else Journal(folder).last()
    if last is not None:
        ended_with = model_at_end(last)
        line = lineage.line(base.hash)
        of_line = {base.hash, *(each.hash for each in line.promoted), *(a.candidate for a in line.attempts)}
        found = base if ended_with == base.hash else lineage.find(ended_with) if ended_with else None
        if found is not None and found.hash in of_line:
            return replace(plan, model=found, base=base), trouble
    return replace(plan, model=current, base=base), trouble


def model_at_end(segment: Segment) -> str | None:
    """Return the hash of the model in use at the end of a segment; None without one."""
    swaps = [each.entry.model for each in segment.entries if isinstance(each.entry, ModelSwapped)]
    return swaps[-1] if swaps else Arguments.decode(segment.header.arguments).model_hash


def successors_in(segment: Segment, plan: LivePlan) -> "Iterator[Checkpoint]":
    """Yield the models that take over within a segment.

    Raises:
        StoreFailed: one is not there any more.
    """
    for each in segment.entries:
        if isinstance(each.entry, ModelSwapped):
            yield find_model_of(plan, each.entry.model)


def find_model_of(plan: LivePlan, model_hash: str) -> "Checkpoint":
    """Return a model of a plan's line by its hash.

    Raises:
        StoreFailed: it is not there any more.
    """
    named = plan.base if plan.base is not None else plan.checkpoint
    if named is not None and named.hash == model_hash:
        return named
    found = lineage_at(plan.settings.state_dir).find(model_hash)
    if found is None:
        raise StoreFailed(
            f"the journal was written with model {model_hash}, which is not in "
            f"{plan.settings.state_dir / FOLDER}; put that model back, or begin anew with `bot run --fresh`"
        )
    return found


def offer(engine: Engine, plan: LivePlan, models: "Iterable[Checkpoint]") -> None:
    """Hand an engine the models that may take over."""
    for model in models:
        engine.offer(successor_of(plan, model))


def successor_of(plan: LivePlan, model: "Checkpoint") -> Successor:
    """Return a model that may take over on an engine of a plan."""
    bounds = make_drift_bounds(plan.settings) if plan.watches_drift else None
    return make_successor(model, plan.symbols, drift=bounds)


def at_end(arguments: Arguments, engine: Engine, plan: LivePlan) -> Arguments:
    """Return the arguments of an engine after a replay that began with ``arguments``."""
    now = {each.model for each in engine.state.forecasters.values()} - {"", arguments.model_hash}
    return with_model(arguments, find_model_of(plan, now.pop())) if now else arguments


def header_arguments(arguments: msgspec.Raw, model: "Checkpoint") -> msgspec.Raw:
    """Return the arguments of a header after another model has taken over."""
    return with_model(Arguments.decode(arguments), model).encode()
