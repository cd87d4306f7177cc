"""``read_candles``: files, several files of one symbol, and tables in memory to one checked series."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from bot.adapters.files.candles import CANDLE_COLUMNS, Candles, Floats, parse_name
from bot.adapters.files.candles import read_candles as read_file
from bot.adapters.files.columns import read_columns
from bot.adapters.files.frames import ArrowTable, bar_length, candles_of, table_of_rows
from bot.adapters.files.joining import join_candles
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadFile, BadUsage
from bot.domain.market import INTERVALS_MS, MINUTE_MS
from bot.domain.symbols import spelled
from bot.lab.calling import Time, one_line, utc_ms

Source = str | PathLike[str] | ArrowTable | Candles
"""A candle file, a table in memory (pandas, polars, Arrow), or candles."""
Rows = Sequence[Sequence[float]] | Floats
"""Rows of time, open, high, low, close and volume."""


@one_line
def read_candles(
    source: Source | Sequence[Source] | Rows,
    *more: Source,
    symbol: str | None = None,
    interval: str | None = None,
    start: Time | None = None,
    end: Time | None = None,
) -> Candles:
    """Return the checked candles of one symbol; several sources, such as one file a month, are joined.

    ``bot.read_candles("bybit_linear_BTCUSDT_5m.parquet")``, ``bot.read_candles(*folder.glob("*.csv"))``,
    ``bot.read_candles(frame, symbol="BTCUSDT")``

    A bar that two sources share counts once. A bar that is still open is left out, with a warning in
    ``.warnings``. The funding file beside a candle file is found by the functions that need it.

    Args:
        source: a Parquet or CSV file; a pandas or polars DataFrame or an Arrow table with columns such as
            ``start_ms`` or ``timestamp``, ``open``, ``high``, ``low``, ``close``, ``volume``; rows of these
            six, as ccxt's ``fetch_ohlcv`` returns them; or several.
        more: further sources of the same symbol.
        symbol: such as ``BTCUSDT`` or ``BTC/USDT``; needed for a table, and for a file whose name does not
            say it.
        interval: bar length such as ``5m``; without it, that of the file's name or the smallest step.
        start: first bar, UTC; earlier ones are left out, so nothing can warm up on them.
        end: bars that open before this time.

    Raises:
        BadFile: a file that is missing, cut short or has other columns.
        BadBar: a row that cannot be a bar, rows out of order, or sources that differ about a bar.
        BadUsage: sources of two symbols or intervals, a table without ``symbol``, or no bar in the span.
    """
    rows = table_of_rows(source)
    source = source if rows is None else rows
    several = isinstance(source, list | tuple | Iterator)
    given = [*source, *more] if several else [source, *more]  # type: ignore[misc]  # a list, then
    if not given:
        raise BadUsage("read_candles: got no file and no table; name one at least")
    interval_ms = None
    if interval is not None:
        if interval not in INTERVALS_MS:
            raise BadUsage(f"interval={interval!r}: give one of {', '.join(INTERVALS_MS)}")
        interval_ms = INTERVALS_MS[interval]
    if symbol is not None:
        symbol = spelled(symbol)
    now_ms = WallClock().now_ms()
    joined = join_candles([_one(each, symbol, interval_ms, now_ms) for each in given])
    if start is None and end is None:
        return joined
    return joined.between(utc_ms(start, "start"), utc_ms(end, "end"))


def _one(source: object, symbol: str | None, interval_ms: int | None, now_ms: int) -> Candles:
    if isinstance(source, Candles):
        return source
    if isinstance(source, str | PathLike):
        return _file(Path(source), symbol, interval_ms, now_ms)
    if not hasattr(source, "__arrow_c_stream__"):
        raise BadUsage(
            f"read_candles: cannot read a {type(source).__name__}; give a file, a DataFrame, an Arrow table "
            "or rows of ccxt"
        )
    if symbol is None:
        raise BadUsage("read_candles: a table does not say its symbol; give symbol='BTCUSDT'")
    return candles_of(source, symbol, interval_ms, now_ms)


def _file(path: Path, symbol: str | None, interval_ms: int | None, now_ms: int) -> Candles:
    """Return the candles of a file; its name, the arguments or its bars say symbol and interval."""
    if path.is_dir():
        raise BadUsage(f"read_candles: {path} is a folder; give its files, such as *folder.glob('*.parquet')")
    if path.is_file() and parse_name(path) is None:
        if symbol is None:
            raise BadFile(f"{path}: its name does not say the symbol; give symbol='BTCUSDT'")
        if interval_ms is None:
            columns, problems = read_columns(path, CANDLE_COLUMNS)
            # Of rows that cannot be read no interval is known; reading them says what is wrong.
            interval_ms = MINUTE_MS if problems else bar_length(columns["start_ms"], str(path))
    return read_file(path, symbol, interval_ms, now_ms=now_ms)


def candles_or_files(candles: Source | Sequence[Source]) -> list[Path | Candles]:
    """Return what a run can read: paths and candles.

    Raises:
        BadUsage: a table, which does not say its symbol, or something else.
    """
    given = list(candles) if isinstance(candles, list | tuple) else [candles]
    if not given:
        raise BadUsage("candles: got none; give candles or files")
    found: list[Path | Candles] = []
    for each in given:
        if isinstance(each, str | PathLike):
            found.append(Path(each))
        elif isinstance(each, Candles):
            if not len(each):
                raise BadUsage("candles: hold no bar; give more of them")
            found.append(each)
        else:
            raise BadUsage(
                f"candles: cannot take a {type(each).__name__}; make candles of a table with "
                "bot.read_candles(table, symbol='BTCUSDT')"
            )
    return found
