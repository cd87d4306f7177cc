"""Feature sets: named graphs of operators with a warm-up and a hash.

``default(interval_ms)`` is the set that ships. Units: returns in trailing volatilities; variances as the
natural logarithm of an hourly variance (the unit of the forecast ``rv_60m``); shares in 0..1; funding in bps.
Every column is a function of the closed bars up to the current one and of its close time.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS, interval_name
from bot.features import ops
from bot.features.ops import (
    Add,
    Affine,
    Clip,
    CosOf,
    Deviation,
    Ema,
    Highest,
    HourShare,
    Input,
    Lag,
    Log,
    Lowest,
    Max,
    Min,
    Modulo,
    Mul,
    NewYork,
    Op,
    OrZero,
    Ratio,
    Sign,
    SinOf,
    Sqrt,
    Std,
    Sub,
    Sum,
)
from bot.features.program import Program, compile_program

WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS
"""1970-01-05, the first Monday of the epoch."""
FUNDING_MS = 8 * HOUR_MS
"""Bybit settles most linear perpetuals at 00, 08 and 16 UTC."""

RETURN_CLIP = 0.1
"""Largest 1-bar log return in a variance, as in the definition of ``rv_60m``."""

RV_FLOOR = 1e-9
"""Smallest variance of an hour, as in the definition of ``rv_60m``."""

VOLATILITIES_CLIP = 10.0
"""Bound of every feature in volatilities or average ranges, so that one crash bar cannot set the scale."""

WEEK_HARMONICS = (1, 2, 3, 4, 5, 6)
"""Harmonics of the week, for weekends and Mondays. The seventh harmonic would be the day."""

_VOLATILITIES = ("har_", "season_", "parkinson_", "abs_ret_", "range_1", "atr_", "bollinger_width_")
RETURN_BARS = (1, 3, 6, 12, 24, 48, 96, 288)
HAR_MS = (15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, DAY_MS, WEEK_MS)
LAGS = 6


@dataclass(frozen=True)
class FeatureSet:
    """Named columns over one stream of closed candles, or over two streams that close together.

    ``build`` makes the set again from ``name`` and ``interval_ms``. Compare ``hash`` before a model uses it.
    """

    name: str
    interval_ms: int
    columns: tuple[tuple[str, Op], ...]
    added: tuple[str, ...] = ()
    """Names of the columns that a user's definition adds to those of the default set."""
    definition: dict[str, Any] | None = field(default=None, compare=False)
    """The definition of a set of the user's own, as plain values; None for a set that ships."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)

    @cached_property
    def warmup(self) -> int:
        """Number of bars after a reset until every column is finite, counting the last of these bars."""
        return max(op.warmup for _, op in self.columns)

    @cached_property
    def volatilities(self) -> tuple[int, ...]:
        """Indices of all columns that measure how far prices move, as logs of variances or of ranges."""
        return self._starting(*_VOLATILITIES)

    @cached_property
    def lags(self) -> tuple[int, ...]:
        """Indices of the last 1-bar returns, newest first."""
        return (*self._starting("ret_1", exact=True), *self._starting("ret_lag_"))

    @cached_property
    def hours(self) -> tuple[int, ...]:
        """Indices of the hours of the UTC day. These columns sum to 1."""
        return self._starting("hour_")

    @cached_property
    def workdays(self) -> tuple[int, ...]:
        """Indices of the hours of New York's working days."""
        return self._starting("new_york_")

    @cached_property
    def calendar(self) -> tuple[int, ...]:
        """Indices of the columns that read the close time alone: they are known years ahead."""
        leaves = (
            {op for op in ops.ordered((column,)) if isinstance(op, Input)} for _, column in self.columns
        )
        return tuple(at for at, read in enumerate(leaves) if read == {ops.CLOSE_MS})

    @cached_property
    def skips(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Indices of the columns of the model's linear part: for the volatility, and for the returns.

        A column that was added is in both. If there are none, all columns are.
        """
        added = tuple(self.names.index(name) for name in self.added)
        every = tuple(range(len(self.names)))
        volatility = (*self.volatilities, *self.hours, *self.workdays, *added)
        return tuple(dict.fromkeys(volatility)) or every, tuple(dict.fromkeys((*self.lags, *added))) or every

    @cached_property
    def program(self) -> Program:
        return compile_program(tuple(op for _, op in self.columns))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the definition: names, operators, their versions, parameters and inputs, in order."""
        numbers: dict[Op, int] = {}
        nodes = []
        for op in ops.ordered(tuple(op for _, op in self.columns)):
            numbers[op] = len(numbers)
            sources = [numbers[source] for source in op.inputs]
            nodes.append([type(op).__name__, op.version, [repr(value) for value in op.params], sources])
        columns = [[name, numbers[op]] for name, op in self.columns]
        canonical = json.dumps([self.interval_ms, nodes, columns], separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def is_joined(self) -> bool:
        """Whether bars carry the five columns of a second symbol."""
        return self.program.lanes > 1

    def joined(self) -> "FeatureSet":
        """Return this set with a few features of a second symbol's bar of the same close.

        These features are NaN while the second symbol has no bar at this close, and until they are warm
        again.
        """
        extra = tuple(("other_" + name, op) for name, op in _other_columns(self.interval_ms))
        return FeatureSet(self.name + JOINED, self.interval_ms, self.columns + extra)

    def _starting(self, *prefixes: str, exact: bool = False) -> tuple[int, ...]:
        own = set(self.added)
        return tuple(
            i
            for i, name in enumerate(self.names)
            if name not in own and (name in prefixes if exact else name.startswith(prefixes))
        )


JOINED = "+joined"
NEWEST = "default-v2"
"""The set of new models."""


def build(name: str, interval_ms: int) -> FeatureSet:
    """Return a named set, such as ``default-v2`` or ``default-v2+joined``.

    Compare its hash with the recorded one.

    Raises:
        BadInput: no set has this name, or no interval has this length.
    """
    base = name.removesuffix(JOINED)
    if base not in SETS:
        raise BadInput(
            f"no feature set is named {name!r}; known: {', '.join(SETS)}, each also with {JOINED!r}"
        )
    feature_set = SETS[base](interval_ms)
    return feature_set.joined() if name.endswith(JOINED) else feature_set


def default(interval_ms: int, *, join: bool = False) -> FeatureSet:
    """Return the set that ships, the newest. ``join`` adds features of a second symbol.

    Raises:
        BadInput: no interval has this length.
    """
    first = _first(interval_ms)
    feature_set = FeatureSet(NEWEST, interval_ms, (*first.columns, *_new_york_columns()))
    return feature_set.joined() if join else feature_set


def _first(interval_ms: int) -> FeatureSet:
    """Return ``default-v1``, which knows the hours of UTC alone. Models that read it are still run.

    Raises:
        BadInput: no interval has this length.
    """
    interval_name(interval_ms)
    own = _Stream(interval_ms)
    columns = (
        *_return_columns(own),
        *_variance_columns(own),
        *_indicator_columns(own),
        *_volume_columns(own),
        *_calendar_columns(),
    )
    return FeatureSet("default-v1", interval_ms, _distinct(columns))


SETS: dict[str, Callable[[int], FeatureSet]] = {"default-v1": _first, NEWEST: default}

Columns = tuple[tuple[str, Op], ...]


class _Stream:
    """The operators that several features of one candle stream share. Converts spans of time to bars."""

    def __init__(self, interval_ms: int, prefix: str = "") -> None:
        self.interval_ms = interval_ms
        inputs = (Input(prefix + name) for name in ops.INPUTS[:5])
        self.open, self.high, self.low, self.close, self.volume = inputs
        self.ret = Clip(log_return(self.close, 1), -RETURN_CLIP, RETURN_CLIP)
        self.square = Mul(self.ret, self.ret)
        floor = RV_FLOOR * interval_ms / HOUR_MS
        self.vol = Sqrt(Clip(self.mean(self.square, DAY_MS), floor, RETURN_CLIP**2))
        before = Lag(self.close, 1)
        true_range = Sub(Max(self.high, before), Min(self.low, before))
        self.atr = Max(Ema(true_range, 14, wilder=True), Affine(self.close, 1e-6))
        self.log_volume = Log(Affine(self.volume, 1.0, 1.0))

    def bars(self, span_ms: int) -> int:
        return max(1, round(span_ms / self.interval_ms))

    def mean(self, x: Op, span_ms: int) -> Op:
        n = self.bars(span_ms)
        return Affine(Sum(x, n), 1.0 / n)

    def share(self, part: Op, whole: Op, span_ms: int) -> Op:
        """Return Σ part / Σ whole; 0 if the whole is 0."""
        n = self.bars(span_ms)
        return Ratio(Sum(part, n), Sum(whole, n), 1e-12)

    def log_hourly(self, variance: Op) -> Op:
        """Turn the variance of one bar into the log of an hourly variance, floored as ``rv_60m``."""
        return Log(Affine(variance, HOUR_MS / self.interval_ms), RV_FLOOR)

    def har(self, span_ms: int) -> Op:
        return self.log_hourly(self.mean(self.square, span_ms))

    def in_volatilities(self, ret: Op, bars: int) -> Op:
        return _clipped(Ratio(ret, Affine(self.vol, math.sqrt(bars))))

    def in_ranges(self, distance: Op) -> Op:
        return _clipped(Ratio(distance, self.atr))

    def volume_z(self, n: int) -> Op:
        return Ratio(Deviation(self.log_volume, n), Std(self.log_volume, n), 1e-6)


def log_return(x: Op, n: int) -> Op:
    """Return ln(x[t] / x[t-n])."""
    return Log(Ratio(x, Lag(x, n)))


def rsi(close: Op, n: int) -> Op:
    """Return Wilder's relative strength index, 0 to 100; 50 if the price did not move at all."""
    change = Sub(close, Lag(close, 1))
    size = Ema(Max(change, Affine(change, -1.0)), n, wilder=True)
    floor = Affine(close, 1e-12)
    return Affine(Ratio(Ema(change, n, wilder=True), Max(size, floor)), 50.0, 50.0)


def macd(close: Op, fast: int, slow: int) -> Op:
    """Return EMA(fast) - EMA(slow) of the close, in quote.

    Computed from price changes d, because x - EMA(x) = (1-alpha)/alpha · EMA(d) has no cancellation. Equal to
    TA-Lib's value once the different seeds are forgotten.
    """
    change = Sub(close, Lag(close, 1))

    def above(n: int) -> Op:
        return Affine(Ema(change, n), (n - 1) / 2)

    return Sub(above(slow), above(fast))


def position_in_range(high: Op, low: Op, close: Op, n: int) -> Op:
    """Return where the close lies between the n-bar low (0) and high (1): stochastic %K; 0.5 if flat."""
    top, bottom = Highest(high, n), Lowest(low, n)
    doubled = Sub(Sub(close, bottom), Sub(top, close))
    return Affine(Ratio(doubled, Max(Sub(top, bottom), Affine(close, 1e-12))), 0.5, 0.5)


def _return_columns(s: _Stream) -> Columns:
    one = s.in_volatilities(log_return(s.close, 1), 1)
    return (
        *((f"ret_{n}", s.in_volatilities(log_return(s.close, n), n)) for n in RETURN_BARS),
        *((f"ret_lag_{n}", Lag(one, n)) for n in range(1, LAGS)),
    )


def _variance_columns(s: _Stream) -> Columns:
    down = Clip(s.ret, -RETURN_CLIP, 0.0)
    reach = Log(Ratio(s.high, s.low))
    parkinson = Affine(Mul(reach, reach), 1.0 / (4.0 * math.log(2.0)))  # Parkinson 1980, eq. 4
    size = Max(s.ret, Affine(s.ret, -1.0))
    return (
        *((f"har_{_name(span)}", s.har(span)) for span in HAR_MS),
        *_season_columns(s),
        *((f"parkinson_{_name(span)}", s.log_hourly(s.mean(parkinson, span))) for span in HAR_MS[:4]),
        *(
            (f"down_share_{_name(span)}", s.share(Mul(down, down), s.square, span))
            for span in (HOUR_MS, DAY_MS)
        ),
        ("abs_ret_1", _clipped(Ratio(size, s.vol))),
        ("range_1", Log(Ratio(Sub(s.high, s.low), s.atr), 0.05)),
    )


def _season_columns(s: _Stream) -> Columns:
    """Return the variance that followed this time of day: yesterday, a week ago, and the mean of the week."""
    past = [Lag(s.har(HOUR_MS), max(1, s.bars(day * DAY_MS) - s.bars(HOUR_MS))) for day in range(1, 8)]
    total: Op = past[0]
    for op in past[1:]:
        total = Add(total, op)
    return (("season_1d", past[0]), ("season_1w", past[-1]), ("season_mean", Affine(total, 1.0 / len(past))))


def _indicator_columns(s: _Stream) -> Columns:
    line = macd(s.close, 12, 26)
    deviation, std = Deviation(s.close, 20), Std(s.close, 20)
    return (
        ("rsi_14", Affine(rsi(s.close, 14), 0.02, -1.0)),
        ("atr_14_log", Log(Ratio(s.atr, s.close))),
        ("macd", s.in_ranges(line)),
        ("macd_histogram", s.in_ranges(Sub(line, Ema(line, 9)))),
        ("bollinger_b_20", Affine(Ratio(deviation, Max(std, Affine(s.close, 1e-9))), 0.25, 0.5)),
        ("bollinger_width_log_20", Log(Ratio(Affine(std, 4.0), Sub(s.close, deviation)), 1e-6)),
        ("stochastic_14", position_in_range(s.high, s.low, s.close, 14)),
        ("range_position_288", position_in_range(s.high, s.low, s.close, 288)),
        ("body", s.in_ranges(Sub(s.close, s.open))),
        ("upper_wick", s.in_ranges(Sub(s.high, Max(s.open, s.close)))),
        ("lower_wick", s.in_ranges(Sub(Min(s.open, s.close), s.low))),
    )


def _volume_columns(s: _Stream) -> Columns:
    signed = Mul(s.volume, Sign(Sub(s.close, s.open)))
    level = s.log_volume
    return (
        *((f"volume_z_{n}", s.volume_z(n)) for n in (12, 48, 288)),
        ("volume_1h_to_1d", Sub(s.mean(level, HOUR_MS), s.mean(level, DAY_MS))),
        ("volume_1d_to_1w", Sub(s.mean(level, DAY_MS), s.mean(level, WEEK_MS))),
        ("signed_volume_1h", s.share(signed, s.volume, HOUR_MS)),
        ("signed_volume_4h", s.share(signed, s.volume, 4 * HOUR_MS)),
    )


def _calendar_columns() -> Columns:
    now, rate = ops.CLOSE_MS, ops.FUNDING
    day, week = Modulo(now, DAY_MS), Modulo(Affine(now, 1.0, -MONDAY_MS), WEEK_MS)
    until_funding = Modulo(Affine(now, -1.0), FUNDING_MS)
    return (
        ("day_sin", SinOf(day, DAY_MS)),
        ("day_cos", CosOf(day, DAY_MS)),
        *((f"week_sin_{k}", SinOf(week, WEEK_MS / k)) for k in WEEK_HARMONICS),
        *((f"week_cos_{k}", CosOf(week, WEEK_MS / k)) for k in WEEK_HARMONICS),
        ("funding_until", Affine(until_funding, 1.0 / FUNDING_MS)),
        ("funding_bps", _clipped(Affine(OrZero(rate), 1e4))),
        *((f"hour_{hour:02d}", HourShare(day, hour)) for hour in range(24)),
    )


def _new_york_columns() -> Columns:
    """Return the share of the next 60 minutes in the hours of New York's working days; 0 at the weekend.

    Prices move when figures are published and exchanges open there, in summer an hour earlier by UTC. An hour
    begins at each half hour from 07:00 to 17:00. Holidays count as working days.
    """
    now = NewYork(ops.CLOSE_MS)
    week = Modulo(Affine(now, 1.0, -MONDAY_MS), WEEK_MS)
    workday = Clip(Sign(Affine(week, -1.0, 5.0 * DAY_MS)), 0.0, 1.0)
    days = {minute: Modulo(Affine(now, 1.0, -minute * MINUTE_MS), DAY_MS) for minute in (0, 30)}
    return (
        ("new_york_workday", workday),
        *(
            (f"new_york_{hour:02d}{minute:02d}", Mul(HourShare(days[minute], hour), workday))
            for hour, minute in (divmod(at, 60) for at in range(7 * 60, 17 * 60 + 1, 30))
        ),
    )


def _other_columns(interval_ms: int) -> Columns:
    s = _Stream(interval_ms, "other_")
    return (
        *((f"ret_{n}", s.in_volatilities(log_return(s.close, n), n)) for n in (1, 3, 12)),
        *((f"har_{_name(span)}", s.har(span)) for span in (HOUR_MS, DAY_MS)),
        ("volume_z_288", s.volume_z(288)),
    )


def _distinct(columns: Columns) -> Columns:
    """Keep one of several equal columns, under its last name: with long bars some windows are equal."""
    names = {op: name for name, op in columns}
    return tuple((name, op) for op, name in names.items())


def _clipped(x: Op) -> Op:
    return Clip(x, -VOLATILITIES_CLIP, VOLATILITIES_CLIP)


def _name(span_ms: int) -> str:
    return "1w" if span_ms == WEEK_MS else interval_name(span_ms)
