"""What happens next inside one bar: the search along the path for the first order, stop or margin call."""

from collections.abc import Sequence
from decimal import Decimal
from math import inf
from typing import Literal, NamedTuple

from bot.domain.market import Bar
from bot.domain.money import ZERO
from bot.exchange.book import Book, Working
from bot.exchange.path import Path, high_first, joined, path, via

Action = Literal["funding", "arrive", "cancel", "liquidation", "stop_loss", "take_profit", "limit"]
_RANK: dict[Action, int] = {
    "funding": 0,
    "liquidation": 1,
    "arrive": 2,
    "cancel": 3,
    "stop_loss": 4,
    "take_profit": 5,
    "limit": 6,
}
"""Order of one instant. Funding settles first, as the feed keeps it; what was sent before the bar acts on
its open, and the stops then see the position that results."""
LIQUIDATION_RANK = _RANK["liquidation"]


class Step(NamedTuple):
    """One thing that happens at ``place`` on the bar; compared by place, then by rank."""

    place: float
    rank: int
    action: Action
    working: Working | None = None


class Leg:
    """One bar of one symbol while it is walked from open to close.

    ``capacity`` is the base quantity that orders may still fill in this bar. The path is made when it is
    first needed: most bars only fill a market order at the open.
    """

    __slots__ = (
        "_finer",
        "_mark_path",
        "_path",
        "_seed",
        "_worst",
        "bar",
        "book",
        "capacity",
        "mark_bar",
        "place",
    )

    def __init__(
        self, book: Book, bar: Bar, capacity: Decimal, seed: int, *, finer: Sequence[Bar] | None, worst: bool
    ) -> None:
        self.book = book
        self.bar = bar
        self.capacity = capacity
        self.place = 0.0
        self.mark_bar = book.mark_candle(bar) if book.marked else None
        self._finer = finer
        self._seed = seed
        self._worst = worst
        self._path: Path | None = None
        self._mark_path: Path | None = None

    @property
    def path(self) -> Path:
        """Where the last price goes."""
        if self._path is None:
            if self._worst and self.book.position.qty:
                self._path = Path(via(self.bar, self.book.position.qty < ZERO))
            elif self._finer is not None:
                self._path = joined(self._finer, self._seed)
            else:
                self._path = Path(path(self.bar, self._seed))
        return self._path

    @property
    def mark_path(self) -> Path:
        """Where the mark price goes: its own candle's road, extremes in the order of the last price's."""
        if self.mark_bar is None:
            return self.path
        if self._mark_path is None:
            qty = self.book.position.qty
            first = qty < ZERO if self._worst and qty else high_first(self.bar, self._seed)
            self._mark_path = Path(via(self.mark_bar, first))
        return self._mark_path

    def price(self, place: float) -> float:
        """The last price at ``place``; the open needs no path."""
        return self.bar.open if place == 0.0 else self.path.price(place)

    def mark(self, place: float) -> float:
        """The mark price at ``place``."""
        if place == 0.0:
            return self.bar.open if self.mark_bar is None else self.mark_bar.open
        return self.mark_path.price(place)

    def ts_ms(self, place: float) -> int:
        """The time of ``place``: inside [start, close), the open exactly at the start."""
        bar = self.bar
        return min(bar.start_ms + round(place * bar.interval_ms), bar.close_ms - 1)

    def place_of(self, ts_ms: int) -> float:
        """Where on the bar ``ts_ms`` is; what lies before it acts at once."""
        return max(self.place, (ts_ms - self.bar.start_ms) / self.bar.interval_ms)

    def calm(self) -> bool:
        """Whether nothing can happen in the rest of the bar."""
        book, bar = self.book, self.bar
        return book.trade_low < bar.low and bar.high < book.trade_high and self.safe()

    def safe(self) -> bool:
        """Whether the mark stays where the margin cannot run out."""
        mark = self.mark_bar if self.mark_bar is not None else self.bar
        return self.book.safe_low < mark.low and mark.high < self.book.safe_high

    def next(self, isolated: bool) -> Step | None:
        """The first thing that happens from here on; ``isolated``: a margin call of this position too."""
        if self.calm():
            return None
        steps: list[Step] = []
        self._orders(steps)
        if self.book.size:
            self._closes(steps, isolated)
        due = [rate.ts_ms for rate in self.book.due if rate.ts_ms <= self.bar.close_ms]
        if due:
            steps.append(_step(self.place_of(min(due)), "funding"))
        first = min(steps, key=_when, default=None)
        return first if first is not None and first.place < inf else None

    def _orders(self, steps: list[Step]) -> None:
        """When orders arrive, are cancelled or are gone through."""
        for working in self.book.orders:
            if not working.resting:
                if working.active_ms < self.bar.close_ms:
                    steps.append(_step(self.place_of(working.active_ms), "arrive", working))
                continue
            if working.cancel_ms is not None and working.cancel_ms < self.bar.close_ms:
                steps.append(_step(self.place_of(working.cancel_ms), "cancel", working))
            if self.capacity > ZERO and working.fillable(self.book.position.qty):
                place = self.path.reach(working.price, self.place, rising=not working.buy, beyond=True)
                steps.append(_step(place, "limit", working))

    def _closes(self, steps: list[Step], isolated: bool) -> None:
        """When the margin runs out, and when a stop or target is touched."""
        book, long = self.book, self.book.size > 0.0
        if isolated:
            level = book.safe_low if long else book.safe_high
            steps.append(_step(self.mark_path.reach(level, self.place, rising=not long), "liquidation"))
        if self.capacity <= ZERO:
            return
        if book.stop_loss is not None:
            place = self.path.reach(float(book.stop_loss), self.place, rising=not long)
            steps.append(_step(place, "stop_loss"))
        if book.take_profit is not None:
            place = self.path.reach(float(book.take_profit), self.place, rising=long)
            steps.append(_step(place, "take_profit"))


def _when(step: Step) -> tuple[float, int]:
    return step[:2]


def _step(place: float, action: Action, working: Working | None = None) -> Step:
    return Step(place, _RANK[action], action, working)
