"""Imports foreign candle files: other column names, other time units, and repairs on request.

Nothing is guessed. If a file can be read in two ways, the error names the option that decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bot.adapters.files.candles import Candles, Floats, Ints
from bot.adapters.files.columns import first_row, read_texts
from bot.domain.errors import BadFile

SYNONYMS: dict[str, frozenset[str]] = {
    "start_ms": frozenset(
        {
            "startms",
            "start",
            "starttime",
            "opentime",
            "timestamp",
            "time",
            "date",
            "datetime",
            "ts",
            "unix",
            "t",
        }
    ),
    "open": frozenset({"open", "openprice", "o"}),
    "high": frozenset({"high", "highprice", "h"}),
    "low": frozenset({"low", "lowprice", "l"}),
    "close": frozenset({"close", "closeprice", "c"}),
    "volume": frozenset({"volume", "vol", "basevolume", "basevol", "v"}),
    "turnover": frozenset({"turnover", "quotevolume", "quoteassetvolume", "quotevol", "quoteturnover"}),
}
"""Our column → its names in other files, in lower case without punctuation."""

# Since 1973 these ranges of whole numbers do not meet, so the unit follows from the size.
_UNITS: tuple[tuple[str, int, int], ...] = (
    ("seconds", 10**8, 10**10),
    ("milliseconds", 10**11, 10**13),
    ("microseconds", 10**14, 10**16),
    ("nanoseconds", 10**17, 10**19),
)
_TO_MS = {
    "seconds": (1000, 1),
    "milliseconds": (1, 1),
    "microseconds": (1, 1000),
    "nanoseconds": (1, 1_000_000),
}


BINANCE_COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"),
    *("count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
"""Of Binance's public klines: https://github.com/binance/binance-public-data (some files have no header)."""
METATRADER_COLUMNS = ("date", "open", "high", "low", "close", "volume")
"""Of Bybit's public ``kline_for_metatrader4``, which have none either; times as 2021.01.31 23:59."""

_METATRADER_TIME = re.compile(r"(\d{4})\.(\d\d)\.(\d\d) (\d\d:\d\d(?::\d\d)?)")


@dataclass(frozen=True)
class Imported:
    """The result of an import, and what was changed."""

    candles: Candles
    time_unit: str
    reordered: int
    """Rows that were out of order."""
    dropped: int
    """Rows dropped because they repeat another row exactly."""
    unclosed: int
    """Bars at the end that had not closed and were left out."""


def import_candles(
    path: Path,
    symbol: str,
    interval_ms: int,
    *,
    now_ms: int,
    columns: Mapping[str, str] | None = None,
    naive_is_utc: bool = False,
    repair: bool = False,
) -> Imported:
    """Read a CSV (or Parquet) of candles whose columns and times may have other names and units.

    Binance's and Bybit's dumps without a line of column names are recognised by their shape.
    ``columns`` maps ours → theirs where the name does not say it; ``naive_is_utc`` takes written times
    without an offset as UTC; ``repair`` sorts, and drops rows that repeat another one exactly. Bars that
    close after ``now_ms`` are left out.

    Raises:
        BadFile: a column or a time that can be read in two ways, or not at all.
        BadBar: a row that cannot be a bar; repair does not touch those.
    """
    texts = read_texts(path, _names_by_shape(path, interval_ms))
    sources = _match(path, list(texts), columns or {})
    start_ms, unit = _times(path, texts[sources["start_ms"]], naive_is_utc)
    numbers = {
        name: _numbers(path, source, texts[source]) for name, source in sources.items() if name != "start_ms"
    }
    ohlcv = np.column_stack([numbers[name] for name in ("open", "high", "low", "close", "volume")])
    turnover = numbers.get("turnover", np.full(len(start_ms), np.nan))
    rows = np.column_stack([ohlcv, turnover])
    reordered = dropped = 0
    if repair:
        reordered = int((np.diff(start_ms) < 0).sum())
        start_ms, rows, dropped = _repair(path, start_ms, rows)
    closed = (
        int(np.searchsorted(start_ms + interval_ms, now_ms, side="right")) if _sorted(start_ms) else len(rows)
    )
    candles = Candles.make(
        symbol, interval_ms, start_ms[:closed], rows[:closed, :5], rows[:closed, 5], path=str(path)
    )
    return Imported(candles, unit, reordered, dropped, len(rows) - closed)


