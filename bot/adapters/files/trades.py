"""Imports foreign files of single trades: each table becomes bars, and the bars become one series.

A bar holds the trades in ``[start, start + interval)``; a trade at the edge belongs to the later bar. Where
the files cover a bar without a trade, the bar is flat at the close before and its volume is 0, as Bybit's
klines have it. What no file covers is a gap.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bot.adapters.files.candles import Candles, Floats, Ints
from bot.adapters.files.columns import MAX_ROWS
from bot.adapters.files.foreign.names import covered_by
from bot.adapters.files.foreign.sources import TableSource
from bot.adapters.files.foreign.tables import Table, blocks, sniff
from bot.adapters.files.foreign.trades import (
    NS_OF_MS,
    TradeDialect,
    TradeTimes,
    holds_trades,
    recognise_trades,
)
from bot.adapters.files.foreign.values import Numbers, decimal_sign, read_numbers
from bot.adapters.files.importing import Imported, Reading
from bot.domain.errors import BadBar, BadFile
from bot.domain.symbols import is_inverse
from bot.domain.words import utc_words

_NUMBERS = ("price", "volume", "turnover")


@dataclass
class _Bars:
    """The bars of one table with trades: ``values`` are OHLC, volume and turnover ``(n, 6)``.

    ``from_ms`` and ``to_ms`` are what the table covers: the day or month of its name, else from its first to
    its last trade.
    """

    label: str
    dialect: TradeDialect
    start_ms: Ints
    values: Floats
    first_ns: int
    last_ns: int
    from_ms: int
    to_ms: int
    trades: int
    units: Counter[str]
    reordered: int
    dropped: int


def are_trades(source: TableSource) -> bool:
    """Return True if a table holds single trades, by the names of its columns.

    Raises:
        BadFile: it cannot be read, or has no rows.
    """
    return holds_trades(sniff(source))


def import_trades(
    sources: Sequence[TableSource], symbol: str, interval_ms: int, reading: Reading, *, now_ms: int
) -> Imported:
    """Read tables of trades and make bars of them. Bars that close after ``now_ms`` are left out.

    Raises:
        BadFile: a column or a time that can be read in two ways, or not at all; tables that overlap.
        BadBar: a row that cannot be a trade; names file, member and line.
    """
    tables = [_read(source, symbol, interval_ms, reading, now_ms) for source in sources]
    tables.sort(key=lambda each: (each.first_ns, each.last_ns))
    for before, after in pairwise(tables):
        same = (before.first_ns, before.last_ns) == (after.first_ns, after.last_ns)
        if same or after.first_ns < before.last_ns:
            raise BadFile(
                f"{before.label} and {after.label} both hold trades of "
                f"{utc_words(after.first_ns // NS_OF_MS)}; give each trade once"
            )
    start_ms, values, flat = _joined(tables, interval_ms)
    closed = int(np.searchsorted(start_ms + interval_ms, now_ms, side="right"))
    if closed == 0:
        raise BadFile(f"{tables[0].label}: none of its {len(start_ms)} bars has closed yet")
    candles = Candles.make(
        symbol, interval_ms, start_ms[:closed], values[:closed, :5], values[:closed, 5], path=tables[0].label
    )
    names: dict[str, dict[str, None]] = {}
    for each in tables:
        for ours, theirs in each.dialect.theirs.items():
            if ours in ("start_ms", *_NUMBERS):
                names.setdefault(ours, {})[theirs] = None
    return Imported(
        candles,
        Counter(each.dialect.name for each in tables),
        {ours: " or ".join(theirs) for ours, theirs in names.items()},
        sum((each.units for each in tables), Counter[str]()),
        reordered=sum(each.reordered for each in tables),
        dropped=sum(each.dropped for each in tables),
        replaced=0,
        headers=0,
        unclosed=len(start_ms) - closed,
        trades=sum(each.trades for each in tables),
        flat=int(flat[:closed].sum()),
    )


# One table


@dataclass
class _Rows:
    """The rows of one table as they stand: time in ns, price, size and value ``(n, 3)``, ids, lines."""

    ns: Ints
    told: Floats
    ids: list[Any]
    line: Numbers
    units: Counter[str]


def _read(source: TableSource, symbol: str, interval_ms: int, reading: Reading, now_ms: int) -> _Bars:
    table, label = sniff(source), str(source)
    if not holds_trades(table):
        raise BadFile(f"{label}: holds no single trades; import it apart from files of trades")
    dialect = recognise_trades(table, reading.columns)
    rows = _rows(table, dialect, symbol, reading)
    _check_trades(label, rows)
    _check_sizes(label, dialect, rows.told)
    order, reordered = _in_order(label, rows, reading)
    kept = _once(label, rows, reading)
    order = order[kept[order]]
    ns = rows.ns[order]
    start_ms, values = _bars(ns, rows.told[order], interval_ms)
    from_ms, to_ms = int(start_ms[0]), int(start_ms[-1]) + interval_ms
    covered = covered_by(source)
    if covered is not None and covered[0] <= from_ms and int(start_ms[-1]) < covered[1] <= now_ms:
        from_ms, to_ms = covered
    return _Bars(
        label, dialect, start_ms, values, int(ns[0]), int(ns[-1]), from_ms, to_ms, len(ns), rows.units,
        reordered, int((~kept).sum()),
    )  # fmt: skip


def _rows(table: Table, dialect: TradeDialect, symbol: str, reading: Reading) -> _Rows:
    label = str(table.source)
    numbered = [name for name in _NUMBERS if name in dialect.columns]
    others = [name for name in ("symbol", "id") if name in dialect.columns]
    shown = [table.cells[dialect.columns[name]] for name in numbered]
    decimal = reading.decimal or decimal_sign(label, shown, table.delimiter)
    times, count = TradeTimes(label, reading.naive_is_utc), 0
    ns, told, lines, ids = list[Ints](), list[Floats](), list[Numbers](), list[Any]()
    wanted = [dialect.columns[name] for name in ("start_ms", *numbered, *others)]
    for columns, numbers in blocks(table, wanted):
        count += len(numbers)
        if count > MAX_ROWS:
            raise BadFile(f"{label}: more than {MAX_ROWS} rows; give a file a day")
        if "symbol" in others:
            _check_symbol(label, columns[1 + len(numbered)], symbol)
        if "id" in others:
            ids.append(columns[-1].cast(pa.string()))
        ns.append(times.read(columns[0], numbers))
        block = np.full((len(numbers), len(_NUMBERS)), np.nan)
        for name, column in zip(numbered, columns[1:], strict=False):
            read = read_numbers(label, dialect.theirs[name], column, numbers, decimal)
            block[:, _NUMBERS.index(name)] = read
        told.append(block)
        lines.append(numbers)
    if not count:
        raise BadFile(f"{label}: has no rows")
    return _Rows(np.concatenate(ns), np.concatenate(told), ids, np.concatenate(lines), times.units)


def _check_symbol(label: str, column: Any, symbol: str) -> None:
    for told in pc.unique(column).to_pylist():
        name = str(told).upper().replace("-", "").replace("_", "").replace("/", "")
        if "SWAP" in name or is_inverse(name):
            raise BadFile(
                f"{label}: holds trades of {told}, whose size is in contracts; only coins can be imported"
            )
        if name != symbol.replace("-", ""):
            raise BadFile(f"{label}: holds trades of {told}, not of {symbol}; one import makes one series")


def _check_trades(label: str, rows: _Rows) -> None:
    price, size = rows.told[:, 0], rows.told[:, 1]
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((price > 0) & np.isfinite(price) & (size >= 0) & np.isfinite(size)))
    if len(wrong):
        i = int(wrong[0])
        more = f"; {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise BadBar(f"{label}:{rows.line[i]}: no trade: price {price[i]:g}, size {size[i]:g}{more}")


def _check_sizes(label: str, dialect: TradeDialect, told: Floats) -> None:
    """Refuse a size that is not in the coin: size × price must be about the value, where that is told."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (told[:, 2] / (told[:, 0] * told[:, 1]))[told[:, 2] > 0]
    if len(ratio) and not 0.5 <= float(np.median(ratio)) <= 2.0:
        raise BadFile(
            f"{label}: {dialect.theirs['turnover']} is {float(np.median(ratio)):.3g} times price × "
            f"{dialect.theirs['volume']}: a size in contracts; only sizes in coins can be imported"
        )


