"""An index of a journal in SQLite, for readers: fills, orders, equity, funding, events."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Literal

import msgspec

from bot.adapters.state.follower import JournalFollower
from bot.adapters.state.journal import Journal
from bot.domain.ledger import Fill
from bot.domain.messages import FundingPaid
from bot.journal.entries import Header
from bot.journal.lines import Chained
from bot.journal.rows import (
    EquityRow,
    EventRow,
    FillRow,
    FundingRow,
    OrderEnd,
    OrderRow,
    Row,
    TransferRow,
    rows_of,
)

FORMAT = 4
NAME = "index.sqlite"
_SCHEMA = """
CREATE TABLE names (name TEXT PRIMARY KEY);
CREATE TABLE fills (ts_ms INTEGER, symbol TEXT, side TEXT, qty TEXT, price TEXT, fee_quote TEXT,
    order_id TEXT, exec_id TEXT, maker INTEGER, cause TEXT, slippage_quote TEXT, entry INTEGER,
    UNIQUE (symbol, exec_id));
CREATE TABLE orders (order_id TEXT PRIMARY KEY, decided_ms INTEGER, symbol TEXT, side TEXT, order_type TEXT,
    qty TEXT, price TEXT, time_in_force TEXT, reduce_only INTEGER, stop_loss TEXT, take_profit TEXT,
    reason TEXT, model TEXT, state TEXT DEFAULT 'sent', state_ms INTEGER, words TEXT DEFAULT '',
    entry INTEGER);
CREATE TABLE equity (ts_ms INTEGER, equity REAL, notional REAL, entry INTEGER);
CREATE TABLE funding (ts_ms INTEGER, symbol TEXT, amount_quote TEXT, entry INTEGER, UNIQUE (symbol, ts_ms));
CREATE TABLE transfers (ts_ms INTEGER, amount_quote TEXT, kind TEXT, entry INTEGER);
CREATE TABLE events (ts_ms INTEGER, level TEXT, kind TEXT, text TEXT, symbol TEXT, entry INTEGER);
CREATE INDEX fills_by_entry ON fills (entry);
CREATE INDEX fills_by_order ON fills (order_id);
CREATE INDEX orders_by_entry ON orders (entry);
CREATE INDEX events_by_entry ON events (entry)
"""
Table = Literal["fills", "orders", "equity", "funding", "transfers", "events"]
_MONEY = frozenset(
    {"qty", "price", "fee_quote", "slippage_quote", "stop_loss", "take_profit", "amount_quote"}
)
_FLAGS = frozenset({"maker", "reduce_only"})
_FILLS_WITH_ORDERS = (
    "SELECT f.rowid AS id, f.*, o.reason, o.reduce_only FROM fills f LEFT JOIN orders o USING (order_id)"
)
_ENTRY = "entry"
"""The last column of each table: the number of the journal's entry that wrote the row last."""