def _names_by_shape(path: Path, interval_ms: int) -> tuple[str, ...] | None:
    """The column names of a headerless CSV of a known shape; None for any other file."""
    if path.suffix != ".csv":
        return None
    cells = first_row(path)
    if len(cells) == len(METATRADER_COLUMNS) and _METATRADER_TIME.fullmatch(cells[0]):
        return METATRADER_COLUMNS
    if len(cells) != len(BINANCE_COLUMNS) or not all(re.fullmatch(r"-?[0-9.]+", cell) for cell in cells):
        return None
    opened, closed = cells[0], cells[6]
    if not (opened.isdigit() and closed.isdigit()):
        return None
    # The seventh column is a close time exactly if it is the bar's last unit of time, whatever the unit.
    length = int(closed) - int(opened) + 1
    return BINANCE_COLUMNS if length in (interval_ms, interval_ms * 1000) else None


def _match(path: Path, names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return our column → their column; each of ours must be found exactly once."""
    if any(re.fullmatch(r"-?[0-9.]+", name) for name in names):
        raise BadFile(f"{path}:1: starts with numbers; put a line of column names above them")
    sources: dict[str, str] = {}
    for ours, synonyms in SYNONYMS.items():
        if ours in given:
            found = [name for name in names if name == given[ours]]
        else:
            found = [name for name in names if re.sub(r"[^a-z]", "", name.lower()) in synonyms]
        if len(found) > 1:
            raise BadFile(f"{path}: {ours} may be {' or '.join(map(repr, found))}; say --column {ours}=NAME")
        if found:
            sources[ours] = found[0]
        elif ours != "turnover" or ours in given:
            wanted = f"no column {given[ours]!r}" if ours in given else f"none of the columns is {ours}"
            raise BadFile(f"{path}: {wanted} (there: {', '.join(names)}); say --column {ours}=NAME")
    return sources


def _times(path: Path, texts: list[str | None], naive_is_utc: bool) -> tuple[Ints, str]:
    """Return the times in milliseconds, and the unit they were written in."""
    if all(text is not None and re.fullmatch(r"[0-9]{1,19}(\.0*)?", text) for text in texts):
        return whole_times(path, [int(text.partition(".")[0]) for text in texts if text is not None])
    times = [_iso_ms(path, row, text, naive_is_utc) for row, text in enumerate(texts, start=1)]
    return np.array(times, np.int64), "ISO 8601"


def whole_times(path: Path | str, values: list[int]) -> tuple[Ints, str]:
    """Return times in milliseconds and their unit, which follows from their size.

    Raises:
        BadFile: a number that is no time since 1973, is in another unit than the first, or is not a whole
            millisecond.
    """
    unit, low, high = next((u for u in _UNITS if u[1] <= values[0] < u[2]), ("", 0, 0))
    if not unit:
        raise BadFile(f"{path}: {values[0]} is no time since 1973 in s, ms, µs or ns")
    multiplier, divisor = _TO_MS[unit]
    for row, value in enumerate(values, start=1):
        if not low <= value < high:
            raise BadFile(f"{path}: row {row}: time {value} is not in {unit} as the first row's is")
        if value * multiplier % divisor:
            raise BadFile(f"{path}: row {row}: time {value} in {unit} is no whole millisecond")
    return np.array([value * multiplier // divisor for value in values], np.int64), unit


def _iso_ms(path: Path, row: int, text: str | None, naive_is_utc: bool) -> int:
    try:
        moment = datetime.fromisoformat(_METATRADER_TIME.sub(r"\1-\2-\3 \4", text or ""))
    except ValueError:
        raise BadFile(f"{path}: row {row}: {text!r} is no time in s, ms or ISO 8601") from None
    if moment.tzinfo is None:
        if not naive_is_utc:
            raise BadFile(f"{path}: row {row}: {text!r} has no offset; say --utc if these times are UTC")
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _numbers(path: Path, name: str, texts: list[str | None]) -> Floats:
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            # float() also takes "1_0"; a file that holds such a thing is not a table of prices.
            values[i] = np.nan if text is None else float(text if "_" not in text else "?")
        except ValueError:
            raise BadFile(f"{path}: row {i + 1}: {name} is not a number: {text!r}") from None
    return values


def _sorted(start_ms: Ints) -> bool:
    return bool((np.diff(start_ms) >= 0).all())


def _repair(path: Path, start_ms: Ints, rows: Floats) -> tuple[Ints, Floats, int]:
    """Sort the rows and drop exact repeats; refuse two different rows for one time."""
    order = np.argsort(start_ms, kind="stable")
    start_ms, rows = start_ms[order], rows[order]
    repeats = np.concatenate(([False], np.diff(start_ms) == 0))
    for i in np.flatnonzero(repeats):
        if not np.array_equal(rows[i], rows[i - 1], equal_nan=True):
            raise BadFile(
                f"{path}: rows {order[i - 1] + 1} and {order[i] + 1} differ about start_ms {start_ms[i]}; "
                "decide which is right and take the other one out"
            )
    return start_ms[~repeats], rows[~repeats], int(repeats.sum())
