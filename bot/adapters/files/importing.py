"""Imports foreign candle files: many tables with other names, units and shapes become one series.

Nothing is guessed. If a file can be read in two ways, the error names the option that decides; what was
recognised is returned, so that it can be said.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bot.adapters.files.candles import (
    Candles,
    Floats,
    Ints,
    check_spacing,
    find_problems,
    turnover_factor,
)
from bot.adapters.files.columns import MAX_ROWS
from bot.adapters.files.foreign.dialects import SYNONYMS, Dialect, recognise
from bot.adapters.files.foreign.sources import TableSource
from bot.adapters.files.foreign.tables import Table, blocks, sniff
from bot.adapters.files.foreign.values import Times, decimal_sign, read_numbers
from bot.domain.errors import BadBar, BadFile
from bot.domain.symbols import is_another, spelled
from bot.domain.words import utc_words

__all__ = ["SYNONYMS", "Imported", "Prefer", "Reading", "import_candles"]

Prefer = Literal["first", "last"]
_NUMBERS = ("open", "high", "low", "close", "volume", "turnover")


@dataclass(frozen=True)
class Reading:
    """How foreign tables are to be read.

    ``columns`` maps ours → theirs where the name does not say it; ``naive_is_utc`` takes written times
    without an offset as UTC; ``decimal`` is the sign before the fraction, None: as the file shows it;
    ``repair`` sorts the rows within a file, and drops rows that repeat another one exactly; ``prefer`` does
    the same, and says which of two different rows of one time counts.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    naive_is_utc: bool = False
    decimal: str | None = None
    repair: bool = False
    prefer: Prefer | None = None


@dataclass(frozen=True)
class Imported:
    """The result of an import, what was recognised, and what was changed."""

    candles: Candles
    dialects: Mapping[str, int]
    """Dialect → tables."""
    columns: Mapping[str, str]
    """Our column → theirs, all names that were met."""
    time_units: Mapping[str, int]
    """Unit of time → rows."""
    reordered: int
    """Rows that were out of order."""
    dropped: int
    """Rows dropped because they repeat another row exactly."""
    replaced: int
    """Rows dropped because another row of the same time is preferred."""
    headers: int
    """Lines of column names in the middle of a table."""
    unclosed: int
    """Bars at the end that had not closed and were left out."""
    trades: int = 0
    """Single trades that the bars were made of; 0: the tables held candles."""
    flat: int = 0
    """Bars without a trade between those with one."""

    @property
    def time_unit(self) -> str:
        """The units of time, the most common one first."""
        return " and ".join(unit for unit, _ in Counter(self.time_units).most_common())


@dataclass
class _Part:
    """The rows of one table, sorted by time."""

    label: str
    title: str
    dialect: Dialect
    start_ms: Ints
    values: Floats
    lines: Any
    units: Counter[str]
    symbols: set[str]
    headers: int = 0
    reordered: int = 0


def import_candles(
    sources: Sequence[TableSource], symbol: str, interval_ms: int, reading: Reading, *, now_ms: int
) -> Imported:
    """Read tables of candles whose columns and times may have other names and units, and join them.

    Bars that close after ``now_ms`` are left out. Rows of two tables that are equal count once.

    Raises:
        BadFile: a column or a time that can be read in two ways, or not at all; rows that contradict
            each other.
        BadBar: a row that cannot be a bar; repair does not touch those. Names file, member and line.
    """
    parts = [_read(source, symbol, interval_ms, reading) for source in sources]
    _one_symbol({each: part.label for part in parts for each in part.symbols})
    start_ms = _joined([part.start_ms for part in parts])
    values = _joined([part.values for part in parts])
    places = _Places(parts)
    order = np.argsort(start_ms, kind="stable")
    if (np.diff(start_ms) < 0).any():
        start_ms, values = start_ms[order], values[order]
    kept, dropped, replaced = _join(places, order, start_ms, values, reading.prefer)
    if not kept.all():
        start_ms, values, order = start_ms[kept], values[kept], order[kept]
    problems = find_problems(symbol, interval_ms, start_ms, values[:, :5], values[:, 5])
    if problems:
        more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
        raise BadBar(f"{places.of(int(order[problems[0].row - 1]))}: {problems[0].what}{more}")
    check_spacing(parts[0].label, start_ms, interval_ms, "say the right --interval")
    closed = int(np.searchsorted(start_ms + interval_ms, now_ms, side="right"))
    if closed == 0:
        raise BadFile(f"{parts[0].label}: none of its {len(start_ms)} bars has closed yet")
    candles = Candles.make(
        symbol, interval_ms, start_ms[:closed], values[:closed, :5], values[:closed, 5], path=parts[0].label
    )
    return Imported(
        candles,
        Counter(part.title for part in parts),
        _names(parts),
        sum((part.units for part in parts), Counter[str]()),
        sum(part.reordered for part in parts),
        dropped,
        replaced,
        sum(part.headers for part in parts),
        len(start_ms) - closed,
    )


