"""What a forecast is good for, beside its scores: risk, sizing, calibration, months, and signs of a leak.

Forecasts at full hours have targets that do not overlap, if the longer horizon is an hour; of another one
those at multiples of it. The risk figures use these rows only.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import DAY_MS, HOUR_MS
from bot.metrics import Estimate
from bot.ports import Floats
from bot.research.dataset import LOG_SD, RET_LONG, RET_SHORT, RV, LabelledRows, Mask
from bot.research.skill.evaluate import bootstrap, bootstrap_mean, correlation, estimate_json, losses, ranks
from bot.research.skill.tails import Followed, Tails, follow
from bot.research.skill.verdicts import diebold_mariano, var_coverage, verdict_json
from bot.strategy.ranges import RET_LEVELS, RV_LEVELS, log_surprise

VAR_LEVELS = {"95": 0.05, "99": 0.01}
DAY_SHARE_MIN = 20 / 24
"""Share of a day that must be known to be judged as a day of a volatility target."""
PIT_BINS = 10
BANDS = (("50", 0.25, 0.75), ("80", 0.1, 0.9), ("95", 0.025, 0.975))
"""Name, lower and upper probability of the bands of the variance."""
_DEALS = 20
CALIBRATION_BINS = 10


def diagnose(
    rows: LabelledRows, mask: Mask, by_name: Mapping[str, Floats], tails: Tails | None, seed: int = 0
) -> dict[str, Any]:
    """Return the diagnostics of the forecasts of one file (``model`` and baselines) on the masked rows.

    ``tails`` None: the distribution of a return is not known, so its VaR and its calibration are not.
    """
    close_ms, targets = rows.close_ms[mask], rows.targets[mask]
    tables = {name: table[mask] for name, table in by_name.items()}
    rv_hats = {name: table[:, RV] for name, table in tables.items() if np.isfinite(table[:, RV]).any()}
    ours = tables["model"]
    horizons = rows.horizons
    apart = close_ms % horizons.long_ms == 0
    at_ms, risk, ret = close_ms[apart], ours[apart, RV], targets[apart, RET_LONG]
    followed = None if tails is None else follow_tails(ret, risk, tails)
    reversal = tables.get("mean_reversion")
    return {
        "diebold_mariano": {
            name: verdict_json(
                diebold_mariano(
                    losses(targets[:, RV], ours[:, RV]) - losses(targets[:, RV], rv_hat),
                    horizons.long_ms // rows.interval_ms,
                )
            )
            for name, rv_hat in rv_hats.items()
            if name != "model"
        },
        "tails": {"kind": "unknown"} if tails is None else tails.to_json(),
        "var": value_at_risk(at_ms, ret, risk, followed, horizons.long_ms),
        "var_fixed": value_at_risk(at_ms, ret, risk, tails, horizons.long_ms),
        "bands": bands(at_ms, targets[apart, RV], risk, ours[apart, LOG_SD], seed),
        "followed_minus_fixed": estimate_json(gain_of_following(at_ms, ret, risk, tails, followed, seed)),
        "vol_target": {
            name: estimate_json(
                tracking_error(at_ms, targets[apart, RV], rv_hat[apart], seed, horizons.long_ms)
            )
            for name, rv_hat in rv_hats.items()
        },
        "vol_target_whole": estimate_json(whole_miss(at_ms, targets[apart, RV], risk, seed)),
        "vol_target_chance": chance_miss(at_ms, targets[apart, RV], risk, seed, horizons.long_ms),
        "ic_beyond_reversal": {
            name: None
            if reversal is None
            else estimate_json(
                partial_ic(close_ms, targets[:, column], ours[:, column], reversal[:, column], seed)
            )
            for name, column in zip(horizons.targets[1:], (RET_SHORT, RET_LONG), strict=True)
        },
        "calibration": {
            "pit": pit(ret, risk, followed),
            "pit_fixed": pit(ret, risk, tails),
            "pit_rows": int(apart.sum()),
            "by_forecast": by_forecast(targets[:, RV], ours[:, RV], horizons),
        },
        "months": months(close_ms, targets, tables, seed, horizons),
    }


def value_at_risk(
    at_ms: NDArray[np.int64],
    ret: Floats,
    rv_hat: Floats,
    tails: Tails | Followed | None,
    horizon_ms: int = HOUR_MS,
) -> dict[str, Any]:
    """Test the VaR of the next ``horizon_ms`` for a long and a short position, at 95 and 99 %.

    The VaR is z·sqrt(forecast variance) with z a quantile of ``tails``, the lower one for a long position.
    ``long_95`` counts falls beyond it, ``short_95`` rises.
    """
    known = np.isfinite(ret) & np.isfinite(rv_hat)  # a model of returns alone has no VaR
    follows = np.diff(at_ms[known], prepend=-1) == horizon_ms
    z = ret[known] / np.sqrt(rv_hat[known])
    if tails is None:
        return {f"{side}_{level}": None for level in VAR_LEVELS for side in ("long", "short")}
    beyond = {}
    for level, tail in VAR_LEVELS.items():
        beyond[f"long_{level}"] = z < _at(tails, tail, known), tail
        beyond[f"short_{level}"] = z > _at(tails, 1.0 - tail, known), tail
    return {name: verdict_json(var_coverage(hits, follows, tail)) for name, (hits, tail) in beyond.items()}


def _at(tails: Tails | Followed, probability: float, known: Mask) -> Floats:
    """Return a quantile for each known row."""
    quantile: Floats = np.broadcast_to(tails.quantile(probability), known.shape)[known]
    return quantile


def follow_tails(ret: Floats, rv_hat: Floats, tails: Tails) -> Followed:
    """Follow the quantiles of return / √forecast over hours without overlap, from those of ``tails`` on."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = ret / np.sqrt(rv_hat)
    return follow(z, RET_LEVELS, [tails.quantile(level) for level in RET_LEVELS])


