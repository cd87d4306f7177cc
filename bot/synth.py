"""Invented markets with known properties, for tests, demonstrations and a local exchange without data.

What real minutes have, these have: quiet, normal and wild regimes, volatility that clusters and has a
daily season, jumps, volume that grows with volatility, coins that move together; and, if asked for, a
return that can be forecast to a known degree. Axes: T bars, S steps inside a bar.
"""

from collections.abc import Iterable, Iterator
from math import log, sqrt
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS, Bar

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

_STEPS = 8
"""Steps of the price inside a bar; high and low are taken over them."""
_REGIMES = np.array([0.6, 1.0, 1.9])
"""Volatility of the quiet, normal and wild regime against the average."""
_REGIME_DAYS = (4.0, 5.0, 1.5)
_VOL_HALF_LIFE_MS = 6 * HOUR_MS
_VOL_SPREAD = 0.35
"""Standard deviation of the clustering part of log volatility."""
_SEASON_PEAK_MS = 15 * HOUR_MS
_SEASON = 0.35
_FUNDING_BASE = 0.0001
_FUNDING_CAP = 0.00375


class MarketRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What an invented market is like.

    ``predictability`` is the correlation between ``Series.signal`` at a bar's close and the next bar's
    return in units of its own volatility; over the next hour of h bars it is about
    predictability × (h + 1) / (2 sqrt(h)). The signal is the sum of the last hour's shocks, which past
    returns show; > 0 continues, < 0 reverses.

    Raises:
        BadInput: a figure out of its range.
    """

    interval_ms: int
    bars: int
    start_ms: int = 0
    price: float = 100.0
    daily_vol: float = 0.03
    """Standard deviation of a day's log return."""
    jumps_per_day: float = 0.3
    jump_vol: float = 0.3
    """Standard deviation of a jump against ``daily_vol``."""
    turnover_per_day: float = 2e8
    correlation: float = 0.6
    """Share of variance that all symbols of one call have in common."""
    predictability: float = 0.0
    tick: float = 0.0
    """Price grid; 0 = eight significant digits."""

    def __post_init__(self) -> None:
        if self.interval_ms <= 0 or self.start_ms % self.interval_ms:
            raise BadInput(f"start_ms {self.start_ms} is not a multiple of interval_ms {self.interval_ms}")
        if self.bars < 1:
            raise BadInput(f"bars must be >= 1, was {self.bars}")
        positive = (self.price, self.daily_vol, self.turnover_per_day)
        if not all(0.0 < figure < 1e15 for figure in positive) or not 0.0 <= self.tick < self.price:
            raise BadInput("price, daily_vol and turnover_per_day must be > 0, tick in [0, price)")
        if not (0.0 <= self.correlation < 1.0 and -1.0 < self.predictability < 1.0):
            raise BadInput("correlation must be in [0, 1), predictability in (-1, 1)")
        if not (self.jumps_per_day >= 0.0 and self.jump_vol >= 0.0):
            raise BadInput("jumps_per_day and jump_vol must be >= 0")

    @property
    def bars_per_hour(self) -> int:
        """At least 1."""
        return max(1, HOUR_MS // self.interval_ms)

    @property
    def start_times(self) -> Times:
        """Open times (T,)."""
        return self.start_ms + self.interval_ms * np.arange(self.bars, dtype=np.int64)


class Series(msgspec.Struct, frozen=True):
    """One symbol: ``start_ms`` (T,), ``ohlcv`` (T, 5), ``turnover`` (T,), and the planted ``signal`` (T,)."""

    symbol: str
    interval_ms: int
    start_ms: Times
    ohlcv: Floats
    turnover: Floats
    signal: Floats

    def bars(self) -> Iterator[Bar]:
        """The rows as bars, oldest first."""
        rows = zip(self.start_ms.tolist(), self.ohlcv.tolist(), self.turnover.tolist(), strict=True)
        for start_ms, (open_, high, low, close, volume), turnover in rows:
            yield Bar(self.symbol, self.interval_ms, start_ms, open_, high, low, close, volume, turnover)


def market(recipe: MarketRecipe, symbols: Iterable[str], seed: int) -> dict[str, Series]:
    """One series per symbol, bit for bit the same for the same arguments.

    A symbol's series depends on the recipe, the seed and its name, not on the other symbols.
    """
    common = np.random.default_rng([seed, 0])
    wild = _regimes(recipe, common)
    shared = common.standard_normal((recipe.bars, _STEPS))
    return {symbol: _series(recipe, symbol, _own(seed, symbol), wild, shared) for symbol in symbols}


def funding(series: Series, seed: int, interval_ms: int = 8 * HOUR_MS) -> tuple[Times, Floats]:
    """Settled funding rates ``(times, rates)``: 0.01 %, more after a rise, less after a fall, plus noise.

    One at each multiple of ``interval_ms`` after the first bar up to the last close.
    """
    first = int(series.start_ms[0]) // interval_ms * interval_ms + interval_ms
    last = int(series.start_ms[-1]) + series.interval_ms
    times = np.arange(first, last + 1, interval_ms, dtype=np.int64)
    close = np.log(series.ohlcv[:, 3])
    ends = series.start_ms + series.interval_ms
    now = np.searchsorted(ends, times, side="right") - 1
    before = np.maximum(np.searchsorted(ends, times - interval_ms, side="right") - 1, 0)
    noise = _own(seed, series.symbol + "/funding").standard_normal(len(times))
    rates = _FUNDING_BASE + 0.004 * (close[now] - close[before]) + 0.00003 * noise
    capped = np.clip(rates, -_FUNDING_CAP, _FUNDING_CAP)
    return times, np.round(capped, 8).astype(np.float64)


def _own(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, 1, crc32(name.encode())])


