"""What the core asks of the outside world: protocols without code.

``Predictor`` and ``Venue`` are synchronous and pure, so the engine and the driver may call them. Only the
shell calls the others.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bot.domain.alerts import Alert
from bot.domain.market import Forecast
from bot.domain.messages import Effect, Event, MarketEvent, VenueEffect, VenueEvent
from bot.domain.orders import Order

Floats = NDArray[np.float64]
Slots = NDArray[np.int64]
"""The symbol of each row: an index into the list of symbols that the predictor was started with."""


class Predictor(Protocol):
    """Forecasts from feature rows. Owns one streaming state per symbol.

    A pure function of its weights and inputs: no clock, no threads, no randomness. The result for one row
    does not depend on the other rows of the call, to the bit.
    """

    @property
    def warmup_bars(self) -> int:
        """Rows after which the start of the history no longer changes a forecast (see the manifest)."""

    def step(self, rows: Floats, slots: Slots) -> Sequence[Forecast | None]:
        """Take the features ``(n, features)`` of one closed bar for each of ``slots`` ``(n,)`` and forecast.

        A forecast is None if the row or the output is not finite; the state of that slot is then reset.
        """

    def peek(self, rows: Floats, slots: Slots) -> Sequence[Forecast | None]:
        """Forecast for open candles: as ``step``, but without changing any state."""

    def reset(self, slot: int) -> None:
        """Forget one symbol's history, after a gap in its bars."""

    def state_bytes(self) -> bytes:
        """Return everything that later forecasts depend on, beside the weights, as little-endian bytes."""

    def load_state(self, blob: bytes) -> None:
        """Go on from ``state_bytes`` of an equal model with the same slots; forecasts are equal to the bit.

        Raises:
            BadInput: the size does not fit.
        """


class Venue(Protocol):
    """Where orders go. ``submit`` and ``advance`` never wait.

    A venue in this process (the simulated exchange) answers at once and moves when ``advance`` is called. A
    remote venue passes the effect to its sender, returns nothing, and sends its own events later.
    """

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops. Return the events that are known already."""

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Move the market to ``event``. Return fills, funding and cancels in time order."""


class Feed(Protocol):
    """Where events come from, live or replayed."""

    def events(self) -> AsyncIterator[Event]:
        """Yield events in the order that ``messages`` defines. The stream ends when the data end."""


class Clock(Protocol):
    """Wall time or replayed time. Only the shell uses a clock; the engine reads ``event.ts_ms``."""

    steps: int
    """How often the clock is known to have been set: what was measured against it before holds no more."""

    def now_ms(self) -> int:
        """Return the current time in UTC milliseconds."""

    async def sleep_until(self, ts_ms: int) -> None:
        """Sleep until ``ts_ms``. Return at once if ``ts_ms`` has passed."""

    def wall_s_until(self, ts_ms: int) -> float:
        """Return the seconds of event-loop time until ``ts_ms``; negative if ``ts_ms`` has passed."""


class Alarm(Protocol):
    """Tells a person about alerts outside the log, such as by a message to a phone."""

    def sound(self, alert: Alert) -> None:
        """Take an alert. Never waits and never raises: the caller is the daemon's only consumer."""


class Keeper(Protocol):
    """Keeps the journal: every input of the engine in order, and what the engine decided.

    Raises:
        StoreFailed: from every method: it cannot be kept, so nothing that follows from it may be sent.
    """

    def took(self, event: Event) -> None:
        """Keep an input from outside, before the venue and the engine see it."""

    def answered(self, event: VenueEvent) -> None:
        """Keep an input that a venue in this process gave, before the engine sees it."""

    def keep(self, effects: Sequence[Effect]) -> None:
        """Keep decisions. Return once everything is on disk that must survive if one of them is sent."""

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Keep the account's value and the net position value (quote) after the decisions of a close."""


class Recorder(Protocol):
    """Records a run in order: each event before it is handled, its effects before they are sent."""

    def event(self, event: Event) -> None:
        """Record an event, before the engine handles it."""

    def effects(self, effects: Iterable[Effect]) -> None:
        """Record effects, before they are sent."""

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Record the account's value and the net position value (quote) after the decisions of a close."""


class OrderMemory(Protocol):
    """What earlier processes knew of their orders at a remote venue."""

    def orders(self) -> Mapping[str, Order]:
        """Return our orders by id that were sent and are not known to have ended."""

    def executions_seen_ms(self) -> int:
        """Return the time of the latest booked execution; 0 if there is none."""
