"""Numbers of alerts as people write them."""

from decimal import Decimal


def plain(value: Decimal) -> str:
    """Return a quantity or price without an exponent and without trailing zeros: ``97123.4``."""
    return format(value.normalize(), "f") if value else "0"


def signed(value: Decimal | float) -> str:
    """Return an amount of money with its sign and two decimals: ``+41.20``, ``-3.50``, ``+1,234.00``."""
    return f"{value:+,.2f}"
