"""The state with which a segment begins, as one value. Pure."""

import hashlib

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

    def encode(self) -> bytes:
        """Return the snapshot as a file's bytes: its sha256, a line end, JSON."""
        body = msgspec.json.encode(self)
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def decode(cls, data: bytes) -> "Snapshot":
        """Return what ``encode`` wrote.

        Raises:
            BadInput: it was changed, is incomplete, or was written by another version.
        """
        check, body = data[:_DIGEST], data[_DIGEST + 1 :]
        if data[_DIGEST : _DIGEST + 1] != b"\n" or check != sha256_of(body).encode():
            raise BadInput("the snapshot was changed or is incomplete")
        try:
            kept = msgspec.json.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            raise BadInput(f"the snapshot cannot be read: {error}") from error
        if kept.format != FORMAT:
            raise BadInput(f"the snapshot has format {kept.format}, this version reads {FORMAT}")
        return kept


def sha256_of(body: bytes) -> str:
    """Return the hash that names a snapshot's JSON in the header of its segment."""
    return hashlib.sha256(body).hexdigest()


def named_by(data: bytes) -> str:
    """Return the name that an encoded snapshot begins with."""
    return data[:_DIGEST].decode("ascii", "replace")
