"""Cuts a table into blocks of columns and says in which line each row stands. Nothing has a meaning here.

A table is read in two steps: ``sniff`` looks at its beginning, ``blocks`` then reads the chosen columns.
Only a block is in memory at a time; a JSON file is in memory as a whole, as bytes.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bot.adapters.files.foreign.sources import TableSource
from bot.domain.errors import BadFile

HEAD_BYTES = 64 << 10
"""Bytes of a CSV that decide about separator, encoding and line of column names."""
BLOCK_ROWS = 65_536
BLOCK_BYTES = 8 << 20
NUMBER = re.compile(r"-?[0-9.,]+")
_PRICES = frozenset({"open", "high", "low", "close"})
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Table:
    """The beginning of a table. ``names`` is None where no line holds column names."""

    source: TableSource
    names: tuple[str, ...] | None
    cells: tuple[str, ...]
    """The first row, as texts."""
    wrapper: str = ""
    """JSON: the key whose value holds the rows (``list`` at Bybit, ``data`` at OKX)."""
    skip: int = 0
    """CSV: lines above the first row."""
    above: int = 0
    """CSV: lines above the column names that are no part of the table."""
    delimiter: str = ","
    encoding: str = "utf-8"


Block = tuple[list[Any], NDArray[np.int32]]
"""The chosen columns as Arrow arrays, and each row's number: its line (CSV), else its row from 1."""


def sniff(source: TableSource) -> Table:
    """Look at the beginning of a table.

    Raises:
        BadFile: it cannot be read, or has no rows.
    """
    match source.kind:
        case "csv":
            return _sniff_csv(source)
        case "json":
            return _sniff_json(source)
        case "parquet" | "feather":
            return next(_typed(source, None))[0]


def blocks(table: Table, columns: Sequence[int]) -> Iterator[Block]:
    """Read the chosen columns, block by block.

    Raises:
        BadFile: it cannot be read to its end, or a row has too few or too many cells.
    """
    match table.source.kind:
        case "csv":
            yield from _csv_blocks(table, columns)
        case "json":
            yield from _json_blocks(table, columns)
        case "parquet" | "feather":
            for _, block in _typed(table.source, columns):
                yield block


def _sniff_csv(source: TableSource) -> Table:
    with source.open() as file:
        raw = file.read(HEAD_BYTES)
    encoding = _encoding(raw)
    lines = raw.decode(encoding, errors="replace").splitlines()
    delimiter = _delimiter(lines)
    rows = [tuple(cell.strip() for cell in row) for row in csv.reader(lines, delimiter=delimiter)]
    for i, row in enumerate(rows[:40]):
        plain = {re.sub(r"[^a-z]", "", name.lower()) for name in row}
        if sum(any(price in name for name in plain) for price in _PRICES) >= 3 or _names_trades(row):
            cells = next((later for later in rows[i + 1 :] if any(later) and later[0][:1] != "#"), None)
            if cells is None:
                raise BadFile(f"{source}: has a header and no rows; get it again")
            cells = (*cells, *row)[: len(row)]  # a row of another width is reported where it is read
            return Table(source, row, cells, "", i + 1, i, delimiter, encoding)
        if len(row) >= 5 and sum(NUMBER.fullmatch(cell) is not None for cell in row) >= 4:
            if i and _are_names(rows[i - 1], len(row)):  # in words that are not known here
                return Table(source, rows[i - 1], row, "", i, i - 1, delimiter, encoding)
            return Table(source, None, row, "", i, i, delimiter, encoding)
    first = next((line for line in lines if line.strip()), "")
    raise BadFile(f"{source}: no line holds column names or a candle; the first is {first[:80]!r}")


def _encoding(raw: bytes) -> str:
    """Return the encoding of a beginning; what is no UTF-8 is taken for that of Windows in the West."""
    for bom, name in _BOMS:
        if raw.startswith(bom):
            return name
    try:
        raw[: raw.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _are_names(cells: Sequence[str], width: int) -> bool:
    """Return True for a line of column names: as many as the numbers below it, and none is a number."""
    return len(cells) == width and all(cell and not any(map(str.isdigit, cell)) for cell in cells)


def _names_trades(row: tuple[str, ...]) -> bool:
    """Return True for the column names of single trades: one is a price, and none is a number."""
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in row]
    return len(row) >= 3 and all(plain) and bool({"price", "execprice", "tradeprice"} & {*plain})


def _delimiter(lines: list[str]) -> str:
    """Return the separator; where a comma may be the decimal sign, the other one separates."""
    counts = {sign: max((line.count(sign) for line in lines[:40]), default=0) for sign in ";\t|,"}
    return next((sign for sign, count in counts.items() if count >= 4), ",")


