"""Indicators for strategies by TA-Lib's names, and functions of past values of one's own.

A strategy declares them (see ``bot.strategy.signal``)::

    indicators = {"slow": sma(close, 48), "trend": ema(close, 12) - sma(close, 48), "swing": past(np.ptp, 20)}

Each is causal, has a known warm-up, and is computed by the same code for a history and for a live stream.
``+``, ``-``, ``*`` and ``/`` combine them with each other and with numbers.

Where TA-Lib's value depends for ever on where the history starts (``ema``, ``rsi``, ``atr``, ``macd``,
``adx``), an indicator here is unknown until the start's share is below 1e-6; later the two agree. Two names
differ, because Python has functions of these names: ``lowest`` is MIN, ``highest`` is MAX.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.domain.errors import BadUsage
from bot.features import ops, spec
from bot.features.ops import (
    Affine,
    Clip,
    Ema,
    Highest,
    Lag,
    Lowest,
    Max,
    Min,
    Op,
    Ratio,
    Sign,
    Std,
    Sub,
    Sum,
)

__all__ = [
    "Bands",
    "Macd",
    "Past",
    "adx",
    "atr",
    "bbands",
    "close",
    "dx",
    "ema",
    "high",
    "highest",
    "lag",
    "low",
    "lowest",
    "macd",
    "minus_di",
    "mom",
    "natr",
    "open",
    "past",
    "plus_di",
    "roc",
    "rsi",
    "sma",
    "stddev",
    "trange",
    "volume",
    "willr",
]

open, high, low, close, volume = ops.OPEN, ops.HIGH, ops.LOW, ops.CLOSE, ops.VOLUME

_UNBOUNDED = 1.7976931348623157e308


class Bands(NamedTuple):
    """Bollinger's bands: three indicators."""

    upper: Op
    middle: Op
    lower: Op


class Macd(NamedTuple):
    """MACD: three indicators, in the unit of x."""

    line: Op
    signal: Op
    histogram: Op


@dataclass(frozen=True)
class Past:
    """A function of the last ``n`` values of one or more indicators. ``past`` makes one."""

    function: Callable[..., Any]
    n: int
    sources: tuple[Op, ...]
    trained_to_ms: int | None = None
    """Of a fitted model: closes up to this time were used to fit it, in ms since 1970."""

    @property
    def warmup(self) -> int:
        """Number of bars after a reset until the value is known."""
        return max(source.warmup for source in self.sources) + self.n - 1


def past(function: Callable[..., Any], n: int, *sources: Op) -> Past:
    """Return a function of your own of the last ``n`` values, such as ``past(np.median, 20, close)``.

    ``function`` gets an array ``(n,)`` of each source, oldest first, and returns a number; NaN means unknown.
    It must depend on nothing else. Without sources it gets the closes.

    Raises:
        BadUsage: ``n`` is below 1, or a source is no indicator.
    """
    _check("past", n, 1)
    for source in sources:
        if not isinstance(source, Op):
            raise BadUsage(f"past: reads indicators such as close or ema(close, 12), was given {source!r}")
    return Past(function, n, sources or (close,))


def lag(x: Op, n: int = 1) -> Op:
    """Return x, n bars ago."""
    return Lag(x, _check("lag", n, 1))


def sma(x: Op, n: int = 30) -> Op:
    """Return the mean of the last n values."""
    return Affine(Sum(x, _check("sma", n, 1)), 1.0 / n)


def ema(x: Op, n: int = 30) -> Op:
    """Return the exponential mean with alpha 2/(n+1), seeded with the mean of the first n values."""
    return Ema(x, _check("ema", n, 2))


def rsi(x: Op, n: int = 14) -> Op:
    """Return Wilder's relative strength index, 0 to 100; 50 where x never moved (TA-Lib: 0)."""
    return spec.rsi(x, _check("rsi", n, 2))


