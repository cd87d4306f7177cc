"""The venue's clock: the shell's clock plus an offset that is measured over REST."""

from collections import deque

from bot.ports import Clock

SAMPLES = 8


class VenueClock:
    """``clock`` plus the offset of the fastest of the last measurements.

    A measurement is wrong by at most half its round trip, so the fastest one is believed. When ``clock`` was
    set, the measurements before that are dropped: after a suspend, an order would be signed for a time that
    many minutes lie ahead, and its absence could be proven only after that time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = clock.steps
        self._samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
        self.offset_ms = 0.0
        """The venue's time minus ours, in the venue's milliseconds."""

    def now_ms(self) -> int:
        """Return the venue's time, as well as it is known."""
        self._notice_step()
        return round(self._clock.now_ms() + self.offset_ms)

    @property
    def offset_wall_ms(self) -> float:
        """The offset in milliseconds of this machine: beside a venue at ×60, a sixtieth of ``offset_ms``."""
        return self.wall_ms(self.offset_ms)

    def wall_ms(self, venue_ms: float) -> float:
        """Convert a span of the venue's time to milliseconds of this machine."""
        now_ms = self._clock.now_ms()
        wall_s = self._clock.wall_s_until(now_ms + 1_000_000) - self._clock.wall_s_until(now_ms)
        return venue_ms * wall_s / 1000.0

    def sample(self, sent_ms: int, received_ms: int, server_ms: float) -> None:
        """Take one measurement: our times when the request left and the answer came, and the venue's time."""
        self._notice_step()
        self._samples.append((max(received_ms - sent_ms, 0), server_ms - (sent_ms + received_ms) / 2))
        self.offset_ms = min(self._samples)[1]

    def _notice_step(self) -> None:
        """Drop what was measured before the clock was set; it has just been set to the exchange's time."""
        if self._clock.steps != self._steps:
            self._steps = self._clock.steps
            self.forget()
            self.offset_ms = 0.0

    def forget(self) -> None:
        """Drop all measurements, because one of the clocks has stepped."""
        self._samples.clear()
