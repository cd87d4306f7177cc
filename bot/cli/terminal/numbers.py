"""Numbers as people write them: money with two decimals, prices with as many digits as tell, shares as %."""

from collections.abc import Mapping
from decimal import Decimal
from math import floor, isfinite, log10

from bot.domain.words import counted

UNKNOWN = "?"
_DIGITS = 7
"""Significant digits of a price that is a float: those of an average go on for ever."""
Number = float | Decimal | str | None


def money(value: Number, *, signed: bool = False) -> str:
    """Return an amount of quote currency: ``10,023.45``, ``+12.30``; ``?`` if it is unknown."""
    number = _float(value)
    return UNKNOWN if number is None else f"{_no_minus_zero(number, 2):{'+' if signed else ''},.2f}"


def price(value: Number) -> str:
    """Return a price: ``97,123.4``, ``0.00001234568``. A Decimal, or a text, keeps all its digits."""
    if isinstance(value, Decimal | str):
        return quantity(value)
    number = _float(value)
    if number is None:
        return UNKNOWN
    if number == 0.0:
        return "0"
    decimals = max(0, _DIGITS - 1 - floor(log10(abs(number))))
    return _plain(f"{number:,.{decimals}f}")


def quantity(value: Number) -> str:
    """Return a quantity with all its digits and no exponent: ``0.012``, ``1,500``."""
    if value is None:
        return UNKNOWN
    return _plain(f"{Decimal(str(value)):,f}")


def percent(value: Number, *, signed: bool = False) -> str:
    """Return a fraction as a percentage: ``2.35 %``."""
    number = _float(value)
    return UNKNOWN if number is None else f"{_no_minus_zero(number * 100, 2):{'+' if signed else ''}.2f} %"


def span(ms: float) -> str:
    """Return a span of time to the second, ``0:31``, ``12:05``, ``3:00:00``; a negative one is 0:00."""
    minutes, seconds = divmod(max(0, round(ms / 1000.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _float(value: Number) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if isfinite(number) else None


def _no_minus_zero(value: float, decimals: int) -> float:
    """Return the rounded value, so that nobody reads ``-0.00``."""
    return round(value, decimals) + 0.0


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def counts(told: Mapping[str, object], *nouns: str) -> str:
    """Return counts of a record in words, ``1 bar, 2,000 orders``; each stands there under its plural."""
    return ", ".join(counted(int(str(told[f"{noun}s"])), noun) for noun in nouns)
