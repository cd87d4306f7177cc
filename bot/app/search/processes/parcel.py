"""What a machine of a cluster gets of a search, and what it does with it.

Unlike a process of this machine, it has other settings, another environment, another working directory and
perhaps another program. So it gets the checked plan without its secrets, and compares before it runs it:
another version, other candles or another strategy of the same name would give other results without a word.
"""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import bot
from bot.app.inputs import detail_bars, mark_bars, read_history
from bot.app.search.processes.portable import from_bytes, to_bytes
from bot.app.search.search import Search, code_hash
from bot.app.search.trial import Job, Outcome, attempt
from bot.app.wiring import RunPlan
from bot.domain.errors import BotError
from bot.service.backtest.history import History

PACKAGES = ("numpy", "numba", "msgspec", "distributed")
"""Packages whose versions must be equal, beside the program itself."""


SAME = "install the same versions there"


class Unequal(BotError):
    """A machine of the cluster has not what the search is made of."""


@dataclass(frozen=True)
class Files:
    """Candles by place, for machines that see the same files."""

    data: tuple[Path, ...]
    funding: str | None
    detail: tuple[Path, ...]
    mark: tuple[Path, ...]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, search: Search) -> "Files | None":
        """Return the files of a search; None if some of its candles are only in memory."""
        options = search.recipe.options
        data, detail, mark = (_places(options.get(name)) for name in ("data", "detail", "mark"))
        if data is None or detail is None or mark is None:
            return None
        funding = options.get("funding")
        if funding not in (None, "none"):
            funding = str(Path(str(funding)).absolute())
        sizes = {str(path): path.stat().st_size for path in (*data, *detail, *mark) if path.is_file()}
        return cls(data, funding if funding is None else str(funding), detail, mark, sizes)

    def missing(self) -> list[str]:
        """Return the files that this machine has not, or in another size."""
        return [
            name
            for name, size in self.sizes.items()
            if not Path(name).is_file() or Path(name).stat().st_size != size
        ]


def _places(given: object) -> tuple[Path, ...] | None:
    assert isinstance(given, Sequence)
    if not all(isinstance(each, Path) for each in given):
        return None
    return tuple(each.absolute() for each in given)


@dataclass(frozen=True)
class Parcel:
    """A plan on its way. With ``files`` it carries no candles."""

    plan: RunPlan
    code_sha256: str
    data_sha256: tuple[str, ...]
    files: Files | None

    @classmethod
    def pack(cls, search: Search, files: Files | None) -> bytes:
        """Return what ``attempt_there`` takes.

        Raises:
            NotPortable: see ``to_bytes``.
        """
        plan = replace(search.plan, settings=search.plan.settings.without_secrets())
        hashes = _hashes(plan.history)
        if files is not None:
            plan = replace(plan, history=History(()), detail={}, marks={})
        return to_bytes(cls(plan, code_hash(plan.strategy), hashes, files), with_files=True)

    def unpack(self) -> RunPlan:
        """Return the plan, with its candles.

        Raises:
            Unequal: this machine has another strategy of this name, or other candles at this place.
            BotError: it cannot read them.
        """
        if code_hash(self.plan.strategy) != self.code_sha256:
            raise Unequal(
                f"it has another {self.plan.strategy_name}; install the same code there, or name the "
                "strategy by its file (path/file.py:Class), which is sent"
            )
        if self.files is None:
            return self.plan
        history = read_history(self.files.data, self.files.funding)
        if _hashes(history) != self.data_sha256:
            raise Unequal(f"it reads other candles from {self.files.data[0]}; let it see the same files")
        return replace(
            self.plan,
            history=history,
            detail=detail_bars(self.files.detail, history.candles),
            marks=mark_bars(self.files.mark, history.candles),
        )


def _hashes(history: History) -> tuple[str, ...]:
    return (*(each.sha256 for each in history.candles), *(each.sha256 for each in history.funding))


@cache
def program() -> dict[str, str]:
    """Return what must be equal on two machines, so that they decide equally."""
    place, found = Path(bot.__file__).parent, hashlib.sha256()
    for path in sorted(place.rglob("*.py")):
        found.update(path.relative_to(place).as_posix().encode() + path.read_bytes())
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "bot": f"{bot.__version__} ({found.hexdigest()[:12]})",
        **{name: version(name) for name in PACKAGES},
    }


def differences(wanted: Mapping[str, str]) -> str | None:
    """Say in which versions this machine differs from another; None: in none."""
    here = program()
    told = [
        f"{name} {here.get(name)} there, {has} here" for name, has in wanted.items() if has != here.get(name)
    ]
    return ", ".join(told) or None


def look(wanted: Mapping[str, str], files: Files | None) -> tuple[str | None, bool]:
    """Return how this machine differs, and whether it sees all files."""
    return differences(wanted), files is not None and not files.missing()


def attempt_there(wanted: Mapping[str, str], name: str, packed: bytes, trial: bytes) -> Outcome | str:
    """Run a trial on a machine of the cluster; return why it cannot, in words, if it cannot.

    Trials of one process take turns: a strategy may keep values in its module.
    """
    unlike = differences(wanted)
    if unlike is not None:
        return f"it is unlike this machine: {unlike}; {SAME}"
    with _TURN:
        try:
            plan = _unpacked(name, packed)
            job = from_bytes(trial)  # it may hold models of the user's
        except BotError as error:
            return str(error)
        except (ImportError, AttributeError) as error:
            return (
                f"it has not all that the search needs ({error}); install it there; of your own files only "
                "that of --strategy path/file.py:Class is sent"
            )
        assert isinstance(job, Job)
        return attempt(plan, job)


_TURN = Lock()
_plans: dict[str, RunPlan] = {}
"""The plan of the search at work: read once a process."""


def _unpacked(name: str, packed: bytes) -> RunPlan:
    if name not in _plans:
        parcel = from_bytes(packed)
        assert isinstance(parcel, Parcel)
        _plans.clear()  # one search at a time: candles may be large
        _plans[name] = parcel.unpack()
    return _plans[name]