def _in_order(label: str, rows: _Rows, reading: Reading) -> tuple[Ints, int]:
    """Return the order in time, and how many rows were out of it. Trades of one moment stay as they stand.

    A file whose newest trade comes first is turned round as a whole.
    """
    ns, line = rows.ns, rows.line
    steps = np.diff(ns)
    moved = int((steps < 0).sum())
    if not moved:
        return np.arange(len(ns)), 0
    if (steps <= 0).all():
        return np.arange(len(ns))[::-1], moved
    if not (reading.repair or reading.prefer):
        i = int(np.flatnonzero(steps < 0)[0])
        raise BadBar(
            f"{label}:{line[i + 1]}: this trade is before the one above it "
            "(not sorted; repair: `bot data import --repair`)"
        )
    return np.argsort(ns, kind="stable"), moved


def _once(label: str, rows: _Rows, reading: Reading) -> Any:
    """Return which rows stay: the first of each id. An empty id is no id."""
    if not rows.ids:
        return np.ones(len(rows.ns), bool)
    line = rows.line
    codes = pa.chunked_array(rows.ids).combine_chunks().dictionary_encode()
    names = codes.dictionary
    index = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    first = np.full(len(names) + 1, len(index))
    np.minimum.at(first, index, np.arange(len(index)))
    kept = (first[index] == np.arange(len(index))) | (index < 0)
    if not kept.all() and not (reading.repair or reading.prefer):
        i = int(np.flatnonzero(~kept)[0])
        raise BadBar(
            f"{label}:{line[i]}: trade {names[int(index[i])]} repeats line {line[first[index[i]]]} "
            "(repair: `bot data import --repair`)"
        )
    return kept


