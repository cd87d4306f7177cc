"""The strategy of the crash cases, copied beside the daemon: it wants one position, always the same."""

from math import ceil, floor

from bot.strategy.signal import Target, View

QTY = 0.1
TAKES = (1.02, 1.04)
"""At which parts of the close a half of a position is taken; the market does not come there by itself."""


class Acts:
    """Buys ``qty`` of BTC. ``how``: at once; ``rest`` below the market; ``part`` at most 1 % above it.

    ``take`` buys once, at once, and names two takes.
    """

    def __init__(self, how: str = "at_once", qty: float = QTY) -> None:
        self.how, self.qty = how, qty

    def on_bar(self, view: View) -> Target | None:
        """Return the same target at each close; its price is a round one, so that it seldom moves."""
        if self.how == "take":
            return None if view.position else self.taking(view.bar.close)
        thousands = view.bar.close / 1000.0
        price = {"at_once": None, "rest": floor(thousands) - 2.0, "part": ceil(thousands * 1.001)}[self.how]
        return Target(self.qty, limit_price=None if price is None else price * 1000.0)

    def taking(self, close: float) -> Target:
        """Return an entry with two takes."""
        return Target(self.qty, takes=tuple((close * part, 0.5) for part in TAKES))

    def state(self) -> None:
        """Return nothing: each close says all."""

    def restore(self, state: None) -> None:
        """Take nothing over."""


class Requotes:
    """Rests below the market, at another price each close: each close cancels and places."""

    def on_bar(self, view: View) -> Target | None:
        """Return a target with the price of this close."""
        return Target(view.worth(0.05), limit_price=view.bar.close * 0.985)

    def state(self) -> None:
        """Return nothing: each close says all."""

    def restore(self, state: None) -> None:
        """Take nothing over."""