def _csv_blocks(table: Table, columns: Sequence[int]) -> Iterator[Block]:
    wanted = [str(i) for i in columns]
    left_out: list[int] = []
    wrong: list[Any] = []

    def on_wrong(row: Any) -> Literal["skip", "error"]:
        if not row.text.strip() or row.text.startswith("#"):
            left_out.append(row.number)
            return "skip"
        wrong.append(row)
        return "error"

    width = len(table.names or table.cells)
    with table.source.open() as file:
        line = table.skip
        try:
            reader = pyarrow.csv.open_csv(
                file,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                    skip_rows=table.skip,
                    column_names=[str(i) for i in range(width)],
                    encoding=table.encoding,
                ),
                # Empty lines are kept as rows, or else the lines of the rows below them are not known.
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=table.delimiter, ignore_empty_lines=False, invalid_row_handler=on_wrong
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.string()),
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                gone = np.array(left_out, np.int64)
                ahead = np.arange(line + 1, line + 1 + batch.num_rows + len(gone), dtype=np.int64)
                lines = ahead[~np.isin(ahead, gone)][: batch.num_rows]
                line = int(lines[-1]) if len(lines) else line
                yield _without_empty([batch.column(name) for name in wanted], lines.astype(np.int32))
        except (pa.ArrowException, UnicodeError) as error:
            if wrong:
                row = wrong[0]
                raise BadFile(
                    f"{table.source}:{row.number}: {row.actual_columns} cells, expected "
                    f"{row.expected_columns}: {row.text[:80]!r}"
                ) from None
            raise BadFile(
                f"{table.source}: not a readable CSV file ({_first(error)}); get it again"
            ) from error


def _without_empty(columns: list[Any], lines: NDArray[np.int32]) -> Block:
    present = [~np.asarray(column.is_null().to_pylist(), bool) for column in columns if column.null_count]
    if not present or len(present) < len(columns):
        return columns, lines
    kept = np.logical_or.reduce(present)
    mask = pa.array(kept.tolist(), pa.bool_())
    return [column.filter(mask) for column in columns], lines[kept]


def _entries(source: TableSource) -> tuple[list[msgspec.Raw], str]:
    """Return the entries of the list in a JSON file, and the key that holds it where it is wrapped."""
    with source.open() as file:
        data = file.read()
    try:
        found, key = msgspec.json.decode(data, type=msgspec.Raw), ""
        while bytes(found).lstrip().startswith(b"{"):
            inside = msgspec.json.decode(found, type=dict[str, msgspec.Raw])
            lists = [name for name, value in inside.items() if bytes(value).lstrip().startswith((b"[", b"{"))]
            lists = [name for name in lists if name not in ("retExtInfo", "error")] or lists
            if len(lists) != 1:
                raise BadFile(f"{source}: holds no list of candles (keys: {', '.join(inside)})")
            found, key = inside[lists[0]], lists[0] if key != "result" or lists[0] == "list" else "result"
        return msgspec.json.decode(found, type=list[msgspec.Raw]), key
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadFile(f"{source}: not a readable JSON file ({error}); get it again") from error


def _sniff_json(source: TableSource) -> Table:
    entries, wrapper = _entries(source)
    if not entries:
        raise BadFile(f"{source}: has no rows")
    first = _entry(source, 1, entries[0])
    if isinstance(first, dict):
        return Table(source, tuple(first), tuple(_text(value) or "" for value in first.values()), wrapper)
    return Table(source, None, tuple(_text(value) or "" for value in first), wrapper)


def _entry(source: TableSource, row: int, raw: msgspec.Raw) -> list[Any] | dict[str, Any]:
    value = msgspec.json.decode(raw)
    if not isinstance(value, list | dict):
        raise BadFile(f"{source}:{row}: is no candle: {value!r}"[:200])
    return value


def _json_blocks(table: Table, columns: Sequence[int]) -> Iterator[Block]:
    entries, _ = _entries(table.source)
    for begin in range(0, len(entries), BLOCK_ROWS):
        rows: list[list[str | None]] = []
        for row, raw in enumerate(entries[begin : begin + BLOCK_ROWS], start=begin + 1):
            value = _entry(table.source, row, raw)
            if isinstance(value, dict) and table.names is not None:
                cells = [value.get(name) for name in table.names]
            elif isinstance(value, list) and table.names is None and len(value) == len(table.cells):
                cells = value
            else:
                raise BadFile(f"{table.source}:{row}: has another form than the first entry: {value!r}"[:200])
            rows.append([_text(cells[i]) for i in columns])
        numbers = np.arange(begin + 1, begin + 1 + len(rows), dtype=np.int32)
        yield [pa.array(list(column), pa.string()) for column in zip(*rows, strict=True)], numbers


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _typed(source: TableSource, columns: Sequence[int] | None) -> Iterator[tuple[Table, Block]]:
    """Yield the blocks of a Parquet or Feather file; its numbers become texts, its times stay times."""
    with source.open() as file:
        row = 0
        try:
            names, batches = _batches(source, file)
            for batch in batches:
                if batch.num_rows == 0:
                    continue
                cells = tuple(str(column[0].as_py()) for column in batch.columns)
                chosen = [_plain(batch.column(i)) for i in columns or ()]
                numbers = np.arange(row + 1, row + 1 + batch.num_rows, dtype=np.int32)
                row += batch.num_rows
                yield Table(source, tuple(names), cells), (chosen, numbers)
        except (pa.ArrowException, ValueError) as error:
            raise BadFile(f"{source}: not a readable {source.kind} file ({_first(error)})") from error
    if row == 0:
        raise BadFile(f"{source}: has no rows")


def _batches(source: TableSource, file: Any) -> tuple[list[str], Iterator[Any]]:
    if source.kind == "parquet":
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        return parquet.schema_arrow.names, parquet.iter_batches(BLOCK_ROWS, use_threads=False)
    feather = pa.ipc.open_file(file)
    return feather.schema.names, (feather.get_batch(i) for i in range(feather.num_record_batches))


def _plain(column: Any) -> Any:
    kept = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    return column if kept else column.cast(pa.string())


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
