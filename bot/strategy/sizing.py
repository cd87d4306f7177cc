"""From a wish to orders: rounding, minima, and the one order of steps through zero.

Rounding is always towards the smaller position, so no order leads beyond the target.
"""

from decimal import Decimal

from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to, to_decimal
from bot.domain.orders import Intent, Side
from bot.strategy.signal import Target


def to_intents(
    target: Target, *, position: Decimal, instrument: Instrument, ref_price: float, decided_ms: int
) -> tuple[Intent, ...]:
    """The orders from ``position`` (signed, base) to ``target``, in the order to judge and send them.

    Nothing when the step is below the instrument's minima; the whole position may always be closed. Less of
    the position and none of the other side is ``reduce_only``. Through zero takes two: the close of all,
    then the entry. An order above the venue's maximum is capped (the reason says so; the next bar asks for
    the rest), and while a close is capped no entry follows it.

    Raises:
        BadInput: ``ref_price`` is not positive and finite.
    """
    if not target.qty and not position:
        return ()
    wish = _towards_zero(to_decimal(target.qty), instrument.qty_step)
    if wish == position:
        return ()
    draft = _Draft(target, instrument, to_decimal(ref_price), decided_ms)
    turns = wish * position < ZERO
    if turns or abs(wish) < abs(position):
        close = draft.reduction(position, ZERO if turns else wish)
        if not turns or not close or close[0].qty < abs(position):
            return close
        return close + draft.entry(wish)
    return draft.entry(wish - position)


def round_stops(target: Target, side: Side, tick_size: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """(stop loss, take profit) of a position entered by ``side``, on the grid, rounded away from the price.

    A stop that rounds to 0 cannot be reached and becomes None.
    """
    down, up = target.stop_loss, target.take_profit
    if side == "Sell":
        down, up = up, down
    below = floor_to(to_decimal(down), tick_size) if down is not None else None
    above = ceil_to(to_decimal(up), tick_size) if up is not None else None
    below = below or None
    return (below, above) if side == "Buy" else (above, below)


class _Draft:
    """What all orders of one decision share."""

    def __init__(self, target: Target, instrument: Instrument, ref_price: Decimal, decided_ms: int) -> None:
        self.target = target
        self.instrument = instrument
        self.ref_price = ref_price
        self.decided_ms = decided_ms

    def reduction(self, position: Decimal, wish: Decimal) -> tuple[Intent, ...]:
        rules = self.instrument
        side: Side = "Sell" if position > ZERO else "Buy"
        qty = abs(position - wish)
        if wish:
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
        return (
            Intent(
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
            ),
        )


def _towards_zero(qty: Decimal, step: Decimal) -> Decimal:
    size = floor_to(abs(qty), step)
    return size if qty > ZERO else -size


def _passive(price: float | None, side: Side, tick_size: Decimal) -> Decimal | None:
    """Rounded to the side of the grid that does not cross: down for a buy, up for a sell."""
    if price is None:
        return None
    rounded = floor_to if side == "Buy" else ceil_to
    return rounded(to_decimal(price), tick_size)
