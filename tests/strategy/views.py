"""Builders: a view with defaults, and a small market."""

from collections.abc import Iterable
from math import nan

from bot.domain.market import Forecast
from bot.strategy import Strategy, Target, View
from tests.helpers import bar

CALM = 0.003**2
"""Hourly variance of 0.3 % an hour, about 28 % a year."""


def forecast(ret: float = 0.0, rv: float = CALM, **changes: float) -> Forecast:
    values = {"rv_60m": rv, "ret_15m": ret / 4, "ret_60m": ret}
    scales = {"rv_log_sd": 0.5, "ret_15m_scale": 0.001, "ret_60m_scale": 0.003}
    return Forecast(**(values | scales | changes))


def view(close: float = 100.0, index: int = 0, **changes: object) -> View:
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "bar": bar(index, close),
        "position": 0.0,
        "entry_price": nan,
        "equity": 10_000.0,
        "forecast": None,
        "warm": True,
        "round_trip_bps": 12.0,
        "bars_per_hour": 12.0,
        "bars_held": 0,
    }
    return View(**(values | changes))


def targets(strategy: Strategy, closes: Iterable[float], **changes: object) -> list[Target | None]:
    """Return the targets of each close if every target is reached at once."""
    seen = view(**changes)
    made = []
    for index, close in enumerate(closes):
        seen.bar = bar(index, close)
        made.append(strategy.on_bar(seen))
        if made[-1] is not None:
            seen.position = made[-1].qty
    return made