class _Places:
    """Where each row of the joined tables stands."""

    def __init__(self, parts: list[_Part]) -> None:
        self._labels = [part.label for part in parts]
        self._ends = np.cumsum([len(part.lines) for part in parts])
        self._lines = _joined([part.lines for part in parts])

    def of(self, row: int) -> str:
        return f"{self._labels[int(np.searchsorted(self._ends, row, side='right'))]}:{self._lines[row]}"


def _joined(arrays: list[Any]) -> Any:
    """Join arrays and empty the list; one array alone is not copied."""
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    arrays.clear()
    return whole


def _read(source: TableSource, symbol: str, interval_ms: int, reading: Reading) -> _Part:
    table = sniff(source)
    dialect = recognise(table, interval_ms, reading.columns)
    times = Times(str(source), reading.naive_is_utc or dialect.says_utc)
    decimal = reading.decimal or decimal_sign(str(source), _shown_numbers(table, dialect), table.delimiter)
    numbered = [name for name in _NUMBERS if name in dialect.columns]
    wanted = [dialect.columns["start_ms"], *(dialect.columns[name] for name in numbered)]
    wanted += [i for i in (dialect.clock, dialect.symbol) if i is not None]
    starts, values, lines = [], [], []
    headers = rows = 0
    symbols: set[str] = set()
    for columns, numbers in blocks(table, wanted):
        columns, numbers, repeated = _without_headers(table, dialect, columns, numbers)
        headers += repeated
        rows += len(numbers)
        if rows > MAX_ROWS:
            raise BadFile(f"{source}: more than {MAX_ROWS} rows")
        if not len(numbers):
            continue
        if dialect.symbol is not None:
            symbols.update(str(value) for value in pc.unique(columns[-1]).to_pylist())
        starts.append(times.read(_moment(columns, len(numbered), dialect), numbers))
        block = np.full((len(numbers), len(_NUMBERS)), np.nan)
        for name, column in zip(numbered, columns[1:], strict=False):
            theirs = dialect.theirs[name]
            block[:, _NUMBERS.index(name)] = read_numbers(str(source), theirs, column, numbers, decimal)
        values.append(block)
        lines.append(numbers)
    if not starts:
        raise BadFile(f"{source}: has no rows")
    _check_symbol(str(source), symbols, symbol)
    part = _Part(
        str(source),
        dialect.name + (" with decimal comma" if decimal == "," else ""),
        dialect,
        _joined(starts),
        _joined(values),
        _joined(lines),
        times.units,
        symbols,
        headers,
    )
    _check_turnover(part)
    _put_in_order(part, reading)
    return part


def _shown_numbers(table: Table, dialect: Dialect) -> list[str]:
    return [table.cells[dialect.columns[name]] for name in _NUMBERS if name in dialect.columns]


def _moment(columns: list[Any], numbered: int, dialect: Dialect) -> Any:
    if dialect.clock is None:
        return columns[0]
    return pc.binary_join_element_wise(columns[0], columns[1 + numbered], " ")


def _without_headers(
    table: Table, dialect: Dialect, columns: list[Any], numbers: Any
) -> tuple[list[Any], Any, int]:
    """Take out the lines of column names that stand between the rows of files that were glued."""
    name = dialect.theirs["start_ms"]
    if table.source.kind != "csv" or not pa.types.is_string(columns[0].type):
        return columns, numbers, 0
    repeated = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(columns[0]), pa.scalar(name)), False)
    if not pc.any(repeated).as_py():
        return columns, numbers, 0
    mask = pc.invert(repeated)
    kept = np.array(mask.to_pylist(), bool)
    return [column.filter(mask) for column in columns], numbers[kept], int((~kept).sum())


