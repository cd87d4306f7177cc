"""Baselines for every figure of skill: simple forecasts, fitted on the bars before the cut.

A baseline is fitted once on many files and then forecasts one file: ``(T, 3)`` in the order of
``Horizons.targets``, NaN in the columns that it does not forecast. The log-linear baselines forecast the
mean, ``c·exp(prediction)`` with c = mean(rv / exp(prediction)) on their own rows. This constant has the least
QLIKE, so the fit to a logarithm is no disadvantage.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.domain.market import DAY_MS, HOUR_MS
from bot.model.config import RV_MIN
from bot.model.drift import HAR_HOURS
from bot.ports import Floats
from bot.research.dataset import (
    RET_LONG,
    RET_SHORT,
    RV,
    LabelledRows,
    Mask,
    squared_returns,
    sum_last,
)

FittedBaseline = Callable[[LabelledRows], Floats]
Sample = Sequence[tuple[LabelledRows, Mask]]
"""Files, and the rows of each file that may be fitted on."""

LAGS = 20
HAR_SPANS_MS = tuple(hours * HOUR_MS for hours in HAR_HOURS)
RV_ROUNDS = 300
"""Trees of LightGBM for the variance."""
ROLLING_MS = 90 * DAY_MS
"""The past that ``har_rolling`` is refitted on, at most."""
ROLLING_ROWS_MIN = 500
"""Rows that ``har_rolling`` is refitted on, at least."""


def fit_zero(sample: Sample) -> FittedBaseline:
    """Always forecast the sample's mean variance, and no return."""
    mean_rv = float(np.mean(np.concatenate([rows.targets[mask, RV] for rows, mask in sample])))
    return lambda rows: np.tile(np.array([mean_rv, 0.0, 0.0]), (len(rows.close), 1))


def fit_last_hour(sample: Sample) -> FittedBaseline:
    """Forecast the variance of the last hour, as much for each hour ahead. Nothing to fit."""
    return lambda rows: _columns(rows, rv=past_rv(rows, HOUR_MS) * (rows.horizons.long_ms / HOUR_MS))


