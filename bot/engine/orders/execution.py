"""Maker first: rest PostOnly at the touch, follow the touch, take what is left at the deadline. Pure.

A target is carried out by a ``MakerExecution``. While it lasts, every price change is a cancel and, once
the old order is gone, a new one: the missing quantity is worked out from the position, so fills that race
the cancel are counted. ``next_step`` decides from the clock of the events, the touch and the orders alone.

::

    rest at the touch ──touch moved, reprice_ms over, prices left──► cancel, rest at the new touch
            │                       ▲ PostOnly refused or the venue took it off: as if the touch had moved
            └──deadline──► cancel, market order for what is left; what that leaves is the next close's
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum

import msgspec

from bot.domain.ledger import Fill
from bot.domain.market import Instrument
from bot.domain.money import ceil_to, floor_to, to_decimal
from bot.domain.orders import Intent, Order, OrderState, Side, sign
from bot.strategy.signal import Target

_NO_MORE = 1_000_000
_CANCEL_AGAIN_MS = 5_000
"""An unanswered cancel is sent again after so long."""


class ExecutionPolicy(msgspec.Struct, frozen=True):
    """How a target without a limit price becomes orders. ``maker`` False: market orders.

    Times in milliseconds; a ``deadline_ms`` of 0 is a taker.
    """

    maker: bool = False
    reprice_ms: int = 2_000
    """Least time between two prices of one target."""
    max_reprices: int = 5
    """New prices for one target; after the last, its order only waits."""
    deadline_ms: int = 20_000
    """From the decision; the missing quantity is then taken at the market."""

    @property
    def rests_first(self) -> bool:
        """True if targets begin with a resting order."""
        return self.maker and self.deadline_ms > 0


class MakerStep(Enum):
    """What a maker-first execution does next."""

    WAIT = "wait"
    REST = "rest"
    TAKE = "take"


class MakerExecution(msgspec.Struct):
    """Progress of one target. ``arrival_price`` is the middle of the market when it was decided."""

    target: Target
    decided_ms: int
    arrival_price: Decimal
    deadline_ms: int
    until_ms: int
    """Last time at which its entries may be sent; later they are stale signals. 0: no entry was approved."""
    priced_ms: int
    reprices: int = 0
    next: MakerStep = MakerStep.WAIT
    """What to do once the cancelled orders are gone."""
    cancelled_ms: int | None = None
    took: bool = False
    """True once the market order for the missing quantity was sent."""

    def stop_pricing(self) -> None:
        """Try no other price until the deadline: the venue refused an order of the target."""
        self.reprices = _NO_MORE


class ExecutionCosts(msgspec.Struct):
    """What trading cost against the price at the decision, without fees. Sums of floats, in quote."""

    maker_quote: float = 0.0
    taker_quote: float = 0.0
    shortfall_quote: float = 0.0
    """Σ of what buys paid above and sells got below the arrival price; negative is better than that price."""
    reprices: int = 0
    deadlines: int = 0
    """Targets that ended with a market order."""

    @property
    def maker_frac(self) -> float:
        """Share of the traded value that resting orders filled; 0 when nothing was traded."""
        total = self.maker_quote + self.taker_quote
        return self.maker_quote / total if total else 0.0

    @property
    def shortfall_bps(self) -> float:
        """Shortfall over the traded value."""
        total = self.maker_quote + self.taker_quote
        return 1e4 * self.shortfall_quote / total if total else 0.0

    def add(self, fill: Fill, arrival_price: Decimal) -> None:
        """Count a fill of one of our orders."""
        value = float(fill.qty * fill.price)
        if fill.maker:
            self.maker_quote += value
        else:
            self.taker_quote += value
        self.shortfall_quote += sign(fill.side) * (value - float(fill.qty * arrival_price))


def at_touch(intent: Intent, bid: float, ask: float, rules: Instrument) -> Intent:
    """Return the intent as a PostOnly order at its side of the market; unchanged if that has no price."""
    price = touch_price(intent.side, bid, ask, rules.tick_size)
    if not price > 0 or intent.qty > rules.max_qty:
        return intent
    return msgspec.structs.replace(intent, order_type="Limit", price=price, time_in_force="PostOnly")


def touch_price(side: Side, bid: float, ask: float, tick_size: Decimal) -> Decimal:
    """Return the best price for an order of that side that does not cross."""
    if side == "Buy":
        return floor_to(to_decimal(bid), tick_size)
    return ceil_to(to_decimal(ask), tick_size)


def next_step(
    work: MakerExecution,
    rule: ExecutionPolicy,
    now_ms: int,
    orders: Sequence[Order],
    bid: float,
    ask: float,
    tick: Decimal,
) -> MakerStep:
    """Return what to do now. ``REST`` and ``TAKE`` cancel the live ``orders`` of the symbol first."""
    if work.took or any(order.state in (OrderState.SENT, OrderState.UNKNOWN) for order in orders):
        return MakerStep.WAIT
    if orders and work.cancelled_ms is not None and now_ms < work.cancelled_ms + _CANCEL_AGAIN_MS:
        return MakerStep.WAIT
    if now_ms >= work.deadline_ms:
        return MakerStep.TAKE
    if now_ms < work.priced_ms + rule.reprice_ms or work.reprices >= rule.max_reprices:
        return MakerStep.WAIT
    return MakerStep.REST if not orders or _left_behind(orders, bid, ask, tick) else MakerStep.WAIT


def _left_behind(orders: Iterable[Order], bid: float, ask: float, tick: Decimal) -> bool:
    """Return True if an order is behind the touch: a buy below the bid, a sell above the ask."""
    for order in orders:
        price, side = order.intent.price, order.intent.side
        if price is not None and sign(side) * (touch_price(side, bid, ask, tick) - price) > 0:
            return True
    return False
