"""Candle files as a user handles them: import of foreign files, and facts about the files of a folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bot.adapters.files.candles import Candles, FileName, market_of, parse_name, read_candles, write_candles
from bot.adapters.files.columns import location
from bot.adapters.files.facts import FileFacts, candle_files, file_facts, stress_bars, wick_bars
from bot.adapters.files.foreign.names import agreed
from bot.adapters.files.foreign.sources import find_sources
from bot.adapters.files.importing import SYNONYMS, Prefer, Reading, import_candles
from bot.adapters.files.joining import coarser
from bot.adapters.files.trades import are_trades, import_trades
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadUsage
from bot.domain.market import INTERVALS_MS, interval_name
from bot.service.moments import minute_words

_COLUMNS = (*SYNONYMS, "price")
"""Our names of columns; files of single trades have a price."""

__all__ = [
    "FileFacts",
    "Prefer",
    "Reading",
    "candle_files",
    "column_pairs",
    "facts_of",
    "import_files",
    "location",
    "resample_files",
]


def import_files(
    files: Sequence[Path],
    out: Path | None,
    data_dir: Path,
    reading: Reading,
    *,
    symbol: str | None,
    interval: str | None,
    venue: str | None,
    market: str | None,
    force: bool,
) -> dict[str, object]:
    """Turn foreign files of candles or of single trades into one candle file; return what was recognised.

    Raises:
        BadUsage: the names say too little, or the target is there already.
        BadFile: a file is missing, its rows are not candles, contradict each other, or are inverse.
    """
    sources = find_sources(files)
    said = agreed(sources)
    named = None if out is None else parse_name(out)
    symbol = symbol or said.symbol
    interval_ms = INTERVALS_MS[interval] if interval else said.interval_ms
    if named is not None:
        symbol, interval_ms = symbol or named.symbol, interval_ms or named.interval_ms
    if symbol is None or interval_ms is None:
        unsaid = [word for word, value in (("symbol", symbol), ("interval", interval_ms)) if value is None]
        options = " and ".join(f"--{word}" for word in unsaid)
        raise BadUsage(f"{sources[0]}: the name does not say {' and '.join(unsaid)}; give {options}")
    name = FileName(venue or said.venue or "import", market or said.market or "linear", symbol, interval_ms)
    out = out or data_dir / f"{name}.parquet"
    _check_name(out, name, venue=venue, market=market or said.market)
    if out.exists() and not force:
        raise BadUsage(f"{out}: is already there; --force replaces it")
    read = import_trades if are_trades(sources[0]) else import_candles
    result = read(sources, symbol, interval_ms, reading, now_ms=WallClock().now_ms())
    write_candles(out, result.candles)
    gaps = result.candles.gaps()
    return {
        "file": str(out),
        "tables": len(sources),
        "rows": len(result.candles),
        "first_ms": result.candles.first_ms,
        "last_ms": int(result.candles.start_ms[-1]),
        "dialects": dict(result.dialects),
        "columns": dict(result.columns),
        "notes": [*_notes(result.columns), *_stress_notes(result.candles)],
        "time_unit": result.time_unit,
        "time_units": dict(result.time_units),
        "reordered": result.reordered,
        "dropped_repeats": result.dropped,
        "dropped_other": result.replaced,
        "dropped_headers": result.headers,
        "dropped_unclosed": result.unclosed,
        "trades": result.trades,
        "flat_bars": result.flat,
        "gaps": len(gaps),
        "missing_bars": sum(bars for _, _, bars in gaps),
        "sha256": result.candles.sha256,
    }


def resample_files(
    files: Sequence[Path], interval: str, folder: Path | None, *, force: bool
) -> list[dict[str, object]]:
    """Join the bars of each file to longer ones; write a file of each, beside it or into ``folder``.

    Raises:
        BadUsage: a name says too little, the bars do not fit, or a target is there or stands twice.
        BadFile, BadBar: a file is not as documented.
    """
    now_ms, interval_ms = WallClock().now_ms(), INTERVALS_MS[interval]
    targets = [_resampled_name(path, interval_ms, folder) for path in files]
    for path, out in zip(files, targets, strict=True):
        if targets.count(out) > 1:
            raise BadUsage(f"{path}: two files would become {out}; join them one after the other")
        if out.exists() and not force:
            raise BadUsage(f"{out}: is already there; --force replaces it")
    made = [coarser(read_candles(path, now_ms=now_ms), interval_ms) for path in files]
    for out, candles in zip(targets, made, strict=True):
        write_candles(out, candles)
    return [
        {"file": str(out), "from": str(path), "rows": len(candles), "gaps": len(candles.gaps())}
        | {"first_ms": candles.first_ms, "last_ms": int(candles.start_ms[-1]), "sha256": candles.sha256}
        for path, out, candles in zip(files, targets, made, strict=True)
    ]


def _resampled_name(path: Path, interval_ms: int, folder: Path | None) -> Path:
    name = parse_name(path)
    if name is None:
        raise BadUsage(f"{path}: the name must be VENUE_MARKET_SYMBOL_INTERVAL; rename it first")
    if name.interval_ms >= interval_ms:
        raise BadUsage(f"{path}: has bars of this length or longer; give a longer --interval")
    return (folder or path.parent) / f"{replace(name, interval_ms=interval_ms)}{path.suffix}"


def _stress_notes(candles: Candles) -> list[str]:
    """Warn of bars that are a crash or a mistake: nobody looks for one after an import that went well."""
    found = sorted({ms for ms, _ in (*stress_bars(candles), *wick_bars(candles))})
    if not found:
        return []
    return [
        f"moves or wicks of more than 20 % within a bar: {len(found):,}, the first at "
        f"{minute_words(found[0])}: a crash, or a wrong price; `bot data verify` lists them"
    ]


def _notes(columns: Mapping[str, str]) -> list[str]:
    """Warn of a column of closes that was named as the time when bars open: each bar would be one late."""
    theirs = columns.get("start_ms", "")
    name = theirs.lower()
    if not ("close" in name or name.startswith("end") or name.endswith("end")):
        return []
    return [
        f"{theirs} was taken for the time when a bar opens, but its name says close; if it is the close, "
        "each bar is one bar late: name the column of opens (--column start_ms=NAME)"
    ]


def _check_name(out: Path, rows: FileName, *, venue: str | None, market: str | None) -> None:
    """Refuse a file's name that says something else than what is known of the rows: readers believe the name.

    Raises:
        BadUsage: another form, another symbol, interval, market or venue, or a market that does not exist.
        BadFile: an inverse contract.
    """
    named = parse_name(out)
    if named is None:
        raise BadUsage(f"{out}: the name must be VENUE_MARKET_SYMBOL_INTERVAL, for example {rows}.parquet")
    known = {
        "symbol": (named.symbol, rows.symbol),
        "interval": (interval_name(named.interval_ms), interval_name(rows.interval_ms)),
        "market": (named.market, market),
        "venue": (named.venue, venue),
    }
    for what, (told, wanted) in known.items():
        if wanted is not None and told != wanted:
            raise BadUsage(
                f"{out}: the name says {what} {told}, but the rows are of {wanted} by --{what} or by their "
                f"file's name; change --out or --{what}"
            )
    _, unknown = market_of(out)
    if unknown:
        raise BadUsage(f"--market {named.market}: is no market; give linear or spot")


def column_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Read ``OURS=THEIRS`` pairs of columns.

    Raises:
        BadUsage: a text that is no pair, or names none of our columns.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if ours not in _COLUMNS or not equals or not theirs:
            raise BadUsage(f"--column {text}: expected OURS=THEIRS with OURS one of {', '.join(_COLUMNS)}")
        pairs[ours] = theirs
    return pairs


def facts_of(files: Iterable[Path]) -> list[FileFacts]:
    """Return what each file holds and everything that is wrong with it."""
    now_ms = WallClock().now_ms()
    return [file_facts(path, now_ms) for path in files]
