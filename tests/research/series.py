"""Small seeded candle series with known properties, and tiny models to train on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.adapters.files.candles import Candles, write_candles
from bot.adapters.model.checkpoint import Features, Manifest
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.features import matrix
from bot.features.scale import Scale
from bot.features.spec import FeatureSet, default
from bot.model.performer import Performer
from bot.research.dataset import LabelledRows, Split, targets
from bot.research.record import weights
from bot.research.train import TrainingSettings, model_config

T0 = 1_735_689_600_000
INTERVAL_MS = 15 * MINUTE_MS
FEATURES = default(INTERVAL_MS)
TINY = TrainingSettings(
    epochs=2, lanes=2, window=64, warmup_steps=2, lr=3e-3, d_model=8, heads=2, layers=1, features=8,
    mlp_ratio=1, half_lives=(8.0, 32.0), dropout=0.1, average=0.8,
)  # fmt: skip


def candles(
    bars: int = 2500,
    seed: int = 0,
    *,
    symbol: str = "BTCUSDT",
    moving: bool = True,
    momentum: float = 0.0,
    interval_ms: int = INTERVAL_MS,
) -> Candles:
    """Return a random walk. ``moving``: the variance changes and has a daily rhythm; ``momentum``: AR(1)."""
    rng = np.random.default_rng(seed)
    start_ms = T0 + interval_ms * np.arange(bars)
    log_sd = np.full(bars, np.log(3e-3))
    if moving:
        wander = np.zeros(bars)
        for i, shock in enumerate(rng.normal(0.0, 0.12, bars)):
            wander[i] = 0.98 * wander[i - 1] + shock
        log_sd = log_sd + wander + 0.5 * np.sin(2 * np.pi * (start_ms / (24 * HOUR_MS)))
    returns = np.exp(log_sd) * rng.standard_normal(bars)
    for i in range(1, bars):
        returns[i] += momentum * returns[i - 1]
    close = 100.0 * np.exp(np.cumsum(returns))
    open_ = np.concatenate(([100.0], close[:-1]))
    wick = np.exp(np.abs(rng.normal(0.0, 1e-3, (2, bars))))
    high, low = np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1]
    volume = rng.lognormal(3.0, 0.5, bars)
    ohlcv = np.column_stack((open_, high, low, close, volume))
    return Candles.make(symbol, interval_ms, start_ms, ohlcv)


def changing(bars: int, change: int, seed: int = 0, *, symbol: str = "BTCUSDT") -> Candles:
    """Return a market whose daily rhythm turns round at bar ``change``: calm hours become wild ones."""
    rng = np.random.default_rng(seed)
    start_ms = T0 + INTERVAL_MS * np.arange(bars)
    rhythm = np.sin(2 * np.pi * (start_ms / (24 * HOUR_MS)))
    turned = np.where(np.arange(bars) < change, 1.0, -1.0)
    returns = 3e-3 * np.exp(1.2 * rhythm * turned) * rng.standard_normal(bars)
    close = 100.0 * np.exp(np.cumsum(returns))
    open_ = np.concatenate(([100.0], close[:-1]))
    wick = np.exp(np.abs(rng.normal(0.0, 1e-3, (2, bars))))
    high, low = np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1]
    volume = rng.lognormal(3.0, 0.5, bars)
    return Candles.make(symbol, INTERVAL_MS, start_ms, np.column_stack((open_, high, low, close, volume)))


def without(series: Candles, first: int, last: int) -> Candles:
    """Return the same candles without bars ``[first, last)``."""
    keep = np.r_[0:first, last : len(series)]
    return Candles.make(series.symbol, series.interval_ms, series.start_ms[keep], series.ohlcv[keep])


def rows(series: Candles, horizons: Horizons = HOUR) -> LabelledRows:
    """Return features and targets, without funding."""
    nothing = np.empty(0, np.int64), np.empty(0)
    return LabelledRows(
        symbol=series.symbol,
        interval_ms=series.interval_ms,
        path=f"bybit_linear_{series.symbol}_15m.parquet",
        sha256=series.sha256,
        start_ms=series.start_ms,
        close=series.ohlcv[:, 3],
        features=matrix.compute(FEATURES, series.start_ms, series.ohlcv, *nothing),
        targets=targets(series.start_ms, series.ohlcv[:, 3], series.interval_ms, horizons),
        withheld=np.zeros(len(series), np.bool_),
        horizons=horizons,
    )


def split(bars: int = 2500, stop: float = 0.6, cut: float = 0.75) -> Split:
    """Return a split by shares of the bars: fit to ``stop``, choose to ``cut``, validate to the end."""
    moments = [T0 + INTERVAL_MS * int(bars * share) for share in (stop, cut, 1.0)]
    return Split(*moments)


def untrained(feature_set: FeatureSet = FEATURES, seed: int = 0) -> Performer:
    """Return a tiny model whose trunk and skip are not zero, so that a test sees both."""
    model = Performer(model_config(feature_set, replace(TINY, seed=seed)))
    rng = np.random.default_rng(seed)
    for parameter in (model.head.weight, model.skip_vol.weight, model.skip_ret.weight):
        parameter.data.copy_(parameter.data.new_tensor(rng.normal(0.0, 0.1, parameter.shape)))
    return model


def manifest(
    model: Performer, scale: Scale, feature_set: FeatureSet = FEATURES, **changes: object
) -> Manifest:
    """Return a manifest that fits ``model``, without measurements."""
    fields = {
        "format": 1,
        "hash": "",
        "features": Features(feature_set.name, feature_set.interval_ms, feature_set.hash),
        "scale": scale.to_json(),
        "config": model.config.to_json(),
        "interval_ms": feature_set.interval_ms,
        "symbols": ["BTCUSDT"],
        "files": [],
        "trained_to_ms": T0,
        "trained_to": "2025-01-01T00:00:00Z",
        "validated_to_ms": T0,
        "validated_to": "2025-01-01T00:00:00Z",
        "warmup_bars": feature_set.warmup + 100,
        "warmup": {},
        "seed": 0,
        "trials": 1,
        "settings": {},
        "skill": {},
        "attention": {},
        "parameters": 0,
        "code_version": "0",
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


def saved_model(place: Path, series: Candles | None = None, seed: int = 0, **changes: object) -> Path:
    """Write a tiny model that was never trained."""
    from bot.adapters.model import checkpoint

    model = untrained(seed=seed)
    scale = Scale.fit(rows(series or candles()).features)
    checkpoint.save(place / "model", manifest(model, scale, **changes), weights(model))
    return place / "model"


def saved_candles(place: Path, series: Candles, interval: str = "15m") -> Path:
    """Write a candle file under the documented name."""
    path = place / f"bybit_linear_{series.symbol}_{interval}.parquet"
    write_candles(path, series)
    return path
