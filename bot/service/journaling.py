"""The daemon's keeper: writes the journal, and begins a new segment with a snapshot when one is full.

::

    the segment is full, or must end ──> first part of the snapshot, in a thread ──> the rest, the new segment
                                                │  events go on in the present segment
                                                └── a close, a swap: the part is of the past; begin anew

The first part is what changes at a close alone, nearly all bytes: of 200 symbols 30 MB, and the rest 0.3 MB.
Only the rest is written between two events. A crash at any moment finds the old segment or the new one whole.
"""

import asyncio
import contextlib
import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import msgspec

from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.disk import THIS_DISK, Disk
from bot.adapters.state.failpoint import reach
from bot.adapters.state.journal import Draft, Journal, JournalWriter, condense
from bot.domain.errors import StoreFailed
from bot.domain.market import Forecast
from bot.domain.messages import (
    BarsClosed,
    Command,
    Effect,
    Event,
    ModelSwapped,
    ProcessStarted,
    Reconciled,
    StrategyStopped,
    VenueEvent,
    Verdict,
)
from bot.engine.core import Engine
from bot.engine.snapshot import Ahead
from bot.journal.entries import Answer, Closed, Effects, Forgiven, Header, Marked, Quarantined
from bot.journal.snapshot import first_part, last_part
from bot.service.views.forecasts import FULL_SYMBOLS

EndCause = Literal["stopped", "outage", "error"]
_OVERFULL = 2
"""Times ``segment_bytes`` after which a new segment begins at once: bars that close every moment leave no
time to write anything ahead."""


@dataclass(frozen=True, kw_only=True)
class JournalParts:
    """What the keeper writes with.

    Args:
        header: the header of this process's segments; each segment fills in its own place.
        venue_snapshot: returns the state of a venue in this process; None for a remote venue.
        history_closes: closes kept for strategies that have no state of their own.
        wall_s: the time of this machine's files, seconds since 1970.
    """

    writer: JournalWriter
    header: Header
    venue_snapshot: Callable[[], bytes] | None
    history_closes: int
    wall_s: Callable[[], float]
    history: Sequence[BarsClosed] = ()
    segment_bytes: int = 8 << 20
    keep_bytes: int = 1 << 30
    keep_days: int | None = None
    disk: Disk = THIS_DISK


class _Coming:
    """The snapshot of the segment to come."""

    def __init__(self, draft: Draft, engine: Ahead, history: Sequence[BarsClosed]) -> None:
        self.draft, self.engine = draft, engine
        self._history = history
        self.is_ready = False

    def write_first(self) -> None:
        """Write the first part, on any thread; in vain if the draft is given up meanwhile.

        Raises:
            OSError: as the disk does.
        """
        pieces = first_part(self._history, self.engine.first())
        if self.draft.write(pieces) and self.draft.sync():
            reach("snapshot.ahead")
            self.is_ready = True


