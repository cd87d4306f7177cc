"""What happened: reads the journal through its index, in a thread of its own.

The index is brought up to date before each reading. Nothing here changes the journal.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TypeVar

import msgspec

from bot import metrics
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal

T = TypeVar("T")
Row = dict[str, object]


class News(msgspec.Struct):
    """Rows that are new in the journal, oldest first."""

    orders: list[Row] = []
    fills: list[Row] = []
    events: list[Row] = []


class Page(msgspec.Struct):
    """Rows, newest first, and whether there are older ones."""

    rows: list[Row]
    more: bool


class History:
    """The journal of the account that trades, or of the one that was written to last.

    Args:
        choose: returns the journal of an account; None: the one that was written to last. Raises BotError.
    """

    def __init__(self, choose: Callable[[str | None], Journal]) -> None:
        self._choose = choose
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._index: JournalIndex | None = None
        self._account: str | None = None
        self._opened: dict[str, int] = {}
        self._seen = (0, 0)

    async def do(self, read: Callable[[JournalIndex], T], account: str | None) -> T:
        """Read in the journal's thread; the index is up to date."""

        def work() -> T:
            return read(self._fresh(account))

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def news(self, account: str | None) -> News:
        """Return what is new since the last call; nothing at the first."""
        return News()

    def opened_ms(self, symbol: str) -> int | None:
        """Return when the open position of a symbol was opened; None if that is not known."""
        return self._opened.get(symbol)

    def change_frac(self, symbol: str, price: float | None) -> float | None:
        """Return the change of a price over the last day; None if that is not known."""
        return None

    def _fresh(self, account: str | None) -> JournalIndex:
        if self._index is None or (account is not None and self._index.journal.account != account):
            self._index = JournalIndex(self._choose(account))
        else:
            self._index.refresh()
        return self._index


def rows_of(columns: dict[str, list[object]]) -> list[Row]:
    """Return columns as rows; a Decimal becomes text."""
    names = list(columns)
    return [
        {
            name: str(each) if isinstance(each, Decimal) else each
            for name, each in zip(names, values, strict=True)
        }
        for values in zip(*columns.values(), strict=True)
    ]


def page(rows: list[Row], limit: int) -> Page:
    """Return the last ``limit`` of rows that are in order, newest first."""
    return Page(rows[::-1][:limit], len(rows) > limit)


def trades(index: JournalIndex, limit: int) -> Page:
    """Return closed trades."""
    made = metrics.round_trips(index.fills(), funding=index.funding())
    return page([_plain(trade) for trade in made], limit)


def fills(index: JournalIndex, limit: int) -> Page:
    """Return executions."""
    return page(rows_of(index.columns("fills")), limit)


def orders(index: JournalIndex, limit: int) -> Page:
    """Return orders."""
    return page(rows_of(index.columns("orders")), limit)


def events(index: JournalIndex, limit: int) -> Page:
    """Return events."""
    return page(rows_of(index.columns("events")), limit)


def equity(index: JournalIndex, points: int) -> dict[str, object]:
    """Return the account's value."""
    columns = index.columns("equity")
    rows = list(zip(columns["ts_ms"], columns["equity"], strict=True))
    return {"points": [[ts, value, None] for ts, value in rows][-points:], "restarts_ms": []}


def _plain(value: msgspec.Struct) -> Row:
    return {
        name: str(each) if isinstance(each, Decimal) else each
        for name, each in msgspec.structs.asdict(value).items()
    }