def gain_of_following(
    at_ms: NDArray[np.int64],
    ret: Floats,
    rv_hat: Floats,
    tails: Tails | None,
    followed: Followed | None,
    seed: int,
) -> Estimate | None:
    """Return the loss of the followed quantiles of VaR minus that of the fixed ones; below 0: it helps.

    A followed quantile is gone beyond as often as it should be by how it is made. Only its loss says whether
    it lies at the right place in the right hour. The loss of a quantile q of probability p is
    p·(z - q) above it and (1-p)·(q - z) below it; the figure is the mean over the levels of VaR, both sides.
    """
    if tails is None or followed is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        z = ret / np.sqrt(rv_hat)
    every = np.ones(len(z), np.bool_)
    levels = [level for tail in VAR_LEVELS.values() for level in (tail, 1.0 - tail)]
    ours, theirs = (
        np.mean([_quantile_loss(z, _at(each, level, every), level) for level in levels], axis=0)
        for each in (followed, tails)
    )
    return bootstrap_mean(at_ms, ours - theirs, seed)


def _quantile_loss(z: Floats, quantile: Floats, level: float) -> Floats:
    off = z - quantile
    loss: Floats = np.maximum(level * off, (level - 1.0) * off)
    return loss


def bands(
    at_ms: NDArray[np.int64], rv: Floats, rv_hat: Floats, log_sd: Floats, seed: int
) -> dict[str, Any] | None:
    """Return the share of hours whose variance fell into the bands of 50, 80 and 95 %, each with an interval.

    ``followed`` are the bands of quantiles that learn from earlier hours; ``fixed`` are those of the
    forecast's own log-normal distribution. None for a model without ``rv_log_sd``.
    """
    surprise = np.array(list(map(log_surprise, rv.tolist(), rv_hat.tolist(), log_sd.tolist())))
    if not np.isfinite(surprise).any():
        return None
    start = [NormalDist().inv_cdf(level) for level in RV_LEVELS]
    followed = follow(surprise, RV_LEVELS, start)
    fixed = Followed(RV_LEVELS, np.broadcast_to(start, followed.table.shape))
    return {
        name: {
            "followed": estimate_json(_inside(at_ms, surprise, followed, low, high, seed)),
            "fixed": estimate_json(_inside(at_ms, surprise, fixed, low, high, seed)),
        }
        for name, low, high in BANDS
    }


