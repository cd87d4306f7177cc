"""Brings candle files up to date for a retraining: those of the symbols that the daemon trades."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.files.candles import FileName, read_candles
from bot.app.candles.download import DownloadJob, venue_of
from bot.domain.errors import BadFile, VenueError
from bot.domain.market import DAY_MS, INTERVALS_MS
from bot.service.moments import minute_words
from bot.settings import Settings

_NAMED = 3
_LATE_MS = DAY_MS
"""A symbol whose bars end so long before the others is one that the exchange does not trade any more."""


@dataclass(frozen=True)
class Fresh:
    """Candle files, and in words for each symbol without new bars why that is so."""

    files: list[Path]
    lacking: dict[str, str]


def fetch_fresh(settings: Settings, work: Path, now_ms: int) -> Fresh:
    """Bring the candle files of ``feed.symbols`` up to date over the last ``retrain.window_days``.

    They are the files of ``data_dir``. Bars of a local exchange are no market: they go to ``work``, to be
    forgotten. Holes that the exchange has, too, stay. A symbol that the exchange refuses, or whose file is
    damaged, holds no other up: its file serves as far as it goes.

    Raises:
        VenueError: the exchange cannot be asked, or no symbol has new bars.
    """
    folder = settings.data_dir
    if settings.feed.kind == "local":
        folder = work / "candles"
        local = settings.fetch.model_copy(update={"network": "mainnet", "base_url": settings.local.url})
        settings = settings.model_copy(update={"fetch": local})
    step = INTERVALS_MS[settings.feed.interval]
    to_ms = now_ms // step * step
    from_ms = to_ms - settings.retrain.window_days * DAY_MS
    paths = {symbol: folder / f"{_name(settings, symbol)}.parquet" for symbol in settings.feed.symbols}
    lacking = {symbol: why for symbol, path in paths.items() if (why := _damage(path))}
    sound = tuple(symbol for symbol in paths if symbol not in lacking)
    files: list[Path] = []
    if sound:
        wanted = settings.model_copy(update={"feed": settings.feed.model_copy(update={"symbols": sound})})
        job = DownloadJob(wanted, from_ms, to_ms, "linear", "kline", True, lambda *label: nullcontext(None))
        lacking |= asyncio.run(job.run(folder, every=False, funding=True, rules=False)).errors
        files = [paths[symbol] for symbol in sound if paths[symbol].exists()]
        ends = {symbol: read_candles(paths[symbol]).end_ms for symbol in sound if paths[symbol].exists()}
        lacking |= {
            symbol: f"{symbol}: its bars end {minute_words(end_ms)}"
            for symbol, end_ms in ends.items()
            if end_ms < to_ms - _LATE_MS and symbol not in lacking
        }
    if len(lacking) == len(paths):
        told = list(lacking.values())
        more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        raise VenueError(f"candles cannot be brought up to date: {'; '.join(told[:_NAMED])}{more}")
    return Fresh(files, lacking)


def _name(settings: Settings, symbol: str) -> FileName:
    return FileName(venue_of(settings), "linear", symbol, INTERVALS_MS[settings.feed.interval])


def _damage(path: Path) -> str:
    """Return what is wrong with a file; empty if nothing is, or there is none."""
    try:
        if path.exists():
            read_candles(path)
    except BadFile as error:
        return str(error)
    return ""
