"""Candle series with everything that breaks indicators, and functions to run one operator on them."""

from dataclasses import dataclass, replace

import numpy as np

from bot.features import matrix
from bot.features.ops import Op
from bot.features.spec import FeatureSet

M5 = 300_000
H4 = 14_400_000
H8 = 2 * H4


@dataclass(frozen=True)
class Series:
    start_ms: np.ndarray
    ohlcv: np.ndarray
    funding_ms: np.ndarray
    rates: np.ndarray

    def __getitem__(self, part: slice) -> "Series":
        return replace(self, start_ms=self.start_ms[part], ohlcv=self.ohlcv[part])

    def __len__(self) -> int:
        return len(self.start_ms)

    def compute(self, feature_set: FeatureSet) -> np.ndarray:
        return matrix.compute(feature_set, self.start_ms, self.ohlcv, self.funding_ms, self.rates)

    def replay(self, feature_set: FeatureSet) -> np.ndarray:
        return matrix.replay(feature_set, self.start_ms, self.ohlcv, self.funding_ms, self.rates)

    def funding(self, interval_ms: int = M5) -> np.ndarray:
        return matrix.last_settled(self.funding_ms, self.rates, self.start_ms + interval_ms)

    def with_gap(self, before: int, bars: int = 5, interval_ms: int = M5) -> "Series":
        start_ms = self.start_ms.copy()
        start_ms[before:] += bars * interval_ms
        return replace(self, start_ms=start_ms)


def candles(bars: int, seed: int = 0, interval_ms: int = M5) -> Series:
    """Return a plain random walk from 2025-01-01 on."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.standard_t(4, bars) * 1e-3))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.exp(rng.exponential(5e-4, (2, bars)))
    high, low = np.maximum(opened, close) * wick[0], np.minimum(opened, close) / wick[1]
    start_ms = 1_735_689_600_000 + interval_ms * np.arange(bars)
    funding_ms = np.arange(start_ms[0] // H8 * H8, start_ms[-1] + interval_ms, H8)
    ohlcv = np.column_stack([opened, high, low, close, rng.lognormal(3.0, 1.5, bars)])
    return Series(start_ms, ohlcv, funding_ms, rng.normal(1e-4, 2e-4, len(funding_ms)))


def hard_candles(bars: int = 100_000, seed: int = 1) -> Series:
    """Return ``candles`` with gaps, bars without volume, frozen prices and one bar of -0.7 log return."""
    series = candles(bars, seed)
    ohlcv, start_ms = series.ohlcv, series.start_ms
    crash = bars // 2
    ohlcv[crash:, :4] *= np.exp(-0.7)
    ohlcv[crash, :2] *= np.exp(0.7)
    rng = np.random.default_rng(seed)
    ohlcv[rng.random(bars) < 0.02, 4] = 0.0
    for first, length in ((bars // 10, 400), (bars // 5, 3000)):
        frozen = slice(first, first + length)
        ohlcv[frozen, :4] = ohlcv[first - 1, 3]
        ohlcv[frozen, 4] = 0.0
    for i, jump in ((bars // 3, 1), (bars // 3 + 7, 23_988), (bars // 4 * 3, 2)):
        start_ms[i:] += M5 * jump
    return series


def single(op: Op, interval_ms: int = M5) -> FeatureSet:
    return FeatureSet("single", interval_ms, (("x", op),))


def from_values(values: np.ndarray) -> Series:
    """Return flat candles whose volume is ``values``: this feeds an operator any series >= 0."""
    ohlcv = np.column_stack([np.full((len(values), 4), 100.0), values])
    series = candles(len(values))
    return replace(series, ohlcv=ohlcv)


def assert_same_rows(a: np.ndarray, b: np.ndarray) -> None:
    """Require equality to the bit, including NaN."""
    assert a.tobytes() == b.tobytes()
