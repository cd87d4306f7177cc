"""Strategies for comparison: moving-average cross, mean reversion, buy and hold, no position, random.

No baseline asks the model. ``leverage`` is the position's value over equity.
"""

from math import ceil, copysign, inf, isfinite, log, log10, sqrt
from typing import Any

from bot.domain.errors import BadInput, BadUsage
from bot.strategy.signal import Target, View

_FLAT = Target(0.0)
_COLD = Target(0.0, "cold")
_NO_SIGNAL = Target(0.0, "no_signal")
_MASK = 2**64 - 1


class EmaCross:
    """Long ``size`` base after the fast EMA crosses above the slow EMA, flat after it crosses below.

    Without a ``size``: 1; of a coin below 10 quote 10, 100, …, so that the order is worth at least 10 quote
    and no venue's minimum refuses it; at most what the equity is worth, so that limits allow it.

    EMA without adjustment, alpha = 2 / (n + 1), seeded with the first close. The cross is strict: below on
    the bar before and above now; equal values are no cross.
    """

    def __init__(self, fast: int = 12, slow: int = 26, size: float | None = None) -> None:
        if not (0 < fast < slow and (size is None or (isfinite(size) and size > 0))):
            raise BadUsage(f"ema_cross needs 0 < fast < slow and size > 0; were {fast}, {slow}, {size}")
        self._fast_alpha = 2.0 / (fast + 1)
        self._slow_alpha = 2.0 / (slow + 1)
        self._size = size
        self._flat = Target(0.0, "cross_down")
        self._fast: float | None = None
        self._slow = 0.0
        self._gap = 0.0

    def on_bar(self, view: View) -> Target | None:
        """Return a target if the averages cross at this close."""
        close = view.bar.close
        fast = self._fast
        if fast is None:
            self._fast = self._slow = close
            return None
        slow = self._slow
        self._fast = fast = fast + self._fast_alpha * (close - fast)
        self._slow = slow = slow + self._slow_alpha * (close - slow)
        before = self._gap
        self._gap = gap = fast - slow
        if before < 0.0 < gap:
            return Target(self._size or _one_or_more(view), "cross_up")
        if gap < 0.0 < before:
            return self._flat
        return None

    def state(self) -> list[float | None]:
        """Return both averages and their distance at the last close."""
        return [self._fast, self._slow, self._gap]

    def restore(self, state: tuple[float | None, float, float]) -> None:
        """Take over what ``state`` returned."""
        self._fast, self._slow, self._gap = state


_WORTH_QUOTE = 10.0
"""Least value of an entry of ``EmaCross``; twice the minimum of Bybit's contracts."""


def _one_or_more(view: View) -> float:
    close = view.bar.close
    size = 10.0 ** max(0, ceil(log10(_WORTH_QUOTE / close)))
    worth = view.worth(1.0)
    return min(size, worth) if worth > 0.0 else size


