"""Candle files as a user handles them: import of foreign files, and facts about the files of a folder."""

from collections.abc import Iterable
from pathlib import Path

from bot.adapters.files.candles import FileName, parse_name, write_candles
from bot.adapters.files.columns import check_exists, location
from bot.adapters.files.facts import FileFacts, candle_files, file_facts
from bot.adapters.files.importing import SYNONYMS, import_candles
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadUsage
from bot.domain.market import INTERVALS_MS

__all__ = ["FileFacts", "candle_files", "facts_of", "import_file", "location"]


def import_file(
    file: Path,
    out: Path | None,
    data_dir: Path,
    *,
    symbol: str | None,
    interval: str | None,
    venue: str | None,
    market: str | None,
    columns: Iterable[str],
    naive_is_utc: bool,
    repair: bool,
    force: bool,
) -> dict[str, object]:
    """Turn a foreign file of candles into a candle file; return what was done.

    Raises:
        BadUsage: the name says too little, the target is there already, or a column pair is wrong.
        BadFile: there is no such file, or its rows are not candles.
    """
    check_exists(file)
    old = parse_name(file)
    symbol = symbol or (old.symbol if old else None)
    interval_ms = INTERVALS_MS[interval] if interval else (old.interval_ms if old else None)
    if symbol is None or interval_ms is None:
        unsaid = [word for word, value in (("symbol", symbol), ("interval", interval_ms)) if value is None]
        options = " and ".join(f"--{word}" for word in unsaid)
        raise BadUsage(f"{file}: the name does not say {' and '.join(unsaid)}; give {options}")
    name = FileName(
        venue or (old.venue if old else "import"),
        market or (old.market if old else "linear"),
        symbol,
        interval_ms,
    )
    out = out or data_dir / f"{name}.parquet"
    if parse_name(out) is None:
        raise BadUsage(f"{out}: the name must be VENUE_MARKET_SYMBOL_INTERVAL, for example {name}.parquet")
    if out.exists() and not force:
        raise BadUsage(f"{out}: is already there; --force replaces it")
    result = import_candles(
        file,
        symbol,
        interval_ms,
        now_ms=WallClock().now_ms(),
        columns=_pairs(columns),
        naive_is_utc=naive_is_utc,
        repair=repair,
    )
    write_candles(out, result.candles)
    return {
        "file": str(out),
        "rows": len(result.candles),
        "time_unit": result.time_unit,
        "reordered": result.reordered,
        "dropped_repeats": result.dropped,
        "dropped_unclosed": result.unclosed,
        "gaps": len(result.candles.gaps()),
        "sha256": result.candles.sha256,
    }


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if ours not in SYNONYMS or not equals or not theirs:
            raise BadUsage(f"--column {text}: expected OURS=THEIRS with OURS one of {', '.join(SYNONYMS)}")
        pairs[ours] = theirs
    return pairs


def facts_of(files: Iterable[Path]) -> list[FileFacts]:
    """Return what each file holds and everything that is wrong with it."""
    now_ms = WallClock().now_ms()
    return [file_facts(path, now_ms) for path in files]
