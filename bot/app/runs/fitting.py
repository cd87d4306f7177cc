"""Fits a model of the user's own on closed bars of one span: its rows, and what it may not know."""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles
from bot.domain.errors import BadUsage, TooFewBars
from bot.domain.horizons import Horizons, span_of
from bot.domain.market import HOUR_MS, interval_name
from bot.features.fitted import COMPARED_ROWS, Fitted
from bot.features.ops import FUNDING, Op
from bot.features.program import lane_of
from bot.features.spec import FeatureSet
from bot.features.stream import FeatureStream
from bot.features.unfitted import Target, Unfitted
from bot.model import drift
from bot.research import dataset
from bot.research.skill import baselines
from bot.service.moments import minute_words

Floats = NDArray[np.float64]
_LEAK_CUTS = 8
"""Rows in the second half of a symbol whose targets are made a second time."""


def check_unfitted(given: Unfitted) -> None:
    """Refuse what cannot be fitted on any bars.

    Raises:
        BadUsage: no features, something that is no indicator, or one that reads funding or a second symbol;
            no horizon; a model without ``fit`` and ``predict``.
    """
    features: tuple[tuple[str, object], ...] = given.features
    wrong = [f"features[{name!r}]" for name, op in features if not isinstance(op, Op)]
    if wrong or not features:
        named = wrong[0] if wrong else "features"
        raise BadUsage(f"{named}: give indicators by name, such as {{'rsi': rsi(close, 14)}}")
    for name, op in given.features:
        if _reads(op, FUNDING):
            raise BadUsage(
                f"features[{name!r}]: reads funding rates, which candles do not hold; leave it out"
            )
        if lane_of(op):
            raise BadUsage(f"features[{name!r}]: reads a second symbol's bars; give features of one symbol")
    if given.horizon_bars is not None and given.horizon_bars < 1:
        raise BadUsage(f"horizon_bars: must be 1 or more, was {given.horizon_bars}")
    if given.horizon_bars is not None and given.forecasts is not None:
        raise BadUsage(f"horizon_bars: target={given.forecasts!r} has its own horizon; leave it out")
    if not _is_maker(given.model):
        _require_methods(given.model)


def fresh(given: Unfitted) -> Any:
    """Return a model that was not fitted yet: a copy of the object, or a new one of its class or function.

    Raises:
        BadUsage: it cannot be copied, or has no ``fit`` and ``predict``.
    """
    if isinstance(given.model, type) or _is_maker(given.model):
        made = given.model()
        _require_methods(made)
        return made
    try:
        return deepcopy(given.model)
    except Exception as error:  # the code of a user may raise anything
        raise BadUsage(
            f"model: {given.name} cannot be copied ({type(error).__name__}: {error}); give its class"
        ) from error


def fit_model(
    given: Unfitted, model: Any, series: Sequence[Candles], until_ms: int, from_ms: int = 0
) -> Fitted:
    """Fit ``model`` in place on bars that open from ``from_ms`` on, and whose targets end by ``until_ms``.

    Raises:
        BadUsage: two intervals, a target of another length, one that does not fit the bars, or one that
            changes with bars after its horizon.
        TooFewBars: no bar has both its features and its target in the span.
    """
    interval_ms = series[0].interval_ms
    if len({each.interval_ms for each in series}) > 1:
        raise BadUsage("candles: have two intervals; a model is fitted on one")
    if given.forecasts is not None and span_of(given.forecasts) % interval_ms:
        raise BadUsage(
            f"target={given.forecasts!r}: bars of {interval_name(interval_ms)} do not fit into "
            f"{given.forecasts.partition('_')[2]}; give another target or finer bars"
        )
    parts = [_rows(given, each, until_ms, from_ms) for each in series]
    rows, targets, close_ms = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(rows):
        need = given.warmup + given.horizon_of(interval_ms)
        raise TooFewBars(
            f"no bar has its features and its target before {minute_words(until_ms)}: that takes {need:,} "
            "unbroken bars; give more candles or a later until"
        )
    hourly = rows[close_ms % HOUR_MS == 0].copy()  # before the code of a user may change the rows
    model.fit(rows, targets)
    fitted = Fitted(
        Prediction(model),
        1,
        given.sources,
        trained_to_ms=until_ms,
        predict=model.predict,
        forecasts=given.forecasts,
        interval_ms=interval_ms,
        training=_looks(given, hourly, series, from_ms, until_ms),
    )
    return replace(fitted, hash=_name(given, fitted, rows))


def _looks(
    given: Unfitted, hourly: Floats, series: Sequence[Candles], from_ms: int, until_ms: int
) -> dict[str, Any] | None:
    """Return what drift is measured against: the rows, one an hour, and ``har_hour`` beside a variance."""
    if not len(hourly):
        return None
    looks = drift.describe(hourly)
    if given.forecasts is not None and given.forecasts.startswith("rv_"):
        horizons = Horizons.of_target(given.forecasts)
        sample = [_labelled(each, from_ms, until_ms, horizons) for each in series]
        if any(np.isfinite(baselines.har_terms(rows)[mask]).all(axis=1).any() for rows, mask in sample):
            looks["har_weights"], looks["har_factor"] = baselines.har_hour_weights(sample)
    return looks


