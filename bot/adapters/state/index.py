"""An index of a journal in SQLite, for readers: fills, orders, equity, funding, events.

The journal is the truth; the index may be deleted at any time and is then built again. A reader brings it
up to date before it reads, also beside a running daemon, which never touches it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Literal

import msgspec

from bot.adapters.state.journal import Journal
from bot.domain.errors import StoreFailed
from bot.domain.ledger import Fill
from bot.domain.messages import FundingPaid
from bot.journal.rows import EquityRow, EventRow, FillRow, FundingRow, OrderEnd, OrderRow, Row, rows_of

FORMAT = 2
NAME = "index.sqlite"
_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE place (segment INTEGER, entry INTEGER, crc INTEGER);
CREATE TABLE names (name TEXT PRIMARY KEY);
CREATE TABLE fills (ts_ms INTEGER, symbol TEXT, side TEXT, qty TEXT, price TEXT, fee_quote TEXT,
    order_id TEXT, exec_id TEXT, maker INTEGER, cause TEXT, slippage_quote TEXT, UNIQUE (symbol, exec_id));
CREATE TABLE orders (order_id TEXT PRIMARY KEY, decided_ms INTEGER, symbol TEXT, side TEXT, order_type TEXT,
    qty TEXT, price TEXT, time_in_force TEXT, reduce_only INTEGER, stop_loss TEXT, take_profit TEXT,
    reason TEXT, state TEXT DEFAULT 'sent', state_ms INTEGER, words TEXT DEFAULT '');
CREATE TABLE equity (ts_ms INTEGER, equity REAL, notional REAL);
CREATE TABLE funding (ts_ms INTEGER, symbol TEXT, amount_quote TEXT, UNIQUE (symbol, ts_ms));
CREATE TABLE events (ts_ms INTEGER, level TEXT, kind TEXT, text TEXT);
"""
Table = Literal["fills", "orders", "equity", "funding", "events"]
_MONEY = frozenset(
    {"qty", "price", "fee_quote", "slippage_quote", "stop_loss", "take_profit", "amount_quote"}
)
_FLAGS = frozenset({"maker", "reduce_only"})


class JournalIndex:
    """The index of one journal, up to date as of ``refresh``.

    Raises:
        StoreFailed: the journal is damaged, or the index cannot be written.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.path = journal.folder / NAME
        self.refresh()

    def refresh(self) -> None:
        """Read what the journal holds beyond the index. An index that does not fit is built again."""
        try:
            try:
                self._catch_up()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
                self.path.unlink(missing_ok=True)
                self._catch_up()
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"{self.path}: cannot be written ({error}); make room, or delete it") from error

    def columns(self, table: Table) -> dict[str, list[object]]:
        """Return a table as columns by name, oldest row first; money is Decimal."""
        with closing(self._connect()) as database:
            cursor = database.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 (a fixed name)
            names = [each[0] for each in cursor.description]
            values = list(zip(*cursor, strict=True)) or [()] * len(names)
        return {
            name: [_value(name, each) for each in column] for name, column in zip(names, values, strict=True)
        }

    def fills(self) -> list[Fill]:
        """Return our executions, in order: of our orders, and of the venue's orders on our positions.

        On an account that is shared, the bot also hears of what others execute; that is left out.
        """
        with closing(self._connect()) as database:
            names = tuple(f"{name}-" for (name,) in database.execute("SELECT name FROM names"))
        fills = (Fill(**row) for row in self._rows("fills"))  # type: ignore[arg-type]
        return [fill for fill in fills if fill.cause != "order" or fill.order_id.startswith(names)]

    def funding(self) -> list[FundingPaid]:
        """Return all funding, in order."""
        return [FundingPaid(**row) for row in self._rows("funding")]  # type: ignore[arg-type]

    def _rows(self, table: Table) -> Iterator[dict[str, object]]:
        columns = self.columns(table)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_S)

    def _catch_up(self) -> None:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] != FORMAT or not self._fits(database):
                _clear(database)
            segment, entry, _ = database.execute("SELECT * FROM place").fetchone()
            for number in self.journal.numbers():
                if number >= segment:
                    self._add(database, number, entry)

    def _fits(self, database: sqlite3.Connection) -> bool:
        """Return False if the journal under the index is another one, such as one from a backup."""
        segment, entry, crc = database.execute("SELECT * FROM place").fetchone()
        if not segment:
            return True
        read = self.journal.read(segment) if segment in self.journal.numbers() else None
        if read is None:
            return False
        end = read.header.condensed
        if end is not None:
            return (end.entry, end.crc) == (entry, crc) or end.entry > entry
        return (
            any((each.number, each.crc) == (entry, crc) for each in read.entries) or read.end.entry == entry
        )

    def _add(self, database: sqlite3.Connection, number: int, after: int) -> None:
        segment = self.journal.read(number)
        if segment is None:
            return
        rows = (row for each in segment.entries if each.number > after for row in rows_of(each.entry))
        _insert(database, rows)
        name = msgspec.json.decode(segment.header.arguments).get("name", "")
        database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,))
        end = segment.header.condensed or segment.end
        database.execute("UPDATE place SET segment = ?, entry = ?, crc = ?", (number, end.entry, end.crc))


def _clear(database: sqlite3.Connection) -> None:
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        database.execute(f'DROP TABLE "{name}"')
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    database.execute("INSERT INTO place VALUES (0, 0, 0)")
    database.execute(f"PRAGMA user_version = {FORMAT}")


_ADD: dict[type[Row], str] = {
    FillRow: "INSERT OR IGNORE INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    OrderRow: "INSERT OR IGNORE INTO orders (order_id, decided_ms, symbol, side, order_type, qty, price, "
    "time_in_force, reduce_only, stop_loss, take_profit, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    OrderEnd: "UPDATE orders SET state_ms = ?2, state = ?3, words = ?4 WHERE order_id = ?1",
    EquityRow: "INSERT INTO equity VALUES (?, ?, ?)",
    FundingRow: "INSERT OR IGNORE INTO funding VALUES (?, ?, ?)",
    EventRow: "INSERT INTO events VALUES (?, ?, ?, ?)",
}


def _insert(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    for row in rows:
        values = tuple(str(each) if isinstance(each, Decimal) else each for each in row)
        database.execute(_ADD[type(row)], values)


def _value(name: str, value: object) -> object:
    if value is None:
        return None
    if name in _MONEY:
        return Decimal(str(value))
    return bool(value) if name in _FLAGS else value
