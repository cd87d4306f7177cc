"""Judges the forecasts of a running bot by what the market did then, beside ``har_hour``.

It runs in a process of its own: research loads more than a page may keep in memory.
"""

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bot.domain.market import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from bot.research.dataset import LabelledRows
    from bot.web.server.skill import SkillSeries

DAYS = 7
_FIT_ROWS_MIN = 500
"""Rows that ``har_hour`` is fitted on at least."""
Floats = NDArray[np.float64]


async def judge(series: Sequence["SkillSeries"]) -> list[dict[str, Any]]:
    """Do ``judge_here`` in another process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, judge_here, list(series))


def judge_here(series: Sequence["SkillSeries"]) -> list[dict[str, Any]]:
    """Return one row for each of the last days, newest first: QLIKE and calibration of its forecasts.

    A forecast is judged once its hour is over. ``calibration`` is the realised variance over the forecast
    one: above 1 the market moved more than forecast. ``qlike_har_hour`` is None where too few bars lie before
    the first judged day to fit that baseline on.
    """
    judged = [made for each in series if (made := _judged(each)).known.any()]
    if not judged:
        return []
    first_ms = min(int(each.rows.close_ms[each.known][0]) for each in judged)
    last_ms = max(int(each.rows.close_ms[each.known][-1]) for each in judged)
    cut_ms = max(first_ms, last_ms // DAY_MS * DAY_MS - (DAYS - 1) * DAY_MS)
    har = _har_hour(judged, cut_ms)
    return _by_day(np.vstack([_scores(each, har, cut_ms) for each in judged]))


@dataclass(frozen=True)
class _Judged:
    """One symbol: its rows, the forecast of each, and which can be judged by now; all ``(T,)``."""

    rows: "LabelledRows"
    rv: Floats
    forecast: Floats
    known: NDArray[np.bool_]


def _judged(series: "SkillSeries") -> _Judged:
    from bot.research.dataset import RV, LabelledRows, targets

    start_ms, close = np.array(series.start_ms, np.int64), np.array(series.close, np.float64)
    fits_an_hour = series.interval_ms > 0 and HOUR_MS % series.interval_ms == 0 and len(close) > 1
    labels = (
        targets(start_ms, close, series.interval_ms) if fits_an_hour else np.full((len(close), 3), np.nan)
    )
    rows = LabelledRows(
        symbol=series.symbol,
        interval_ms=series.interval_ms,
        path="",
        sha256="",
        start_ms=start_ms,
        close=close,
        features=np.zeros((len(close), 1)),
        targets=labels,
        withheld=np.zeros(len(close), np.bool_),
    )
    made = dict(zip(series.close_ms, series.rv_60m, strict=True))
    forecast = np.array([made.get(at_ms, np.nan) for at_ms in rows.close_ms.tolist()])
    rv = labels[:, RV]
    return _Judged(rows, rv, forecast, np.isfinite(rv) & (forecast > 0.0))


def _har_hour(judged: Sequence[_Judged], cut_ms: int) -> Any:
    """Fit the baseline on the bars whose hour ended before ``cut_ms``; None if they are too few."""
    from bot.research.skill.baselines import fit_har_hour, har_terms

    sample = []
    for each in judged:
        terms = np.isfinite(har_terms(each.rows)).all(axis=1)
        sample.append((each.rows, terms & np.isfinite(each.rv) & each.rows.within(0, cut_ms)))
    fit_on = [(rows, mask) for rows, mask in sample if mask.any()]
    if sum(int(mask.sum()) for _, mask in fit_on) < _FIT_ROWS_MIN:
        return None
    return fit_har_hour(fit_on)


def _scores(each: _Judged, har: Any, cut_ms: int) -> Floats:
    """Return ``(N, 5)``: close in ms, our QLIKE, that of ``har_hour``, realised and forecast variance."""
    from bot.research.dataset import RV
    from bot.research.skill.evaluate import losses

    known = each.known & (each.rows.close_ms >= cut_ms)
    rv, ours = each.rv[known], each.forecast[known]
    theirs = np.full(len(rv), np.nan) if har is None else losses(rv, har(each.rows)[known, RV])
    return np.column_stack([each.rows.close_ms[known], losses(rv, ours), theirs, rv, ours])


def _by_day(scores: Floats) -> list[dict[str, Any]]:
    day = scores[:, 0] // DAY_MS
    table = []
    for number in sorted(set(day.tolist()), reverse=True):
        of = scores[day == number]
        both = of[np.isfinite(of[:, 2])]
        table.append(
            {
                "day_ms": int(number) * DAY_MS,
                "hours": len(set((of[:, 0] // HOUR_MS).tolist())),
                "rows": len(of),
                "qlike": float(of[:, 1].mean()),
                "qlike_har_hour": float(both[:, 2].mean()) if len(both) == len(of) else None,
                "calibration": float(of[:, 3].sum() / of[:, 4].sum()),
            }
        )
    return table