def _labelled(
    candles: Candles, from_ms: int, until_ms: int, horizons: Horizons
) -> tuple[dataset.LabelledRows, NDArray[np.bool_]]:
    """Return the rows of one symbol without features, and which of them may be learned from."""
    if candles.end_ms > until_ms:
        candles = candles.head(int((candles.start_ms + candles.interval_ms <= until_ms).sum()))
    start_ms, close, interval_ms = candles.start_ms, candles.ohlcv[:, 3], candles.interval_ms
    rows = dataset.LabelledRows(
        candles.symbol,
        interval_ms,
        path="",
        sha256="",
        start_ms=start_ms,
        close=close,
        features=np.empty((len(close), 0)),
        targets=dataset.targets(start_ms, close, interval_ms, horizons),
        withheld=np.zeros(len(close), np.bool_),
        horizons=horizons,
    )
    return rows, rows.known & (start_ms >= from_ms)


class Prediction:
    """The model's answer for one row; a function of past values."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.__qualname__ = f"{type(model).__qualname__}.predict"

    def __call__(self, *windows: Floats) -> object:
        """Return the prediction for the newest value of each feature."""
        return np.ravel(self._model.predict(np.array([[window[-1] for window in windows]])))[0]


def _name(given: Unfitted, fitted: Fitted, rows: Floats) -> str:
    """Return a hash of what was learned from what; it is the same wherever the same was learned."""
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED_ROWS).astype(int))]
    told = np.array([fitted.function(*row[:, None]) for row in chosen], "<f8")
    definition = FeatureSet("own", fitted.interval_ms, given.features).hash
    words = f"{definition} {given.name} {given.forecasts} {fitted.trained_to_ms}"
    return hashlib.sha256(words.encode() + told.tobytes()).hexdigest()


def _rows(
    given: Unfitted, candles: Candles, until_ms: int, from_ms: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return the rows, targets and closes of one symbol that are known by ``until_ms``.

    No later bar is read at all, so neither a feature nor a target can know one.
    """
    if candles.end_ms > until_ms:
        candles = candles.head(int((candles.start_ms + candles.interval_ms <= until_ms).sum()))
    start_ms = candles.start_ms
    horizon_bars = given.horizon_of(candles.interval_ms)
    chosen = FeatureSet("own", candles.interval_ms, given.features)
    rows = FeatureStream(chosen, 1).replay(0, candles.ohlcv, start_ms, np.zeros(len(start_ms)))
    targets = np.full(len(start_ms), np.nan)
    ends = len(start_ms) - horizon_bars
    if ends <= 0:
        return rows[:0], targets[:0], start_ms[:0]
    if given.forecasts is not None:
        horizons = Horizons.of_target(given.forecasts)
        made = dataset.targets(start_ms, candles.ohlcv[:, 3], candles.interval_ms, horizons)
        targets = made[:, horizons.targets.index(given.forecasts)]
    elif given.target is None:
        close = np.log(candles.ohlcv[:, 3])
        targets[:ends] = close[horizon_bars:] - close[:ends]
    else:
        targets[:ends] = _made(given.target, candles)[:ends]
        _refuse_leak(given.target, candles, targets[:ends], horizon_bars)
    reach_ms = horizon_bars * candles.interval_ms
    known = np.zeros(len(start_ms), np.bool_)
    known[:ends] = start_ms[horizon_bars:] - start_ms[:ends] == reach_ms  # no hole inside the target
    known &= start_ms >= from_ms
    known &= start_ms + candles.interval_ms + reach_ms <= until_ms
    known &= np.isfinite(targets) & np.isfinite(rows).all(axis=1)
    return rows[known], targets[known], start_ms[known] + candles.interval_ms


def _made(target: Target, candles: Candles) -> Floats:
    made = np.asarray(target(candles), dtype=np.float64)
    if made.shape != (len(candles),):
        shape = made.shape
        raise BadUsage(f"target: must return one number for each of {len(candles)} bars, has shape {shape}")
    return made


def _refuse_leak(target: Target, candles: Candles, targets: Floats, horizon_bars: int) -> None:
    """Make the targets of some rows again without the bars that they may not know."""
    for row in np.unique(np.linspace(len(targets) // 2, len(targets) - 1, _LEAK_CUTS).astype(int)):
        again = _made(target, candles.head(row + horizon_bars + 1))[row]
        if not np.isclose(again, targets[row], rtol=1e-9, atol=0.0, equal_nan=True):
            when = minute_words(int(candles.start_ms[row]))
            raise BadUsage(
                f"target: in the bar of {when} it is {targets[row]:g}, but {again:g} without the bars after "
                f"the next {horizon_bars}; give a larger horizon_bars, and scale with nothing made of the "
                "whole history"
            )


def _is_maker(model: object) -> bool:
    """Return True for a function that makes a model, such as a ``functools.partial`` of its class."""
    return callable(model) and not isinstance(model, type) and not hasattr(model, "fit")


def _require_methods(model: object) -> None:
    missing = [name for name in ("fit", "predict") if not callable(getattr(model, name, None))]
    if missing:
        named = model.__name__ if isinstance(model, type) else type(model).__name__
        raise BadUsage(f"model: {named} has no {missing[0]}(...); give an object with fit and predict")


def _reads(op: Op, field: Op) -> bool:
    return op == field or any(_reads(each, field) for each in op.inputs)