class JournalIndex(JournalFollower):
    """The index of one journal, up to date as of ``refresh``.

    Raises:
        StoreFailed: the journal is damaged, or the index cannot be written.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, NAME, FORMAT, _SCHEMA)

    def columns(self, table: Table) -> dict[str, list[object]]:
        """Return a table as columns by name, oldest row first; money is Decimal."""
        names, rows = self._select(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 (a fixed name)
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return {
            name: [_value(name, each) for each in column]
            for name, column in zip(names, columns, strict=True)
            if name != _ENTRY
        }

    def rows(self, table: Table, where: str = "", values: Sequence[object] = ()) -> list[dict[str, object]]:
        """Return rows of a table with their ``id``; ``where`` is what follows its name in SQL.

        ``where`` must be written by us; what comes from outside belongs into ``values``.
        """
        sql = f"SELECT rowid AS id, * FROM {table} {where}"  # noqa: S608 (ours; values are bound)
        names, rows = self._select(sql, values)
        return [
            {name: _value(name, each) for name, each in zip(names, row, strict=True) if name != _ENTRY}
            for row in rows
        ]

    def fill_rows(self, where: str = "", values: Sequence[object] = ()) -> list[dict[str, object]]:
        """Return executions of ours with what their orders wanted; ``where`` as in ``rows``, on table ``f``.

        ``reason`` is the order's, or the venue's cause if it was none of ours. ``is_entry`` is False for an
        order that may only reduce, and for what the venue did by itself.
        """
        names, found = self._select(f"{_FILLS_WITH_ORDERS} {where}", values)
        is_ours = self.ours()
        rows = []
        for values_of in found:
            row = {name: _value(name, each) for name, each in zip(names, values_of, strict=True)}
            if not is_ours(str(row["cause"]), str(row["order_id"])):
                continue
            del row[_ENTRY]
            row["is_entry"] = row.pop("reduce_only") is False
            if row["cause"] != "order":
                row["reason"] = str(row["cause"]).replace("_", " ")
            rows.append(row)
        return rows

    def order_rows(self, where: str = "", values: Sequence[object] = ()) -> list[dict[str, object]]:
        """Return orders with what was filled of them; ``where`` as in ``rows``."""
        rows = self.rows("orders", where, values)
        theirs = f"SELECT order_id FROM orders {where}"  # noqa: S608 (ours; values are bound)
        asked = f"SELECT order_id, qty, ts_ms FROM fills WHERE order_id IN ({theirs}) ORDER BY ts_ms"  # noqa: S608
        _, fills = self._select(asked, values)
        filled: dict[object, tuple[Decimal, object]] = {}
        for order_id, qty, ts_ms in fills:
            before, _ = filled.get(order_id, (Decimal(0), None))
            filled[order_id] = before + Decimal(str(qty)), ts_ms
        for row in rows:
            row["filled_qty"], filled_ms = filled.get(row["order_id"], (Decimal(0), None))
            row["state"], row["state_ms"] = order_state(
                row["state"], row["state_ms"], row["qty"], row["filled_qty"], filled_ms
            )
        return rows

    def entry(self) -> int:
        """Return the number of the last entry that the index has seen."""
        _, ((entry,),) = self._select("SELECT entry FROM place")
        assert isinstance(entry, int)
        return entry

    def newest(self, *tables: Table) -> tuple[int, ...]:
        """Return the number of the last entry that wrote a row of each table; 0 for an empty one."""
        found = [self._select(f"SELECT coalesce(max(entry), 0) FROM {table}")[1][0][0] for table in tables]  # noqa: S608
        return tuple(each for each in found if isinstance(each, int))

    def fills(self) -> list[Fill]:
        """Return our executions, in order: of our orders, and of the venue's orders on our positions.

        On an account that is shared, the bot also hears of what others execute; that is left out.
        """
        fills = (Fill(**row) for row in self._whole("fills"))  # type: ignore[arg-type]
        is_ours = self.ours()
        return [fill for fill in fills if is_ours(fill.cause, fill.order_id)]

    def ours(self) -> "Ours":
        """Return what tells our executions from those of others on the account."""
        _, rows = self._select("SELECT name FROM names")
        return Ours(tuple(f"{name}-" for (name,) in rows))

    def funding(self) -> list[FundingPaid]:
        """Return all funding, in order."""
        return [FundingPaid(**row) for row in self._whole("funding")]  # type: ignore[arg-type]

    def _whole(self, table: Table) -> Iterator[dict[str, object]]:
        columns = self.columns(table)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def _select(self, sql: str, values: Sequence[object] = ()) -> tuple[list[str], list[tuple[object, ...]]]:
        with closing(self.connect()) as database:
            cursor = database.execute(sql, values)
            return [each[0] for each in cursor.description], cursor.fetchall()

    def _add(self, database: sqlite3.Connection, header: Header | None, entries: Sequence[Chained]) -> None:
        for each in entries:
            for row in rows_of(each.entry):
                values = tuple(str(value) if isinstance(value, Decimal) else value for value in row)
                database.execute(_ADD[type(row)], (*values, each.number))
        if header is not None:
            name = msgspec.json.decode(header.arguments).get("name", "")
            database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,))


def order_state(
    state: object, state_ms: object, qty: object, filled_qty: object, filled_ms: object
) -> tuple[object, object]:
    """Return the state of an order and its time: ``filled`` once all of it is, whatever was said last."""
    return ("filled", filled_ms) if filled_qty == qty else (state, state_ms)


class Ours:
    """Tells our executions: those of our orders, by their names, and those of the venue on our positions."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, cause: str, order_id: str) -> bool:
        """Return True for an execution that is ours."""
        return cause != "order" or order_id.startswith(self._names)


_ADD: dict[type[Row], str] = {
    FillRow: "INSERT OR IGNORE INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    OrderRow: "INSERT OR IGNORE INTO orders (order_id, decided_ms, symbol, side, order_type, qty, price, "
    "time_in_force, reduce_only, stop_loss, take_profit, reason, model, entry) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    OrderEnd: "UPDATE orders SET state_ms = ?2, state = ?3, words = ?4, entry = ?5 WHERE order_id = ?1",
    EquityRow: "INSERT INTO equity VALUES (?, ?, ?, ?)",
    FundingRow: "INSERT OR IGNORE INTO funding VALUES (?, ?, ?, ?)",
    TransferRow: "INSERT INTO transfers VALUES (?, ?, ?, ?)",
    EventRow: "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
}


def _value(name: str, value: object) -> object:
    if value is None:
        return None
    if name in _MONEY:
        return Decimal(str(value))
    return bool(value) if name in _FLAGS else value
