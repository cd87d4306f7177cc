"""What a search remembers: each outcome as it comes, across interruptions, and all that was tried before."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bot.adapters.state.trials import TrialLog, other_logs
from bot.app.search.search import hash_of
from bot.app.search.trial import Outcome
from bot.domain.errors import BadUsage


class Memory:
    """The outcomes of one search by number; ``remembered`` of them come from an earlier process."""

    def __init__(self, log: TrialLog, known: dict[int, Outcome]) -> None:
        self.path = log.path
        self.known = known
        self.remembered = len(known)
        self._log = log

    def keep(self, outcome: Outcome) -> None:
        """Write an outcome down.

        Raises:
            StoreFailed: the disk is full or broken.
        """
        self._log.append(msgspec.to_builtins(outcome))
        self.known[outcome.index] = outcome


@contextmanager
def remembering(
    folder: Path, header: Mapping[str, object], total: int, *, resume: bool, fresh: bool
) -> Iterator[Memory]:
    """Open the log of a search of ``total`` trials.

    Raises:
        BadUsage: the search was cut off before and neither ``resume`` nor ``fresh`` is given, or there is
            nothing to resume.
        BotError: the log cannot be written, is damaged, or another process writes it.
    """
    path = folder / f"{hash_of(header)[:12]}.jsonl"
    if resume and not path.exists():
        raise BadUsage("--resume: no search with these data, settings, parameters and code was cut off")
    log = TrialLog(path, header, anew=fresh)
    try:
        known = {each.index: each for each in (msgspec.convert(line, Outcome) for line in log.lines[1:])}
        if known and len(known) < total and not resume:
            raise BadUsage(
                f"this search was cut off after {len(known)} of {total} trials; "
                "--resume goes on with it, --fresh begins it anew"
            )
        if known and not resume:
            log.restart(header)
            known = {}
        yield Memory(log, known)
    finally:
        log.close()


def earlier_headers(path: Path, strategy: str, symbols: set[str]) -> Iterator[list[dict[str, object]]]:
    """Yield the lines of the other logs beside ``path`` of this strategy on any of these symbols."""
    for header, *lines in other_logs(path.parent, but=path):
        named = {str(each["symbol"]) for each in header.get("data", ())}
        if _class_of(str(header.get("strategy"))) == _class_of(strategy) and named & symbols:
            yield [header, *lines]


def tried_by_searches(folders: Iterable[Path], symbols: set[str]) -> int:
    """Count the parameters of any strategy that the logs in these folders tried on any of these symbols.

    The steps of a walk-forward try the same parameters: these count once.
    """
    tried = set()
    for folder in folders:
        for header, *outcomes in other_logs(folder):
            if symbols & {str(each["symbol"]) for each in header.get("data", ())}:
                strategy = _class_of(str(header.get("strategy")))
                found = (each.get("params") for each in outcomes if not each.get("error"))
                tried |= {(strategy, hash_of(params)) for params in found}
    return len(tried)


def _class_of(strategy: str) -> str:
    """Return a strategy's name without its module: from Python, a class is named alone."""
    return strategy.rpartition(":")[2]
