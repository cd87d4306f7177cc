"""What the core asks of the outside world: protocols without code.

``Predictor`` and ``Venue`` are synchronous and pure, so the engine and the driver may call them. Only the
shell calls the others.
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

    def now_ms(self) -> int:
        """Return the current time in UTC milliseconds."""

    async def sleep_until(self, ts_ms: int) -> None:
        """Sleep until ``ts_ms``. Return at once if ``ts_ms`` has passed."""

    def wall_s_until(self, ts_ms: int) -> float:
        """Return the seconds of event-loop time until ``ts_ms``; negative if ``ts_ms`` has passed."""


class Keeper(Protocol):
    """Has on disk what must outlive the process, before effects are sent."""

    def keep(self, effects: Sequence[Effect]) -> None:
        """Return once everything is on disk that must survive if the process dies after sending these.

        Raises:
            StoreFailed: it cannot be kept, so the effects must not be sent.
        """


class Recorder(Protocol):
    """Records a run in order: each event before it is handled, its effects before they are sent."""

    def event(self, event: Event) -> None:
        """Record an event, before the engine handles it."""

    def effects(self, effects: Iterable[Effect]) -> None:
        """Record effects, before they are sent."""

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Record the account's value and the net position value (quote) after the decisions of a close."""


class Store(Protocol):
    """State that must survive the process. Every method that adds a fact may be repeated safely.

    ``sent``, ``next_run``, ``note_start`` and ``save_breaker`` return only when the fact is on the disk. If
    the write fails they raise ``StoreFailed``, and nothing that depends on the fact may be sent. The other
    methods may lose their latest facts in a crash; reconciliation reads those again from the venue.
    """

    def next_run(self) -> int:
        """Return a number that no earlier start of this account has had. The first is 1."""

    def note_start(self, now_ms: int) -> int:
        """Record this start. Return how many starts of the last ten minutes did not end cleanly."""

    def forgive(self, *, last: bool = False) -> None:
        """Remove starts from that count: all, or with ``last`` only the latest, which ended cleanly."""

    def orders(self) -> Mapping[str, Order]:
        """Return our orders by id that were sent and are not known to have ended, of every run."""

    def sent(self, *orders: Order) -> None:
        """Record these orders, before they are sent."""

    def ended(self, order_id: str) -> None:
        """Record that this order can no longer fill or rest. An unknown id is ignored."""

    def executions_seen_ms(self) -> int:
        """Return the time of the latest booked execution of any run; 0 if there is none."""

    def saw_execution(self, ts_ms: int, exec_id: str) -> None:
        """Record that an execution was booked."""

    def breaker(self) -> bytes | None:
        """Return the breaker as last saved, encoded by ``risk.Breaker``; None if never saved."""

    def save_breaker(self, body: bytes) -> None:
        """Save the breaker, a JSON object. A halt must survive the process."""
