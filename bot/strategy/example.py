"""A strategy of one's own, complete: the example of the README and of ``bot help strategy``."""

from collections import deque

from bot.strategy import Target, View


class Breakout:
    """Long above the highest close of the last bars, flat below the lowest; half the equity."""

    def __init__(self, bars: int = 48, leverage: float = 0.5) -> None:
        self.closes: deque[float] = deque(maxlen=bars)
        self.leverage = leverage

    def on_bar(self, view: View) -> Target | None:
        """Return the position that is wanted after this bar; None keeps the one that is held."""
        close, seen = view.bar.close, self.closes
        target = None
        if len(seen) == seen.maxlen:
            if close > max(seen) and not view.position:
                target = Target(view.worth(self.leverage), "breakout", stop_loss=0.97 * close)
            elif close < min(seen):
                target = Target(0.0, "breakdown")
        seen.append(close)
        return target
