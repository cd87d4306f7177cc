"""Longer bars for a strategy, made from the bars of its run as these close: ``longer_bars = ("4h", "1d")``.

Live and offline, the same bars make the same longer bars. A longer bar of which one bar is missing does not
exist: it is None, never a bar with a hole.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from math import ceil

import msgspec

from bot.domain.errors import BadUsage
from bot.domain.market import INTERVALS_MS, Bar, interval_name
from bot.strategy.signal import View


class LongerBar(msgspec.Struct):
    """One length: the bar that is being made, and the one that closed last."""

    name: str
    """Such as ``4h``; the key in ``View.longer``."""
    interval_ms: int
    next_ms: int = 0
    """Start of the bar that must come next; 0 while bars of this one are missing."""
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: float = 0.0
    turnover: float | None = None
    last: Bar | None = None

    def add(self, bar: Bar) -> Bar | None:
        """Take the next closed bar; return the longer bar that closed last by now, None if it is not whole.

        Longer bars begin at whole multiples of their length since 1970, so a day begins at 00:00 UTC.
        """
        start_ms = bar.start_ms // self.interval_ms * self.interval_ms
        close_ms = bar.start_ms + bar.interval_ms
        if bar.start_ms == start_ms:
            self.open, self.high, self.low = bar.open, bar.high, bar.low
            self.volume, self.turnover = bar.volume, bar.turnover
            self.next_ms = close_ms
        elif bar.start_ms == self.next_ms:
            self.high, self.low = max(self.high, bar.high), min(self.low, bar.low)
            self.volume += bar.volume
            self.turnover = _sum(self.turnover, bar.turnover)
            self.next_ms = close_ms
        else:
            self.next_ms = 0
        end_ms = start_ms + self.interval_ms
        if close_ms == end_ms and self.next_ms == end_ms:
            self.last = Bar(
                bar.symbol,
                self.interval_ms,
                start_ms,
                self.open,
                self.high,
                self.low,
                bar.close,
                self.volume,
                self.turnover,
            )
        return self.closed_by(close_ms)

    def closed_by(self, now_ms: int) -> Bar | None:
        """Return the longer bar that closed last by ``now_ms``; None if it is not whole."""
        last, due_ms = self.last, now_ms // self.interval_ms * self.interval_ms
        return last if last is not None and last.close_ms == due_ms else None


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


class LongerBars(msgspec.Struct):
    """The longer bars of one symbol."""

    lengths: tuple[LongerBar, ...]

    def follow(self, view: View) -> None:
        """Take the bar of a view that has just closed, and show the view which longer bars closed last."""
        bar, shown = view.bar, view.longer
        for each in self.lengths:
            shown[each.name] = each.add(bar)

    def show(self, view: View) -> None:
        """Show what ``follow`` has shown at the bar of the view."""
        for each in self.lengths:
            view.longer[each.name] = each.closed_by(view.bar.close_ms)

    def names(self) -> tuple[str, ...]:
        """Return the lengths as the strategy declared them."""
        return tuple(each.name for each in self.lengths)


def longer_bars(strategy: object, interval_ms: int) -> LongerBars | None:
    """Return the longer bars that a strategy, or its class, asks for; None if it asks for none.

    Raises:
        BadUsage: a length that does not exist, or is no multiple of ``interval_ms``.
    """
    names = _declared(strategy)
    for name in names:
        length_ms = INTERVALS_MS[name]
        if length_ms < interval_ms or length_ms % interval_ms:
            raise BadUsage(
                f"{_name(strategy)}.longer_bars: {name} cannot be made from bars of "
                f"{interval_name(interval_ms)}; give bars that divide it"
            )
    return LongerBars(tuple(LongerBar(each, INTERVALS_MS[each]) for each in names)) if names else None


def longer_warmup_bars(strategy: object, interval_ms: int) -> int:
    """Return after how many bars each longer bar of a strategy has closed, wherever the history begins."""
    return max((ceil(2 * INTERVALS_MS[name] / interval_ms) for name in _declared(strategy)), default=0)


def _declared(strategy: object) -> Sequence[str]:
    names = getattr(strategy, "longer_bars", ())
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise BadUsage(f'{_name(strategy)}.longer_bars must be a tuple such as ("4h", "1d"), was {names!r}')
    for name in names:
        if name not in INTERVALS_MS:
            near = get_close_matches(str(name), INTERVALS_MS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(INTERVALS_MS)}"
            raise BadUsage(f"{_name(strategy)}.longer_bars: there are no bars of {name!r}; {hint}")
    return names


def _name(strategy: object) -> str:
    return (strategy if isinstance(strategy, type) else type(strategy)).__name__