# Trades to bars


def _bars(ns: Ints, told: Floats, interval_ms: int) -> tuple[Ints, Floats]:
    """Return the bars of trades in the order of time: start and open, high, low, close, volume, turnover."""
    bar = ns // (interval_ms * NS_OF_MS)
    first = np.flatnonzero(np.diff(bar, prepend=bar[0] - 1))
    last = np.append(first[1:], len(ns)) - 1
    price, size = told[:, 0], told[:, 1]
    columns = (
        price[first],
        np.maximum.reduceat(price, first),
        np.minimum.reduceat(price, first),
        price[last],
        np.add.reduceat(size, first),
        np.add.reduceat(price * size, first),
    )
    return bar[first] * interval_ms, np.stack(columns, axis=1)


def _joined(tables: Sequence[_Bars], interval_ms: int) -> tuple[Ints, Floats, Any]:
    """Return the bars of all tables in order, those without a trade filled in; and which ones these are."""
    start_ms = np.concatenate([each.start_ms for each in tables])
    values = np.concatenate([each.values for each in tables])
    first = np.flatnonzero(np.diff(start_ms, prepend=start_ms[0] - 1))
    last = np.append(first[1:], len(start_ms)) - 1  # two tables may share the bar at their edge
    values = np.stack(
        (
            values[first, 0],
            np.maximum.reduceat(values[:, 1], first),
            np.minimum.reduceat(values[:, 2], first),
            values[last, 3],
            np.add.reduceat(values[:, 4], first),
            np.add.reduceat(values[:, 5], first),
        ),
        axis=1,
    )
    start_ms = start_ms[first]
    every = np.unique(np.concatenate([start_ms, *(_covered(each, interval_ms) for each in tables)]))
    every = every[every >= start_ms[0]]
    at = np.searchsorted(start_ms, every, side="right") - 1
    is_flat = start_ms[at] != every
    whole = values[at]
    whole[is_flat, :3], whole[is_flat, 4:] = whole[is_flat, 3:4], 0.0
    return every, whole, is_flat


def _covered(each: _Bars, interval_ms: int) -> Ints:
    """Return the starts of the bars that a table covers as a whole, or with a trade."""
    first = -(-each.from_ms // interval_ms)
    return np.arange(first, each.to_ms // interval_ms, dtype=np.int64) * interval_ms
