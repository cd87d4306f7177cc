"""Writes what a journal holds as CSV or Parquet: trades, fills, orders, equity, funding, events."""

from collections.abc import Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from bot import metrics
from bot.adapters.state.index import JournalIndex, order_state
from bot.adapters.state.journal import Journal
from bot.domain.errors import BadUsage
from bot.domain.ledger import Fill

if TYPE_CHECKING:  # to show rows needs no pyarrow
    import pyarrow as pa

What = Literal["trades", "fills", "orders", "equity", "funding", "events"]
_GRID, _WIDE = Decimal("1e-18"), Context(prec=60)
WHATS: tuple[What, ...] = get_args(What)


def read(journal: Journal, what: What) -> dict[str, list[object]]:
    """Return what a journal holds as columns by name, oldest first; money is Decimal.

    Trades are worked out from fills and funding, and carry the reasons of their first and last execution; a
    position that is still open is no trade. Orders carry what was filled of them.

    Raises:
        StoreFailed: the journal is damaged.
    """
    index = JournalIndex(journal)
    match what:
        case "trades":
            fills = index.fills()
            trades = metrics.round_trips(fills, funding=index.funding())
            names = metrics.Trade.__struct_fields__
            columns = {name: [getattr(trade, name) for trade in trades] for name in names}
            return columns | _reasons(trades, fills, index.columns("orders"))
        case "orders":
            return _with_fills(index.columns("orders"), index)
        case _:
            return index.columns(what)


def write(columns: dict[str, list[object]], out: Path) -> int:
    """Write columns to a file, by its ending: ``.csv`` or ``.parquet``; return the number of rows.

    Money is written as text in CSV and as decimal in Parquet: no digit is lost, except that average prices
    are rounded to 18 decimals in Parquet.

    Raises:
        BadUsage: another ending.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if out.suffix not in (".csv", ".parquet"):
        raise BadUsage(f"--out {out}: must end in .csv or .parquet")
    table = pa.table({name: _array(values, text=out.suffix == ".csv") for name, values in columns.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        pyarrow.csv.write_csv(table, out)
    else:
        pyarrow.parquet.write_table(table, out)
    rows: int = table.num_rows
    return rows


def _reasons(
    trades: Sequence[metrics.Trade], fills: Sequence[Fill], orders: dict[str, list[object]]
) -> dict[str, list[object]]:
    """Return why each trade was entered and left: the order's reason, or what the venue did (``adl``)."""
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

    other = {"Buy": "Sell", "Sell": "Buy"}
    return {
        "entry_reason": [reason(first.get((each.symbol, each.entry_ms, each.side))) for each in trades],
        "exit_reason": [reason(last.get((each.symbol, each.exit_ms, other[each.side]))) for each in trades],
    }


def _with_fills(orders: dict[str, list[object]], index: JournalIndex) -> dict[str, list[object]]:
    filled: dict[object, Decimal] = {}
    for fill in index.fills():
        filled[fill.order_id] = filled.get(fill.order_id, Decimal(0)) + fill.qty
    quantities = [filled.get(order_id, Decimal(0)) for order_id in orders["order_id"]]
    states = [
        order_state(state, asked, done)
        for done, asked, state in zip(quantities, orders["qty"], orders["state"], strict=True)
    ]
    return {**orders, "filled_qty": list(quantities), "state": states}


def _array(values: list[object], *, text: bool) -> "pa.Array[Any]":
    import pyarrow as pa

    if text:
        return pa.array([str(each) if isinstance(each, Decimal) else each for each in values])
    if any(isinstance(each, Decimal) for each in values):
        exact = [_rounded(each) if isinstance(each, Decimal) else each for each in values]
        return pa.array(exact, pa.decimal256(58, 18))
    return pa.array(values)


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_GRID, context=_WIDE)


def shown(value: object) -> object:
    """Return a value as JSON has it: a Decimal as text."""
    return str(value) if isinstance(value, Decimal) else msgspec.to_builtins(value)
