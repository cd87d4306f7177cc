"""A SQLite file that follows a journal: whoever reads it brings it up to date first, also beside the daemon.

The journal is the truth. The file may be deleted at any time and is then built again; so it is when the
journal under it is another one, or when the machine was started anew, because its writes are not synced.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bot.adapters.state.journal import Bookmark, Journal
from bot.domain.errors import StoreFailed
from bot.journal.entries import Header
from bot.journal.lines import Chained

_BUSY_S = 30.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PLACE = """
CREATE TABLE place (segment INTEGER, entry INTEGER, crc INTEGER, line_at INTEGER, end_at INTEGER, boot TEXT);
"""


class _Place(NamedTuple):
    """How far the file has followed: the last entry, where its line begins and ends, and this boot's name."""

    segment: int
    entry: int
    crc: int
    line: int
    end: int
    boot: str


_NOWHERE = _Place(0, 0, 0, 0, 0, "")


class JournalFollower(ABC):
    """Follows ``journal`` in the file ``name`` beside it. Subclasses say what is kept of it.

    Args:
        form: version of the tables; a file of another one is built again.
        schema: the tables, as statements that end in ``;``.

    Raises:
        StoreFailed: the journal is damaged, or the file cannot be written.
    """

    def __init__(self, journal: Journal, name: str, form: int, schema: str) -> None:
        self.journal = journal
        self.path = journal.folder / name
        self._form = form
        self._schema = _PLACE + schema
        self._boot = _boot()
        self._size = -1
        self.refresh()

    def refresh(self) -> None:
        """Read what the journal holds beyond the file. A file that does not fit is built again."""
        size = self._journal_size()
        if size == self._size:
            return
        try:
            try:
                self._catch_up()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
                self.path.unlink(missing_ok=True)
                self._catch_up()
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"{self.path}: cannot be written ({error}); make room, or delete it") from error
        self._size = size

    def connect(self) -> sqlite3.Connection:
        """Open the file; whoever does closes it."""
        database = sqlite3.connect(self.path, timeout=_BUSY_S)
        if self._boot:  # a file that a power cut has torn is never read: that boot is over
            database.execute("PRAGMA synchronous = OFF")
        return database

    # What subclasses say

    def _first(self, numbers: Sequence[int]) -> int:
        """Return the segment to begin with."""
        return numbers[0] if numbers else 0

    @abstractmethod
    def _add(self, database: sqlite3.Connection, header: Header | None, entries: Sequence[Chained]) -> None:
        """Keep what these entries mean; ``header`` is that of a segment that begins with them."""

    def _added(self, database: sqlite3.Connection) -> None:  # noqa: B027 (most have nothing to tidy)
        """Tidy up after all entries were added."""

    # Inside

    def _journal_size(self) -> int:
        """Return a number that changes with every write: bytes of the newest segment, and its number."""
        numbers = self.journal.numbers()
        return (numbers[-1] << 40) + self.journal.path(numbers[-1]).stat().st_size if numbers else 0

    def _catch_up(self) -> None:
        with closing(self.connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            place = self._place(database)
            if place is None:
                place = self._clear(database)
            numbers = self.journal.numbers()
            start = place.segment or self._first(numbers)
            for number in numbers:
                if number >= start:
                    place = self._follow(database, number, place)
            database.execute("UPDATE place SET segment=?, entry=?, crc=?, line_at=?, end_at=?, boot=?", place)
            self._added(database)

    def _place(self, database: sqlite3.Connection) -> _Place | None:
        """Return where the file is; None if it must be built again."""
        if database.execute("PRAGMA user_version").fetchone()[0] != self._form:
            return None
        place = _Place(*database.execute("SELECT * FROM place").fetchone())
        return place if place.boot == self._boot and self._fits(place) else None

    def _fits(self, place: _Place) -> bool:
        """Return False if the journal under the file is another one, such as one from a backup."""
        if not place.segment or self.journal.since(place.segment, _mark(place)) is not None:
            return True
        read = self.journal.read(place.segment) if place.segment in self.journal.numbers() else None
        if read is None:
            return False
        end = read.header.condensed
        if end is not None:
            return (end.entry, end.crc) == (place.entry, place.crc) or end.entry > place.entry
        found = any((each.number, each.crc) == (place.entry, place.crc) for each in read.entries)
        return found or read.end.entry == place.entry

    def _clear(self, database: sqlite3.Connection) -> _Place:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in database.execute(tables).fetchall():
            database.execute(f'DROP TABLE "{name}"')
        for statement in self._schema.split(";"):
            database.execute(statement)
        place = _NOWHERE._replace(boot=self._boot)
        database.execute("INSERT INTO place VALUES (?, ?, ?, ?, ?, ?)", place)
        database.execute(f"PRAGMA user_version = {self._form}")
        return place

    def _follow(self, database: sqlite3.Connection, number: int, place: _Place) -> _Place:
        """Add what a segment holds behind ``place``; return the new place."""
        if number == place.segment:
            tail = self.journal.since(number, _mark(place))
            if tail is not None:
                self._add(database, None, tail)
                return _at(number, tail, place)
        segment = self.journal.read(number)
        if segment is None:
            return place
        self._add(database, segment.header, [each for each in segment.entries if each.number > place.entry])
        end = segment.header.condensed or segment.end
        line = segment.entries[-2].end if len(segment.entries) > 1 else 0
        return _Place(number, end.entry, end.crc, line, segment.size, place.boot)


def _mark(place: _Place) -> Bookmark:
    return Bookmark(place.entry, place.crc, place.line, place.end)


def _at(number: int, tail: Sequence[Chained], place: _Place) -> _Place:
    if not tail:
        return place
    line = tail[-2].end if len(tail) > 1 else place.end
    return _Place(number, tail[-1].number, tail[-1].crc, line, tail[-1].end, place.boot)


def _boot() -> str:
    """Return the name of this start of the machine; "" where the system has none, and files are synced."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
