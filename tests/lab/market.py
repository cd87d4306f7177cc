"""Candles and a strategy of a user, for the tests of ``import bot``."""

from collections import deque

import numpy as np
import pyarrow as pa

from bot.adapters.files.candles import Candles
from bot.domain.market import MINUTE_MS
from bot.strategy import Target, View

T0 = 1_735_689_600_000
FIVE = 5 * MINUTE_MS


def candles(bars: int = 1500, symbol: str = "BTCUSDT", seed: int = 1) -> Candles:
    rng = np.random.default_rng(seed)
    close = np.round(50_000.0 * np.exp(np.cumsum(rng.normal(0, 0.003, bars))), 1)
    opened = np.append(50_000.0, close[:-1])
    high, low = np.maximum(opened, close) + 20.0, np.minimum(opened, close) - 20.0
    rows = np.column_stack([opened, high, low, close, rng.gamma(2.0, 300.0, bars)])
    return Candles.make(symbol, FIVE, T0 + FIVE * np.arange(bars, dtype=np.int64), rows)


def part(whole: Candles, first: int, last: int) -> Candles:
    rows = slice(first, last)
    return Candles.make(
        whole.symbol, whole.interval_ms, whole.start_ms[rows], whole.ohlcv[rows], whole.turnover[rows]
    )


def renamed(whole: Candles, **names: str) -> pa.Table:
    table = whole.to_arrow()
    return table.rename_columns([names.get(name, name) for name in table.column_names])


class Breakout:
    """Long above the highest close of the last bars, flat below the lowest."""

    def __init__(self, bars: int = 48, leverage: float = 0.5) -> None:
        self.closes: deque[float] = deque(maxlen=bars)
        self.leverage = leverage

    def on_bar(self, view: View) -> Target | None:
        close, seen = view.bar.close, self.closes
        target = None
        if len(seen) == seen.maxlen:
            if close > max(seen) and not view.position:
                target = Target(view.worth(self.leverage), "breakout", stop_loss=0.97 * close)
            elif close < min(seen):
                target = Target(0.0, "breakdown")
        seen.append(close)
        return target


class Broken:
    def on_bar(self, view: View) -> Target | None:
        raise ZeroDivisionError("once")
