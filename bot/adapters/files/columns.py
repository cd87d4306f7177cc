"""Reads numeric columns of a Parquet or CSV file, checks shape and type, and writes them atomically.

This module knows nothing of candles. It checks the size before it decodes anything, and it never executes or
unpickles the content of a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bot.adapters.files.whole import replacing
from bot.domain.errors import BadFile

MAX_ROWS = 20_000_000
"""38 years of one-minute bars. A larger file is a mistake or an attack."""
MAX_BYTES = 4 << 30
SUFFIXES = (".parquet", ".csv")

ColumnKind = Literal["int", "float", "float or missing"]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in one row. Rows count from 1 (the header of a CSV does not count)."""

    row: int
    what: str


def location(path: str | Path, row: int) -> str:
    """Return ``file:row`` as a user finds it: the line of a CSV (its header is 1), the row of Parquet."""
    return f"{path}:{row + (Path(path).suffix == '.csv')}"


def read_columns(path: Path, kinds: Mapping[str, ColumnKind]) -> tuple[dict[str, Array], list[Problem]]:
    """Read the named columns as int64 or float64 arrays; return also the cells that are no number.

    A "float or missing" column may be absent or null and then holds NaN.

    Raises:
        BadFile: the file is missing, empty, truncated, too large, or its columns are not these.
    """
    table = _read_csv(path) if _suffix(path) == ".csv" else _read_parquet(path)
    _check_names(path, table.column_names, kinds)
    if table.num_rows == 0:
        raise BadFile(f"{path}: has a header and no rows; fetch or import the data again")
    columns: dict[str, Array] = {}
    problems: list[Problem] = []
    for name, kind in kinds.items():
        if name not in table.column_names:
            columns[name] = np.full(table.num_rows, np.nan)
            continue
        column = table.column(name).combine_chunks()
        if pa.types.is_string(column.type):
            column = _parse_texts(column, name, kind, problems)
        columns[name] = _to_array(path, column, name, kind, problems)
    return columns, problems


