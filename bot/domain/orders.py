"""Intents, permissions, orders, and the table of what may follow what."""

from decimal import Decimal
from enum import Enum
from typing import Literal

import msgspec

from bot.domain.errors import BadInput, Broken
from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to

Side = Literal["Buy", "Sell"]
OrderType = Literal["Market", "Limit"]
TimeInForce = Literal["GTC", "IOC", "FOK", "PostOnly"]


def sign(side: Side) -> int:
    """+1 for Buy, -1 for Sell."""
    return 1 if side == "Buy" else -1


class Take(msgspec.Struct, frozen=True):
    """A part of a position, as a fraction of it, that is to be closed at a price or at a distance.

    Either ``price`` is set (quote per base), or ``away_bps``: the distance from the average entry price.
    """

    price: Decimal | None
    part_frac: Decimal
    away_bps: Decimal | None = None


class Intent(msgspec.Struct, frozen=True):
    """An order that risk has not approved yet. Quantities in base, prices in quote per base.

    ``stop_loss``/``take_profit`` are position-level protective orders that the venue holds from the
    first fill on (Bybit's TP/SL on create, full-position mode). ``decided_ms`` is the close of
    the decision; ``ref_price`` the price at that close (for notional and collar checks). At ``expires_ms``
    the engine cancels what is left of the order; 0: it does not expire. After the first fill the engine sets
    a trailing stop of the distance ``trailing_stop`` (quote per base), active from ``trailing_from`` on, and
    sends an order for each of ``takes``. Such an order names the price of its take in ``take_at``, and in
    ``take_bps`` the distance that led to this price, if the take is a distance.
    ``model`` is the hash of the model whose forecasts the strategy of the symbol sees; empty: it sees none,
    or an older program wrote the order.

    Raises:
        BadInput: a quantity or price that is not positive, or a Limit without a price.
    """

    symbol: str
    side: Side
    qty: Decimal
    ref_price: Decimal
    decided_ms: int
    order_type: OrderType = "Market"
    price: Decimal | None = None
    time_in_force: TimeInForce = "IOC"
    reduce_only: bool = False
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    reason: str = ""
    expires_ms: int = 0
    trailing_stop: Decimal | None = None
    trailing_from: Decimal | None = None
    model: str = ""
    takes: tuple[Take, ...] | None = None
    take_at: Decimal | None = None
    take_bps: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.qty > ZERO:
            raise BadInput(f"{self.symbol}: order quantity must be > 0, was {self.qty}")
        if self.order_type == "Limit" and self.price is None:
            raise BadInput(f"{self.symbol}: a limit order needs a price")
        for price in (self.ref_price, self.price, self.stop_loss, self.take_profit):
            if price is not None and not price > ZERO:
                raise BadInput(f"{self.symbol}: order prices must be > 0, was {price}")
        if self.trailing_stop is not None and not self.trailing_stop > ZERO:
            raise BadInput(f"{self.symbol}: a trailing stop must be > 0, was {self.trailing_stop}")

    @property
    def notional_quote(self) -> Decimal:
        """Value at the limit price, or at the reference price for a market order."""
        return self.qty * (self.price if self.price is not None else self.ref_price)


def fitted(intent: Intent, rules: Instrument) -> Intent | None:
    """Return the order rounded to a contract's rules; None if they leave nothing to send.

    Rounding makes an order smaller and its limit price better for us, so what permitted the order permits
    the rounded one too. A rest of a position below the quantity step may be closed in one piece.
    """
    buy = intent.side == "Buy"
    down, up = (floor_to, ceil_to) if buy else (ceil_to, floor_to)
    largest = rules.max_market_qty if intent.order_type == "Market" else rules.max_qty
    qty = floor_to(min(intent.qty, largest), rules.qty_step)
    price = intent.price
    if price is not None:
        price = down(min(price, rules.max_price) if buy else max(price, rules.min_price), rules.tick_size)
        if not rules.min_price <= price <= rules.max_price:
            return None
    if not qty or qty < rules.min_qty:
        if not intent.reduce_only:
            return None
        qty = intent.qty
    stop, target = intent.stop_loss, intent.take_profit
    made = msgspec.structs.replace(
        intent,
        qty=qty,
        price=price,
        stop_loss=None if stop is None else down(stop, rules.tick_size) or None,
        take_profit=None if target is None else up(target, rules.tick_size) or None,
    )
    too_small = not intent.reduce_only and made.notional_quote < rules.min_notional_quote
    return None if too_small else made


