"""Reads what a journal holds as tables: trades, fills, orders, equity, funding, events."""

from typing import Literal, get_args

from bot import metrics
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.app.state.tables import shown, trade_columns, with_fills, write

__all__ = ["WHATS", "What", "read", "shown", "write"]

What = Literal["trades", "fills", "orders", "equity", "funding", "events"]
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
            return trade_columns(trades, fills, index.columns("orders"))
        case "orders":
            return with_fills(index.columns("orders"), index.fills())
        case _:
            return index.columns(what)