def _check_turnover(part: _Part) -> None:
    """Refuse a volume that is not in the coin: turnover ÷ volume must be about a price."""
    factor = turnover_factor(part.values[:, 3], part.values[:, 4], part.values[:, 5])
    if factor is not None:
        theirs = part.dialect.theirs
        raise BadFile(
            f"{part.label}: {theirs['turnover']} ÷ {theirs['volume']} is {factor:.3g} "
            "times the price: an inverse contract, or a volume in contracts; only linear and spot candles "
            "can be imported, or name the right columns: --column volume=NAME --column turnover=NAME"
        )


def _put_in_order(part: _Part, reading: Reading) -> None:
    """Sort the rows of a table: newest first is turned round, another disorder needs repair."""
    order: Any
    steps = np.diff(part.start_ms)
    part.reordered = int((steps < 0).sum())
    order = None
    if not part.reordered:
        pass
    elif (steps <= 0).all():
        order = np.arange(len(part.start_ms))[::-1]
    elif reading.repair or reading.prefer:
        order = np.argsort(part.start_ms, kind="stable")
    else:
        i = int(np.flatnonzero(steps < 0)[0])
        raise BadBar(
            f"{part.label}:{part.lines[i + 1]}: start_ms {utc_words(part.start_ms[i + 1])} is before the row "
            f"above it, {utc_words(part.start_ms[i])} (not sorted; repair: `bot data import --repair`)"
        )
    if order is not None:
        part.start_ms, part.values, part.lines = part.start_ms[order], part.values[order], part.lines[order]
    if reading.repair or reading.prefer:
        return
    for i in np.flatnonzero(np.diff(part.start_ms) == 0).tolist():
        if _equal(part.values[i : i + 1], part.values[i + 1 : i + 2])[0]:
            raise BadBar(
                f"{part.label}:{part.lines[i + 1]}: start_ms {utc_words(part.start_ms[i + 1])} repeats line "
                f"{part.lines[i]} (repair: `bot data import --repair`)"
            )


def _equal(one: Floats, other: Floats) -> Any:
    """Return which rows say the same; a turnover that one of them lacks is no difference."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    same[:, 5] |= np.isnan(one[:, 5]) | np.isnan(other[:, 5])
    return same.all(axis=1)


def _join(
    places: _Places, order: Ints, start_ms: Ints, values: Floats, prefer: Prefer | None
) -> tuple[Any, int, int]:
    """Return which rows stay, and how many were dropped as equal and as not preferred.

    Raises:
        BadFile: rows of one time differ, and nothing is preferred.
    """
    repeats = np.flatnonzero(np.diff(start_ms) == 0)
    equal = _equal(values[repeats], values[repeats + 1])
    differing = repeats[~equal]
    if len(differing) and prefer is None:
        first, last = int(differing[0]), int(differing[-1])
        more = (
            f"; {len(differing)} such bars, the last at {utc_words(start_ms[last])}"
            if len(differing) > 1
            else ""
        )
        raise BadFile(
            f"{places.of(int(order[first]))} and {places.of(int(order[first + 1]))} differ about "
            f"{utc_words(start_ms[first])} (close {values[first, 3]:g}, {values[first + 1, 3]:g}){more}; "
            "--prefer first or --prefer last decides, in the order of the files and their rows"
        )
    kept = np.ones(len(start_ms), bool)
    kept[repeats if prefer == "last" else repeats + 1] = False
    return kept, int(equal.sum()), int((~equal).sum())


def _one_symbol(met: Mapping[str, str]) -> None:
    """Refuse rows that name several symbols; ``met`` says where each was met."""
    if len(met) > 1:
        words = ", ".join(f"{symbol} in {label}" for symbol, label in sorted(met.items())[:5])
        raise BadFile(f"rows of several symbols: {words}; one import makes one series, split them first")


def _check_symbol(label: str, found: set[str], symbol: str) -> None:
    """Refuse the rows of a table that name several symbols, or another one than the import is of."""
    _one_symbol(dict.fromkeys(found, label))
    for each in found:
        if is_another(each, symbol):
            raise BadFile(
                f"{label}: its rows are of {each}, not of {symbol}; say --symbol {spelled(each)}, or take "
                "the column with the symbol out"
            )


def _names(parts: list[_Part]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for part in parts:
        for ours, theirs in part.dialect.theirs.items():
            if theirs not in found.setdefault(ours, []):
                found[ours].append(theirs)
    return {ours: " or ".join(theirs) for ours, theirs in found.items()}
