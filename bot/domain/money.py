"""The only crossing from float (marks, features, targets) to Decimal (orders, fills, cash, limits)."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.domain.errors import BadInput

ZERO = Decimal(0)
_MONEY_STEP = Decimal("1e-12")


def to_decimal(value: float) -> Decimal:
    """Return the shortest decimal that reads back as ``value``: 0.1 becomes 0.1, not 0.1000000000000000055.

    Raises:
        BadInput: ``value`` is NaN or infinite; such a number never becomes money.
    """
    if not math.isfinite(value):
        raise BadInput(f"a price or quantity must be finite, was {value!r}")
    return Decimal(repr(float(value)))


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of ``step`` that is <= ``value``. If ``step`` is 0: ``value``."""
    if not step:
        return value
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of ``step`` that is >= ``value``. If ``step`` is 0: ``value``."""
    if not step:
        return value
    return (value / step).to_integral_value(ROUND_CEILING) * step


def plain(value: Decimal) -> str:
    """Write every digit of a number, without exponent and trailing zeros: 0.100 and 0.1 are both ``0.1``."""
    return format(value.normalize(), "f") if value else "0"


def plain_or_none(value: Decimal | None) -> str | None:
    """Write a number that may be unknown or absent; None stays None."""
    return None if value is None else plain(value)


def to_money(amount: Decimal) -> Decimal:
    """Round an amount of quote currency to a multiple of 1e-12.

    A product of two 17-digit numbers, or a quotient, does not fit a decimal of 28 digits. An amount that is
    rounded once, where it is made, can afterwards be added and subtracted exactly (up to 1e16).
    """
    rounded = amount.quantize(_MONEY_STEP)
    return amount if rounded == amount else rounded
