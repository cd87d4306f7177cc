"""Strategies of the recovery tests."""

from collections import deque

from bot.strategy.signal import Target, View

POISON_MS = -1


class Rests:
    """Buys with a limit below the market, so that its order rests."""

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0, limit_price=view.bar.close * 0.97) if not view.position else None

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass


class Forgets:
    """Long while the close is above the mean of the last five; has no state of its own."""

    def __init__(self) -> None:
        self.closes: deque[float] = deque(maxlen=5)

    def on_bar(self, view: View) -> Target | None:
        self.closes.append(view.bar.close)
        if len(self.closes) < 5:
            return None
        return Target(1.0 if view.bar.close > sum(self.closes) / 5 else 0.0)


class Fragile:
    """Holds 1; divides by zero at one close."""

    def on_bar(self, view: View) -> Target | None:
        if view.bar.close_ms == POISON_MS:
            raise ZeroDivisionError("a bug")
        return Target(1.0)

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass
