"""The stop that rests at the venue when a strategy names none: prices only. Pure.

A dead bot must not leave a naked position, and Bybit's disconnect protection is not for retail accounts.
"""

from decimal import Decimal

from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to
from bot.domain.orders import Intent, Side

TRIES_MAX = 5
"""Stops sent in a row without one being seen at the venue, before entries cease."""
STOP_WAY_MS = 500
"""How long a stop may take to the venue and back before another is sent."""


def protective_stop(side: Side, price: Decimal, frac: Decimal, rules: Instrument) -> Decimal | None:
    """The stop loss of a position entered by ``side`` at ``price``: at most ``frac`` away, on the grid.

    Rounded towards the price, so the loss is never above ``frac``; if that meets the price, away from it.
    None where the instrument's price range has no room on that side.
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


def stop_of(intent: Intent, frac: Decimal, rules: Instrument) -> Decimal | None:
    """The protective stop an entry gets that names none."""
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
    """The stop an open position of ``qty`` (signed) should get now that it has none; None: none is wanted.

    What was wanted, or ``frac`` from the entry, if the venue would take it; else ``frac`` from the mark.
    """
    side: Side = "Buy" if qty > ZERO else "Sell"
    if wanted is None and frac:
        wanted = protective_stop(side, entry, frac, rules)
    if wanted is not None and (wanted < mark if side == "Buy" else wanted > mark):
        return wanted
    return protective_stop(side, mark, frac, rules) if frac else wanted
