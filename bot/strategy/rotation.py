"""One strategy for many symbols, complete: the example of ``bot help strategy``."""

from bot.strategy import PortfolioView, Target

DAY_MS = 86_400_000


class Rotation:
    """Once a day, equal parts of the equity in the symbols that rose most; nothing in what fell."""

    def __init__(self, days: int = 10, hold: int = 2) -> None:
        self.days, self.hold = days, hold
        self.closes: dict[str, list[float]] = {}

    def on_close(self, view: PortfolioView) -> dict[str, Target]:
        """Return the positions wanted after this close; a symbol without a target keeps its own."""
        if view.close_ms % DAY_MS:
            return {}
        rises = {}
        for symbol, bar in view.bars.items():
            seen = self.closes[symbol] = [*self.closes.get(symbol, []), bar.close][-self.days - 1 :]
            if len(seen) > self.days and seen[-1] > seen[0]:
                rises[symbol] = seen[-1] / seen[0]
        best = sorted(rises, key=lambda symbol: rises[symbol])[-self.hold :]
        parts = {symbol: 1 / self.hold if symbol in best else 0.0 for symbol in view.closed}
        return {symbol: Target.fraction(part, "rank") for symbol, part in parts.items()}
