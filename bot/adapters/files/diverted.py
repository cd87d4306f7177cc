"""Divert the reads of a user's code from some files to others, and note what it reads beside them.

A strategy may open the candle file itself, where it sees every later bar. To find out whether it uses them,
the file that it opens must be another one. Python's ``open`` and pyarrow's readers are diverted; inotify
(Linux) tells when an original was opened by a reader that is not.
"""

import builtins
import ctypes
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

_READERS: tuple[tuple[Any, str], ...] = (
    (builtins, "open"),
    (io, "open"),
    (os, "open"),
    (pyarrow, "memory_map"),
    (pyarrow.csv, "open_csv"),
    (pyarrow.csv, "read_csv"),
    (pyarrow.parquet, "read_pandas"),
    (pyarrow.parquet, "read_table"),
    (pyarrow.parquet.ParquetDataset, "__init__"),
    (pyarrow.parquet.ParquetFile, "__init__"),
)
_LATER = {
    "polars": ("read_parquet", "scan_parquet", "read_csv", "scan_csv"),
    "pyarrow.dataset": ("dataset",),
    "pyarrow.feather": ("read_table", "read_feather"),
}
"""Readers of modules that are diverted if they have been imported."""
_TABLES = frozenset(
    {
        ".csv",
        ".parquet",
        ".feather",
        ".arrow",
        ".json",
        ".npy",
        ".npz",
        ".pkl",
        ".pickle",
        ".h5",
        ".gz",
        ".zip",
    }
    | {".db", ".sqlite", ".txt"}
)
"""Suffixes of files that may hold prices or signals."""
_IN_OPEN = 0x20


class Reads:
    """What was read while reads were diverted."""

    def __init__(self) -> None:
        self.diverted: set[str] = set()
        """Originals that were asked for and replaced."""
        self.missed: set[str] = set()
        """Originals that were opened in spite of that."""
        self.others: set[str] = set()
        """Other files that may hold data."""


@contextmanager
def diverted(replaced: Mapping[str, Path], ignored: Path) -> Iterator[Reads]:
    """Give whoever opens a key of ``replaced`` (resolved paths) its value instead.

    Files under ``ignored`` are not noted. Reads of other processes count as missed, too.
    """
    reads = Reads()
    targets = {original: str(copy) for original, copy in replaced.items()}

    def other(given: object) -> object:
        path = _resolved(given)
        if path is None or path not in targets:
            return given
        reads.diverted.add(path)
        return targets[path]

    with ExitStack() as stack:
        for owner, name in _readers():
            stack.enter_context(_replaced(owner, name, other))
        stack.enter_context(_listening(_noting(reads, targets, ignored)))
        stack.enter_context(_watched(targets, reads))
        yield reads


def _readers() -> Iterator[tuple[Any, str]]:
    yield from _READERS
    for module, names in _LATER.items():
        if module in sys.modules:
            for name in names:
                yield sys.modules[module], name


@contextmanager
def _replaced(owner: Any, name: str, other: Callable[[object], object]) -> Iterator[None]:
    inner = getattr(owner, name)

    @wraps(inner)
    def reader(*args: Any, **kwargs: Any) -> Any:
        given = {
            key: other(value) if isinstance(value, str | Path) else value for key, value in kwargs.items()
        }
        return inner(*[other(each) if isinstance(each, str | Path) else each for each in args], **given)

    setattr(owner, name, reader)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def _resolved(given: object) -> str | None:
    if not isinstance(given, str | Path) or "\n" in str(given) or "\0" in str(given):
        return None
    return os.path.realpath(given)


# What Python itself opens: an audit hook stays until the process ends, so there is one

_listener: Callable[[str], None] | None = None
_hooked = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _listener is not None and event == "open" and isinstance(args[0], str):
        _listener(args[0])


@contextmanager
def _listening(listener: Callable[[str], None]) -> Iterator[None]:
    global _listener, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _listener = listener
    try:
        yield
    finally:
        _listener = None


def _noting(reads: Reads, targets: Mapping[str, str], ignored: Path) -> Callable[[str], None]:
    program = str(Path(__file__).parents[2])
    places = (os.path.realpath(ignored), program, sys.prefix, sys.base_prefix, "/proc", "/sys")

    def note(opened: str) -> None:
        path = os.path.realpath(opened)
        if path in targets:
            reads.missed.add(path)
        elif (
            Path(path).suffix.lower() in _TABLES
            and not path.startswith(places)
            and "site-packages" not in path
        ):
            reads.others.add(path)

    return note


@contextmanager
def _watched(targets: Mapping[str, str], reads: Reads) -> Iterator[None]:
    """Note which originals any reader opened, here or in another process; nothing without inotify."""
    if not sys.platform.startswith("linux"):
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if queue < 0:
        yield
        return
    watches = {libc.inotify_add_watch(queue, os.fsencode(path), _IN_OPEN): path for path in targets}
    try:
        yield
        reads.missed |= {watches[number] for number in _opened(queue) if number in watches}
    finally:
        os.close(queue)


def _opened(queue: int) -> Iterator[int]:
    """Yield the watches of the events that wait in a queue of inotify."""
    while True:
        try:
            events = os.read(queue, 65_536)
        except BlockingIOError:
            return
        at = 0
        while at < len(events):
            yield int.from_bytes(events[at : at + 4], sys.byteorder, signed=True)
            at += 16 + int.from_bytes(events[at + 12 : at + 16], sys.byteorder)
