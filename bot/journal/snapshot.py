"""The state with which a segment begins: one JSON object, a line end, its sha256. Pure.

The checksum comes last, so the file can be written piece by piece, and nearly all of it ahead: ``first_part``
is the history and what the engine's state begins with, ``last_part`` all the rest. Versions before wrote the
checksum first; ``decode`` reads both.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from bot.domain.errors import BadInput
from bot.domain.messages import BarsClosed

FORMAT = 1
_DIGEST = 64


_NONE = msgspec.Raw(b"null")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Engine and venue at one moment.

    ``engine`` and ``venue`` are JSON objects that belong to these two; ``venue`` is null for a remote venue.
    ``history`` are the closes that strategies without a state of their own must see again, oldest first.
    ``risk_state``, ``halting`` and ``stopped`` tell a reader without an engine whether the bot is halted, and
    which symbols' strategies have raised. ``digest`` names the engine's state.
    """

    format: int = FORMAT
    engine: msgspec.Raw
    venue: msgspec.Raw = _NONE
    history: tuple[BarsClosed, ...] = ()
    risk_state: str
    halting: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    digest: str

    @property
    def has_venue(self) -> bool:
        """True if a venue in this process belongs to the state."""
        return bytes(self.venue) != b"null"

    @classmethod
    def decode(cls, data: bytes) -> "Snapshot":
        """Return what a snapshot's file holds.

        Raises:
            BadInput: it was changed, is incomplete, or was written by another version.
        """
        if data[:1] == b"{":
            body, between, check = data[: -_DIGEST - 1], data[-_DIGEST - 1 : -_DIGEST], data[-_DIGEST:]
        else:
            check, between, body = data[:_DIGEST], data[_DIGEST : _DIGEST + 1], data[_DIGEST + 1 :]
        if between != b"\n" or check != sha256_of(body).encode():
            raise BadInput("the snapshot was changed or is incomplete")
        try:
            kept = msgspec.json.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            raise BadInput(f"the snapshot cannot be read: {error}") from error
        if kept.format != FORMAT:
            raise BadInput(f"the snapshot has format {kept.format}, this version reads {FORMAT}")
        return kept


def first_part(history: Iterable[BarsClosed], engine: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the first part of a snapshot's JSON in small pieces; ``engine`` is that of the engine's state."""
    between = b'{"history":['
    for closed in history:
        yield between + msgspec.json.encode(closed)
        between = b","
    yield (b"" if between == b"," else between) + b'],"engine":'
    yield from engine


def last_part(engine: bytes, **rest: object) -> bytes:
    """Return the last part of a snapshot's JSON: the rest of the engine's, and the other fields."""
    return engine + b"," + msgspec.json.encode({"format": FORMAT, **rest})[1:]


def sha256_of(body: bytes) -> str:
    """Return the hash that names a snapshot's JSON in the header of its segment."""
    return hashlib.sha256(body).hexdigest()


def named_by(data: bytes) -> str:
    """Return the name that a snapshot's file holds."""
    name = data[-_DIGEST:] if data[:1] == b"{" else data[:_DIGEST]
    return name.decode("ascii", "replace")
