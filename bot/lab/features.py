"""``bot.features(candles)``: the inputs of a model as a matrix."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import funding_beside, read_funding
from bot.adapters.files.columns import to_table
from bot.lab.calling import context_of, one_line
from bot.lab.candles import Source
from bot.lab.model import one_series

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, eq=False, repr=False)
class FeatureRows:
    """Features of closed bars. A row uses its bar and earlier ones only; NaN until its window is full."""

    names: tuple[str, ...]
    """Of the columns of ``matrix``."""
    matrix: NDArray[np.float64]
    """One row a bar, one column a feature, ``(T, F)``."""
    start_ms: NDArray[np.int64]
    """Open time of each bar, ``(T,)``."""

    def to_arrow(self) -> "pa.Table":
        """Return an Arrow table: ``start_ms``, then one column a feature; null where not warm."""
        return to_table({"start_ms": self.start_ms, **dict(zip(self.names, self.matrix.T, strict=True))})

    def to_pandas(self) -> "pd.DataFrame":
        """Return the same as a pandas DataFrame; pandas must be there."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        rows, columns = self.matrix.shape
        return f"<FeatureRows: {rows:,} bars × {columns} features, {', '.join(self.names[:4])}, …>"


@one_line
def features(candles: Source, *, funding: str | Path | None = None) -> FeatureRows:
    """Return the features that ``bot train`` fits on, one row a closed bar, causal.

    ``rows = bot.features(candles); rows.matrix, rows.names``

    Args:
        candles: of ``read_candles``, or a file.
        funding: a file of settled rates, or ``none``. Default: the file beside the candles' file.

    Raises:
        BadFile, BadBar: a file that is not as documented.
        BadInput: bars of a length that the features do not have.
    """
    from bot.features import matrix, spec

    context_of(None)
    series = one_series(candles)
    path = funding_beside(series.path) if funding is None else Path(funding)
    settled = (np.empty(0, np.int64), np.empty(0))
    if path is not None and str(funding) != "none":
        rates = read_funding(path)
        settled = (rates.start_ms, rates.rate)
    chosen = spec.default(series.interval_ms)
    rows = matrix.compute(chosen, series.start_ms, series.ohlcv, *settled)
    return FeatureRows(chosen.names, rows, series.start_ms)