def write_columns(path: Path, columns: Mapping[str, Array]) -> None:
    """Write a Parquet (zstd, page checksums) or CSV file in one atomic step; NaN is written as null.

    A reader sees the old file or the new one, never a part of it.
    """
    write_table(path, to_table(columns))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as ``write_columns`` does.

    Raises:
        BadFile: the name ends in neither ``.csv`` nor ``.parquet``.
        NotWritten: the place cannot be written.
    """
    suffix = _suffix(path)
    with replacing(path) as temporary:
        if suffix == ".csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def to_table(columns: Mapping[str, Array]) -> pa.Table:
    """Return int64 and float64 columns as an Arrow table; NaN becomes null."""
    return pa.table({name: _to_arrow(column) for name, column in columns.items()})


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise BadFile(f"{path}: the name must end in {' or '.join(SUFFIXES)}")
    return path.suffix


def _read_parquet(path: Path) -> pa.Table:
    _check_size(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_metadata(path, file.metadata)
            return file.read(use_threads=False)
    # UnicodeDecodeError (a ValueError) is what an altered column name raises.
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadFile(
            f"{path}: not a readable Parquet file ({_first_line(error)}); fetch it again"
        ) from error


def _check_metadata(path: Path, metadata: Any) -> None:  # pyarrow ships no types
    decoded_bytes = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MAX_ROWS or decoded_bytes > MAX_BYTES:
        raise BadFile(f"{path}: {metadata.num_rows} rows, {decoded_bytes} bytes: more than {MAX_ROWS} rows")


def _read_csv(path: Path) -> pa.Table:
    """Read all columns as text, so that a cell that is no number is reported with its row."""
    _check_size(path)
    # With threads the parser cannot name the row of an error.
    serial = pyarrow.csv.ReadOptions(use_threads=False)
    try:
        names = pyarrow.csv.open_csv(path, read_options=serial).schema.names
        texts = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
        )
        return pyarrow.csv.read_csv(path, read_options=serial, convert_options=texts)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadFile(f"{path}: not a readable CSV file ({_first_line(error)}); get it again") from error


def check_exists(path: Path) -> None:
    """Raise ``BadFile`` if there is no such file."""
    if not path.is_file():
        raise BadFile(f"{path}: no such file; `bot data list` shows what is there")


def _check_size(path: Path) -> None:
    check_exists(path)
    size = path.stat().st_size
    if size == 0:
        raise BadFile(f"{path}: is empty (0 bytes); fetch or import the data again")
    if size > MAX_BYTES:
        raise BadFile(f"{path}: {size} bytes, more than the limit of {MAX_BYTES}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_names(path: Path, names: list[str], kinds: Mapping[str, ColumnKind]) -> None:
    missing = [name for name, kind in kinds.items() if name not in names and kind != "float or missing"]
    unknown = [repr(name) for name in names if name not in kinds]
    twice = sorted({repr(name) for name in names if names.count(name) > 1})
    wrong = [
        f"{word} {', '.join(which)}"
        for word, which in (("lacks", missing), ("has unknown", unknown), ("repeats", twice))
        if which
    ]
    if wrong:
        raise BadFile(
            f"{path}: {' and '.join(wrong)}; expected columns {', '.join(kinds)}: "
            f"try `bot data import {path}`"
        )


def _parse_texts(column: Any, name: str, kind: ColumnKind, problems: list[Problem]) -> Any:
    """Turn text into numbers. A text that is no number is reported and becomes 0 (int) or null (float)."""
    target = pa.int64() if kind == "int" else pa.float64()
    try:
        return column.cast(target)
    except pa.ArrowInvalid:
        texts = column.to_pylist()
    values = [_parse_text(text, target) for text in texts]
    for i, text in enumerate(texts):
        if text is not None and values[i] is None:
            problems.append(Problem(i + 1, f"{name} is not a number: {text!r}"))
            values[i] = 0 if kind == "int" else None
    return pa.array(values, type=target)


def _parse_text(text: str | None, target: pa.DataType) -> Any:
    try:
        return None if text is None else pa.scalar(text).cast(target).as_py()
    except pa.ArrowInvalid:
        return None


def _to_array(path: Path, column: Any, name: str, kind: ColumnKind, problems: list[Problem]) -> Array:
    """Return an array: null becomes NaN in a float column, and 0 with a report in an integer column."""
    whole = pa.types.is_integer(column.type)
    number = whole or pa.types.is_floating(column.type)
    all_missing = pa.types.is_null(column.type) and kind == "float or missing"
    if not (whole if kind == "int" else number or all_missing):
        expected = "int64 (milliseconds)" if kind == "int" else "float64"
        raise BadFile(
            f"{path}: column {name} is {column.type}, expected {expected}: try `bot data import {path}`"
        )
    target = pa.int64() if kind == "int" else pa.float64()
    values, present = _to_numpy(column if column.type == target else column.cast(target))
    if kind != "int":
        return np.where(present, values, np.nan)
    problems.extend(Problem(int(i) + 1, f"{name} is missing") for i in np.flatnonzero(~present))
    return np.where(present, values, 0)


# Arrow's own conversions from and to numpy import pandas where it is installed (0.2 s); these do not.


def _to_numpy(column: Any) -> tuple[Array, NDArray[np.bool_]]:
    """Return the values, and which of them are present."""
    bits, data = column.buffers()
    first, rows = column.offset, len(column)
    dtype = np.int64 if pa.types.is_integer(column.type) else np.float64
    values = np.frombuffer(data, dtype, count=rows, offset=8 * first)
    if bits is None:
        return values, np.ones(rows, bool)
    present = np.unpackbits(np.frombuffer(bits, np.uint8), count=first + rows, bitorder="little")
    return values, present[first:].astype(bool)


def _to_arrow(column: Array) -> Any:
    """Return an Arrow array; NaN becomes null."""
    values = _buffer(np.ascontiguousarray(column))
    if column.dtype == np.int64:
        return pa.Array.from_buffers(pa.int64(), len(column), [None, values])
    missing = np.isnan(column)
    bits = _buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pa.Array.from_buffers(pa.float64(), len(column), [bits, values])


def _buffer(array: Any) -> Any:  # numpy arrays lack the buffer protocol in their types before Python 3.12
    return pa.py_buffer(array)
