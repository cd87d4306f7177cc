"""Candles from a table in memory: Arrow, pandas, polars, anything with Arrow's ``__arrow_c_stream__``.

Columns may have the names of ``dialects.SYNONYMS`` in any case (``Open``, ``timestamp``, ``vol``); a pandas
index of times counts as a column. Columns of other names are left alone.
"""

import re
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bot.adapters.files.candles import Candles, Floats, Ints, check_spacing, closed_rows
from bot.adapters.files.foreign.dialects import SYMBOL_NAMES, SYNONYMS
from bot.adapters.files.foreign.values import whole_times
from bot.domain.errors import BadFile
from bot.domain.market import INTERVALS_MS
from bot.domain.symbols import is_another, spelled

_INDEX = re.compile(r"__index_level_\d+__")
"""How Arrow names the column of a pandas index without a name."""

_ROW = ("start_ms", "open", "high", "low", "close", "volume")
"""What a row of ccxt holds; its time is in ms."""


class ArrowTable(Protocol):
    """A table that Arrow can read: of pandas, polars, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as Arrow's C stream."""


def candles_of(table: ArrowTable, symbol: str, interval_ms: int | None, now_ms: int | None) -> Candles:
    """Return checked candles; times are UTC, whole numbers in s, ms, µs or ns by their size.

    Without ``interval_ms`` it is the smallest step between two bars. Bars that close after ``now_ms`` are
    left out, with a warning.

    Raises:
        BadFile: no table, or columns that are missing, ambiguous or of another type.
        BadBar: a row that cannot be a bar, or bars out of order.
    """
    where = f"candles of {symbol}"
    try:
        read = pa.table(table)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise BadFile(f"{where}: no table that Arrow can read ({str(error).splitlines()[0]})") from error
    if not read.num_rows:
        raise BadFile(f"{where}: the table has no rows")
    _check_symbols(read, symbol, where)
    columns = {ours: read.column(name) for ours, name in _match(read.schema, where).items()}
    start_ms = _times(columns.pop("start_ms"), where)
    values = {name: _floats(column, name, where) for name, column in columns.items()}
    if interval_ms is not None and (np.diff(start_ms) > 0).all():
        check_spacing(where, start_ms, interval_ms, "give the right interval=")
    ohlcv = np.column_stack([values[name] for name in ("open", "high", "low", "close", "volume")])
    turnover = values.get("turnover", np.full(len(start_ms), np.nan))
    candles = Candles.make(
        symbol, bar_length(start_ms, where) if interval_ms is None else interval_ms, start_ms, ohlcv, turnover
    )
    closed, warnings = closed_rows(where, start_ms, candles.interval_ms, now_ms)
    return candles if closed == len(candles) else replace(candles.head(closed), warnings=warnings)


def table_of_rows(rows: object) -> pa.Table | None:
    """Return rows of time, open, high, low, close and volume as a table; None for what is no list of rows.

    Raises:
        BadFile: rows of another width.
    """
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        width, columns = rows.shape[1], list(rows.T)
    elif isinstance(rows, list | tuple) and rows and all(isinstance(row, list | tuple) for row in rows):
        width, columns = min(map(len, rows)), [list(column) for column in zip(*rows, strict=False)]
        width = width if width == max(map(len, rows)) else 0
    else:
        return None
    if width != len(_ROW):
        raise BadFile(
            f"candles: each row must be of {len(_ROW)} values, as ccxt gives them: {', '.join(_ROW)}"
        )
    try:
        named: dict[str, Any] = {"start_ms": np.asarray(columns[0], np.int64)}
        named |= {
            name: np.asarray(column, np.float64) for name, column in zip(_ROW[1:], columns[1:], strict=True)
        }
    except (TypeError, ValueError) as error:
        raise BadFile(f"candles: a value in the rows is no number ({error})") from error
    return pa.table(named)


def _match(schema: pa.Schema, where: str) -> dict[str, str]:
    """Return our column → theirs. A column with exactly our name goes before synonyms."""
    found: dict[str, str] = {}
    for ours, synonyms in SYNONYMS.items():
        names = [name for name in schema.names if name == ours]
        names = names or [n for n in schema.names if re.sub(r"[^a-z]", "", n.lower()) in synonyms]
        if not names and ours == "start_ms":
            names = [name for name in schema.names if _INDEX.fullmatch(name) and _is_time(schema, name)]
        if len(names) > 1:
            raise BadFile(f"{where}: {ours} may be {' or '.join(map(repr, names))}; name one of them {ours}")
        if names:
            found[ours] = names[0]
        elif ours != "turnover":
            raise BadFile(
                f"{where}: none of the columns is {ours} (there: {', '.join(map(str, schema.names))}); "
                f"name one of them {ours}"
            )
    return found


def _check_symbols(table: pa.Table, symbol: str, where: str) -> None:
    """Refuse rows that name two symbols, or another one: they would become one series.

    Raises:
        BadFile: they do.
    """
    for name in table.schema.names:
        if re.sub(r"[^a-z]", "", name.lower()) not in SYMBOL_NAMES:
            continue
        found = sorted({str(value) for value in pc.unique(table.column(name)).to_pylist()})
        if len(found) > 1:
            raise BadFile(
                f"{where}: column {name} names {len(found):,} symbols ({', '.join(found[:3])}); "
                "give the rows of one of them"
            )
        if is_another(found[0], symbol):
            raise BadFile(
                f"{where}: column {name} says {found[0]}; give symbol={spelled(found[0])!r}, or drop it"
            )


def _is_time(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_timestamp(schema.field(name).type))


def _times(column: Any, where: str) -> Ints:
    """Return times in milliseconds; a time without a zone is UTC."""
    kind = column.type
    if column.null_count:
        raise BadFile(f"{where}: a time is missing; drop such rows")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        try:
            exact = column.cast(pa.timestamp("ms")).cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise BadFile(f"{where}: a time is no whole millisecond ({error})") from error
        return np.asarray(exact.to_numpy(), np.int64)
    if pa.types.is_integer(kind):
        return whole_times(where, np.asarray(column.to_numpy(), np.int64))[0]
    raise BadFile(f"{where}: times are {kind}; make them times (pandas.to_datetime) or ms since 1970")


def _floats(column: Any, name: str, where: str) -> Floats:
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (number or pa.types.is_null(kind)):
        raise BadFile(f"{where}: column {name} is {kind}, expected numbers")
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def bar_length(start_ms: Ints, where: str) -> int:
    """Return the smallest step between two bars.

    Raises:
        BadFile: it is no length of bars, a bar is alone, or rows are not in order.
    """
    if len(start_ms) < 2:
        raise BadFile(f"{where}: one bar does not say how long it is; give interval=, such as '5m'")
    steps = np.diff(start_ms)
    wrong = np.flatnonzero(steps <= 0)
    if len(wrong):
        row, step = int(wrong[0]) + 2, steps[wrong[0]]
        what = "is earlier than" if step else "has the time of"
        do = "sort the rows by time" if step else "take one of the two out"
        more = f" ({len(wrong) - 1:,} more such rows)" if len(wrong) > 1 else ""
        raise BadFile(f"{where}: row {row} {what} the row above it{more}; {do}")
    smallest = int(steps.min())
    if smallest not in INTERVALS_MS.values():
        raise BadFile(
            f"{where}: the smallest step between two bars is {smallest} ms, which is no length of bars; give "
            f"bars of one length, one of {', '.join(INTERVALS_MS)}"
        )
    return smallest
