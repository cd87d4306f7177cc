"""The queue ahead of a limit order, estimated from closed bars (``Terms.limit_fills`` ``"queue"``).

A candle does not say how much traded at a price, nor how much waited there. Both are estimated. For an order
that buys at ``p`` (one that sells mirrors it):

- Ahead of it: an order that begins to rest has ``Terms.queue_ahead_ms`` of trading before it, at the mean
  volume of the last ``PACE_BARS`` bars before. Nobody there cancels; only trades make this queue shorter.
- What reaches it: the part of a bar's volume at ``p`` or below. The volume is spread over the price levels
  that the path visits while the order rests, like a triangle: least at the extremes, most in the middle. Of
  this part ``REACHING_FRAC`` counts, because the rest are buyers. What our own orders of this side have
  filled in the bar is taken off.
- The price comes to ``p`` and no further: this volume uses up the queue first; the order fills what is left.
- The price goes beyond ``p``: whoever waited at ``p`` was served, so the queue is gone. The order fills up to
  this volume, which is little where the bar went only a few levels beyond.
- All of it is part of the bar's share of volume that our orders may fill (``Terms.participation_frac``).

Errors against us: real queues also get shorter by cancels; deep levels are often empty; on real candles the
outer tenth of a bar's range had 5 % of its volume, and the triangle says 2 %. Errors that may favour us: a
queue longer than ``queue_ahead_ms``, volume that is uneven over the time of a bar, and that the market would
have answered our order. Without past bars the queue is unknown, and only a price beyond ``p`` fills.
"""

from collections import deque
from decimal import ROUND_DOWN, Decimal
from math import fsum

from bot.domain.market import Bar
from bot.domain.money import ZERO, floor_to, to_decimal
from bot.domain.orders import Side
from bot.exchange.orders import ExchangeOrder

PACE_BARS = 100
"""So many past bars say how fast a symbol trades."""
REACHING_FRAC = 0.5
"""Part of the volume at a price that meets the orders of one side."""
_QTY_STEP = Decimal("1e-12")


class Pace:
    """How fast a symbol traded of late: volume and length of its last bars."""

    __slots__ = ("_bars",)

    def __init__(self) -> None:
        self._bars: deque[tuple[float, int]] = deque(maxlen=PACE_BARS)

    def note(self, bar: Bar) -> None:
        """Add a bar that is over."""
        self._bars.append((bar.volume, bar.interval_ms))

    def volume_of(self, span_ms: int) -> Decimal | None:
        """Base that is traded in ``span_ms`` on average; None before the first bar."""
        if not self._bars:
            return None
        per_ms = fsum(volume for volume, _ in self._bars) / sum(length for _, length in self._bars)
        return to_decimal(per_ms * span_ms).quantize(_QTY_STEP)

    @property
    def bars(self) -> list[tuple[float, int]]:
        """(volume, length in ms) of the bars, oldest first."""
        return list(self._bars)

    @bars.setter
    def bars(self, bars: list[tuple[float, int]]) -> None:
        self._bars.clear()
        self._bars.extend(bars)


class BarQueue:
    """What one bar of a symbol does to the queues of its orders."""

    __slots__ = ("_bar", "_filled", "_met", "_since", "_steps")

    def __init__(self, bar: Bar, tick: Decimal, qty_step: Decimal) -> None:
        self._bar = bar
        self._steps = (float(tick), qty_step or _QTY_STEP)
        self._since: dict[str, float] = {}
        """The place from which an order rests that began in this bar."""
        self._met: set[str] = set()
        self._filled: dict[Side, Decimal] = {"Buy": ZERO, "Sell": ZERO}

    def join(self, order: ExchangeOrder, ahead: Decimal | None, place: float) -> None:
        """Put an order that begins to rest behind ``ahead``, None: unknown."""
        order.queue_base = ahead
        self._since[order.order_id] = place

    def since(self, order: ExchangeOrder) -> float:
        """The place on the bar from which an order rests."""
        return self._since.get(order.order_id, 0.0)

    def has_met(self, order: ExchangeOrder) -> bool:
        """Whether the bar's volume was counted for an order: this happens once."""
        return order.order_id in self._met

    def meet(self, order: ExchangeOrder, most: Decimal, low: float, high: float, *, beyond: bool) -> Decimal:
        """Let the bar's volume reach an order: shorten its queue, return the base that fills.

        Args:
            order: a resting limit order.
            most: more is not filled in any case.
            low: the lowest price of the path while the order rests.
            high: the highest.
            beyond: whether the path goes beyond the order's price, or only comes to it.
        """
        self._met.add(order.order_id)
        reaching = self._reaching(order, low, high) - self._filled[order.side]
        if reaching <= ZERO:
            return ZERO
        if beyond:
            order.queue_base = ZERO
        ahead = order.queue_base
        if ahead is None:
            return ZERO
        order.queue_base = max(ahead - reaching, ZERO)
        qty = min(most, floor_to(max(reaching - ahead, ZERO), self._steps[1]))
        self._filled[order.side] += qty
        return qty

    def _reaching(self, order: ExchangeOrder, low: float, high: float) -> Decimal:
        """Base that comes to an order at its price or a better one."""
        inside = float(order.price) - low if order.side == "Buy" else high - float(order.price)
        frac = reached_frac(inside, high - low, self._steps[0]) * (1.0 - self.since(order))
        return to_decimal(self._bar.volume * REACHING_FRAC * frac).quantize(_QTY_STEP, ROUND_DOWN)


def reached_frac(inside: float, width: float, tick: float) -> float:
    """Fraction of the volume up to ``inside`` from one end of a range of ``width``, all in quote.

    The levels of a range, ``tick`` apart, weigh 1, 2, 3, …, 3, 2, 1. Without a tick they lie infinitely
    close: then the level at the end has no volume, except in a range without width.
    """
    if inside < 0.0:
        return 0.0
    if inside >= width:
        return 1.0
    if not tick:
        from_end = min(inside, width - inside) / width
        part = 2.0 * from_end * from_end
        return part if inside + inside <= width else 1.0 - part
    levels = round(width / tick) + 1
    reached = min(round(inside / tick) + 1, levels)
    whole = (levels + 1) ** 2 // 4
    if 2 * reached <= levels + 1:
        return reached * (reached + 1) / 2 / whole
    left = levels - reached
    return 1.0 - left * (left + 1) / 2 / whole
