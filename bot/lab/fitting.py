"""``fit``: a model of the user's own, such as one of scikit-learn or LightGBM, as an indicator."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles
from bot.app.inputs import read_history
from bot.domain.errors import BadUsage, TooFewBars
from bot.features.indicators import Past
from bot.features.ops import FUNDING, Op
from bot.features.spec import FeatureSet
from bot.features.stream import FeatureStream
from bot.lab.calling import Time, context_of, one_line, utc_ms
from bot.lab.candles import Source, candles_or_files
from bot.service.moments import minute_words

Floats = NDArray[np.float64]
_LEAK_CUTS = 8
"""Rows in the second half of a symbol whose targets are made a second time."""
Target = Callable[[Candles], Sequence[float] | Floats]


class Learner(Protocol):
    """What ``fit`` takes: the two methods of scikit-learn's regressors."""

    def fit(self, rows: Any, targets: Any) -> Any:
        """Learn from rows ``(n, features)`` and targets ``(n,)``."""

    def predict(self, rows: Any) -> Any:
        """Return ``(n,)`` for rows ``(n, features)``."""


@one_line
def fit(
    model: Learner,
    candles: Source | Sequence[Source],
    features: Mapping[str, Op],
    *,
    horizon_bars: int = 12,
    target: Target | None = None,
    until: Time | None = None,
) -> Past:
    """Fit a model of your own on closed bars, and return it as an indicator that a strategy declares.

    ``indicators = {"edge": bot.fit(LGBMRegressor(), candles, {"rsi": rsi(close)}, until="2025-06-01")}``

    The indicator is the model's ``predict`` for the row of the bar that has just closed. A backtest that uses
    it holds out all closes up to ``until``: its headline figures begin there. No later bar reaches ``fit``: a
    row is left out if its target ends after ``until``, or if a hole lies inside its target.

    Args:
        model: any object with ``fit(rows, targets)`` and ``predict(rows)``; it is fitted in place.
        candles: of ``read_candles``, or files; a list for several symbols of one interval.
        features: indicators by name, one column of the rows each.
        horizon_bars: bars after a row's close that its target is made of.
        target: a function of candles that returns one number a bar, NaN where it is not known; it may use
            bars up to ``horizon_bars`` after its own. Default: the log return over ``horizon_bars``.
        until: closes after this time are not used, UTC. Default: the end of the candles.

    Raises:
        BadUsage: no features, something that is no indicator or reads funding, two intervals, a target of
            another length, or one that changes with bars after its ``horizon_bars``.
        TooFewBars: no bar has both its features and its target before ``until``.
    """
    context_of(None)
    if horizon_bars < 1:
        raise BadUsage(f"horizon_bars: must be 1 or more, was {horizon_bars}")
    given: Mapping[str, object] = features
    wrong = [name for name, op in given.items() if not isinstance(op, Op)]
    if wrong or not features:
        named = f"features[{wrong[0]!r}]" if wrong else "features"
        raise BadUsage(f"{named}: give indicators by name, such as {{'rsi': rsi(close, 14)}}")
    funded = [name for name, op in features.items() if _reads(op, FUNDING)]
    if funded:
        raise BadUsage(
            f"features[{funded[0]!r}]: reads funding rates, which candles do not hold; leave it out"
        )
    series = read_history(candles_or_files(candles), "none").candles
    if len({each.interval_ms for each in series}) > 1:
        raise BadUsage("candles: have two intervals; a model is fitted on one")
    given_ms = utc_ms(until, "until")
    until_ms = max(each.end_ms for each in series) if given_ms is None else given_ms
    parts = [_rows(each, features, horizon_bars, target, until_ms) for each in series]
    rows, targets = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(rows):
        need = max(op.warmup for op in features.values()) + horizon_bars
        raise TooFewBars(
            f"no bar has its features and its target before {minute_words(until_ms)}: that takes {need:,} "
            "unbroken bars; give more candles or a later until"
        )
    model.fit(rows, targets)
    return Past(_Prediction(model), 1, tuple(features.values()), trained_to_ms=until_ms)


class _Prediction:
    """The model's answer for one row; a function of past values."""

    def __init__(self, model: Learner) -> None:
        self._model = model
        self.__qualname__ = f"{type(model).__qualname__}.predict"

    def __call__(self, *windows: Floats) -> object:
        """Return the prediction for the newest value of each feature."""
        return np.ravel(self._model.predict(np.array([[window[-1] for window in windows]])))[0]


def _rows(
    candles: Candles, features: Mapping[str, Op], horizon_bars: int, target: Target | None, until_ms: int
) -> tuple[Floats, Floats]:
    """Return the rows and targets of one symbol that are known by ``until_ms``."""
    chosen = FeatureSet("own", candles.interval_ms, tuple(features.items()))
    start_ms = candles.start_ms
    rows = FeatureStream(chosen, 1).replay(0, candles.ohlcv, start_ms, np.zeros(len(start_ms)))
    targets = np.full(len(start_ms), np.nan)
    ends = len(start_ms) - horizon_bars
    if ends <= 0:
        return rows[:0], targets[:0]
    if target is None:
        close = np.log(candles.ohlcv[:, 3])
        targets[:ends] = close[horizon_bars:] - close[:ends]
    else:
        targets[:ends] = _made(target, candles)[:ends]
        _refuse_leak(target, candles, targets[:ends], horizon_bars)
    reach_ms = horizon_bars * candles.interval_ms
    known = np.zeros(len(start_ms), np.bool_)
    known[:ends] = start_ms[horizon_bars:] - start_ms[:ends] == reach_ms  # no hole inside the target
    known &= start_ms + candles.interval_ms + reach_ms <= until_ms
    known &= np.isfinite(targets) & np.isfinite(rows).all(axis=1)
    return rows[known], targets[known]


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


def _reads(op: Op, field: Op) -> bool:
    return op == field or any(_reads(each, field) for each in op.inputs)
