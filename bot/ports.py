"""What the core asks of the world: protocols, no code.

``Predictor`` and ``SimVenue`` are synchronous and pure, so the engine and the driver may call them;
the others are the shell's.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bot.domain.market import Forecast
from bot.domain.messages import Effect, Event, MarketEvent, VenueEffect, VenueEvent, WorldEvent

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


class SimVenue(Protocol):
    """A venue inside this process: answers at once, moves only when it is told what the market did."""

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Take an order, a cancel or new stops; returns acknowledgements and refusals."""

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move up to ``event``; returns fills, funding and cancels in time order."""


class Feed(Protocol):
    """Where market events come from."""

    def events(self) -> AsyncIterator[WorldEvent]:
        """Events in the order of ``messages``; ends when the data end."""


class Venue(Protocol):
    """Where orders go when the answer takes time. Outcomes are events, never return values."""

    async def execute(self, effect: VenueEffect) -> None:
        """Send; the outcome arrives through ``events``."""

    def events(self) -> AsyncIterator[VenueEvent]:
        """Acknowledgements, fills and the rest, as they arrive."""


class Clock(Protocol):
    """Wall time or replayed time. The shell's only; the engine reads ``event.ts_ms``."""

    def now_ms(self) -> int:
        """UTC milliseconds."""

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at ``ts_ms`` or at once if that has passed."""


class Recorder(Protocol):
    """Writes down what happened, in order: input before handling, effects before sending."""

    def event(self, event: Event) -> None:
        """An event is about to be handled."""

    def effects(self, effects: Iterable[Effect]) -> None:
        """Effects are about to be sent."""

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """A close was decided on: the account's value and the net value held then, in quote."""
