"""Numbers of alerts as people write them."""

from decimal import Decimal


def signed(value: Decimal | float) -> str:
    """Return an amount of money with its sign and two decimals: ``+41.20``, ``-3.50``, ``+1,234.00``."""
    return f"{value:+,.2f}"
