"""What a run did as tables: trades, fills, orders, equity, funding; the same from journal and backtest.

A table is columns by name, oldest row first; money is Decimal. ``to_arrow`` gives each column one type, also
where it has no value, and ``write`` makes a CSV or Parquet file of it.
"""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import msgspec

from bot.adapters.state.index import order_state
from bot.app.places import check_table
from bot.domain.ledger import Fill
from bot.domain.messages import Filled
from bot.domain.orders import Side
from bot.journal.entries import Effects
from bot.journal.rows import EquityRow, EventRow, FillRow, FundingRow, OrderEnd, OrderRow, Row, rows_of
from bot.metrics import Trade

if TYPE_CHECKING:  # to show rows needs no pyarrow
    import pyarrow as pa

    from bot.service.backtest.run import Result

Columns = dict[str, list[object]]
Kept = Literal["trades", "fills", "orders", "equity", "funding"]
"""The tables of a backtest."""
_GRID, _WIDE = Decimal("1e-18"), Context(prec=60)
_OTHER: Mapping[Side, Side] = {"Buy": "Sell", "Sell": "Buy"}


def of_backtest(result: "Result", what: Kept) -> Columns:
    """Return one table of a backtest, with the columns that ``bot journal export`` has for a live run.

    Trades also have ``bars_held``, ``mae_frac`` and ``mfe_frac``; equity has ``hold``, the value of buy and
    hold, after the same costs.
    """
    tape = result.run.tape
    match what:
        case "trades":
            return trade_columns(result.trades, tape.fills, _orders(result))
        case "fills":
            return _columns(FillRow, [row for fill in tape.fills for row in rows_of(Filled(fill))])
        case "orders":
            return with_fills(_orders(result), tape.fills)
        case "equity":
            curve = {"ts_ms": tape.ts_ms, "equity": tape.equity, "notional": tape.notional}
            hold = result.whole.hold[len(result.whole.hold) - len(tape.ts_ms) :]  # it also has the start
            return {name: values.tolist() for name, values in {**curve, "hold": hold}.items()}
        case "funding":
            return _columns(FundingRow, [row for paid in tape.funding for row in rows_of(paid)])


def trade_columns(trades: Sequence[Trade], fills: Sequence[Fill], orders: Columns) -> Columns:
    """Return trades with why each was entered and left: the order's reason or the venue's cause (``adl``)."""
    columns: Columns = {name: [getattr(each, name) for each in trades] for name in Trade.__struct_fields__}
    why = dict(zip(orders["order_id"], orders["reason"], strict=True))
    first: dict[tuple[str, int, str], Fill] = {}
    last: dict[tuple[str, int, str], Fill] = {}
    for fill in fills:
        at = (fill.symbol, fill.ts_ms, fill.side)
        first.setdefault(at, fill)
        last[at] = fill

    def reason(fill: Fill | None) -> object:
        if fill is None:
            return ""
        return why.get(fill.order_id, "") if fill.cause == "order" else fill.cause

    return {
        **columns,
        "entry_reason": [reason(first.get((each.symbol, each.entry_ms, each.side))) for each in trades],
        "exit_reason": [reason(last.get((each.symbol, each.exit_ms, _OTHER[each.side]))) for each in trades],
    }


def with_fills(orders: Columns, fills: Sequence[Fill]) -> Columns:
    """Return orders with what was filled of each; those that were filled whole are so since the last fill."""
    filled: dict[object, tuple[Decimal, int]] = {}
    for fill in fills:
        qty, _ = filled.get(fill.order_id, (Decimal(0), 0))
        filled[fill.order_id] = qty + fill.qty, fill.ts_ms
    done = [filled.get(order_id, (Decimal(0), 0)) for order_id in orders["order_id"]]
    asked = zip(orders["qty"], orders["state"], orders["state_ms"], done, strict=True)
    states = [order_state(state, state_ms, qty, *told) for qty, state, state_ms, told in asked]
    return {
        **orders,
        "filled_qty": [qty for qty, _ in done],
        "state": [state for state, _ in states],
        "state_ms": [since_ms for _, since_ms in states],
    }


def _orders(result: "Result") -> Columns:
    """Return every order that was sent, with the venue's last answer to it."""
    tape = result.run.tape
    told = [row for answer in tape.answers for row in rows_of(answer)]
    ends = {row.order_id: row for row in told if isinstance(row, OrderEnd)}
    sent = [row for row in rows_of(Effects(tuple(tape.placed))) if isinstance(row, OrderRow)]
    last = [ends.get(row.order_id) for row in sent]
    return {
        **_columns(OrderRow, sent),
        "state": ["sent" if end is None else end.state for end in last],
        "state_ms": [None if end is None else end.ts_ms for end in last],
        "words": ["" if end is None else end.words for end in last],
    }


def _columns(kind: type[Row], rows: Sequence[Row]) -> Columns:
    """Return rows of one kind as columns."""
    names = get_type_hints(kind)
    return {name: [getattr(row, name) for row in rows] for name in names}


# Tables as Arrow, as files, as JSON


def to_arrow(columns: Mapping[str, Sequence[object]]) -> "pa.Table":
    """Return an Arrow table. Money is ``decimal256(58, 18)``: exact, but averages are rounded to 18 decimals.

    A column has the same type in every run, also one without a value.
    """
    import pyarrow as pa

    types: dict[object, Any] = {
        Decimal: pa.decimal256(58, 18), int: pa.int64(), float: pa.float64(), bool: pa.bool_(),
    }  # fmt: skip
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        exact: list[Any] = [_rounded(each) for each in values]
        arrays[name] = pa.array(exact, types.get(_kind(name), pa.string()))
    return pa.table(arrays)


def write(columns: Mapping[str, Sequence[object]], out: Path, option: str = "--out") -> int:
    """Write columns to a file, by its ending: ``.csv`` or ``.parquet``; return the number of rows.

    Money is written as text in CSV and as decimal in Parquet: no digit is lost, except that average prices
    are rounded to 18 decimals in Parquet. ``option`` is what the user named the file with.

    Raises:
        BadUsage: another ending, or no such place.
        NotWritten: the place cannot be written.
    """
    import pyarrow as pa

    from bot.adapters.files.columns import write_table

    check_table(out, option)
    if out.suffix == ".csv":
        texts: dict[str, list[Any]] = {
            name: [_text(each) for each in values] for name, values in columns.items()
        }
        table = pa.table({name: pa.array(values) for name, values in texts.items()})
    else:
        table = to_arrow(columns)
    write_table(out, table)
    rows: int = table.num_rows
    return rows


def rows(columns: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Return the rows as JSON has them: one object each, money as text."""
    shown_columns = [[shown(each) for each in values] for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*shown_columns, strict=True)]


def shown(value: object) -> object:
    """Return a value as JSON has it: a Decimal as text."""
    return str(value) if isinstance(value, Decimal) else msgspec.to_builtins(value)


@cache
def _kinds() -> dict[str, object]:
    """Return the annotation of each column that a table may have."""
    kinds: dict[str, object] = {"hold": float, "filled_qty": Decimal, "state_ms": int}
    for each in (Trade, FillRow, OrderRow, EquityRow, FundingRow, EventRow):
        kinds |= get_type_hints(each)
    return kinds


def _kind(name: str) -> object:
    """Return the type of a column's values; str for words."""
    annotation = _kinds().get(name, str)
    return next((each for each in get_args(annotation) if each is not type(None)), annotation)


def _rounded(value: object) -> object:
    return value.quantize(_GRID, context=_WIDE) if isinstance(value, Decimal) else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
