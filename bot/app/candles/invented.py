"""Invented candle files: written as any user's files are, and read back the same way."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bot.adapters.files.candles import Candles, FileName, Funding, write_candles, write_funding
from bot.app.inputs import read_history
from bot.service.backtest.history import History
from bot.synth import MarketRecipe, Series, funding, market

__all__ = ["MarketRecipe", "invented_files", "invented_history", "write_series"]


def write_series(folder: Path, series: Series, seed: int) -> dict[str, object]:
    """Write an invented series and its funding beside each other; return file, rows and hash."""
    name = FileName("synth", "linear", series.symbol, series.interval_ms)
    path = folder / f"{name}.parquet"
    candles = Candles.make(series.symbol, series.interval_ms, series.start_ms, series.ohlcv, series.turnover)
    write_candles(path, candles)
    settled = Funding(series.symbol, *funding(series, seed))
    write_funding(folder / f"synth_linear_{series.symbol}_funding.parquet", settled)
    return {"file": str(path), "rows": len(candles), "sha256": candles.sha256}


def invented_files(
    folder: Path, recipe: MarketRecipe, symbols: tuple[str, ...], seed: int
) -> list[dict[str, object]]:
    """Invent one market of several symbols and write it to ``folder``; return facts about each file."""
    return [write_series(folder, series, seed) for series in market(recipe, symbols, seed).values()]


def invented_history(folder: Path, recipe: MarketRecipe, prices: Mapping[str, float], seed: int) -> History:
    """Invent a market whose symbols begin at ``prices``, write it to ``folder`` and read it back."""
    paths = []
    for symbol, price in prices.items():
        series = market(msgspec.structs.replace(recipe, price=price), prices, seed)[symbol]
        paths.append(Path(str(write_series(folder, series, seed)["file"])))
    return read_history(paths, None)
