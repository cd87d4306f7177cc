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
"""A cancel that nothing came of is sent again after so long."""


class ExecutionPolicy(msgspec.Struct, frozen=True):
    """How a wish without a price of its own becomes orders. ``maker`` False: market orders.

    Times in milliseconds; a ``deadline_ms`` of 0 is a taker.
    """

    maker: bool = False
    reprice_ms: int = 2_000
    """Least time between two prices of one wish."""
    max_reprices: int = 5
    """New prices, after which the order only waits."""
    deadline_ms: int = 20_000
    """From the decision; what is left then is taken at the market."""

    @property
    def rests_first(self) -> bool:
        """Whether wishes begin with a resting order."""
        return self.maker and self.deadline_ms > 0


class MakerStep(Enum):
    """What a wish under way does next."""

    WAIT = "wait"
    REST = "rest"
    TAKE = "take"


class MakerExecution(msgspec.Struct):
    """One wish on its way. ``arrival_price`` is the middle of the market when it arose."""

    target: Target
    decided_ms: int
    arrival_price: Decimal
    deadline_ms: int
    until_ms: int
    """The last instant its entries may be sent at; later they are stale signals. 0: none was approved."""
    priced_ms: int
    reprices: int = 0
    next: MakerStep = MakerStep.WAIT
    """What to do once the cancelled orders are gone."""
    cancelled_ms: int | None = None
    took: bool = False
    """The market order for the rest was sent."""

    def stop_pricing(self) -> None:
        """The venue refused an order of the wish: no other price is tried, only the deadline's."""
        self.reprices = _NO_MORE


class ExecutionCosts(msgspec.Struct):
    """What trading cost against the price when the wish arose, fees aside. Sums of floats, in quote."""

    maker_quote: float = 0.0
    taker_quote: float = 0.0
    shortfall_quote: float = 0.0
    """Σ what buying paid above, and selling got below, the arrival price; below 0 is better than it."""
    reprices: int = 0
    deadlines: int = 0
    """Wishes that ended with a market order."""

    @property
    def maker_frac(self) -> float:
        """Share of the value traded that was filled while resting; 0 when nothing was."""
        total = self.maker_quote + self.taker_quote
        return self.maker_quote / total if total else 0.0

    @property
    def shortfall_bps(self) -> float:
        """Shortfall over the value traded."""
        total = self.maker_quote + self.taker_quote
        return 1e4 * self.shortfall_quote / total if total else 0.0

    def add(self, fill: Fill, arrival_price: Decimal) -> None:
        """Count a fill of an order of ours."""
        value = float(fill.qty * fill.price)
        if fill.maker:
            self.maker_quote += value
        else:
            self.taker_quote += value
        self.shortfall_quote += sign(fill.side) * (value - float(fill.qty * arrival_price))


def at_touch(intent: Intent, bid: float, ask: float, rules: Instrument) -> Intent:
    """The order resting PostOnly at its side of the market, on the grid; unchanged if that is no price."""
    price = touch_price(intent.side, bid, ask, rules.tick_size)
    if not price > 0 or intent.qty > rules.max_qty:
        return intent
    return msgspec.structs.replace(intent, order_type="Limit", price=price, time_in_force="PostOnly")


def touch_price(side: Side, bid: float, ask: float, tick_size: Decimal) -> Decimal:
    """Where an order of that side rests first in line without crossing."""
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
    """What to do now, with ``orders`` of the symbol still live. ``REST`` and ``TAKE`` cancel those first."""
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
    """Whether the touch moved away from an order: a buy below the bid, a sell above the ask."""
    for order in orders:
        price, side = order.intent.price, order.intent.side
        if price is not None and sign(side) * (touch_price(side, bid, ask, tick) - price) > 0:
            return True
    return False
