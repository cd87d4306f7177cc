"""Candle series to write, spoil and read back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bot.adapters.files.candles import Candles
from tests.helpers import T0

STEP_MS = 300_000
NAME = "bybit_linear_BTCUSDT_5m.parquet"


def columns(bars: int = 20, seed: int = 1) -> dict[str, np.ndarray]:
    """A random walk as the columns of a file."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.001, bars)))
    open_ = np.concatenate(([100.0], close[:-1]))
    return {
        "start_ms": T0 + STEP_MS * np.arange(bars),
        "open": open_,
        "high": np.maximum(open_, close) * 1.001,
        "low": np.minimum(open_, close) * 0.999,
        "close": close,
        "volume": rng.uniform(0, 10, bars),
        "turnover": rng.uniform(0, 1000, bars),
    }


def candles(bars: int = 20, seed: int = 1) -> Candles:
    table = columns(bars, seed)
    ohlcv = np.column_stack([table[name] for name in ("open", "high", "low", "close", "volume")])
    return Candles.make("BTCUSDT", STEP_MS, table["start_ms"], ohlcv, table["turnover"])


def write_table(path: Path, table: dict[str, object]) -> Path:
    """Write columns as they are, right or wrong."""
    if path.suffix == ".csv":
        lists = [list(column) for column in table.values()]
        rows = [",".join("" if v is None else str(v) for v in row) for row in zip(*lists, strict=True)]
        path.write_text("\n".join([",".join(table), *rows]) + "\n")
    else:
        pq.write_table(pa.table(table), path)
    return path
