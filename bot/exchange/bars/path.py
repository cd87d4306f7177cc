"""The path of the price inside one bar: one path per bar, the same for every order.

A candle does not say whether its high or its low came first. ``path`` decides this from the bar and a seed
only, never from a position. So if a bar reaches both a stop and a target of the venue, our position does not
decide which of them fills first. There are two exceptions, which take the order that is worse for the
position: ``Pursuit`` for a bar in which a trailing stop waits, because half of all bars would otherwise lift
a stop before the fall that hits it; ``Standoff`` for a bar that reaches both a stop and a resting order that
takes profit, because several such orders beside one stop would be lucky several times.

A place on a path is a number in [0, 1]: 0 is the open, 1 the close; points are evenly spread in time.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from zlib import crc32

from bot.domain.market import Bar

_MASK = (1 << 64) - 1


def uniform(seed: int, start_ms: int, symbol: str) -> float:
    """A number in [0, 1) that is a pure function of its arguments (SplitMix64, Steele et al. 2014)."""
    state = (seed * 0x9E3779B97F4A7C15 + start_ms * 0xD1B54A32D192ED03 + crc32(symbol.encode())) & _MASK
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return (state ^ (state >> 31)) / 2.0**64


def high_first(bar: Bar, seed: int) -> bool:
    """Whether the high comes before the low.

    A driftless walk from the open touches the high before the low with probability
    (open − low) / (high − low): the gambler's ruin (Feller 1968, vol. 1, XIV.2).
    """
    return uniform(seed, bar.start_ms, bar.symbol) * (bar.high - bar.low) < bar.open - bar.low


def path(bar: Bar, seed: int) -> tuple[float, ...]:
    """Open, first extreme, second extreme, close. Depends on the bar and the seed only."""
    return via(bar, high_first(bar, seed))


def via(bar: Bar, high_comes_first: bool) -> tuple[float, ...]:
    """The path of ``bar`` with the extremes in the order given."""
    if high_comes_first:
        return (bar.open, bar.high, bar.low, bar.close)
    return (bar.open, bar.low, bar.high, bar.close)


class Pursuit:
    """The order of high and low that is worse for a position with a trailing stop, bar after bar.

    The rule, for a long position (a short one mirrors it):

    - The low comes first if it reaches a stop as that stands at the open. The position ends there, and the
      high of the same bar does not lift the stop before.
    - A bar that opens at its low has told the order: the low came first.
    - Else the high comes first. It lifts the stop, and the low may then hit the lifted stop, though the bar
      may close above it.

    Of both orders, the one taken never leaves more at the close. ``stop`` is the nearest price that ends the
    position (trailing stop, fixed stop, liquidation); ``active`` is the price from which the stop follows,
    None if it follows already.
    """

    __slots__ = ("_active", "_distance", "_sign", "_stop")

    def __init__(self, long: bool, distance: float, active: float | None, stop: float) -> None:
        sign = self._sign = 1.0 if long else -1.0
        self._distance = distance
        self._active = None if active is None else sign * active
        self._stop = sign * stop

    def high_first(self, bar: Bar) -> bool:
        """Whether the high of ``bar`` comes before its low."""
        return next(self.along((bar,)))

    def along(self, bars: Iterable[Bar]) -> Iterator[bool]:
        """Yield for each of consecutive bars whether its high comes before its low."""
        long, state = self._sign > 0.0, (self._stop, self._active)
        for bar in bars:
            better, worse = (bar.high, bar.low) if long else (-bar.low, -bar.high)
            opened = self._sign * bar.open
            state = self._after(opened, *state)
            yield (worse <= state[0] or worse == opened) != long
            state = self._after(better, *state)

    def _after(self, price: float, stop: float, active: float | None) -> tuple[float, float | None]:
        """Return the stop and the price from which it follows, after a trade; a short one is negated."""
        if active is not None and price < active:
            return stop, active
        return max(stop, price - self._distance), None


class Standoff:
    """The worse order of high and low for a position with a stop and a resting exit, bar after bar.

    A bar that reaches ``stop`` and goes through ``take`` meets the stop first; with ``touch`` it need only
    come to ``take``, because there the exit may fill. Any other bar has its usual path.
    """

    __slots__ = ("_high", "_long", "_low", "_seed", "_touch")

    def __init__(self, long: bool, stop: float, take: float, seed: int, *, touch: bool = False) -> None:
        self._long = long
        self._touch = touch
        self._low, self._high = (stop, take) if long else (take, stop)
        self._seed = seed

    def high_first(self, bar: Bar) -> bool:
        """Whether the high of ``bar`` comes before its low."""
        both = bar.low <= self._low and bar.high >= self._high
        if both and not self._touch:
            both = bar.high > self._high if self._long else bar.low < self._low
        return not self._long if both else high_first(bar, self._seed)

    def along(self, bars: Iterable[Bar]) -> Iterator[bool]:
        """Yield for each of consecutive bars whether its high comes before its low."""
        return map(self.high_first, bars)


Arbiter = Pursuit | Standoff
"""What decides the order of high and low where a position has a part in it."""


class Path:
    """A polyline through ``prices``; ``jumps`` holds each i with no trade between points i and i + 1."""

    __slots__ = ("jumps", "last", "prices")

    def __init__(self, prices: Sequence[float], jumps: frozenset[int] = frozenset()) -> None:
        self.prices = prices
        self.jumps = jumps
        self.last = len(prices) - 1

    def price(self, place: float) -> float:
        """The price at ``place``; inside a jump, the price after it (the next trade)."""
        at = place * self.last
        index = int(at)
        if index >= self.last:
            return self.prices[-1]
        here, there = self.prices[index], self.prices[index + 1]
        if at == index:
            return here
        return there if index in self.jumps else here + (there - here) * (at - index)

    def places(self) -> list[float]:
        """The places of the points."""
        return [index / self.last for index in range(self.last + 1)]

    def extremes(self, place: float) -> tuple[float, float]:
        """The lowest and the highest price from ``place`` on."""
        prices = [self.price(place), *self.prices[int(place * self.last) + 1 :]]
        return min(prices), max(prices)

    def reach(self, level: float, place: float, *, rising: bool, beyond: bool = False) -> float:
        """First place from ``place`` on where the price is at ``level`` or past it; ``inf`` if nowhere.

        Args:
            level: the price looked for.
            place: where to start.
            rising: past means above, else below.
            beyond: touching is not enough, the path must go past ``level``.
        """
        if _past(self.price(place), level, rising, beyond):
            return place
        for index in range(int(place * self.last), self.last):
            there = self.prices[index + 1]
            if not _past(there, level, rising, beyond):
                continue
            if index in self.jumps:
                return (index + 1) / self.last
            here = self.prices[index]
            return max(place, (index + (level - here) / (there - here)) / self.last)
        return inf


def _past(price: float, level: float, rising: bool, beyond: bool) -> bool:
    if beyond:
        return price > level if rising else price < level
    return price >= level if rising else price <= level


def joined(bars: Sequence[Bar], seed: int, arbiter: Arbiter | None = None) -> Path:
    """The paths of consecutive bars one after the other; between them the price jumps."""
    prices: list[float] = []
    jumps: list[int] = []
    firsts = (high_first(bar, seed) for bar in bars) if arbiter is None else arbiter.along(bars)
    for bar, first in zip(bars, firsts, strict=True):
        if prices:
            jumps.append(len(prices) - 1)
        prices.extend(via(bar, first))
    return Path(prices, frozenset(jumps))


def covers(finer: Sequence[Bar], bar: Bar) -> bool:
    """Whether ``finer`` bars fill ``bar`` from start to close without a hole."""
    at = bar.start_ms
    for piece in finer:
        if piece.start_ms != at:
            return False
        at = piece.close_ms
    return at == bar.close_ms


def agrees(finer: Sequence[Bar], bar: Bar) -> bool:
    """Whether ``finer`` bars have the open, high, low and close of ``bar``."""
    return (
        finer[0].open == bar.open
        and finer[-1].close == bar.close
        and max(piece.high for piece in finer) == bar.high
        and min(piece.low for piece in finer) == bar.low
    )
