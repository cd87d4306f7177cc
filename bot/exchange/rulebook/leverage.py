"""The leverage that a symbol may have."""

from decimal import Decimal

from bot.domain.market import Instrument
from bot.exchange.rulebook import refusals
from bot.exchange.rulebook.admission import max_leverage
from bot.exchange.rulebook.refusals import Refusal

STEP = Decimal("0.01")
"""Step of every contract's leverage (``leverageFilter.leverageStep``)."""
OFF_STEP = Refusal(10001, f"params error: leverage is not a multiple of {STEP}")


def refuse(leverage: Decimal, position_value: Decimal, instrument: Instrument) -> Refusal | None:
    """Refuse leverage off its step, out of the instrument's range or above that of the position's tier."""
    if leverage % STEP:
        return OFF_STEP
    highest = max_leverage(position_value, instrument.tiers)
    if not 1 <= leverage <= instrument.max_leverage or highest is None or leverage > highest:
        return refusals.LEVERAGE_RANGE
    return None