def _inside(
    at_ms: NDArray[np.int64], x: Floats, quantiles: Followed, low: float, high: float, seed: int
) -> Estimate | None:
    """Return the share of known ``x`` between two quantiles."""
    within = (x > quantiles.quantile(low)) & (x < quantiles.quantile(high))
    return bootstrap_mean(at_ms, np.where(np.isfinite(x), within, np.nan), seed)


def whole_miss(at_ms: NDArray[np.int64], rv: Floats, rv_hat: Floats, seed: int) -> Estimate | None:
    """Return by which fraction the volatility over all hours is above the target (below 0: below it)."""
    ratio = rv / rv_hat
    terms = np.column_stack((ratio, np.where(np.isfinite(ratio), 1.0, np.nan)))
    return bootstrap(at_ms, terms, lambda sums: math.sqrt(sums[0] / sums[1]) - 1.0, seed)


def chance_miss(
    at_ms: NDArray[np.int64], rv: Floats, rv_hat: Floats, seed: int, horizon_ms: int = HOUR_MS
) -> float | None:
    """Return by how much a day would miss the target if the hours of all days were dealt out at random.

    What a day misses beyond it comes from days as a whole, which a better forecast could know. The rest is
    the chance of single hours. It is the mean of ``tracking_error`` over 20 such deals.
    """
    rng = np.random.default_rng(seed)
    known = np.isfinite(rv) & np.isfinite(rv_hat)
    ratio, found = (rv / rv_hat)[known], []
    for _ in range(_DEALS):
        dealt = tracking_error(at_ms[known], rng.permutation(ratio), np.ones(len(ratio)), seed, horizon_ms)
        if dealt is None:
            return None
        found.append(dealt.value)
    return float(np.mean(found))


