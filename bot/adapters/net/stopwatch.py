"""How long a close takes on its way through the process: from its last bar's arrival to decision and order.

Times are the event loop's, in seconds; what is kept is bounded however long a run lasts. Stamps cost well
under a microsecond each, so they are always taken.
"""

import math

_PER_OCTAVE = 32
"""Buckets between a value and its double: a quantile is at most 2.2% above the true one."""
_OCTAVES = 28
"""From one microsecond to four and a half minutes; what is longer counts as that long."""
_KEPT_CLOSES = 8


class Histogram:
    """Microseconds, counted in buckets of equal ratio."""

    def __init__(self) -> None:
        self.count = 0
        self.max_us = 0.0
        self._buckets = [0] * (_PER_OCTAVE * _OCTAVES + 1)

    def add(self, seconds: float) -> None:
        """Count one; less than a microsecond counts as one."""
        us = max(seconds * 1e6, 1.0)
        self.count += 1
        self.max_us = max(self.max_us, us)
        self._buckets[min(math.ceil(math.log2(us) * _PER_OCTAVE), _PER_OCTAVE * _OCTAVES)] += 1

    def quantile(self, q: float) -> float:
        """The smallest bucket's upper edge, in microseconds, that ``q`` of all values do not exceed."""
        wanted, seen = math.ceil(q * self.count), 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted and count:
                return min(float(2.0 ** (index / _PER_OCTAVE)), self.max_us)
        return 0.0

    def facts(self) -> dict[str, float]:
        """``n``, ``p50``, ``p99``, ``max``; microseconds, all 0 before the first."""
        return {
            "n": self.count,
            "p50": round(self.quantile(0.5), 1),
            "p99": round(self.quantile(0.99), 1),
            "max": round(self.max_us, 1),
        }


class Stopwatch:
    """The stations of a live close.

    The feed says when a confirmed bar ``arrived``, the daemon when it ``began`` to handle the close and had
    ``decided`` on it, the order sender when an order that the close led to had ``left``.

    Attributes:
        since_s: arrival of the last bar of the close that is being handled; None between closes.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.handover = Histogram()
        """Last bar's arrival → the close put in the inbox."""
        self.waiting = Histogram()
        """→ taken out of it."""
        self.decision = Histogram()
        """Last bar's arrival → all of the close handled, its last decision made."""
        self.order = Histogram()
        """Last bar's arrival → an order of that close written to the socket."""
        self.keeping = Histogram()
        """Of that: orders written to the store and synced."""
        self._arrived_s: dict[int, float] = {}

    def arrived(self, close_ms: int, now_s: float) -> None:
        """A confirmed bar of this close was read from its socket."""
        arrived_s = self._arrived_s
        arrived_s[close_ms] = now_s
        if len(arrived_s) > _KEPT_CLOSES:
            del arrived_s[min(arrived_s)]

    def began(self, close_ms: int, put_s: float, now_s: float) -> None:
        """A live close that was put in the inbox at ``put_s`` is about to be handled."""
        since_s = self.since_s = self._arrived_s.pop(close_ms, None)
        if since_s is not None:
            self.handover.add(put_s - since_s)
            self.waiting.add(now_s - put_s)

    def decided(self, now_s: float) -> None:
        """It was handled."""
        since_s, self.since_s = self.since_s, None
        if since_s is not None:
            self.decision.add(now_s - since_s)

    def left(self, since_s: float | None, now_s: float) -> None:
        """An order that was decided in a close whose ``since_s`` this was has been written to the socket."""
        if since_s is not None:
            self.order.add(now_s - since_s)

    def facts(self) -> dict[str, object]:
        """For a status: ``…_us`` with ``n``, ``p50``, ``p99`` and ``max`` each."""
        return {
            "close_handover_us": self.handover.facts(),
            "close_waiting_us": self.waiting.facts(),
            "close_to_decision_us": self.decision.facts(),
            "tick_to_order_us": self.order.facts(),
            "orders_kept_us": self.keeping.facts(),
        }