def macd(x: Op, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Return line EMA(fast) - EMA(slow), its EMA(signal), and their difference."""
    for n in (fast, slow, signal):
        _check("macd", n, 2)
    line = spec.macd(x, fast, slow)
    smooth = Ema(line, signal)
    return Macd(line, smooth, Sub(line, smooth))


def bbands(x: Op, n: int = 5, deviations: float = 2.0) -> Bands:
    """Return the mean of n values, and the lines ``deviations`` population deviations above and below."""
    middle, width = sma(x, _check("bbands", n, 2)), Affine(Std(x, n), deviations)
    return Bands(middle + width, middle, middle - width)


def stddev(x: Op, n: int = 5, deviations: float = 1.0) -> Op:
    """Return ``deviations`` times the population deviation of the last n values."""
    return Affine(Std(x, _check("stddev", n, 2)), deviations)


def mom(x: Op, n: int = 10) -> Op:
    """Return x minus its value n bars ago."""
    return Sub(x, Lag(x, _check("mom", n, 1)))


def roc(x: Op, n: int = 10) -> Op:
    """Return the change over n bars in percent."""
    return Affine(mom(x, _check("roc", n, 1)) / Lag(x, n), 100.0)


def lowest(x: Op, n: int = 30) -> Op:
    """Return the lowest of the last n values: TA-Lib's MIN."""
    return Lowest(x, _check("lowest", n, 1))


def highest(x: Op, n: int = 30) -> Op:
    """Return the highest of the last n values: TA-Lib's MAX."""
    return Highest(x, _check("highest", n, 1))


def willr(n: int = 14) -> Op:
    """Return Williams' %R, -100 (the close is the lowest low of n bars) to 0; 0 where nothing moved."""
    top = Highest(high, _check("willr", n, 2))
    return Affine(Ratio(Sub(top, close), Sub(top, Lowest(low, n))), -100.0)


def trange() -> Op:
    """Return the true range: from low to high, and to the last close if that is outside."""
    before = Lag(close, 1)
    return Sub(Max(high, before), Min(low, before))


def atr(n: int = 14) -> Op:
    """Return the average true range, Wilder's mean of n bars, in quote."""
    return Ema(trange(), _check("atr", n, 2), wilder=True)


def natr(n: int = 14) -> Op:
    """Return the average true range in percent of the close."""
    return Affine(Ratio(atr(n), close), 100.0)


def plus_di(n: int = 14) -> Op:
    """Return Wilder's upward directional index, 0 to 100."""
    rise, fall = _moves()
    return _share_of_range(rise, fall, n)


def minus_di(n: int = 14) -> Op:
    """Return Wilder's downward directional index, 0 to 100."""
    rise, fall = _moves()
    return _share_of_range(fall, rise, n)


def dx(n: int = 14) -> Op:
    """Return the directional movement index, 0 to 100."""
    up, down = plus_di(n), minus_di(n)
    apart = up - down
    return Affine((Max(apart, Affine(apart, -1.0))) / (up + down), 100.0)


def adx(n: int = 14) -> Op:
    """Return the average directional movement index, 0 to 100."""
    return Ema(dx(n), n, wilder=True)


def _moves() -> tuple[Op, Op]:
    return mom(high, 1), Sub(Lag(low, 1), low)


def _share_of_range(move: Op, other: Op, n: int) -> Op:
    """Return the mean of a directional move over the mean true range, in percent."""
    _check("a directional index", n, 2)
    counted = Clip(move, 0.0, _UNBOUNDED) * Clip(Sign(Sub(move, other)), 0.0, 1.0)
    return Affine(Ratio(Ema(counted, n, wilder=True), atr(n)), 100.0)


def _check(name: str, n: int, least: int) -> int:
    """Return a length in bars.

    Raises:
        BadUsage: it is no whole number, or below ``least``.
    """
    if type(n) is not int or n < least:
        raise BadUsage(f"{name}: needs a whole number of bars, {least} or more, was {n!r}")
    return n
