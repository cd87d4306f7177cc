"""What a subject said at each close, and where two such tables differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

EXACT = 1e-9
"""Relative difference of two floats below which they are the same number, added up in another order."""
FLOAT32 = 1e-5
"""The same for sums of float32: forecasts made in bulk."""


class ChangedValue(msgspec.Struct, frozen=True, kw_only=True):
    """One value that is not what it was.

    Attributes:
        ts_ms: the close at which it was said.
        symbol: whose.
        field: which value.
        before: in the run on the candles as they are; None: none was said.
        after: in the other run.
    """

    ts_ms: int
    symbol: str
    field: str
    before: float | str | None
    after: float | str | None


@dataclass(frozen=True)
class Table:
    """One row a close ``(T,)``; a column is float64 (NaN: nothing said) or holds texts and None."""

    symbol: str
    ts_ms: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]


def says_after(table: Table, ts_ms: int) -> bool:
    """Return True if something was said at a later close."""
    later = table.ts_ms > ts_ms
    return any(
        any(each is not None for each in column[later])
        if column.dtype == object
        else bool((~np.isnan(column[later])).any())
        for column in table.columns.values()
    )


Tables = Mapping[str, Table]
"""By symbol."""


@dataclass
class Log:
    """Collects what is said at ``now_ms``, close by close."""

    now_ms: int = 0
    rows: dict[str, dict[int, dict[str, float | str | None]]] = field(default_factory=dict)

    def say(self, symbol: str, values: Mapping[str, float | str | None]) -> None:
        """Add values to the row of this close."""
        self.rows.setdefault(symbol, {}).setdefault(self.now_ms, {}).update(values)

    def tables(self) -> dict[str, Table]:
        """Return everything as tables."""
        return {symbol: _table(symbol, rows) for symbol, rows in self.rows.items()}


def _table(symbol: str, rows: Mapping[int, Mapping[str, float | str | None]]) -> Table:
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        values = [row.get(name) for row in rows.values()]
        if any(isinstance(each, str) for each in values):
            columns[name] = np.array([None if each is None else str(each) for each in values], dtype=object)
        else:
            columns[name] = np.array([np.nan if each is None else each for each in values], dtype=np.float64)
    return Table(symbol, np.fromiter(rows, np.int64, len(rows)), columns)


def compare(
    one: Tables, other: Tables, *, from_ms: int = 0, to_ms: int, tolerance: float = EXACT
) -> list[ChangedValue]:
    """Return the differences at closes in ``[from_ms, to_ms]``, in order of time."""
    found = []
    for symbol in sorted({*one, *other}):
        found += _compared(
            one.get(symbol, _none(symbol)), other.get(symbol, _none(symbol)), from_ms, to_ms, tolerance
        )
    return sorted(found, key=lambda each: (each.ts_ms, each.symbol, each.field))


def _none(symbol: str) -> Table:
    return Table(symbol, np.empty(0, np.int64), {})


def _compared(one: Table, other: Table, from_ms: int, to_ms: int, tolerance: float) -> list[ChangedValue]:
    times = np.union1d(_within(one.ts_ms, from_ms, to_ms), _within(other.ts_ms, from_ms, to_ms))
    found = []
    for name in dict.fromkeys((*one.columns, *other.columns)):
        before, after = _column(one, name, times), _column(other, name, times)
        if before.dtype == object or after.dtype == object:
            before, after = _texts(before), _texts(after)
            differ = before != after
        else:
            differ = different(before, after, tolerance, spread(one.columns.get(name)))
        found += [
            ChangedValue(
                ts_ms=int(times[at]),
                symbol=one.symbol,
                field=name,
                before=_plain(before[at]),
                after=_plain(after[at]),
            )
            for at in np.flatnonzero(differ).tolist()
        ]
    return found


def different(
    one: NDArray[np.float64], other: NDArray[np.float64], tolerance: float, scale: float
) -> NDArray[np.bool_]:
    """Return where two columns differ by more than ``tolerance`` × the larger of value and ``scale``."""
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= tolerance * np.maximum(np.maximum(np.abs(one), np.abs(other)), scale)
    return np.asarray(~(near | (one == other) | (np.isnan(one) & np.isnan(other))))


def spread(column: NDArray[Any] | None) -> float:
    """Return the standard deviation of a column's numbers; 0 without any."""
    if column is None or column.dtype == object:
        return 0.0
    finite = column[np.isfinite(column)]
    return float(finite.std()) if len(finite) else 0.0


def _within(ts_ms: NDArray[np.int64], from_ms: int, to_ms: int) -> NDArray[np.int64]:
    return ts_ms[(ts_ms >= from_ms) & (ts_ms <= to_ms)]


def _column(table: Table, name: str, times: NDArray[np.int64]) -> NDArray[Any]:
    """Return a column at ``times``; NaN or None where the table has no such row or column."""
    column = table.columns.get(name)
    out: NDArray[Any] = np.full(len(times), np.nan)
    if column is None:
        return out
    if column.dtype == object:
        out = np.full(len(times), None, dtype=object)
    _, at, source = np.intersect1d(times, table.ts_ms, return_indices=True)
    out[at] = column[source]
    return out


def _texts(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column of texts; numbers, too, as a text."""
    if column.dtype == object:
        return column
    return np.array([None if each != each else repr(each) for each in column.tolist()], dtype=object)


def _plain(value: object) -> float | str | None:
    if isinstance(value, str):
        return value
    number = float(value) if isinstance(value, float | int | np.floating) else None
    return None if number is None or number != number else number


def acted(tables: Tables) -> Sequence[int]:
    """Return the closes at which something else was said than at the close before."""
    found: set[int] = set()
    for table in tables.values():
        for column in table.columns.values():
            before, after = column[:-1], column[1:]
            moved = before != after
            if column.dtype != object:
                moved &= ~(np.isnan(before) & np.isnan(after))
            found.update(table.ts_ms[1:][moved].tolist())
    return sorted(found)