def fit_mean_reversion(sample: Sample) -> FittedBaseline:
    """Forecast minus the last hour's return, at both horizons. Nothing to fit."""

    def forecast(rows: LabelledRows) -> Floats:
        back = -sum_last(rows.returns, max(1, HOUR_MS // rows.interval_ms))
        return _columns(rows, ret_short=back, ret_long=back)

    return forecast


def fit_har(sample: Sample) -> FittedBaseline:
    """Fit HAR-RV on logarithms (Corsi 2009): log rv on log rv of the last hour, 4 hours, day and week."""
    return _fit_log_rv(sample, har_terms)


def fit_har_hour(sample: Sample) -> FittedBaseline:
    """Fit HAR-RV with a dummy for each hour of the day."""
    return _fit_log_rv(sample, _har_hour_terms)


def har_hour_weights(sample: Sample) -> tuple[list[float], float]:
    """Return the weights of ``har_hour`` (of the terms, the hours of the day, a constant) and its factor."""
    weights, factor = _log_rv_weights(sample, _har_hour_terms)
    return weights.tolist(), factor


def fit_har_rolling(sample: Sample) -> FittedBaseline:
    """Refit HAR-RV at each midnight UTC on the last 90 days of the file that is forecast.

    A refit uses the rows whose targets are over by then. A day with fewer than 500 such rows gets the
    forecast of ``har``, fitted once on the sample.
    """
    once = fit_har(sample)

    def forecast(rows: LabelledRows) -> Floats:
        x, log_rv, close_ms = har_terms(rows), np.log(rows.targets[:, RV]), rows.close_ms
        usable = np.isfinite(x).all(axis=1) & np.isfinite(log_rv)
        rv = once(rows)[:, RV].copy()
        for midnight_ms in (np.unique(close_ms // DAY_MS) * DAY_MS).tolist():
            first, end = np.searchsorted(close_ms, (midnight_ms, midnight_ms + DAY_MS))
            oldest = np.searchsorted(close_ms, midnight_ms - ROLLING_MS)
            over = np.searchsorted(close_ms, midnight_ms - rows.horizons.long_ms, side="right")
            past = oldest + np.flatnonzero(usable[oldest:over])
            if len(past) >= ROLLING_ROWS_MIN:
                rv[first:end] = _log_linear(x[past], log_rv[past], x[first:end])
        return _columns(rows, rv=rv)

    return forecast


def fit_ridge(sample: Sample) -> FittedBaseline:
    """Fit returns on their last 20 lags, in units of the last day's volatility per bar."""

    def design(rows: LabelledRows) -> Floats:
        return np.clip(lags(rows) / _sigma(rows)[:, None], -5.0, 5.0)

    fits = {}
    for column in (RET_SHORT, RET_LONG):
        x = np.concatenate([design(rows)[mask] for rows, mask in sample])
        y = np.concatenate([(rows.targets[:, column] / _sigma(rows))[mask] for rows, mask in sample])
        fits[column] = _ridge_of_known(x, np.clip(y, -20.0, 20.0), penalty=100.0)

    def forecast(rows: LabelledRows) -> Floats:
        x = design(rows)
        return _columns(
            rows,
            ret_short=_linear(x, fits[RET_SHORT]) * _sigma(rows),
            ret_long=_linear(x, fits[RET_LONG]) * _sigma(rows),
        )

    return forecast


def fit_lightgbm(sample: Sample, seed: int = 0) -> FittedBaseline:
    """Fit gradient-boosted trees on the model's features and the HAR terms; one thread, seeded.

    Raises:
        ImportError: LightGBM is not installed (it is an optional dependency).
    """

    def design(rows: LabelledRows) -> Floats:
        return np.hstack((rows.features, har_terms(rows)))

    def wanted(rows: LabelledRows) -> Floats:
        sigma = _sigma(rows)
        return np.column_stack(
            (
                np.log(rows.targets[:, RV]),
                rows.targets[:, RET_SHORT] / sigma,
                rows.targets[:, RET_LONG] / sigma,
            )
        )

    x = np.concatenate([design(rows)[mask] for rows, mask in sample]).astype(np.float32)
    y = np.concatenate([wanted(rows)[mask] for rows, mask in sample])
    ok = np.isfinite(x).all(axis=1) & np.isfinite(y[:, [RV, RET_LONG]]).all(axis=1)
    x, y = x[ok], np.clip(np.nan_to_num(y[ok]), -20.0, 20.0)  # longer bars have no such target: 0
    rounds = {RV: RV_ROUNDS, RET_SHORT: 60, RET_LONG: 60}
    trees = {c: boosted(x, y[:, c], n, seed) for c, n in rounds.items()}
    smear = float(np.mean(np.exp(y[:, RV] - trees[RV].predict(x))))

    def forecast(rows: LabelledRows) -> Floats:
        features = design(rows).astype(np.float32)
        sigma = _sigma(rows)
        return _columns(
            rows,
            rv=smear * np.exp(trees[RV].predict(features)),
            ret_short=np.asarray(trees[RET_SHORT].predict(features)) * sigma,
            ret_long=np.asarray(trees[RET_LONG].predict(features)) * sigma,
        )

    return forecast


def boosted(x: NDArray[np.float32], y: Floats, rounds: int, seed: int = 0) -> Any:
    """Return boosted trees, fitted with squared error on one thread: the same rows give the same trees.

    Raises:
        ImportError: LightGBM is not installed.
    """
    import lightgbm

    settings = {
        "objective": "regression", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 500,
        "feature_fraction": 0.5, "bagging_fraction": 0.5, "bagging_freq": 1, "lambda_l2": 10.0,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": seed, "verbose": -1,
    }  # fmt: skip
    return lightgbm.train(settings, lightgbm.Dataset(x, y), rounds)


BASELINES: Mapping[str, Callable[[Sample], FittedBaseline]] = {
    "zero": fit_zero,
    "last_hour": fit_last_hour,
    "har": fit_har,
    "har_hour": fit_har_hour,
    "har_rolling": fit_har_rolling,
    "ridge": fit_ridge,
    "mean_reversion": fit_mean_reversion,
    "lightgbm": fit_lightgbm,
}


def past_rv(rows: LabelledRows, span_ms: int) -> Floats:
    """Return the sum of squared clipped returns over the last ``span_ms``, at least 1e-9; NaN across gaps.

    If a bar is longer, its own value is scaled down by time.
    """
    bars = max(1, span_ms // rows.interval_ms)
    share = min(1.0, span_ms / rows.interval_ms)
    past: Floats = np.maximum(sum_last(squared_returns(rows.returns), bars) * share, RV_MIN)
    return past


def har_terms(rows: LabelledRows) -> Floats:
    """Return the log of the past variance per hour over an hour, 4 hours, a day and a week, ``(T, 4)``."""
    per_hour = [past_rv(rows, span) * (HOUR_MS / span) for span in HAR_SPANS_MS]
    return np.log(np.column_stack(per_hour))


def hour_dummies(rows: LabelledRows) -> Floats:
    """Return one column per UTC hour, ``(T, 24)``: 1 for the hour in which the forecast horizon starts."""
    hour = rows.close_ms % DAY_MS // HOUR_MS
    dummies: Floats = (hour[:, None] == np.arange(24)).astype(np.float64)
    return dummies


def lags(rows: LabelledRows) -> Floats:
    """Return the last 20 one-bar returns, newest first, ``(T, 20)``."""
    out = np.full((len(rows.close), LAGS), np.nan)
    returns = rows.returns
    for lag in range(min(LAGS, len(returns))):
        out[lag:, lag] = returns[: len(returns) - lag]
    return out


def ridge(x: Floats, y: Floats, penalty: float) -> Floats:
    """Return weights ``(F + 1,)``, the constant last, that minimise |y - x·w - c|² + penalty·|w|²."""
    mean_x, mean_y = x.mean(axis=0), float(y.mean())
    centred = x - mean_x
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - mean_y))
    return np.append(weights, mean_y - mean_x @ weights)


def _ridge_of_known(x: Floats, y: Floats, penalty: float) -> Floats:
    """Do ``ridge`` on the rows without a NaN. NaN weights if there is none."""
    ok = np.isfinite(x).all(axis=1) & np.isfinite(y)
    return ridge(x[ok], y[ok], penalty) if ok.any() else np.full(x.shape[1] + 1, np.nan)


def _linear(x: Floats, weights: Floats) -> Floats:
    product: Floats = x @ weights[:-1] + weights[-1]
    return product


def _har_hour_terms(rows: LabelledRows) -> Floats:
    return np.hstack((har_terms(rows), hour_dummies(rows)))


def _fit_log_rv(sample: Sample, design: FittedBaseline) -> FittedBaseline:
    weights, smear = _log_rv_weights(sample, design)
    return lambda rows: _columns(rows, rv=smear * np.exp(_linear(design(rows), weights)))


def _log_rv_weights(sample: Sample, design: FittedBaseline) -> tuple[Floats, float]:
    x = np.concatenate([design(rows)[mask] for rows, mask in sample])
    y = np.log(np.concatenate([rows.targets[mask, RV] for rows, mask in sample]))
    weights = _ridge_of_known(x, y, penalty=1.0)
    return weights, float(np.nanmean(np.exp(y - _linear(x, weights))))


def _log_linear(x: Floats, log_rv: Floats, x_new: Floats) -> Floats:
    """Fit the logarithm of rv on ``x`` and return the forecast mean of rv at ``x_new``."""
    weights = ridge(x, log_rv, penalty=1.0)
    smear = float(np.mean(np.exp(log_rv - _linear(x, weights))))
    rv: Floats = smear * np.exp(_linear(x_new, weights))
    return rv


def _sigma(rows: LabelledRows) -> Floats:
    """Return the volatility of one bar over the last day, ``(T,)``."""
    sigma: Floats = np.sqrt(past_rv(rows, DAY_MS) * (rows.interval_ms / DAY_MS))
    return sigma


def _columns(
    rows: LabelledRows,
    rv: Floats | None = None,
    ret_short: Floats | None = None,
    ret_long: Floats | None = None,
) -> Floats:
    nothing = np.full(len(rows.close), np.nan)
    return np.column_stack([nothing if column is None else column for column in (rv, ret_short, ret_long)])
