"""What a strategy's class declares about the past that it needs: ``longer_bars`` and ``volatility_hours``."""

from bot.strategy.longer import longer_bars, longer_warmup_bars
from bot.strategy.sized import trailing_volatility, volatility_warmup_bars


def declared_warmup_bars(strategy: object, interval_ms: int) -> int:
    """Return after how many bars all is known that a strategy, or its class, declares."""
    return max(longer_warmup_bars(strategy, interval_ms), volatility_warmup_bars(strategy, interval_ms))


def check_declared(strategy: object, interval_ms: int) -> None:
    """Refuse what cannot be made from bars of this length.

    Raises:
        BadUsage: a length, or hours, that cannot be.
    """
    longer_bars(strategy, interval_ms)
    trailing_volatility(strategy, interval_ms)
