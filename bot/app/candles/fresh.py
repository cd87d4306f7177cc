"""Brings candle files up to date for a retraining: those of the symbols that the daemon trades."""

import asyncio
from contextlib import nullcontext
from pathlib import Path

from bot.app.candles.download import DownloadJob
from bot.domain.errors import VenueError
from bot.domain.market import DAY_MS, INTERVALS_MS
from bot.settings import Settings

_NAMED = 3


def fetch_fresh(settings: Settings, work: Path, now_ms: int) -> list[Path]:
    """Return candle files of ``feed.symbols`` with every closed bar of the last ``retrain.window_days``.

    They are the files of ``data_dir``. Bars of a local exchange are no market: they go to ``work``, to be
    forgotten. Holes that the exchange has, too, stay.

    Raises:
        VenueError: bars of a symbol cannot be fetched.
        BadFile: a file is damaged.
    """
    folder = settings.data_dir
    if settings.feed.kind == "local":
        folder = work / "candles"
        local = settings.fetch.model_copy(update={"network": "mainnet", "base_url": settings.local.url})
        settings = settings.model_copy(update={"fetch": local})
    step = INTERVALS_MS[settings.feed.interval]
    to_ms = now_ms // step * step
    from_ms = to_ms - settings.retrain.window_days * DAY_MS
    job = DownloadJob(settings, from_ms, to_ms, "linear", "kline", True, lambda *label: nullcontext(None))
    done = asyncio.run(job.run(folder, every=False, funding=True, rules=False))
    if done.errors:
        told = list(done.errors.values())
        more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        raise VenueError(f"candles cannot be brought up to date: {'; '.join(told[:_NAMED])}{more}")
    return [Path(str(row["file"])) for row in done.files if row["gaps"] is not None]
