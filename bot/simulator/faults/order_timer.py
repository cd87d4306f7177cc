"""How long clients take from a confirmed candle to an order, by the exchange's own clock.

Nothing else of the exchange knows of it; it runs where a control socket was asked for. The span begins
right before the candle is written to the client's socket and ends when the order's frame has been read,
so the way through both sockets is in it. Meant for one client of one symbol at a time.
"""

import time
from collections import deque

_KEPT = 10_000


class OrderTimer:
    """Spans, in microseconds; the newest ``10_000`` until they are taken."""

    def __init__(self) -> None:
        self._confirmed_s: float | None = None
        self._spans_us: deque[float] = deque(maxlen=_KEPT)

    def leaves(self, stream: str, text: str) -> None:
        """A message is about to be written."""
        if stream == "public" and '"confirm":true' in text:
            self._confirmed_s = time.monotonic()

    def came(self, stream: str, text: str) -> None:
        """A message was read; the first order after a confirmed candle ends the span."""
        if stream == "trade" and self._confirmed_s is not None and '"order.create"' in text:
            self._spans_us.append((time.monotonic() - self._confirmed_s) * 1e6)
            self._confirmed_s = None

    def take(self) -> list[float]:
        """The spans since the last call."""
        spans_us = [round(each, 1) for each in self._spans_us]
        self._spans_us.clear()
        return spans_us
