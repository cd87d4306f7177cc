"""Tables as CSV: every row of the account's life, oldest first, exact."""

import csv
import io
from collections.abc import Sequence
from typing import Literal, get_args

from bot.adapters.state.index import JournalIndex
from bot.web.server.history import Books
from bot.web.server.tables import Row, plain

What = Literal["trades", "fills", "orders", "equity", "funding"]
WHATS: tuple[What, ...] = get_args(What)


def as_csv(books: Books, what: What) -> bytes:
    """Return one table; the first line has its names."""
    rows = _rows(books, what)
    out = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(out, [name for name in rows[0] if name != "id"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue().encode()


def _rows(books: Books, what: What) -> Sequence[Row]:
    index: JournalIndex = books.index
    match what:
        case "trades":
            return books.trades.all()
        case "fills":
            return [plain(row) for row in index.fill_rows("ORDER BY f.rowid")]
        case "orders":
            return [plain(row) for row in index.order_rows("ORDER BY rowid")]
        case "equity" | "funding":
            return [plain(row) for row in index.rows(what, "ORDER BY rowid")]