class JournalKeeper:
    """The daemon's ``ports.Keeper``. Without ``write_ahead`` it begins each segment at once."""

    def __init__(self, parts: JournalParts, engine: Engine, stopwatch: Stopwatch) -> None:
        self._parts = parts
        self._writer = parts.writer
        self._header = parts.header
        self._engine = engine
        self._stopwatch = stopwatch
        self._begun, self._due = asyncio.Event(), asyncio.Event()
        self._coming: _Coming | None = None
        self._writes_ahead = False
        forgets = bool(engine.forgetful())
        self._wants_segment = False
        self._history: deque[BarsClosed] = deque(parts.history, parts.history_closes if forgets else 0)

    def begin(self, quarantined: Iterable[Quarantined] = ()) -> None:
        """Begin a segment with the present state; write which earlier events no process handles again.

        Raises:
            StoreFailed: it cannot be kept.
            Unkept: the memory of a strategy cannot be; nothing has happened then.
        """
        coming = self._coming
        if coming is None or not coming.is_ready:
            self._forget_coming()
            coming = self._coming = self._new_coming()
            self._write(coming.write_first)
        rest = self._last_part(coming.engine)
        self._write(lambda: coming.draft.write((rest,)))
        self._wants_segment = False
        self._writer.begin(self._header, coming.draft)
        self._coming = None
        for each in quarantined:
            self._writer.append(each)
        self._begun.set()

    async def write_ahead(self, keep: Callable[[Callable[[], None]], None]) -> None:
        """Begin each segment that is due without holding the loop, without end.

        ``keep`` calls what may find that the memory of a strategy cannot be kept.

        Raises:
            StoreFailed: one cannot be kept.
        """
        self._writes_ahead = True
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._is_due or self._coming is not None:
                continue
            coming = self._coming = self._new_coming()
            try:
                await asyncio.to_thread(coming.write_first)
            except OSError as error:
                if self._coming is coming:
                    self._writer.fail(error)
            if self._coming is coming:
                keep(self.begin)

    # What ports.Keeper asks for

    def took(self, event: Event) -> None:
        """Write an input from outside."""
        self._writer.append(event)
        if isinstance(event, BarsClosed | ModelSwapped):
            self._forget_coming()
        if type(event) is BarsClosed:
            self._history.append(event)

    def answered(self, event: VenueEvent) -> None:
        """Write an input of a venue in this process."""
        self._writer.append(Answer(event))

    def keep(self, effects: Sequence[Effect]) -> None:
        """Write decisions; sync once if one of them leaves or must outlive the process."""
        self._writer.append(Effects(tuple(effects)))
        if any(not isinstance(effect, Verdict | Reconciled) for effect in effects):
            self.sync()
        # Once its user has mended a strategy, a replay up to here would decide otherwise.
        self._wants_segment |= any(isinstance(effect, StrategyStopped) for effect in effects)

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Write the account's value after a close, with the forecasts that were used."""
        state = self._engine.state
        forecasts = {
            sym.symbol: forecast
            for sym in state.symbols.values()
            if (forecast := sym.view.forecast) is not None
        }
        models = {state.model_of(state.symbols[symbol]) for symbol in forecasts}
        self._writer.append(
            Marked(
                ts_ms,
                equity if isfinite(equity) else None,
                notional if isfinite(notional) else None,
                forecasts_digest(forecasts) if forecasts else "",
                _hex(forecasts) if len(forecasts) <= FULL_SYMBOLS else {},
                " ".join(sorted(models)),
            )
        )

    # Beyond the port

    def sync(self) -> None:
        """Return once everything is on the disk."""
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        self._writer.sync()
        self._stopwatch.keeping.add(now_s() - began_s)

    def after(self, event: Event) -> None:
        """Sync what the operator was promised, and begin a new segment when this one is full."""
        if isinstance(event, Command | ProcessStarted | ModelSwapped):
            self.sync()
        self._wants_segment |= isinstance(event, ModelSwapped)  # its header names the model from here on
        if not self._is_due:
            return
        if self._writes_ahead and self._writer.size < _OVERFULL * self._parts.segment_bytes:
            self._due.set()
        else:
            self.begin()

    @property
    def _is_due(self) -> bool:
        return self._wants_segment or self._writer.size >= self._parts.segment_bytes

    def name_model(self, arguments: msgspec.Raw) -> None:
        """Let later headers have these arguments: a model takes over with the next event."""
        self._header = msgspec.structs.replace(self._header, arguments=arguments)

    def forgive(self, ts_ms: int) -> None:
        """Take the starts until now out of the restart budget."""
        self._header = msgspec.structs.replace(self._header, starts_ms=())
        self._writer.append(Forgiven(ts_ms))
        self.sync()

    def close(self, ts_ms: int, cause: EndCause, reason: str) -> None:
        """Write why the process ended; after a clean stop the next start needs no replay."""
        if cause == "stopped":
            self.begin()
        self._writer.append(Closed(ts_ms, cause, reason))
        self._writer.sync()

    async def tidy(self) -> None:
        """Condense segments that are too many or too old, whenever a new one begins, without end.

        A disk that fails here loses nothing: the segment stays as it was.
        """
        while True:
            await self._begun.wait()
            self._begun.clear()
            parts = self._parts
            older_than_s = None if parts.keep_days is None else parts.wall_s() - parts.keep_days * 86_400.0
            journal, keep_bytes = self._writer.journal, parts.keep_bytes
            await asyncio.to_thread(trim, journal, keep_bytes, parts.disk, older_than_s=older_than_s)

    def release(self) -> None:
        """Close the files; what could not be kept was said before."""
        self._forget_coming()
        with contextlib.suppress(StoreFailed):
            self._writer.close()

    # The snapshot

    def _new_coming(self) -> _Coming:
        return _Coming(self._writer.draft(), self._engine.snapshot_ahead(), tuple(self._history))

    def _forget_coming(self) -> None:
        """Give up what was written ahead: it is of the past."""
        if self._coming is not None:
            self._coming.draft.give_up()
            self._coming = None

    def _last_part(self, engine: Ahead) -> bytes:
        state, venue = self._engine.state, self._parts.venue_snapshot
        return last_part(
            engine.rest(),
            venue=msgspec.Raw(venue() if venue is not None else b"null"),
            risk_state=state.breaker.state,
            halting=state.breaker.halting,
            stopped=tuple(state.stopped),
            digest=engine.digest(),
        )

    def _write(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self._writer.fail(error)


def trim(journal: Journal, keep_bytes: int, disk: Disk, *, older_than_s: float | None = None) -> int:
    """Condense old segments; return how many.

    The oldest ones go until the others, with their snapshots, take at most ``keep_bytes``, and so does each
    that was last written before ``older_than_s`` (seconds since 1970; None: age does not count). The newest
    two are never touched: one is being written, one may be read at the next start.
    """
    numbers = journal.numbers()
    left = sum(map(journal.size, numbers))
    done = 0
    for number in numbers[:-2]:
        is_old = older_than_s is not None and journal.path(number).stat().st_mtime < older_than_s
        if left <= keep_bytes and not is_old:
            continue
        with contextlib.suppress(StoreFailed):
            lost = condense(journal, number, disk)
            left -= lost
            done += lost > 0
    return done


def forecasts_digest(forecasts: Mapping[str, Forecast]) -> str:
    """Return the sha256 of the forecasts of one close: name, blank and 64-bit floats of each symbol."""
    parts: list[bytes] = []
    for symbol, forecast in forecasts.items():
        parts.append(f"{symbol} ".encode())
        numbers = forecast.numbers
        parts.append(struct.pack(f"<{len(numbers)}d", *numbers))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _hex(forecasts: Mapping[str, Forecast]) -> dict[str, tuple[str, ...]]:
    return {
        symbol: tuple(value.hex() for value in forecast.numbers) for symbol, forecast in forecasts.items()
    }
