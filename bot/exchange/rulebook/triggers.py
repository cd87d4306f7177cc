"""Orders that wait for a price: on which side a trigger may lie, when it is reached, how a stop trails."""

from decimal import Decimal

from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.exchange.orders import ExchangeOrder
from bot.exchange.rulebook.price_band import in_range
from bot.exchange.rulebook.refusals import Refusal

RISE, FALL = 1, 2
"""``triggerDirection``."""


def refuse(
    direction: int, trigger: Decimal, trigger_by: str, current: Decimal | None, instrument: Instrument
) -> Refusal | None:
    """Refuse a rising trigger at or below the current price (110092), a falling one at or above (110093).

    ``direction`` 0 fits either side. ``current`` is None while that price is not known yet.
    """
    if current is None:
        return Refusal(10001, f"params error: no {trigger_by} yet")
    off_grid = in_range(trigger, instrument)
    if off_grid is not None:
        return off_grid
    if direction not in (0, RISE, FALL):
        return Refusal(10001, "params error: triggerDirection invalid")
    if direction == RISE and trigger <= current:
        return Refusal(
            110092, f"expect Rising, but trigger_price[{trigger}] <= current[{current}]??{trigger_by}"
        )
    if direction == FALL and trigger >= current:
        return Refusal(
            110093, f"expect Falling, but trigger_price[{trigger}] >= current[{current}]??{trigger_by}"
        )
    return None


def direction_of(direction: int, trigger: Decimal | None, current: Decimal | None) -> int:
    """The direction of a trigger; if the order gives none, a trigger above the price waits for a rise."""
    if direction or trigger is None:
        return direction
    return RISE if current is not None and trigger > current else FALL


def is_reached(order: ExchangeOrder, price: Decimal) -> bool:
    """Whether ``price`` fires a waiting order; a touch is enough. An inactive trailing stop never fires."""
    if order.active_price:
        return False
    if order.trigger_direction == RISE:
        return price >= order.trigger_price
    return price <= order.trigger_price


def behind(order: ExchangeOrder, price: Decimal) -> Decimal:
    """Return the trigger price of a trailing stop whose best price is ``price``."""
    if order.trigger_direction == FALL:
        return price - order.trailing_quote
    return price + order.trailing_quote


def is_ahead(order: ExchangeOrder, price: Decimal) -> bool:
    """Return True if a trailing stop that follows would move at ``price``."""
    to = behind(order, price)
    return to > order.trigger_price if order.trigger_direction == FALL else to < order.trigger_price


def trail(order: ExchangeOrder, price: Decimal) -> bool:
    """Let a trailing stop follow a trade at ``price``; True if it became active or its trigger moved."""
    falls = order.trigger_direction == FALL
    if order.active_price:
        if price < order.active_price if falls else price > order.active_price:
            return False
        order.active_price = ZERO
    elif not is_ahead(order, price):
        return False
    order.trigger_price = behind(order, price)
    return True
