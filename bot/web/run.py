"""One run as the page needs it: plain values, and the part of them that figures are computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bot.domain.ledger import Fill
from bot.metrics import Metrics, Trade

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One candle file that the run read: its contents in numbers, and its hash."""

    path: str
    symbol: str
    interval: str
    bars: int
    first_ms: int
    last_ms: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything that is needed to repeat the run. A field that is None or empty is not shown."""

    title: str
    mode: str = "backtest"
    strategy: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    settings_hash: str | None = None
    files: Sequence[DataFile] = ()
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    fee_bps: float | None = None
    slippage_bps: float | None = None
    model_hash: str | None = None
    drift: str | None = None
    """The drift of the model at the end of the run, in words."""
    trained_to_ms: int | None = None
    form: str | None = None
    intrabar: str | None = None
    limit_fills: str | None = None
    """When resting limit orders fill, in words."""
    liquidation_basis: str | None = None
    funding_source: str = "none"
    fills_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeries:
    """Candles of one symbol: ``start_ms`` ``(T,)``, ``ohlc`` ``(T, 4)``."""

    symbol: str
    interval_ms: int
    start_ms: Times
    ohlc: Floats


@dataclass(frozen=True, slots=True)
class StressedRun:
    """The headline figures of a run with other costs, or one bar later; fractions, None: not defined."""

    name: str
    total_return: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: int
    halted: bool


@dataclass(frozen=True, slots=True)
class Robustness:
    """Runs under stress, and in words what they and the tests of luck say."""

    runs: Sequence[StressedRun]
    words: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """One run. Curves are ``(T,)`` at the closes ``ts_ms``; money in quote; fractions, not percent.

    ``metrics`` (from ``metrics.summary``) cover the part after ``identity.trained_to_ms``, ``in_sample`` the
    part before it. ``notional`` is the signed position value. ``flat_bars`` counts bars without a position,
    by reason. ``notices`` are what a reader must know first. ``judged_to_ms`` ends the part that ``metrics``
    cover, if a halt ended it; None: they cover everything after the training data.
    """

    identity: Identity
    ts_ms: Times
    equity: Floats
    metrics: Metrics
    hold_equity: Floats | None = None
    hold_metrics: Metrics = field(default_factory=dict)
    in_sample: Metrics | None = None
    notional: Floats | None = None
    prices: Sequence[PriceSeries] = ()
    fills: Sequence[Fill] = ()
    trades: Sequence[Trade] = ()
    flat_bars: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    notices: Sequence[str] = ()
    judged_to_ms: int | None = None
    robustness: Robustness | None = None


def in_sample_to(run: ReportData) -> int | None:
    """Return the end of the in-sample part, None if the run starts after it."""
    trained_to = run.identity.trained_to_ms
    return trained_to if trained_to is not None and len(run.ts_ms) and trained_to > run.ts_ms[0] else None


def after_training(run: ReportData) -> NDArray[np.bool_]:
    """Return which closes lie after the training data. Without a model: all."""
    trained_to = run.identity.trained_to_ms
    return np.asarray(run.ts_ms > (-1 if trained_to is None else trained_to))


def judged(run: ReportData) -> tuple[Times, Floats]:
    """Return times and equity of the part that figures use.

    This is the part after the training data and until a halt, or everything if nothing lies there.
    """
    rest = after_training(run)
    if run.judged_to_ms is not None:
        rest &= run.ts_ms <= run.judged_to_ms
    return (run.ts_ms[rest], run.equity[rest]) if rest.any() else (run.ts_ms, run.equity)
