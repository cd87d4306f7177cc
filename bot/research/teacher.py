"""What LightGBM teaches a Performer: a smooth forecast of each row's variance beside the one that came.

One realised variance is a noisy lesson, and a network that reads the same rows many times learns the
noise. The teacher's forecast of a row has little of it, provided that the teacher has not seen the row. So
the rows are dealt into folds, and the trees that forecast one fold are fitted on the others (cross-fitting).

Beside the model's features the trees read two clocks of New York as plain numbers, because trees cut where
they like: the minute of its day and the hour of its week.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.features.ops import CLOSE_MS, NewYork
from bot.features.spec import MONDAY_MS, WEEK_MS
from bot.ports import Floats
from bot.research.dataset import RV, LabelledRows, Mask
from bot.research.skill.baselines import RV_ROUNDS, boosted

FOLDS = 4
BLOCK_MS = 14 * DAY_MS
"""Rows are dealt in blocks of two weeks of all symbols, because coins move together."""


def lessons(files: Sequence[LabelledRows], fit: Sequence[Mask]) -> list[Floats]:
    """Return for each file the log of the teacher's forecast of the variance, ``(T,)``.

    NaN for rows that are not in ``fit``. The forecast is of the mean, as the model's is. A row whose target
    reaches into another fold is forecast, but the trees that forecast that fold are not fitted on it.

    Raises:
        BadUsage: LightGBM is not installed, or the rows do not reach over two folds.
    """
    out = [np.full(len(rows.close), np.nan) for rows in files]
    for fold in range(FOLDS):
        held = [mask & (_fold(rows, 0) == fold) for rows, mask in zip(files, fit, strict=True)]
        if not any(mask.any() for mask in held):
            continue
        others = [
            mask & (_fold(rows, 0) != fold) & (_fold(rows, rows.horizons.long_ms) != fold)
            for rows, mask in zip(files, fit, strict=True)
        ]
        _forecast(files, others, held, out)
    return out


def _fold(rows: LabelledRows, later_ms: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the fold of each row's close, or of the moment ``later_ms`` after it, ``(T,)``."""
    fold: np.ndarray[tuple[int], np.dtype[np.int64]] = (rows.close_ms + later_ms) // BLOCK_MS % FOLDS
    return fold


def _forecast(
    files: Sequence[LabelledRows], fitted: Sequence[Mask], held: Sequence[Mask], out: Sequence[Floats]
) -> None:
    """Fit trees on the rows of ``fitted`` and write their forecasts of ``held`` into ``out``."""
    x = np.concatenate([_seen(rows, mask) for rows, mask in zip(files, fitted, strict=True)])
    y = np.log(np.concatenate([rows.targets[mask, RV] for rows, mask in zip(files, fitted, strict=True)]))
    if not len(x):
        raise BadUsage(
            f"--teacher: the rows to fit on must reach over two blocks of {BLOCK_MS // DAY_MS} days; give "
            "more bars, or train without a teacher"
        )
    try:
        trees = boosted(x, y, RV_ROUNDS)
    except ImportError as error:
        raise BadUsage(
            f"--teacher lightgbm: {error.name} is not installed (pip install 'bot[evaluate]')"
        ) from error
    smear = float(np.log(np.mean(np.exp(y - trees.predict(x)))))
    for rows, mask, told in zip(files, held, out, strict=True):
        if mask.any():
            told[mask] = trees.predict(_seen(rows, mask)) + smear


def _seen(rows: LabelledRows, mask: Mask) -> NDArray[np.float32]:
    """Return what the trees read of some rows, ``(rows, features + 2)``."""
    local = NewYork(CLOSE_MS).batch(rows.close_ms[mask].astype(np.float64))
    clocks = (local % DAY_MS / MINUTE_MS, (local - MONDAY_MS) % WEEK_MS / HOUR_MS)
    seen: NDArray[np.float32] = np.column_stack((rows.features[mask], *clocks)).astype(np.float32)
    return seen
