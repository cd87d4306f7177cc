"""Strategies of the recovery tests."""

from collections import deque
from collections.abc import Mapping

import numpy as np

from bot.features.indicators import close, ema, past, sma
from bot.strategy.portfolio import PortfolioView
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


class Declares:
    """Long while the close is above the mean of the last five, and has risen since; all of it declared."""

    indicators: Mapping[str, object] = {"mean": sma(close, 5), "rise": past(np.ptp, 3), "far": ema(close, 8)}

    def on_bar(self, view: View) -> Target | None:
        ind = view.ind
        if ind["mean"] != ind["mean"] or ind["far"] != ind["far"]:
            return None
        return Target(1.0 if min(view.bar.close - ind["mean"], ind["rise"]) > 0.0 else 0.0)


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


class ForgetsAll:
    """``Forgets`` for all symbols of a close."""

    def __init__(self) -> None:
        self.each: dict[str, Forgets] = {}

    def on_close(self, view: PortfolioView) -> dict[str, Target | None]:
        return {
            symbol: self.each.setdefault(symbol, Forgets()).on_bar(seen)
            for symbol, seen in view.closed.items()
        }


class KeepsAll(ForgetsAll):
    """The same with a state; enters only after a longer bar that rose."""

    longer_bars = ("5m", "15m")

    def on_close(self, view: PortfolioView) -> dict[str, Target | None]:
        made = super().on_close(view)
        for symbol, seen in view.closed.items():
            longer = seen.longer["5m"]
            if longer is not None and longer.close < longer.open and not seen.position:
                made[symbol] = None
        return made

    def state(self) -> dict[str, list[float]]:
        return {symbol: list(each.closes) for symbol, each in self.each.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        for symbol, closes in state.items():
            self.each.setdefault(symbol, Forgets()).closes.extend(closes)