def tracking_error(
    at_ms: NDArray[np.int64], rv: Floats, rv_hat: Floats, seed: int, horizon_ms: int = HOUR_MS
) -> Estimate | None:
    """Return by how much a position sized to a volatility target misses it, as a fraction of the target.

    The position of each horizon is target / sqrt(forecast). A day's volatility over the target is then
    sqrt(mean of rv / forecast over its horizons). The figure is the root mean square over days of this minus
    1; days of which less than 20 hours are known are left out.
    """
    known = np.isfinite(rv) & np.isfinite(rv_hat)
    days, day, counts = np.unique(at_ms[known] // DAY_MS, return_inverse=True, return_counts=True)
    if not len(days):
        return None
    ratio = np.sqrt(np.bincount(day, (rv / rv_hat)[known]) / counts)
    whole = counts * horizon_ms >= DAY_SHARE_MIN * DAY_MS
    if not whole.any():
        return None
    terms = np.column_stack(((ratio[whole] - 1.0) ** 2, np.ones(int(whole.sum()))))
    return bootstrap(days[whole] * DAY_MS, terms, lambda sums: math.sqrt(sums[0] / sums[1]), seed)


def partial_ic(
    close_ms: NDArray[np.int64], target: Floats, forecast: Floats, reversal: Floats, seed: int
) -> Estimate | None:
    """Return the rank correlation of forecast and target that is left once reversal is taken out of both.

    r(xy.z) = (r_xy - r_xz·r_yz) / sqrt((1 - r_xz²)(1 - r_yz²)) on ranks (partial Spearman correlation). A
    forecast that only repeats ``mean_reversion`` has none: the figure is None.
    """
    both = np.isfinite(forecast) & np.isfinite(reversal) & np.isfinite(target)
    columns = [np.where(both, each, np.nan) for each in (forecast, target, reversal)]
    x, y = ranks(columns[0], columns[1])
    z, _ = ranks(columns[2], columns[1])
    terms = [x, y, z, x * x, y * y, z * z, x * y, x * z, y * z, np.where(both, 1.0, np.nan)]
    return bootstrap(close_ms, np.column_stack(terms), _partial, seed)


def _partial(sums: Floats) -> float:
    x, y, z, xx, yy, zz, xy, xz, yz, n = sums.tolist()
    var_x, var_y, var_z = xx - x * x / n, yy - y * y / n, zz - z * z / n
    if min(var_x, var_y, var_z) <= 0.0:
        return math.nan
    r_xy = (xy - x * y / n) / math.sqrt(var_x * var_y)
    r_xz = (xz - x * z / n) / math.sqrt(var_x * var_z)
    r_yz = (yz - y * z / n) / math.sqrt(var_y * var_z)
    left = (1.0 - r_xz**2) * (1.0 - r_yz**2)
    return (r_xy - r_xz * r_yz) / math.sqrt(left) if left > 1e-9 else math.nan


def pit(ret: Floats, rv_hat: Floats, tails: Tails | Followed | None) -> list[float] | None:
    """Return the shares of hours in ten equal bins of F(return / sqrt(forecast)); each is 0.1 at best.

    F is the distribution of ``tails``. This is the probability integral transform (Diebold, Gunther and Tay
    1998, doi 10.2307/2527342). Full outer bins mean forecasts that are too small; full inner bins mean too
    large ones.
    """
    z = ret / np.sqrt(rv_hat)
    known = np.isfinite(z)
    z = z[known]
    if tails is None or not len(z):
        return None
    above = [z > _at(tails, at / PIT_BINS, known) for at in range(1, PIT_BINS)]
    counts = np.bincount(np.sum(above, axis=0), minlength=PIT_BINS)
    return [float(share) for share in counts / len(z)]


def by_forecast(rv: Floats, rv_hat: Floats, horizons: Horizons = HOUR) -> list[dict[str, float]]:
    """Return mean forecast and mean realised variance in ten groups of rows, from the smallest forecasts."""
    known = np.flatnonzero(np.isfinite(rv) & np.isfinite(rv_hat))
    order = known[np.argsort(rv_hat[known], kind="stable")]
    return [
        {
            "rows": len(part),
            f"forecast_{horizons.targets[RV]}": float(rv_hat[part].mean()),
            f"realised_{horizons.targets[RV]}": float(rv[part].mean()),
        }
        for part in np.array_split(order, CALIBRATION_BINS)
        if len(part)
    ]


def months(
    close_ms: NDArray[np.int64],
    targets: Floats,
    tables: dict[str, Floats],
    seed: int,
    horizons: Horizons = HOUR,
) -> list[dict[str, Any]]:
    """Return QLIKE of every forecaster in each UTC month, ours with an interval, and our long IC."""
    qlike, _, _, ic_long, _ = horizons.figures
    month = close_ms.astype("datetime64[ms]").astype("datetime64[M]")
    told = []
    for each in np.unique(month):
        of = month == each
        rv = targets[of, RV]
        x, y = ranks(tables["model"][of, RET_LONG], targets[of, RET_LONG])
        terms = np.column_stack((x, y, x * x, y * y, x * y, np.where(np.isfinite(x), 1.0, np.nan)))
        qlikes = {name: losses(rv, table[of, RV]) for name, table in tables.items()}
        ours = qlikes.pop("model")
        told.append(
            {
                "month": str(each),
                "rows": int(of.sum()),
                qlike: estimate_json(bootstrap_mean(close_ms[of], ours, seed)),
                "baselines": {
                    name: float(np.nanmean(loss)) for name, loss in qlikes.items() if np.isfinite(loss).any()
                },
                ic_long: estimate_json(bootstrap(close_ms[of], terms, correlation, seed)),
            }
        )
    return told


def training_alarm(close_ms: NDArray[np.int64], trained_to_ms: int, horizons: Horizons = HOUR) -> list[str]:
    """Return the alarm for rows that the model was fitted on; nothing if there are none."""
    seen = int((close_ms + horizons.long_ms <= trained_to_ms).sum())
    if not seen:
        return []
    until = datetime.fromtimestamp(trained_to_ms / 1000, UTC).isoformat(" ", "minutes").removesuffix("+00:00")
    return [
        f"{seen:,} of {len(close_ms):,} rows lie before {until} UTC, in the training range of the model: "
        "the figures are in-sample; score later bars"
    ]
