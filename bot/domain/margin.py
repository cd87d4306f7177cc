"""Maintenance margin, and the price at which an isolated position is liquidated. Pure.

Both are Bybit's formulas for linear contracts; the venue and the risk checks share them.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

from bot.domain.ledger import Position
from bot.domain.market import RiskTier
from bot.domain.money import ZERO

Number = TypeVar("Number", float, Decimal)
Tiers = list[tuple[Decimal, Decimal, Decimal]]
"""(limit, maintenance fraction, deduction), rising."""


def exact_tiers(tiers: Iterable[RiskTier]) -> Tiers:
    """Return risk tiers as (limit, maintenance fraction, deduction)."""
    return [(each.limit_quote, each.maintenance_frac, each.deduction_quote) for each in tiers]


def maintenance(value: Number, tiers: Sequence[tuple[Number, Number, Number]]) -> Number:
    """Maintenance margin without fees: value × fraction − deduction of the first tier that holds ``value``.

    ``tiers`` are (limit, fraction, deduction), rising; a value above the last limit takes the last tier.
    """
    for limit, fraction, deduction in tiers:
        if value <= limit:
            return value * fraction - deduction
    return value * tiers[-1][1] - tiers[-1][2]


def liquidation_price(
    position: Position, leverage: Decimal, tiers: Tiers, added_quote: Decimal = ZERO
) -> Decimal | None:
    """Isolated: entry ∓ (initial + added margin − maintenance) / size, at the entry value without fees.

    The fee to close is in both margins and cancels. None when flat.
    """
    if not position.qty:
        return None
    value = abs(position.entry_value)
    room = value / leverage - maintenance(value, tiers) + added_quote
    return (position.entry_value - room) / position.qty
