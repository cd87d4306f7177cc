"""From a target to intents: rounding, minima, and the order of steps when a position changes sides.

Rounding is always towards the smaller position, so no order goes beyond the target.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to, to_decimal
from bot.domain.orders import Intent, Side, Take
from bot.strategy.signal import Target

BPS_OF_ALL = 10_000
"""A distance of the whole price."""
_SAME_FRAC = 1e-9
"""A target this near to the position is the position: a strategy sees it as a float, which rounds."""
_AVERAGE_ERROR_TICKS = Decimal("1e-4")


def to_intents(
    target: Target, *, position: Decimal, instrument: Instrument, ref_price: float, decided_ms: int
) -> tuple[Intent, ...]:
    """Return the intents from ``position`` (signed, base) to ``target``, in the order to check and send them.

    Returns nothing if the change is below the instrument's minima. The whole position may always be closed.
    An intent that only makes the position smaller is ``reduce_only``. A change of side takes two intents:
    close everything, then enter. An order above the venue's maximum is capped; its reason says so, and the
    next bar asks for the rest. If a close is capped, no entry follows it.

    Raises:
        BadInput: ``ref_price`` is not positive and finite.
    """
    held = float(position)
    if abs(target.qty - held) <= _SAME_FRAC * abs(held):
        return ()
    wanted = _towards_zero(to_decimal(target.qty), instrument.qty_step)
    if wanted == position:
        return ()
    draft = _Draft(target, instrument, to_decimal(ref_price), decided_ms)
    turns = wanted * position < ZERO
    if turns or abs(wanted) < abs(position):
        close = draft.reduction(position, ZERO if turns else wanted)
        if not turns or not close or close[0].qty < abs(position):
            return close
        return close + draft.entry(wanted)
    return draft.entry(wanted - position)


def round_stops(target: Target, side: Side, tick_size: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Return (stop loss, take profit) on the tick grid for a position entered by ``side``.

    Prices are rounded away from the market. A stop that rounds to 0 cannot be reached and becomes None.
    """
    stop_loss = None if target.stop_loss is None else to_decimal(target.stop_loss)
    take_profit = None if target.take_profit is None else to_decimal(target.take_profit)
    return stops_on_grid(stop_loss, take_profit, side, tick_size)


def stops_on_grid(
    stop_loss: Decimal | None, take_profit: Decimal | None, side: Side, tick_size: Decimal
) -> tuple[Decimal | None, Decimal | None]:
    """Return both prices of a position entered by ``side`` on the tick grid, as ``round_stops`` does."""
    down, up = (stop_loss, take_profit) if side == "Buy" else (take_profit, stop_loss)
    below = None if down is None else floor_to(down, tick_size) or None
    above = None if up is None else ceil_to(up, tick_size)
    return (below, above) if side == "Buy" else (above, below)


def round_takes(target: Target, side: Side, tick_size: Decimal) -> tuple[Take, ...] | None:
    """Return a target's takes on the tick grid for a position entered by ``side``, the nearest first.

    Prices are rounded away from the market; parts that then have one price become one. Distances stay: their
    prices are known after the fill. None if the target names no takes.
    """
    if target.takes_bps is not None:
        return _at_distances(target.takes_bps, side)
    if target.takes is None:
        return None
    named = sorted(target.takes, reverse=side == "Sell")
    return takes_on_grid(
        [Take(to_decimal(price), to_decimal(part)) for price, part in named], side, tick_size
    )


def takes_on_grid(takes: Iterable[Take], side: Side, tick_size: Decimal) -> tuple[Take, ...]:
    """Return takes, the nearest first, with their prices on the tick grid; distances stay as they are."""
    made: dict[tuple[Decimal | None, Decimal | None], Take] = {}
    for take in takes:
        price = take.price
        if price is not None:
            price = (ceil_to if side == "Buy" else floor_to)(price, tick_size)
            if not price:
                continue
        there = made.get((price, take.away_bps))
        part = take.part_frac + (ZERO if there is None else there.part_frac)
        made[price, take.away_bps] = Take(price, part, take.away_bps)
    return tuple(made.values())


def _at_distances(takes: tuple[tuple[float, float], ...], side: Side) -> tuple[Take, ...]:
    """Return takes as distances, the nearest first; none of a short position where the price would be 0."""
    parts: dict[Decimal, Decimal] = {}
    for away_bps, part in sorted(takes):
        if side == "Buy" or away_bps < BPS_OF_ALL:
            at = to_decimal(away_bps)
            parts[at] = parts.get(at, ZERO) + to_decimal(part)
    return tuple(Take(None, part, away_bps) for away_bps, part in parts.items())


