"""What stands in a journal: a header, then every input of the engine and what followed from it, in order.

::

    Header        begins a segment: who writes, and every argument of the engine
    an event      an input from outside: market, command, a remote venue's event; written before it is handled
    Answer        an input that a venue or the gate in this process gave to an event or an effect
    Effects       what the engine decided on the inputs above; on the disk before any of it leaves
    Marked        a close was decided on: the account's value and the forecasts used
    Quarantined   an event of an earlier process whose handling raised; no process handles it again
    Forgiven      the operator took crashed starts out of the restart budget
    Closed        the process ended, and why; missing after a crash

The engine's state is a fold over the events and answers. The rest is there to be compared and read.
"""

from math import isfinite
from typing import Literal

import msgspec

from bot.domain.messages import (
    BarsClosed,
    Candle,
    Command,
    Effect,
    Event,
    Filled,
    FundingPaid,
    FundingRate,
    Gap,
    InstrumentChanged,
    LinkDown,
    LinkUp,
    MarkPrice,
    ModelSwapped,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    ProcessStarted,
    Quote,
    StopsChanged,
    StopsRejected,
    StrategyBroke,
    Synced,
    TimePassed,
    Transferred,
    VenueEvent,
)

FORMAT = 1
"""Raised when an older program could not read a newer journal."""


class Place(msgspec.Struct, frozen=True):
    """Where a segment ended: its number, the number of its last entry and the checksum up to there."""

    segment: int
    entry: int
    crc: int


class Header(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first entry of a segment.

    ``arguments`` is a JSON object with every argument of the engine. ``previous`` is the end of the segment
    before, None in the first one. ``snapshot_sha256`` names the state with which the segment begins, None
    for a fresh account. ``starts_ms`` are the starts of late that did not end cleanly, this one last.
    ``condensed`` is the original end of a segment whose market events were taken out.
    """

    format: int
    account: str
    segment: int
    process: int
    ts_ms: int
    code: str
    arguments: msgspec.Raw
    previous: Place | None = None
    snapshot_sha256: str | None = None
    starts_ms: tuple[int, ...] = ()
    condensed: Place | None = None


class Answer(msgspec.Struct, frozen=True, tag=True):
    """An input that a venue or the gate in this process gave."""

    event: VenueEvent


class Effects(msgspec.Struct, frozen=True, tag=True):
    """What the engine decided, in order."""

    effects: tuple[Effect, ...]


class Marked(msgspec.Struct, frozen=True, tag=True):
    """A close was decided on. ``equity`` and ``notional`` in quote; None if the number is not finite.

    ``forecasts`` by symbol, each field as a hexadecimal float; empty without a model, or for many symbols.
    ``model`` is the hash of the model that made them; empty without one, and in older journals.
    """

    ts_ms: int
    equity: float | None
    notional: float | None
    forecasts_sha256: str = ""
    forecasts: dict[str, tuple[str, ...]] = {}
    model: str = ""


class Quarantined(msgspec.Struct, frozen=True, tag=True):
    """The entry ``entry`` of ``segment`` is never handled again; ``error`` is what its handling raised."""

    segment: int
    entry: int
    error: str


class Forgiven(msgspec.Struct, frozen=True, tag=True):
    """Crashed starts until now do not count any more."""

    ts_ms: int


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The process ended. ``cause``: asked for, the venue or the network was away, or an error of ours."""

    ts_ms: int
    cause: Literal["stopped", "outage", "error"]
    reason: str = ""


class NotFinite(msgspec.Struct, frozen=True, tag=True):
    """A price event with a number that JSON does not have; ``values`` are its fields as text, in order."""

    kind: Literal["Candle", "Quote", "MarkPrice"]
    values: tuple[str, ...]


Entry = Header | Event | Answer | Effects | Marked | Quarantined | Forgiven | Closed | NotFinite
_PRICES: dict[str, type[Candle] | type[Quote] | type[MarkPrice]] = {
    "Candle": Candle,
    "Quote": Quote,
    "MarkPrice": MarkPrice,
}
EVENTS = (
    BarsClosed,
    Candle,
    Quote,
    MarkPrice,
    FundingRate,
    Gap,
    InstrumentChanged,
    LinkDown,
    LinkUp,
    Command,
    ProcessStarted,
    StrategyBroke,
    ModelSwapped,
    TimePassed,
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderRejected,
    OrderUnknown,
    OrderCancelled,
    StopsChanged,
    StopsRejected,
    StrategyBroke,
    Synced,
    Transferred,
    OrderRepriced,
    OrderResized,
)
"""The kinds of ``Event``, for ``isinstance``."""
MARKET = (BarsClosed, Candle, Quote, MarkPrice, FundingRate, Gap, NotFinite)
"""Kinds of entries that a condensed segment leaves out."""

_encoder = msgspec.json.Encoder()
_decoder: "msgspec.json.Decoder[Entry]" = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Return an entry as one JSON object without a line end."""
    if isinstance(entry, Candle | Quote | MarkPrice):
        values = msgspec.structs.astuple(entry)
        if not all(isfinite(value) for value in values if isinstance(value, float)):
            return _encoder.encode(NotFinite(type(entry).__name__, tuple(map(str, values))))  # type: ignore[arg-type]
    return _encoder.encode(entry)


def decode(body: bytes) -> Entry:
    """Return the entry that ``encode`` made; a ``NotFinite`` comes back as the event itself.

    Raises:
        msgspec.MsgspecError: no entry has this form.
        BotError: the numbers of a bar or an order cannot be.
    """
    entry = _decoder.decode(body)
    if isinstance(entry, NotFinite):
        kind = _PRICES[entry.kind]
        fields = msgspec.structs.fields(kind)
        plain = {each.name: each.type(text) for each, text in zip(fields, entry.values, strict=True)}
        return kind(**plain)
    return entry
