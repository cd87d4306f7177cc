"""Find the next event inside one bar: search the path for the first order, trigger or liquidation."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import inf
from typing import Literal

import msgspec

from bot.domain.market import Bar
from bot.domain.money import ZERO, to_decimal
from bot.exchange.bars.book import BarBook
from bot.exchange.bars.path import Arbiter, Path, Pursuit, Standoff, high_first, joined, path, via
from bot.exchange.bars.queue import BarQueue
from bot.exchange.ledger.book import PositionSlot
from bot.exchange.orders import PROTECTIVE, ExchangeOrder
from bot.exchange.rulebook.triggers import FALL, RISE, is_ahead

Action = Literal["funding", "liquidation", "limit", "arrive", "cancel", "trail", "trigger"]
_RANK: dict[Action, int] = {
    "funding": 0,
    "liquidation": 1,
    "limit": 2,
    "arrive": 3,
    "cancel": 4,
    "trail": 5,
    "trigger": 6,
}
"""Order of one instant. Funding settles first, as the feed keeps it. A price that jumps meets the orders that
rest in the book, then those that arrive; triggers fire after the trade that reached them, and see the
position that results."""
LIQUIDATION_RANK = _RANK["liquidation"]
_NEAR = 1e-9
"""A trigger reached without a gap differs from the path's price by a float error at most (fraction)."""


class BarEvent(msgspec.Struct, frozen=True, gc=False):
    """One thing that happens at ``at`` on the bar; compared by place, rank and priority."""

    at: float
    rank: int
    priority: float
    """Of resting orders: better prices first. Of triggers: the last price moves before the mark."""
    action: Action
    order: ExchangeOrder | None = None
    slot: PositionSlot | None = None


def arbiter_of(book: BarBook, seed: int, *, worst: bool = False) -> Arbiter | None:
    """Return what orders the extremes of the next bar, as the account stands at its open.

    That is the first trailing stop, else the stop of a position beside a resting exit; ``worst`` decides the
    second by itself.
    """
    trail = leave = None
    for order in book.orders.values():
        if order.conditional:
            if order.trailing_quote:
                trail = order
                break
        elif _is_resting_exit(order):
            leave = order
    if trail is not None:
        return _pursuit(book.slot_of(trail), trail)
    if leave is None or worst:
        return None
    return _standoff(book.slot_of(leave), seed, touch=book.terms.limit_fills == "queue")


def _pursuit(slot: PositionSlot, trail: ExchangeOrder) -> Pursuit:
    long, active = slot.size > 0.0, float(trail.active_price) or None
    stops = _stops(slot)
    if active is None:
        stops.append(float(trail.trigger_price))
    return Pursuit(long, float(trail.trailing_quote), active, max(stops) if long else min(stops))


def _standoff(slot: PositionSlot, seed: int, *, touch: bool) -> Standoff | None:
    """Return what puts the nearest stop of a position before its nearest resting exit."""
    if not slot.size:
        return None
    exits = [float(order.price) for order in slot.orders if _is_resting_exit(order)]
    if slot.size > 0.0:
        return Standoff(True, max(_stops(slot)), min(exits), seed, touch=touch)
    return Standoff(False, min(_stops(slot)), max(exits), seed, touch=touch)


def _is_resting_exit(order: ExchangeOrder) -> bool:
    return order.reduces and order.order_type == "Limit" and not order.conditional


def _stops(slot: PositionSlot) -> list[float]:
    """Return the prices at which a position is liquidated or stopped."""
    stops = [slot.safe_low if slot.size > 0.0 else slot.safe_high]
    fixed = slot.protective("StopLoss")
    if fixed is not None and fixed.conditional:
        stops.append(float(fixed.trigger_price))
    return stops


