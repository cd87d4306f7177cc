"""What screens tried: a log for each in the state directory, with a key for each point."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bot.adapters.state.trials import FOLDER as SWEEPS
from bot.adapters.state.trials import WALKS, TrialLog
from bot.app.runs.results import identity
from bot.app.search.memory import earlier_headers, tried_by_searches
from bot.app.search.search import hash_of
from bot.app.wiring import RunPlan

FOLDER = "screens"
RULE = "bot.Rule"
"""All rules are one strategy here: another pair of indicators is another parameter of it."""


def key_of(point: str) -> str:
    """Name what a point compares, in few letters: a log may have a million."""
    return hashlib.sha256(point.encode()).hexdigest()[:12]


class Tried(NamedTuple):
    """What was tried before on the symbols of a screen."""

    points: int
    """Other points of screens."""
    trials: int
    """Parameters of strategies, in sweeps and walk-forwards."""


def write_down(
    folder: Path, plan: RunPlan, more: Mapping[str, object], keys: Iterable[str]
) -> tuple[Tried, Path]:
    """Write a screen down; return what was tried before on its symbols, and the log.

    Args:
        folder: the state directory.
        plan: its data and costs.
        more: what else makes it another screen.
        keys: of its points, see ``key_of``. The same screen replaces its log.

    Raises:
        BotError: the log cannot be written, or another process writes it.
    """
    now = sorted(set(keys))
    header = {
        "format": 1,
        "kind": "screen",
        **identity(plan),
        "strategy": RULE,
        **more,
        "points": hash_of(now),
    }
    path = folder / FOLDER / f"{hash_of(header)[:12]}.jsonl"
    log = TrialLog(path, header, anew=True)
    try:
        log.append({"points": now})
    finally:
        log.close()
    symbols = set(plan.history.symbols)
    before = {
        key for _, *lines in earlier_headers(path, RULE, symbols) for line in lines for key in _points(line)
    }
    trials = tried_by_searches((folder / SWEEPS, folder / WALKS), symbols)
    return Tried(len(before.difference(now)), trials), path


def _points(line: Mapping[str, object]) -> list[str]:
    found = line.get("points")
    return found if isinstance(found, list) else []
