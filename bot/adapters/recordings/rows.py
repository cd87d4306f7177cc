"""One row of a recording: the local time in µs, a space, and what was there. A row is a line of text.

====================  ================================================================================
``1767225600123456 {`` a frame, as it came (a line break inside one, which JSON allows, becomes a space)
``1767225600123456 =`` a book or ticker as a snapshot, made by the recorder where a file begins
``1767225600123456 #`` a mark: the beginning of a file, the rules, a connection lost and back, the end
====================  ================================================================================
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from bot.bybit.codes import printable
from bot.domain.errors import BadFile
from bot.domain.market import Instrument

FORMAT = 1
FRAME, STATE, MARK = b"{", b"=", b"#"


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin", tag_field="mark"):
    """A file begins. ``part`` counts the files of one process, from 1."""

    format: int = FORMAT
    feed: str
    url: str
    symbols: tuple[str, ...]
    topics: tuple[str, ...]
    version: str
    part: int


class Rules(msgspec.Struct, frozen=True, tag="rules", tag_field="mark"):
    """The trading rules of the symbols when the process began."""

    instruments: tuple[Instrument, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost", tag_field="mark"):
    """Nothing is received of these topics from now on."""

    topics: tuple[str, ...]
    reason: str


class Back(msgspec.Struct, frozen=True, tag="back", tag_field="mark"):
    """These topics are subscribed (again); what comes next begins with snapshots."""

    topics: tuple[str, ...]


class Missed(msgspec.Struct, frozen=True, tag="missed", tag_field="mark"):
    """Frames of a book are missing between two numbers (Bybit's ``u``); the book is subscribed anew."""

    topic: str
    after: int
    before: int


class End(msgspec.Struct, frozen=True, tag="end", tag_field="mark"):
    """The recorder was stopped. A recorder that was killed leaves no such mark."""

    reason: str


Mark = Begin | Rules | Lost | Back | Missed | End


class Row(NamedTuple):
    """A row as read: ``sort`` is ``FRAME``, ``STATE`` or ``MARK``; ``text`` is its JSON."""

    received_us: int
    sort: bytes
    text: bytes

    def mark(self) -> Mark:
        """Return the mark of a ``MARK`` row.

        Raises:
            msgspec.DecodeError: it is none that this version knows.
        """
        found: Mark = _marks.decode(self.text)
        return found


def frame_row(received_us: int, text: bytes) -> bytes:
    """Return the line of a frame."""
    return b"%d %s\n" % (received_us, text.replace(b"\n", b" ") if b"\n" in text else text)


def state_row(received_us: int, snapshot: str) -> bytes:
    """Return the line of a snapshot that the recorder made."""
    return b"%d =%s\n" % (received_us, snapshot.encode())


def mark_row(received_us: int, mark: Mark) -> bytes:
    """Return the line of a mark."""
    return b"%d #%s\n" % (received_us, msgspec.json.encode(mark))


def rows_of(block: bytes, where: str) -> Iterator[Row]:
    """Read the rows of a whole block.

    Raises:
        BadFile: a line that is no row.
    """
    for line in block.removesuffix(b"\n").split(b"\n"):
        stamp, space, rest = line.partition(b" ")
        sort = rest[:1]
        if not (stamp.isdigit() and len(stamp) < 19 and space and sort in (FRAME, STATE, MARK)):
            raise BadFile(f"{where}: {printable(line[:60].decode('ascii', 'replace'), 60)!r} is no row")
        yield Row(int(stamp), sort, rest if sort == FRAME else rest[1:])


_marks = msgspec.json.Decoder(Mark)