def take_price(away_bps: Decimal, side: Side, entry_price: Decimal, tick_size: Decimal) -> Decimal:
    """Return the price of a take at a distance from the average entry price of a position.

    It is rounded away from the entry, so that a take never closes nearer than it was asked to. An average has
    rounding errors far below a tick; they are dropped first, as they would cost a tick.
    """
    signed = away_bps if side == "Buy" else -away_bps
    exact = entry_price * (1 + signed / BPS_OF_ALL)
    if tick_size:
        exact = exact.quantize(tick_size * _AVERAGE_ERROR_TICKS)
    return max((ceil_to if side == "Buy" else floor_to)(exact, tick_size), tick_size)


class _Draft:
    """The values that all intents of one decision share."""

    def __init__(self, target: Target, instrument: Instrument, ref_price: Decimal, decided_ms: int) -> None:
        self.target = target
        self.instrument = instrument
        self.ref_price = ref_price
        self.decided_ms = decided_ms

    def reduction(self, position: Decimal, wanted: Decimal) -> tuple[Intent, ...]:
        rules = self.instrument
        side: Side = "Sell" if position > ZERO else "Buy"
        qty = abs(position - wanted)
        if wanted:
            qty = floor_to(qty, rules.qty_step)
            if qty < rules.min_qty or not qty:
                return ()
        return self._intent(side, qty, reduce_only=True)

    def entry(self, step: Decimal) -> tuple[Intent, ...]:
        rules = self.instrument
        side: Side = "Buy" if step > ZERO else "Sell"
        qty = floor_to(abs(step), rules.qty_step)
        if not qty or qty < rules.min_qty:
            return ()
        made = self._intent(side, qty, reduce_only=False)
        return made if made and made[0].notional_quote >= rules.min_notional_quote else ()

    def _intent(self, side: Side, qty: Decimal, *, reduce_only: bool) -> tuple[Intent, ...]:
        target, rules = self.target, self.instrument
        price = _passive(target.limit_price, side, rules.tick_size)
        if price is not None and not price:
            return ()
        largest = rules.max_market_qty if price is None else rules.max_qty
        capped = qty > largest
        qty = floor_to(largest, rules.qty_step) if capped else qty
        if not qty:
            return ()
        stops = (None, None) if reduce_only else round_stops(target, side, rules.tick_size)
        intent = Intent(
            symbol=rules.symbol,
            side=side,
            qty=qty,
            ref_price=self.ref_price,
            decided_ms=self.decided_ms,
            order_type="Market" if price is None else "Limit",
            price=price,
            time_in_force="IOC" if price is None else "GTC",
            reduce_only=reduce_only,
            stop_loss=stops[0],
            take_profit=stops[1],
            reason=f"{target.reason} (capped)".lstrip() if capped else target.reason,
        )
        if target.trailing_stop is not None and not reduce_only:
            intent = _trailing(intent, target, rules)
        takes = None if reduce_only else round_takes(target, side, rules.tick_size)
        return (intent if takes is None else msgspec.structs.replace(intent, takes=takes),)


def _trailing(entry: Intent, target: Target, rules: Instrument) -> Intent:
    """Give an entry the target's trailing stop, and a fixed one if it names none and nothing waits."""
    assert target.trailing_stop is not None, "only called for a target that has one"
    distance, begins = to_decimal(target.trailing_stop), target.trailing_from
    stop = entry.stop_loss
    if stop is None and begins is None:
        price = entry.price if entry.price is not None else entry.ref_price
        if entry.side == "Buy":
            stop = floor_to(max(price - distance, ZERO), rules.tick_size) or None
        else:
            stop = ceil_to(price + distance, rules.tick_size)
    return msgspec.structs.replace(
        entry,
        stop_loss=stop,
        trailing_stop=distance,
        trailing_from=None if begins is None else to_decimal(begins),
    )


def _towards_zero(qty: Decimal, step: Decimal) -> Decimal:
    size = floor_to(abs(qty), step)
    return size if qty > ZERO else -size


def _passive(price: float | None, side: Side, tick_size: Decimal) -> Decimal | None:
    """Round a price to the side of the grid that does not cross: down for a buy, up for a sell."""
    if price is None:
        return None
    rounded = floor_to if side == "Buy" else ceil_to
    return rounded(to_decimal(price), tick_size)
