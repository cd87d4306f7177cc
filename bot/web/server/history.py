"""What happened: reads the journal through its indexes, in one thread of its own.

The indexes are brought up to date before each reading. Nothing here changes the journal.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from bot.adapters.state.chart import ChartIndex
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.domain.market import DAY_MS
from bot.web.server.equity import Equity
from bot.web.server.tables import Row, Trades, plain

T = TypeVar("T")
_DAY_AGO_EVERY_S = 20.0
_NEWS_MAX = 200
"""Rows of one kind that are told at once; a page asks for the rest by itself."""


class News(msgspec.Struct):
    """Rows that are new in the journal, or changed, oldest first."""

    orders: list[Row] = []
    fills: list[Row] = []
    events: list[Row] = []


class Books(msgspec.Struct):
    """Everything about one account, up to date; used by the journal's thread alone."""

    index: JournalIndex
    chart: ChartIndex
    trades: Trades
    equity: Equity


class JournalHistory:
    """The journal of the account that trades, or of the one that was written to last.

    Args:
        choose: returns the journal of an account; None: the one that was written to last. Raises BotError.
        now_s: a steady clock.
    """

    def __init__(self, choose: Callable[[str | None], Journal], now_s: Callable[[], float]) -> None:
        self._choose = choose
        self._now_s = now_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._books: Books | None = None
        self._seen: int | None = None
        self._opened: dict[str, int] = {}
        self._day_ago: dict[str, float] = {}
        self._day_ago_s = -_DAY_AGO_EVERY_S

    async def do(self, read: Callable[[Books], T], account: str | None) -> T:
        """Read in the journal's thread.

        Raises:
            BotError: there is no journal, or it is damaged.
        """

        def work() -> T:
            return read(self._fresh(account))

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def news(self, account: str | None) -> News:
        """Return what is new since the last call; nothing at the first, or for another account."""
        return await self.do(self._news, account)

    def opened_ms(self, symbol: str) -> int | None:
        """Return when the open position of a symbol was opened, as of the last reading."""
        return self._opened.get(symbol)

    def change_frac(self, symbol: str, price: float | None) -> float | None:
        """Return the change of a price over 24 hours; None if the bar of then is not known."""
        before = self._day_ago.get(symbol)
        return None if price is None or not before else price / before - 1.0

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # In the thread

    def _fresh(self, account: str | None) -> Books:
        books = self._books
        if books is None or (account is not None and books.index.journal.account != account):
            journal = self._choose(account)
            books = self._books = Books(JournalIndex(journal), ChartIndex(journal), Trades(), Equity())
            self._seen = None
        else:
            books.index.refresh()
            books.chart.refresh()
        books.trades.refresh(books.index)
        self._opened = books.trades.opened_ms
        now_s = self._now_s()
        if now_s - self._day_ago_s >= _DAY_AGO_EVERY_S and (newest_ms := books.chart.newest_close_ms()):
            self._day_ago, self._day_ago_s = books.chart.closes_at(newest_ms - DAY_MS), now_s
        return books

    def _news(self, books: Books) -> News:
        index, seen = books.index, self._seen
        self._seen = index.entry()
        if seen is None or self._seen <= seen:
            return News()
        newer = f"WHERE entry > ? ORDER BY rowid LIMIT {_NEWS_MAX}"
        fills = index.fill_rows(f"WHERE f.entry > ? ORDER BY f.rowid LIMIT {_NEWS_MAX}", (seen,))
        touched = {str(row["order_id"]) for row in fills}
        orders = {str(row["order_id"]): row for row in index.order_rows(newer, (seen,))}
        for order_id in touched - set(orders):  # filled, and no answer came with it
            orders.update((order_id, row) for row in index.order_rows("WHERE order_id = ?", (order_id,)))
        return News(
            [plain(row) for row in orders.values()],
            [plain(row) for row in fills],
            [plain(row) for row in index.rows("events", newer, (seen,))],
        )
