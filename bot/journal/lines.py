"""Lines of a segment: ``crc entry length json LF``, each checksum carrying on from the one before.

``crc`` is the CRC-32 of everything after it on the line, begun with the checksum of the line before; the
first line of a segment begins with the last checksum of the previous segment. So no entry can be changed,
taken out or put in without breaking the chain. A write that a crash has torn leaves the beginning of a line,
or zeros, at the very end; that is cut off. Anything else that does not check is damage.
"""

import zlib
from collections.abc import Iterator

import msgspec

from bot.domain.errors import BadInput, BotError
from bot.journal.entries import Entry, decode

HEAD_MAX = 64
"""The checksum, the number and the length are shorter than this."""


class Chained(msgspec.Struct, frozen=True):
    """One entry as it was read: its number in the journal, its checksum, and where its line ends (bytes)."""

    entry: Entry
    number: int
    crc: int
    end: int


class Damaged(BadInput):
    """A line that is not what was written. ``line`` counts from 1, ``offset`` is its first byte."""

    def __init__(self, line: int, offset: int, why: str) -> None:
        super().__init__(f"line {line} (byte {offset}): {why}")
        self.line = line
        self.offset = offset


def line_of(body: bytes, number: int, crc: int) -> tuple[bytes, int]:
    """Return the line of an encoded entry, and the checksum that the next line carries on from."""
    text = b"%d %d %b" % (number, len(body), body)
    crc = zlib.crc32(text, crc)
    return b"%08x %b\n" % (crc, text), crc


def read_lines(data: bytes, crc: int, number: int) -> Iterator[Chained]:
    """Yield the entries of a segment; end quietly before a torn last line.

    Args:
        data: the segment's bytes.
        crc: the checksum that the first line carries on from.
        number: the number of the first entry.

    Raises:
        Damaged: a line was changed, is missing, or belongs elsewhere.
    """
    offset = line = 0
    while offset < len(data):
        line += 1
        end = data.find(b"\n", offset)
        if end < 0:
            tail = data[offset:].rstrip(b"\0")
            if not _is_torn(tail):
                raise Damaged(line, offset, "the last line was changed")
            if _is_whole(tail, crc):  # only its line end is missing
                yield _chained(tail, line, offset, crc, number)
            return
        yield _chained(data[offset:end], line, offset, crc, number)
        crc = int(data[offset : offset + 8], 16)
        offset, number = end + 1, number + 1


def check_lines(data: bytes, crc: int, number: int) -> tuple[int, int]:
    """Check a segment as ``read_lines`` does, without its entries: several times faster.

    Returns the number and the checksum of the last whole line.

    Raises:
        Damaged: a line was changed, is missing, or belongs elsewhere.
    """
    offset = line = 0
    while (end := data.find(b"\n", offset)) >= 0:
        line += 1
        _body(data[offset:end], line, offset, crc, number)
        crc = int(data[offset : offset + 8], 16)
        offset, number = end + 1, number + 1
    tail = data[offset:].rstrip(b"\0")
    if not _is_torn(tail):
        raise Damaged(line + 1, offset, "the last line was changed")
    if tail and _is_whole(tail, crc):
        return number, int(tail[:8], 16)
    return number - 1, crc


def _chained(text: bytes, line: int, offset: int, crc: int, number: int) -> Chained:
    body = _body(text, line, offset, crc, number)
    try:
        entry = decode(body)
    except (msgspec.MsgspecError, BotError) as error:
        raise Damaged(line, offset, f"written by another version? {error}") from error
    return Chained(entry, number, int(text[:8], 16), offset + len(text) + 1)


def _body(text: bytes, line: int, offset: int, crc: int, number: int) -> bytes:
    """Return the encoded entry of a line whose checksum, number and length are right."""
    check, _, rest = text.partition(b" ")
    if len(check) != 8 or check != b"%08x" % zlib.crc32(rest, crc):
        raise Damaged(line, offset, "the checksum does not carry on from the line before")
    head, length, body = [*rest.split(b" ", 2), b"", b""][:3]
    if head != b"%d" % number or length != b"%d" % len(body):
        raise Damaged(line, offset, f"entry {number} was expected")
    return body


def _is_torn(tail: bytes) -> bool:
    """Return True if ``tail`` is the beginning of a line, or a whole one without its line end.

    The length on the line tells a torn line from a whole one whose line end was changed.
    """
    parts = tail[:HEAD_MAX].split(b" ", 3)
    if len(parts) < 4:
        return len(tail) < HEAD_MAX
    head = sum(len(part) + 1 for part in parts[:3])
    return parts[2].isdigit() and len(tail) <= head + int(parts[2])


def _is_whole(tail: bytes, crc: int) -> bool:
    check, _, rest = tail.partition(b" ")
    return check == b"%08x" % zlib.crc32(rest, crc)