class BarWalk:
    """One bar of one symbol while it is walked from open to close.

    ``place`` is how far the walk has come, ``base`` the price there. ``capacity`` is the base quantity that
    orders may still fill in this bar. The path is made when it is first needed: most bars only fill a
    market order at the open.
    """

    __slots__ = (
        "_arbiter",
        "_finer",
        "_mark_path",
        "_path",
        "_seed",
        "_worst",
        "bar",
        "base",
        "book",
        "capacity",
        "mark_bar",
        "place",
        "queue",
    )

    def __init__(
        self,
        book: BarBook,
        bar: Bar,
        capacity: Decimal,
        seed: int,
        *,
        finer: Sequence[Bar] | None,
        worst: bool,
    ) -> None:
        self.book = book
        self.bar = bar
        self.capacity = capacity
        self.place = 0.0
        self.base = to_decimal(bar.open)
        self.queue: BarQueue | None = None
        if book.terms.limit_fills == "queue":
            self.queue = BarQueue(bar, book.instrument.tick_size, book.instrument.qty_step)
        self.mark_bar = book.mark_candle(bar) if book.marked else None
        self._finer = finer
        self._seed = seed
        self._worst = worst
        self._arbiter = arbiter_of(book, seed, worst=worst)
        self._path: Path | None = None
        self._mark_path: Path | None = None

    @property
    def path(self) -> Path:
        """The path of the last price."""
        if self._path is None:
            net, arbiter = self._net_qty(), self._arbiter
            if self._finer is not None and not (self._worst and net):
                self._path = joined(self._finer, self._seed, arbiter)
            elif arbiter is not None:
                self._path = Path(via(self.bar, arbiter.high_first(self.bar)))
            elif self._worst and net:
                self._path = Path(via(self.bar, net < 0.0))
            else:
                self._path = Path(path(self.bar, self._seed))
        return self._path

    @property
    def mark_path(self) -> Path:
        """The path of the mark price: its own candle, high and low in the order of the last price's."""
        if self.mark_bar is None:
            return self.path
        if self._mark_path is None:
            net = self._net_qty()
            if self._arbiter is not None:
                first = self._arbiter.high_first(self.bar)
            else:
                first = net < 0.0 if self._worst and net else high_first(self.bar, self._seed)
            self._mark_path = Path(via(self.mark_bar, first))
        return self._mark_path

    def _net_qty(self) -> float:
        return sum(slot.size for slot in self.book.slots)

    def move_to(self, place: float, order: ExchangeOrder | None = None) -> None:
        """Move to ``place``; the price there is the path's, or the trigger of ``order`` met on the way."""
        if place == self.place and order is None:
            return
        self.place = place
        price = self.price(place)
        if order is not None and order.trigger_by == "LastPrice":
            trigger = float(order.trigger_price)
            if abs(price - trigger) <= trigger * _NEAR:
                self.base = order.trigger_price
                return
        self.base = to_decimal(price)

    def price(self, place: float) -> float:
        """The last price at ``place``; at the open no path is made."""
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
        """The place of ``ts_ms`` on the bar; a time before the walk's place counts as the walk's place."""
        return max(self.place, (ts_ms - self.bar.start_ms) / self.bar.interval_ms)

    def is_calm(self) -> bool:
        """Return True if nothing can happen in the rest of the bar."""
        book, bar = self.book, self.bar
        return book.trade_low < bar.low and bar.high < book.trade_high and self.is_safe()

    def is_safe(self) -> bool:
        """Return True if the mark stays where no liquidation can happen."""
        mark = self.mark_bar if self.mark_bar is not None else self.bar
        return self.book.safe_low < mark.low and mark.high < self.book.safe_high

    def next(self, isolated: bool) -> BarEvent | None:
        """Return the first event from ``place`` on; with ``isolated`` also the liquidation of a position."""
        if self.is_calm():
            return None
        found = self._orders()
        if isolated:
            found.extend(self._margin_calls())
        if self.book.due:
            due = [rate.ts_ms for rate in self.book.due if rate.ts_ms <= self.bar.close_ms]
            if due:
                found.append(_event(self.place_of(min(due)), "funding"))
        first = found[0] if len(found) == 1 else min(found, key=_when, default=None)
        return first if first is not None and first.at < inf else None

    def _orders(self) -> list[BarEvent]:
        """Return the places where orders arrive, are cancelled, are filled or trigger."""
        book, close_ms = self.book, self.bar.close_ms
        found: list[BarEvent] = []
        for order in book.orders.values():
            arrives_ms = book.pending.get(order.order_id)
            if arrives_ms is not None:
                if arrives_ms < close_ms:
                    found.append(_event(self.place_of(arrives_ms), "arrive", order))
                continue
            cancel_ms = book.cancels.get(order.order_id)
            if cancel_ms is not None and cancel_ms < close_ms:
                found.append(_event(self.place_of(cancel_ms), "cancel", order))
            if order.status == "Untriggered":
                found.extend(self._waiting(order))
            elif self.capacity > ZERO and order.fillable(book.slot_of(order).position.qty):
                buy, price = order.side == "Buy", float(order.price)
                at = self.path.reach(price, self.place, rising=not buy, beyond=True)
                if self.queue is not None:
                    if self.queue.has_met(order):
                        continue
                    if at == inf:
                        at = self.path.reach(price, self.place, rising=not buy)
                found.append(BarEvent(at, _RANK["limit"], -price if buy else price, "limit", order))
        return found

    def line_up(self, order: ExchangeOrder) -> None:
        """Give an order that has begun to rest here its place in the queue, where queues are estimated."""
        if self.queue is not None and order.open and not order.conditional:
            self.queue.join(order, self.book.queue_ahead(), self.place)

    def makes(self, order: ExchangeOrder) -> Decimal:
        """Return the base that a resting order fills now that the price has come to it or gone beyond."""
        most = min(order.fillable(self.book.slot_of(order).position.qty), self.capacity)
        queue = self.queue
        if queue is None:
            return most
        low, high = self.path.extremes(queue.since(order))
        further = self.path.reach(float(order.price), self.place, rising=order.side == "Sell", beyond=True)
        return queue.meet(order, most, low, high, beyond=further < inf)

    def _waiting(self, order: ExchangeOrder) -> Iterator[BarEvent]:
        """Yield where a trigger is reached or a trailing stop moves; a TP/SL cannot close without volume."""
        if self.capacity <= ZERO and order.stop_order_type in PROTECTIVE:
            return
        road = self.path if order.trigger_by == "LastPrice" else self.mark_path
        rises = order.trigger_direction == RISE
        fires_at = inf
        if not order.active_price:
            fires_at = road.reach(float(order.trigger_price), self.place, rising=rises)
            after_trade = 0.0 if order.trigger_by == "LastPrice" else 1.0
            yield BarEvent(fires_at, _RANK["trigger"], after_trade, "trigger", order)
        if order.trailing_quote:
            yield _event(self._trails_at(order, road, fires_at), "trail", order)

    def _trails_at(self, order: ExchangeOrder, road: Path, fires_at: float) -> float:
        """Find where a trailing stop next gets a new best price: a turn of the path before its trigger."""
        falls = order.trigger_direction == FALL
        if order.active_price:
            return road.reach(float(order.active_price), self.place, rising=falls)
        for at in road.places():
            # Exactly what ``triggers.trail`` asks: a stop that a float error calls behind would never move.
            if self.place <= at <= fires_at and is_ahead(order, to_decimal(road.price(at))):
                return at
        return inf

    def trail_price(self, order: ExchangeOrder, place: float) -> Decimal:
        """The price that a trailing stop sees at ``place``; where it waits for a price, at least that one."""
        price, active = to_decimal(self.price(place)), order.active_price
        if not active:
            return price
        return max(price, active) if order.trigger_direction == FALL else min(price, active)

    def _margin_calls(self) -> Iterator[BarEvent]:
        """Yield the places where the mark reaches the liquidation price of a position."""
        for slot in self.book.slots:
            if not slot.size:
                continue
            long = slot.size > 0.0
            level = slot.safe_low if long else slot.safe_high
            at = self.mark_path.reach(level, self.place, rising=not long)
            yield _event(at, "liquidation", slot=slot)


def _when(event: BarEvent) -> tuple[float, int, float]:
    return event.at, event.rank, event.priority


def _event(
    at: float, action: Action, order: ExchangeOrder | None = None, slot: PositionSlot | None = None
) -> BarEvent:
    return BarEvent(at, _RANK[action], 0.0, action, order, slot)
