"""Measures how long a close takes through the process: from the arrival of its last bar to its orders.

Times are the event loop's, in seconds. Memory is bounded however long a run lasts. A stamp costs well under a
microsecond, so stamps are always taken.
"""

import math

_PER_OCTAVE = 32
"""Buckets between a value and its double; a quantile is at most 2.2 % above the true one."""
_OCTAVES = 28
"""From one microsecond to four and a half minutes; longer times count as the longest."""
_KEPT_CLOSES = 8


class Histogram:
    """Counts microseconds in buckets of equal ratio."""

    def __init__(self) -> None:
        self.count = 0
        self.max_us = 0.0
        self._buckets = [0] * (_PER_OCTAVE * _OCTAVES + 1)

    def add(self, seconds: float) -> None:
        """Count one time; less than a microsecond counts as one."""
        us = max(seconds * 1e6, 1.0)
        self.count += 1
        self.max_us = max(self.max_us, us)
        self._buckets[min(math.ceil(math.log2(us) * _PER_OCTAVE), _PER_OCTAVE * _OCTAVES)] += 1

    def quantile(self, q: float) -> float:
        """Return the ``q`` quantile in microseconds: the upper edge of its bucket."""
        wanted, seen = math.ceil(q * self.count), 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted and count:
                return min(float(2.0 ** (index / _PER_OCTAVE)), self.max_us)
        return 0.0

    def facts(self) -> dict[str, float]:
        """Return ``n``, ``p50``, ``p99`` and ``max`` in microseconds; all 0 before the first."""
        return {
            "n": self.count,
            "p50": round(self.quantile(0.5), 1),
            "p99": round(self.quantile(0.99), 1),
            "max": round(self.max_us, 1),
        }


class Stopwatch:
    """Times the stations of a live close.

    The feed calls ``arrived`` for a confirmed bar, the daemon ``began`` and ``decided`` around the close, and
    the order sender ``left`` when an order of that close was written.

    Attributes:
        since_s: arrival of the last bar of the close that is being handled; None between closes.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.handover = Histogram()
        """From the last bar's arrival until the close is put in the inbox."""
        self.waiting = Histogram()
        """From there until it is taken out."""
        self.step = Histogram()
        """From there until the close is handled and its last decision made: one step of the engine."""
        self.decision = Histogram()
        """From the last bar's arrival until the close is handled and its last decision made."""
        self.order = Histogram()
        """From the last bar's arrival until an order of that close is written to the socket."""
        self.keeping = Histogram()
        """Part of that: the time to write orders to the store and sync it."""
        self._arrived_s: dict[int, float] = {}
        self._began_s = 0.0

    def arrived(self, close_ms: int, now_s: float) -> None:
        """Note that a confirmed bar of this close was read from its socket."""
        arrived_s = self._arrived_s
        arrived_s[close_ms] = now_s
        if len(arrived_s) > _KEPT_CLOSES:
            del arrived_s[min(arrived_s)]

    def began(self, close_ms: int, put_s: float, now_s: float) -> None:
        """Note that a live close, put in the inbox at ``put_s``, is about to be handled."""
        self._began_s = now_s
        since_s = self.since_s = self._arrived_s.pop(close_ms, None)
        if since_s is not None:
            self.handover.add(put_s - since_s)
            self.waiting.add(now_s - put_s)

    def decided(self, now_s: float) -> None:
        """Note that the close was handled."""
        self.step.add(now_s - self._began_s)
        since_s, self.since_s = self.since_s, None
        if since_s is not None:
            self.decision.add(now_s - since_s)

    def left(self, since_s: float | None, now_s: float) -> None:
        """Note that an order, decided in the close with this ``since_s``, was written to the socket."""
        if since_s is not None:
            self.order.add(now_s - since_s)

    def facts(self) -> dict[str, object]:
        """Return ``…_us`` with ``n``, ``p50``, ``p99`` and ``max`` for each station."""
        return {
            "close_handover_us": self.handover.facts(),
            "close_waiting_us": self.waiting.facts(),
            "step_us": self.step.facts(),
            "close_to_decision_us": self.decision.facts(),
            "tick_to_order_us": self.order.facts(),
            "orders_kept_us": self.keeping.facts(),
        }
