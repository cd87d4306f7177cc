"""What the core asks of the world: protocols, no code.

``Predictor`` and ``Venue`` are synchronous and pure, so the engine and the driver may call them;
the others are the shell's.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bot.domain.market import Forecast
from bot.domain.messages import Effect, Event, MarketEvent, VenueEffect, VenueEvent
from bot.domain.orders import Order

Floats = NDArray[np.float64]
Slots = NDArray[np.int64]
"""Which symbol each row belongs to: an index into the symbols the predictor was started for."""


class Predictor(Protocol):
    """Forecasts from feature rows; owns one streaming state per symbol.

    A pure function of its weights and of what it was given: no clock, no threads, no randomness, and a
    row's result does not depend on the rows beside it, to the bit.
    """

    @property
    def warmup_bars(self) -> int:
        """Rows after which an earlier start no longer moves a forecast (the manifest's figure)."""

    def step(self, rows: Floats, slots: Slots) -> Sequence[Forecast | None]:
        """Take one closed bar's features ``(n, features)`` for each of ``slots`` ``(n,)`` and forecast.

        None where the row or the output is not finite; the state of that slot is then reset.
        """

    def peek(self, rows: Floats, slots: Slots) -> Sequence[Forecast | None]:
        """As ``step`` for open candles: writes nothing."""

    def reset(self, slot: int) -> None:
        """Forget one symbol's history (a gap)."""


class Venue(Protocol):
    """Where orders go. ``submit`` and ``advance`` never wait.

    A venue in this process answers at once and moves when it is told what the market did. A remote one
    hands the effect to its sender, returns nothing, and answers later with events of its own accord.
    """

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops; returns what is known of it already."""

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move up to ``event``; returns fills, funding and cancels in time order."""


class Feed(Protocol):
    """Where events come from, live or replayed."""

    def events(self) -> AsyncIterator[Event]:
        """Events in the order of ``messages``; ends when the data end."""


class Clock(Protocol):
    """Wall time or replayed time. The shell's only; the engine reads ``event.ts_ms``."""

    def now_ms(self) -> int:
        """UTC milliseconds."""

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at ``ts_ms`` or at once if that has passed."""

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the event loop's time until ``ts_ms``; below zero if it has passed."""


class Keeper(Protocol):
    """Has on disk what must outlive the process, before effects are sent."""

    def keep(self, effects: Sequence[Effect]) -> None:
        """Return once everything is on disk that must survive if the process dies after sending these.

        Raises:
            StoreFailed: it cannot be kept, so the effects must not be sent.
        """


class Recorder(Protocol):
    """Writes down what happened, in order: input before handling, effects before sending."""

    def event(self, event: Event) -> None:
        """An event is about to be handled."""

    def effects(self, effects: Iterable[Effect]) -> None:
        """Effects are about to be sent."""

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """A close was decided on: the account's value and the net value held then, in quote."""


class Store(Protocol):
    """What must outlive the process. Every method that adds a fact is safe to repeat.

    ``sent``, ``next_run``, ``note_start`` and ``save_breaker`` return only once the fact is on the disk; a
    failed write raises ``StoreFailed`` and nothing that depends on it may leave. The others may lose their
    last facts in a crash: reconciliation learns them again from the venue.
    """

    def next_run(self) -> int:
        """A number that no earlier start of this account has had; the first is 1."""

    def note_start(self, now_ms: int) -> int:
        """This process starts; returns the starts of the last ten minutes that did not end cleanly."""

    def forgive(self, *, last: bool = False) -> None:
        """Take starts off that count: all of them, or the latest alone, which has ended cleanly."""

    def orders(self) -> Mapping[str, Order]:
        """Our orders by id, sent and not known to have ended: also those of earlier runs."""

    def sent(self, *orders: Order) -> None:
        """These orders are about to leave."""

    def ended(self, order_id: str) -> None:
        """This order can do nothing any more; an unknown id is ignored."""

    def executions_seen_ms(self) -> int:
        """Time of the latest execution booked, of any run; 0 before the first."""

    def saw_execution(self, ts_ms: int, exec_id: str) -> None:
        """An execution was booked."""

    def breaker(self) -> bytes | None:
        """The breaker as last saved, encoded by its owner."""

    def save_breaker(self, body: bytes) -> None:
        """Keep the breaker, a JSON object; a halt must outlive the process."""
