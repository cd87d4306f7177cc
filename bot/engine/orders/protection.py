"""Prices of the stop that rests at the venue when a strategy names none. Pure.

A position must keep its stop when the bot dies, and Bybit gives no disconnect protection to retail
accounts.
"""

from decimal import Decimal

import msgspec

from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to
from bot.domain.orders import Intent, Side

Stops = tuple[Decimal | None, Decimal | None]
"""Stop loss and take profit; None where there is none."""
NO_STOPS: Stops = (None, None)

TRIES_MAX = 5
"""Stops sent in a row without a report of one; after that, entries are held back."""
STOP_WAY_MS = 500
"""How long to wait for the report of a stop before another is sent."""


class Trail(msgspec.Struct, frozen=True):
    """A trailing stop: its distance, and the price from which it follows; None: at once."""

    distance: Decimal
    from_price: Decimal | None = None


class ProtectiveStops(msgspec.Struct):
    """Protective orders of one position: at the venue, as wanted, and the tries to restore them."""

    at_venue: Stops = NO_STOPS
    """As the venue last reported them."""
    wanted: Stops = NO_STOPS
    """As they should be: from the entry, a later target or the venue."""
    sent_ms: int = 0
    """When a lost stop was last sent again; 0 if no answer is awaited."""
    tries: int = 0
    """Stops sent in a row since the venue last reported one."""
    trail: Trail | None = None
    """The trailing stop as it should be."""
    trail_at_venue: Decimal = ZERO
    """Distance of the venue's trailing stop as last reported; 0 if there is none."""
    trail_sent_ms: int = 0
    """When the trailing stop was last sent; 0 if no answer is awaited."""
    trail_tries: int = 0
    """Trailing stops sent in a row since the venue last reported one."""

    @property
    def is_lost(self) -> bool:
        """True if the venue has no stop loss."""
        return self.at_venue[0] is None

    def is_on_its_way(self, now_ms: int) -> bool:
        """Return True while a report that there is no stop may be older than the stop sent last."""
        return 0 <= now_ms - self.sent_ms < STOP_WAY_MS

    def trails_as(self, asked: Trail) -> bool:
        """Return True if this trailing stop is there, or one of its distance that is not known to wait.

        One that follows already is not made to wait for a first price: it would protect nothing until then.
        """
        return self.trail is not None and self.trail in (asked, Trail(asked.distance))

    def is_trail_lost(self, now_ms: int) -> bool:
        """Return True if the venue lacks the wanted trailing stop, and none is on its way."""
        wanted = self.trail is not None and self.trail.distance != self.trail_at_venue
        return wanted and not 0 <= now_ms - self.trail_sent_ms < STOP_WAY_MS

    def end(self) -> None:
        """Want nothing any more: the position is closed."""
        self.wanted = NO_STOPS
        self.trail, self.trail_sent_ms, self.trail_tries = None, 0, 0


def protective_stop(side: Side, price: Decimal, frac: Decimal, rules: Instrument) -> Decimal | None:
    """Return the stop loss of a position entered at ``price``: on the grid, at most ``frac`` away.

    It is rounded towards the price, so the loss is never above ``frac``. If that gives the price itself, it
    is rounded away. None if the instrument's price range has no room on that side.
    """
    if side == "Buy":
        stop = ceil_to(price * (1 - frac), rules.tick_size)
        if stop >= price:
            stop = floor_to(price * (1 - frac), rules.tick_size)
        stop = max(stop, ceil_to(rules.min_price, rules.tick_size))
        return stop if ZERO < stop < price else None
    stop = floor_to(price * (1 + frac), rules.tick_size)
    if stop <= price:
        stop = ceil_to(price * (1 + frac), rules.tick_size)
    stop = min(stop, floor_to(rules.max_price, rules.tick_size))
    return stop if stop > price else None


def trail_of(
    distance: Decimal, from_price: Decimal | None, side: Side, price: Decimal, rules: Instrument
) -> Trail | None:
    """Return a trailing stop on the grid, rounded away from the market; None if it could never be reached."""
    distance = ceil_to(distance, rules.tick_size)
    if not ZERO < distance < price:
        return None
    if from_price is not None:
        from_price = (ceil_to if side == "Buy" else floor_to)(from_price, rules.tick_size)
    return Trail(distance, from_price)


def stop_of(intent: Intent, frac: Decimal, rules: Instrument) -> Decimal | None:
    """Return the protective stop for an entry that names none."""
    price = intent.price if intent.price is not None else intent.ref_price
    return protective_stop(intent.side, price, frac, rules)


def stop_to_restore(
    qty: Decimal,
    entry: Decimal,
    mark: Decimal,
    wanted: Decimal | None,
    frac: Decimal | None,
    rules: Instrument,
) -> Decimal | None:
    """Return the stop for an open position of ``qty`` (signed) that has none; None if none is wanted.

    It is the wanted stop, or one ``frac`` from the entry, if the venue would take it; else ``frac`` from the
    mark.
    """
    side: Side = "Buy" if qty > ZERO else "Sell"
    if wanted is None and frac:
        wanted = protective_stop(side, entry, frac, rules)
    if wanted is not None and (wanted < mark if side == "Buy" else wanted > mark):
        return wanted
    return protective_stop(side, mark, frac, rules) if frac else wanted