def _series(
    recipe: MarketRecipe, symbol: str, own: np.random.Generator, regime: Floats, shared: Floats
) -> Series:
    start_ms = recipe.start_times
    season = _season(start_ms)
    vol = regime * season * _clustering(recipe, own)  # (T,) against the average
    weight = sqrt(recipe.correlation)
    noise = weight * shared + sqrt(1.0 - weight**2) * own.standard_normal(shared.shape)  # (T, S)
    signal = _signal(noise.sum(axis=1) / sqrt(_STEPS), recipe.bars_per_hour)
    drift = np.concatenate(([0.0], recipe.predictability * signal[:-1]))  # known before the bar opens
    step = recipe.daily_vol * sqrt(recipe.interval_ms / DAY_MS / _STEPS)
    fresh = sqrt(1.0 - recipe.predictability**2)
    moves = step * vol[:, None] * (fresh * noise + drift[:, None] / sqrt(_STEPS))
    moves += _jumps(recipe, own)
    prices = _on_grid(_path(recipe, moves), recipe)  # (T, S + 1), the open first
    ohlc = np.stack((prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1]), axis=1)
    volume = _volume(recipe, own, vol, moves, ohlc)
    turnover = np.round(volume * prices.mean(axis=1), 4)
    return Series(symbol, recipe.interval_ms, start_ms, np.column_stack((ohlc, volume)), turnover, signal)


def _regimes(recipe: MarketRecipe, rng: np.random.Generator) -> Floats:
    """Volatility factor (T,) of a chain that stays a geometric time, then leaves for either other regime."""
    factors = np.empty(recipe.bars)
    at, state = 0, 1
    while at < recipe.bars:
        mean_bars = max(1.0, _REGIME_DAYS[state] * DAY_MS / recipe.interval_ms)
        stay = int(rng.geometric(1.0 / mean_bars))
        factors[at : at + stay] = _REGIMES[state]
        at += stay
        state = (state + 1 + int(rng.integers(2))) % 3
    return factors


def _clustering(recipe: MarketRecipe, rng: np.random.Generator) -> Floats:
    """Log-AR(1) stochastic volatility (Taylor 1982) with mean 1; (T,)."""
    keep = 0.5 ** (recipe.interval_ms / _VOL_HALF_LIFE_MS)
    shocks = (rng.standard_normal(recipe.bars) * _VOL_SPREAD * sqrt(1.0 - keep**2)).tolist()
    level = float(rng.standard_normal()) * _VOL_SPREAD
    out = []
    for shock in shocks:
        level = keep * level + shock
        out.append(level)
    factors: Floats = np.exp(np.array(out) - _VOL_SPREAD**2 / 2)
    return factors


def _season(start_ms: Times) -> Floats:
    """Daily season of volatility, highest at 15:00 UTC; (T,), mean 1."""
    angle = (start_ms % DAY_MS - _SEASON_PEAK_MS) * (2.0 * np.pi / DAY_MS)
    season: Floats = 1.0 + _SEASON * np.cos(angle)
    return season


def _signal(shocks: Floats, window: int) -> Floats:
    """Sum of the last ``window`` shocks over its square root: known at each close, variance 1 once full."""
    total = np.concatenate((np.zeros(window), np.cumsum(shocks)))
    signal: Floats = (total[window:] - total[:-window]) / sqrt(window)
    return signal


def _jumps(recipe: MarketRecipe, rng: np.random.Generator) -> Floats:
    """Rare large moves, in one step of a bar each; (T, S)."""
    moves = np.zeros((recipe.bars, _STEPS))
    count = int(rng.poisson(recipe.jumps_per_day * recipe.bars * recipe.interval_ms / DAY_MS))
    where = rng.integers(recipe.bars * _STEPS, size=count)
    sizes = rng.standard_normal(count) * recipe.jump_vol * recipe.daily_vol
    np.add.at(moves.reshape(-1), where, sizes)
    return moves


def _path(recipe: MarketRecipe, moves: Floats) -> Floats:
    """Prices (T, S + 1): each bar opens where the last one closed."""
    level = log(recipe.price) + np.cumsum(moves.reshape(-1))
    steps = level.reshape(moves.shape)
    opens = np.concatenate(([log(recipe.price)], steps[:-1, -1]))
    prices: Floats = np.exp(np.column_stack((opens, steps)))
    return prices


def _on_grid(prices: Floats, recipe: MarketRecipe) -> Floats:
    """Prices on the tick grid, at least one tick; without one, eight digits of the first price."""
    if recipe.tick:
        digits = max(0, 3 - int(np.floor(np.log10(recipe.tick))))
        prices = np.maximum(np.round(prices / recipe.tick), 1.0) * recipe.tick
    else:
        digits = max(0, 7 - int(np.floor(np.log10(recipe.price))))
        prices = np.maximum(prices, 10.0**-digits)
    rounded: Floats = np.round(prices, digits)
    return rounded


def _volume(
    recipe: MarketRecipe, rng: np.random.Generator, vol: Floats, moves: Floats, ohlc: Floats
) -> Floats:
    """Base volume (T,): grows with volatility and with the bar's own range, log-normal noise."""
    typical = recipe.daily_vol * sqrt(recipe.interval_ms / DAY_MS)
    expected = typical * sqrt(2.0 / np.pi * _STEPS)
    activity = np.abs(moves).sum(axis=1) / expected  # about vol, higher at a jump
    noise = np.exp(0.4 * rng.standard_normal(recipe.bars) - 0.08)
    quote = recipe.turnover_per_day * recipe.interval_ms / DAY_MS * np.sqrt(vol * activity) * noise
    volume: Floats = np.round(quote / ohlc[:, 3], 3)
    return volume
