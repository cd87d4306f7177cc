"""Rows of the journal as tables for people, or as CSV for programs."""

import csv
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bot.cli.terminal.numbers import money, percent, price, quantity
from bot.service.moments import minute_cell

Columns = Mapping[str, Sequence[object]]
Row = Mapping[str, object]


def rows_table(what: str, columns: Columns, last: int, width: int) -> RenderableType:
    """Return the last rows as a table, oldest first; columns that do not fit ``width`` are left out.

    Its times are UTC; the line above it must say so.
    """
    count = min(last, len(next(iter(columns.values()), ())))
    rows = [
        dict(zip(columns, values, strict=True))
        for values in zip(*(each[len(each) - count :] for each in columns.values()), strict=True)
    ]
    match what:
        case "trades":
            return _fitting(_TRADES, [_trade(row) for row in rows], width)
        case "orders":
            return _fitting(_ORDERS, [_order(row) for row in rows], width)
        case "equity":
            before = None if count == len(columns["equity"]) else columns["equity"][-count - 1]
            return _fitting(_EQUITY, _equity(rows, before), width)
        case _:
            named = [_Column(_NAMES.get(name, name), is_time=name.endswith("_ms")) for name in columns]
            cells = [
                [
                    _Moment(each) if column.is_time and each is not None else _text(each)
                    for column, each in zip(named, row.values(), strict=True)
                ]
                for row in rows
            ]
            return _fitting(named, cells, width)


def total_words(what: str, columns: Columns) -> str:
    """Return what all rows add up to, in a few words; empty where nothing does."""
    if what == "trades" and columns["pnl_quote"]:
        results = [Decimal(str(each)) for each in columns["pnl_quote"]]
        won = sum(each > 0 for each in results)
        fees = sum((Decimal(str(each)) for each in columns["fees_quote"]), Decimal(0))
        return f"all: {money(sum(results), signed=True)} USDT, {won} won, fees {money(fees)}"
    if what == "equity" and columns["equity"]:
        known = [float(str(each)) for each in columns["equity"] if each is not None]
        return f"all: from {money(known[0])} to {money(known[-1])} USDT" if known else ""
    return ""


def print_csv(columns: Columns, last: int | None) -> None:
    """Print columns as CSV: times in ms, money with all its digits."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in list(zip(*columns.values(), strict=True))[-last if last else None :]:
        writer.writerow(["" if each is None else _exact(each) for each in row])


class _Column(NamedTuple):
    name: str
    is_number: bool = False
    is_time: bool = False
    spare: int = 0
    """Columns with a higher number are left out first where the terminal is too narrow; 0: never."""


class _Moment(NamedTuple):
    ts_ms: object


_NAMES = {
    "ts_ms": "time",
    "decided_ms": "decided",
    "state_ms": "since",
    "entry_ms": "entered",
    "exit_ms": "left",
}
_Cells = Sequence["str | Text | _Moment"]
_TRADES = (
    _Column("closed", is_time=True),
    _Column("symbol"),
    _Column("side"),
    _Column("size", is_number=True),
    _Column("entry", is_number=True),
    _Column("exit", is_number=True),
    _Column("result", is_number=True),
    _Column("return", is_number=True, spare=2),
    _Column("fees", is_number=True, spare=3),
    _Column("for", spare=4),
    _Column("why", spare=1),
)
_ORDERS = (
    _Column("decided", is_time=True),
    _Column("symbol"),
    _Column("side"),
    _Column("size", is_number=True),
    _Column("filled", is_number=True, spare=1),
    _Column("price", is_number=True),
    _Column("state"),
    _Column("why", spare=2),
    _Column("said", spare=3),
    _Column("id", spare=4),
)
_EQUITY = (
    _Column("close", is_time=True),
    _Column("equity", is_number=True),
    _Column("change", is_number=True),
    _Column("positions", is_number=True),
)


def _trade(row: Row) -> _Cells:
    result = Decimal(str(row["pnl_quote"]))
    value = Decimal(str(row["qty"])) * Decimal(str(row["entry_price"]))
    style = "green" if result > 0 else "red" if result < 0 else ""
    return [
        _Moment(row["exit_ms"]),
        str(row["symbol"]),
        "long" if row["side"] == "Buy" else "short",
        quantity(str(row["qty"])),
        price(float(str(row["entry_price"]))),
        price(float(str(row["exit_price"]))),
        Text(money(result, signed=True), style=style),
        Text(percent(float(result / value), signed=True), style=style),
        money(str(row["fees_quote"])),
        _span(int(str(row["exit_ms"])) - int(str(row["entry_ms"]))),
        str(row.get("exit_reason") or ""),
    ]


def _order(row: Row) -> _Cells:
    state = str(row["state"])
    bad = state in ("rejected", "unknown")
    return [
        _Moment(row["decided_ms"]),
        str(row["symbol"]),
        f"{row['side']}{', exit' if row['reduce_only'] else ''}",
        quantity(str(row["qty"])),
        quantity(str(row["filled_qty"])),
        "market" if row["price"] is None else price(str(row["price"])),
        Text(state, style="red" if bad else "green" if state == "filled" else ""),
        str(row["reason"]),
        str(row["words"]),
        str(row["order_id"]),
    ]


def _equity(rows: Sequence[Row], before: object) -> list[_Cells]:
    lines: list[_Cells] = []
    for row in rows:
        now = row["equity"]
        change = None if now is None or before is None else float(str(now)) - float(str(before))
        style = "" if not change else "green" if change > 0 else "red"
        moved = "" if change is None else money(change, signed=True)
        lines.append(
            [
                _Moment(row["ts_ms"]),
                money(_number(now)),
                Text(moved, style=style),
                money(_number(row["notional"])),
            ]
        )
        before = now
    return lines


def _fitting(columns: Sequence[_Column], rows: Sequence[_Cells], width: int) -> Table:
    """Return the table without the columns that do not fit, the most spare ones first."""
    kept = [i for i, column in enumerate(columns) if not column.spare or any(row[i] for row in rows)]
    while True:
        table = _table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])
        console = Console(width=10_000)
        needed = Measurement.get(console, console.options, table).maximum
        spare = max(kept, key=lambda i: columns[i].spare)
        if needed <= width or not columns[spare].spare:
            return table
        kept.remove(spare)


def _table(columns: Sequence[_Column], rows: Sequence[_Cells]) -> Table:
    moments = [each for row in rows for each in row if isinstance(each, _Moment)]
    years = {minute_cell(int(str(each.ts_ms)))[:4] for each in moments}
    year = years.pop() if len(years) == 1 else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        name = f"{column.name} {year}".strip() if column.is_time else column.name
        table.add_column(name, justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(each, year) for each in row))
    return table


def _shown(cell: "str | Text | _Moment", year: str) -> "str | Text":
    """Return a cell; a moment without the year that stands in the header."""
    if not isinstance(cell, _Moment):
        return cell
    return minute_cell(int(str(cell.ts_ms))).removeprefix(f"{year}-" if year else "")


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _span(ms: int) -> str:
    """Return how long a trade lasted: ``45 min``, ``3 h 20 min``, ``2 d 5 h``."""
    days, minutes = divmod(ms // 60_000, 1440)
    hours, minutes = divmod(minutes, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _exact(value: object) -> object:
    return format(value, "f") if isinstance(value, Decimal) else value
