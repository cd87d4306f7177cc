"""What a strategy sees and what it may wish for.

A strategy is any object with ``on_bar(view) -> Target | None``; one instance per symbol. That is all::

    class Momentum:
        \"\"\"Long after a rise, flat after a fall.\"\"\"

        def __init__(self, size: float = 1.0) -> None:
            self.size = size
            self.last = 0.0

        def on_bar(self, view: View) -> Target | None:
            rising, self.last = view.bar.close > self.last, view.bar.close
            return Target(self.size if rising else 0.0)

A class that wants forecasts says ``needs_forecast = True``; the engine then runs the model for it.
"""

from math import inf
from typing import Protocol

import msgspec

from bot.domain.errors import BadInput
from bot.domain.market import Bar, Forecast


class View(msgspec.Struct):
    """The world of one symbol at the close of ``bar``. The engine reuses it: read it, do not keep it."""

    symbol: str
    bar: Bar
    position: float
    """Signed, in base; short is negative."""
    entry_price: float
    """Average, in quote per base; NaN when flat."""
    equity: float
    """Of the account, in quote."""
    forecast: Forecast | None
    """None when the strategy asked for none, the model is not warm or its output was not finite."""
    warm: bool
    """Whether forecasts no longer depend on where history began."""
    round_trip_bps: float
    """Fees and spread for getting in and out again, of the position's value."""
    bars_per_hour: float
    bars_held: int
    """Bars since the position was last flat or changed sides; 0 when flat."""

    def worth(self, leverage: float) -> float:
        """Base quantity worth ``leverage`` × equity at this close; 0 when there is no equity."""
        return leverage * self.equity / self.bar.close if 0.0 < self.equity < inf else 0.0


class Target(msgspec.Struct, frozen=True):
    """The position that is wished for after this bar. None instead of a target keeps what is.

    ``qty`` is signed, in base. ``limit_price`` makes the order rest there instead of crossing;
    ``stop_loss`` and ``take_profit`` are prices the venue watches. ``reason`` explains the wish, above
    all why to be flat (``cold``, ``no_signal``, ``cost``); reports count it.

    Raises:
        BadInput: a quantity that is not finite or a price that is not finite and positive.
    """

    qty: float
    reason: str = ""
    limit_price: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None

    def __post_init__(self) -> None:
        if not -inf < self.qty < inf:
            raise BadInput(f"a target quantity must be finite, was {self.qty}")
        for name in ("limit_price", "stop_loss", "take_profit"):
            price = getattr(self, name)
            if price is not None and not 0.0 < price < inf:
                raise BadInput(f"a target's {name} must be positive and finite, was {price}")


class Strategy(Protocol):
    """Turns what is known at a close into a wish."""

    def on_bar(self, view: View) -> Target | None:
        """Called once for each closed bar, in order; None keeps the position as it is."""
