"""The account's value over its whole life: read once, then only what is new, and thinned for a chart."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bot.adapters.state.index import JournalIndex

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class Equity:
    """The value at each close, and the drawdown from the highest value before it."""

    def __init__(self) -> None:
        self._account: object = None
        self._row = 0
        self._ts_ms: list[int] = []
        self._equity: list[float] = []
        self._transfers: list[tuple[int, float]] = []
        self._restarts_ms: list[int] = []

    def _read(self, index: JournalIndex) -> None:
        """Take the closes that came since the last call."""
        if self._account != index.journal.folder:
            self.__init__()  # type: ignore[misc]  # another account: from the beginning
            self._account = index.journal.folder
        for row in index.rows("equity", "WHERE rowid > ? ORDER BY rowid", (self._row,)):
            self._row = int(row["id"])  # type: ignore[call-overload]
            if row["equity"] is not None:
                self._ts_ms.append(int(row["ts_ms"]))  # type: ignore[call-overload]
                self._equity.append(float(row["equity"]))  # type: ignore[arg-type]
        moved = index.rows("transfers", "ORDER BY rowid")
        self._transfers = [(int(row["ts_ms"]), float(row["amount_quote"])) for row in moved]  # type: ignore[call-overload, arg-type]
        started = index.rows("events", "WHERE kind = 'started' ORDER BY rowid")
        self._restarts_ms = [int(row["ts_ms"]) for row in started][1:]  # type: ignore[call-overload]

    def curve(self, index: JournalIndex, points: int) -> dict[str, object]:
        """Return about ``points`` of ``[ts_ms, equity, drawdown_frac]``; no extreme is lost.

        ``drawdown_frac`` is 0 at a peak and negative below it. Money paid in or out is neither gain nor loss.
        """
        self._read(index)
        ts_ms, equity = np.array(self._ts_ms, np.int64), np.array(self._equity, np.float64)
        below = drawdown(ts_ms, equity, self._transfers)
        kept = thinned(equity, below, points)
        rows = zip(ts_ms[kept].tolist(), equity[kept].tolist(), below[kept].tolist(), strict=True)
        return {"points": [list(row) for row in rows], "restarts_ms": self._restarts_ms}


def drawdown(ts_ms: Times, equity: Floats, transfers: list[tuple[int, float]]) -> Floats:
    """Return the loss from the highest value so far, as a fraction ≤ 0 of it, ``(T,)``.

    A transfer moves the highest value in proportion, as the breaker does it.
    """
    factor = np.ones(len(equity))
    for at_ms, amount in transfers:
        after = int(np.searchsorted(ts_ms, at_ms))
        before = equity[after - 1] if after else np.nan
        if before > 0.0 and before + amount > 0.0:
            factor[after:] *= (before + amount) / before
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = equity / factor
        peak = np.maximum.accumulate(scaled) if len(scaled) else scaled
        below: Floats = np.where(peak > 0.0, np.minimum(scaled / peak - 1.0, 0.0), 0.0)
    return below


def thinned(equity: Floats, below: Floats, points: int) -> NDArray[np.intp]:
    """Return the places to keep: of each stretch the lowest, the highest, the deepest and the last value."""
    total = len(equity)
    if total <= points:
        return np.arange(total)
    stretches = max(1, points // 4)
    edges = np.linspace(0, total, stretches + 1).astype(np.intp)
    kept = {0, total - 1}
    for first, end in pairwise(edges.tolist()):
        part = equity[first:end]
        kept |= {int(first + part.argmin()), int(first + part.argmax())}
        kept |= {int(first + below[first:end].argmin()), int(end - 1)}
    return np.array(sorted(kept), np.intp)