class Approved(msgspec.Struct, frozen=True, tag=True):
    """An intent that passed every risk check. Only ``risk.limits`` makes one (a test holds it to that).

    Permission of an entry ends at ``leave_by_ms``, the last time at which the order may leave the process. An
    exit has None: age never holds it back. ``max_slippage_bps`` is the furthest that a market order may be
    filled from the best price at its arrival; 0 leaves it to the venue's own protection.
    """

    intent: Intent
    leave_by_ms: int | None = None
    max_slippage_bps: int = 0

    def too_old(self, now_ms: int) -> str | None:
        """Return why the order is too old to leave, with age and limit; None if it may leave."""
        if self.leave_by_ms is None or now_ms <= self.leave_by_ms:
            return None
        age_ms, limit_ms = now_ms - self.intent.decided_ms, self.leave_by_ms - self.intent.decided_ms
        return f"stale_signal: {age_ms} ms after its close, at most {limit_ms} ms"


class Refused(msgspec.Struct, frozen=True, tag=True):
    """An intent that risk refused, and the name of the check that refused it.

    A check that compares numbers says what was ``wanted`` and what is ``allowed``, in the unit of its limit.
    """

    intent: Intent
    reason: str
    wanted: Decimal | None = None
    allowed: Decimal | None = None


class OrderState(Enum):
    """State of one of our orders, as far as the venue has reported it."""

    # Hash by identity: Enum's own hash runs Python code for every step of every order.
    __hash__ = object.__hash__

    SENT = "sent"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


_S = OrderState
NEXT: dict[OrderState, frozenset[OrderState]] = {
    _S.SENT: frozenset({_S.UNKNOWN, _S.OPEN, _S.PARTIAL, _S.FILLED, _S.CANCELLED, _S.REJECTED}),
    # Only a report of the venue ends UNKNOWN, never the passing of time.
    _S.UNKNOWN: frozenset({_S.OPEN, _S.PARTIAL, _S.FILLED, _S.CANCELLED, _S.REJECTED}),
    _S.OPEN: frozenset({_S.PARTIAL, _S.FILLED, _S.CANCELLED}),
    _S.PARTIAL: frozenset({_S.PARTIAL, _S.FILLED, _S.CANCELLED}),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
}
LIVE = frozenset({_S.SENT, _S.UNKNOWN, _S.OPEN, _S.PARTIAL})


class Order(msgspec.Struct):
    """One of our orders: the approved intent, its id at the venue, its state and fills."""

    order_id: str
    intent: Intent
    state: OrderState = OrderState.SENT
    filled_qty: Decimal = ZERO
    sent_ms: int = 0
    arrival_price: Decimal | None = None
    """Price at the decision, if that is not the intent's ``ref_price``."""
    opened_ms: int = 0
    """When the venue was first known to have it: a reading of the account that began earlier may lack it."""

    @property
    def leaves_qty(self) -> Decimal:
        """Quantity that may still fill; 0 once the order has ended."""
        return self.intent.qty - self.filled_qty if self.state in LIVE else ZERO

    def move(self, to: OrderState) -> None:
        """Change state as the table allows.

        Raises:
            Broken: the table has no such step; nothing is changed.
        """
        if to not in NEXT[self.state]:
            raise Broken(f"order {self.order_id}: {self.state.value} cannot become {to.value}")
        self.state = to
