"""Measures how long clients take from a confirmed candle to an order, by the exchange's clock.

It runs if there is a control socket. The span begins right before the candle is written to the client's
socket and ends when the order's frame has been read, so it includes the way through both sockets. It is meant
for one client of one symbol at a time.
"""

from collections import deque
from collections.abc import Callable

_KEPT = 10_000


class OrderTimer:
    """The spans in microseconds; the newest ``10_000`` are kept until they are taken.

    Args:
        now_s: a steady time in seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._confirmed_s: float | None = None
        self._spans_us: deque[float] = deque(maxlen=_KEPT)

    def leaves(self, stream: str, text: str) -> None:
        """A message is about to be written."""
        if stream == "public" and '"confirm":true' in text:
            self._confirmed_s = self._now_s()

    def came(self, stream: str, text: str) -> None:
        """Note a message that was read; the first order after a confirmed candle ends the span."""
        if stream == "trade" and self._confirmed_s is not None and '"order.create"' in text:
            self._spans_us.append((self._now_s() - self._confirmed_s) * 1e6)
            self._confirmed_s = None

    def take(self) -> list[float]:
        """Return the spans since the last call."""
        spans_us = [round(each, 1) for each in self._spans_us]
        self._spans_us.clear()
        return spans_us