class MeanReversion:
    """Trades against the last move: short after a rise of ``entry_z`` deviations, long after such a fall.

    The move is the log return over ``lookback`` bars. Its deviation is √(``lookback`` × variance), where
    variance is the exponential mean of squared 1-bar returns over ``vol_bars`` bars, without the current bar.
    Closes the position when the move is within ``exit_z`` deviations.
    """

    def __init__(
        self,
        lookback: int = 12,
        vol_bars: int = 288,
        entry_z: float = 2.0,
        exit_z: float = 0.5,
        leverage: float = 1.0,
    ) -> None:
        if not (lookback > 0 and vol_bars > 0 and 0 <= exit_z < entry_z and 0 < leverage < inf):
            raise BadUsage("mean_reversion needs lookback, vol_bars, leverage > 0 and 0 <= exit_z < entry_z")
        self._alpha = 2.0 / (vol_bars + 1)
        self._warmup = max(lookback, vol_bars)
        self._entry_z, self._exit_z, self._leverage = entry_z, exit_z, leverage
        self._prices = [0.0] * lookback
        self._bars = 0
        self._variance = 0.0

    def on_bar(self, view: View) -> Target | None:
        """Return a target if the move is far enough or has ended."""
        price, at = log(view.bar.close), self._bars % len(self._prices)
        before, last = self._prices[at], self._prices[at - 1]
        self._prices[at] = price
        self._bars += 1
        variance = self._variance
        if self._bars > 1:
            self._variance += self._alpha * ((price - last) ** 2 - variance)
        if self._bars <= self._warmup or not variance > 0.0:
            return _COLD
        z = (price - before) / sqrt(variance * len(self._prices))
        if abs(z) > self._entry_z and view.position * z >= 0.0:
            return Target(-copysign(view.worth(self._leverage), z), "stretched")
        if abs(z) < self._exit_z:
            return _NO_SIGNAL
        return None

    def state(self) -> dict[str, Any]:
        """Return the log prices of ``lookback`` bars, the number of bars seen, and the variance."""
        return {"prices": self._prices, "bars": self._bars, "variance": self._variance}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned.

        Raises:
            BadInput: the state is of another ``lookback``.
        """
        prices = list(state["prices"])
        if len(prices) != len(self._prices):
            raise BadInput(f"the state is of lookback {len(prices)}, this strategy's is {len(self._prices)}")
        self._prices, self._bars, self._variance = prices, state["bars"], state["variance"]


class BuyAndHold:
    """Buys once, for ``leverage`` times equity, and keeps the position."""

    def __init__(self, leverage: float = 1.0) -> None:
        if not 0.0 < leverage < inf:
            raise BadUsage(f"buy_and_hold needs leverage > 0, was {leverage}")
        self._leverage = leverage
        self._held = False

    def on_bar(self, view: View) -> Target | None:
        """Return the same target until the position exists, then None."""
        self._held = self._held or view.position != 0.0
        if self._held:
            return None
        return Target(view.worth(self._leverage), "hold")

    def state(self) -> bool:
        """Return whether the position existed."""
        return self._held

    def restore(self, state: bool) -> None:
        """Take over what ``state`` returned."""
        self._held = state


class Flat:
    """Never holds a position: the result of doing nothing."""

    def on_bar(self, view: View) -> Target | None:
        """Return a flat target."""
        return _FLAT

    def state(self) -> None:
        """Return None: no decision depends on earlier bars."""

    def restore(self, state: None) -> None:
        """Do nothing: there is nothing to remember."""


class RandomSignal:
    """Goes long or short at random every ``hold_bars`` bars: a control without skill.

    The side is a hash of ``seed``, the symbol and the bar's time (SplitMix64; Steele, Lea and Flood 2014), so
    the same data give the same trades. A profit before costs is luck; after costs the strategy must lose.
    """

    def __init__(self, seed: int = 1, hold_bars: int = 12, leverage: float = 1.0) -> None:
        if not (hold_bars > 0 and 0.0 < leverage < inf):
            raise BadUsage(f"random needs hold_bars > 0 and leverage > 0, were {hold_bars}, {leverage}")
        self._seed, self._hold_bars, self._leverage = seed, hold_bars, leverage

    def on_bar(self, view: View) -> Target | None:
        """Return a new random side at every ``hold_bars``-th bar since 1970."""
        bar = view.bar
        turn, rest = divmod(bar.start_ms // bar.interval_ms, self._hold_bars)
        if rest:
            return None
        symbol = int.from_bytes(bar.symbol.encode())
        heads = _splitmix64(_splitmix64(self._seed ^ symbol) ^ turn) >> 63
        qty = view.worth(self._leverage)
        return Target(qty if heads else -qty, "coin")

    def state(self) -> None:
        """Return None: no decision depends on earlier bars."""

    def restore(self, state: None) -> None:
        """Do nothing: there is nothing to remember."""


def _splitmix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
