"""What a chart of a symbol shows: its latest bars, the forecasts made at them, and its stops.

A file of its own beside the index, so that readers of fills and orders do not pay for it. It is bounded: the
oldest rows go, and a file that is built anew begins with the newest segments.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from math import nan
from typing import NamedTuple

from bot.adapters.state.follower import JournalFollower
from bot.adapters.state.journal import Journal
from bot.domain.messages import BarsClosed, StopsChanged
from bot.domain.money import plain_or_none
from bot.journal.entries import Answer, Entry, Header, Marked
from bot.journal.lines import Chained

FORMAT = 1
NAME = "chart.sqlite"
ROWS_MAX = 600_000
"""Bars of all symbols together; of one symbol between these:"""
BARS_MIN, BARS_MAX = 1_000, 10_000
READ_BYTES = 256 << 20
"""A new file begins so far back in the journal."""
_TIDY_ROWS = 20_000
_SCHEMA = """
CREATE TABLE bars (symbol TEXT, start_ms INTEGER, interval_ms INTEGER, open REAL, high REAL, low REAL,
    close REAL, volume REAL, PRIMARY KEY (symbol, start_ms)) WITHOUT ROWID;
CREATE TABLE forecasts (symbol TEXT, close_ms INTEGER, rv_60m REAL, rv_log_sd REAL, ret_15m REAL,
    ret_60m REAL, ret_15m_scale REAL, ret_60m_scale REAL, PRIMARY KEY (symbol, close_ms)) WITHOUT ROWID;
CREATE TABLE stops (symbol TEXT, ts_ms INTEGER, stop_loss TEXT, take_profit TEXT);
CREATE INDEX stops_by_symbol ON stops (symbol, ts_ms)
"""


class ChartBar(NamedTuple):
    """One closed bar; its start in ms."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class ChartForecast(NamedTuple):
    """The forecast of one close: variance of the next hour, its log's deviation, mean log return.

    NaN where the model does not forecast it.
    """

    close_ms: int
    rv_60m: float
    rv_log_sd: float
    ret_60m: float


class ChartIndex(JournalFollower):
    """The chart data of one journal, up to date as of ``refresh``.

    Raises:
        StoreFailed: the journal is damaged, or the file cannot be written.
    """

    def __init__(self, journal: Journal) -> None:
        self._untidy = _TIDY_ROWS
        super().__init__(journal, NAME, FORMAT, _SCHEMA)

    def symbols(self) -> list[str]:
        """Return the symbols that have bars."""
        with closing(self.connect()) as database:
            return [name for (name,) in database.execute("SELECT DISTINCT symbol FROM bars")]

    def interval_ms(self, symbol: str) -> int | None:
        """Return the length of a symbol's latest bar; None if it has none."""
        sql = "SELECT interval_ms FROM bars WHERE symbol = ? ORDER BY start_ms DESC LIMIT 1"
        with closing(self.connect()) as database:
            found = database.execute(sql, (symbol,)).fetchone()
        return None if found is None else int(found[0])

    def bars(self, symbol: str, limit: int) -> list[ChartBar]:
        """Return the latest bars, oldest first."""
        sql = (
            "SELECT start_ms, open, high, low, close, volume FROM bars WHERE symbol = ? "
            "ORDER BY start_ms DESC LIMIT ?"
        )
        with closing(self.connect()) as database:
            return [ChartBar(*row) for row in database.execute(sql, (symbol, limit))][::-1]

    def forecasts(self, symbol: str, from_ms: int) -> list[ChartForecast]:
        """Return the forecasts of closes from ``from_ms`` on, oldest first."""
        sql = (
            "SELECT close_ms, rv_60m, rv_log_sd, ret_60m FROM forecasts WHERE symbol = ? AND close_ms >= ? "
            "ORDER BY close_ms"
        )
        with closing(self.connect()) as database:
            found = database.execute(sql, (symbol, from_ms))
            return [ChartForecast(at, *(nan if x is None else x for x in rest)) for at, *rest in found]

    def stops(self, symbol: str, from_ms: int) -> list[tuple[int, str | None]]:
        """Return when the stop of a symbol changed, and to what, oldest first.

        The one that was in force at ``from_ms`` comes first, with its own time.
        """
        before = "SELECT max(ts_ms) FROM stops WHERE symbol = ?1 AND ts_ms <= ?2"
        sql = (
            f"SELECT ts_ms, stop_loss FROM stops WHERE symbol = ?1 AND ts_ms >= coalesce(({before}), ?2) "  # noqa: S608
            "ORDER BY rowid"
        )
        with closing(self.connect()) as database:
            return [(int(ts_ms), stop) for ts_ms, stop in database.execute(sql, (symbol, from_ms))]

    def newest_close_ms(self) -> int:
        """Return the time of the last close of any symbol; 0 without a bar."""
        with closing(self.connect()) as database:
            found = database.execute("SELECT max(start_ms + interval_ms) FROM bars").fetchone()[0]
        return int(found or 0)

    def closes_at(self, ts_ms: int) -> dict[str, float]:
        """Return the last close of each symbol at a time; left out without a bar in the hour before."""
        with closing(self.connect()) as database:
            sql = (
                "SELECT close FROM bars WHERE symbol = ? AND start_ms + interval_ms <= ? AND start_ms >= ? "
                "ORDER BY start_ms DESC LIMIT 1"
            )
            symbols = [name for (name,) in database.execute("SELECT DISTINCT symbol FROM bars")]
            found = {
                symbol: database.execute(sql, (symbol, ts_ms, ts_ms - _NEAR_MS)).fetchone()
                for symbol in symbols
            }
        return {symbol: float(row[0]) for symbol, row in found.items() if row is not None}

    # As a follower

    def _first(self, numbers: Sequence[int]) -> int:
        size = 0
        for number in reversed(numbers):
            size += self.journal.path(number).stat().st_size
            if size > READ_BYTES:
                return number
        return numbers[0] if numbers else 0

    def _add(self, database: sqlite3.Connection, header: Header | None, entries: Sequence[Chained]) -> None:
        for each in entries:
            self._add_one(database, each.entry.event if isinstance(each.entry, Answer) else each.entry)

    def _add_one(self, database: sqlite3.Connection, entry: Entry) -> None:
        match entry:
            case BarsClosed(_, interval_ms, bars):
                self._untidy += len(bars)
                database.executemany(
                    "INSERT OR REPLACE INTO bars VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (b.symbol, b.start_ms, interval_ms, b.open, b.high, b.low, b.close, b.volume)
                        for b in bars
                    ],
                )
            case Marked(ts_ms):
                database.executemany(
                    "INSERT OR REPLACE INTO forecasts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (symbol, ts_ms, *map(float.fromhex, values[:_VALUES]))  # behind them: other horizons
                        for symbol, values in entry.forecasts.items()
                        if len(values) >= _VALUES
                    ],
                )
            case StopsChanged(ts_ms, symbol, stop, target):
                texts = map(plain_or_none, (stop, target))
                database.execute("INSERT INTO stops VALUES (?, ?, ?, ?)", (symbol, ts_ms, *texts))
            case _:
                pass

    def _added(self, database: sqlite3.Connection) -> None:
        """Drop the oldest rows, now and then."""
        if self._untidy < _TIDY_ROWS:
            return
        self._untidy = 0
        ((symbols, newest_ms, interval_ms),) = database.execute(
            "SELECT count(DISTINCT symbol), max(start_ms), max(interval_ms) FROM bars"
        )
        if not symbols:
            return
        keep = min(max(ROWS_MAX // symbols, BARS_MIN), BARS_MAX)
        cut_ms = newest_ms - keep * interval_ms
        database.execute("DELETE FROM bars WHERE start_ms < ?", (cut_ms,))
        database.execute("DELETE FROM forecasts WHERE close_ms < ?", (cut_ms,))
        last = "SELECT max(rowid) FROM stops GROUP BY symbol"  # still in force, however old
        database.execute(f"DELETE FROM stops WHERE ts_ms < ? AND rowid NOT IN ({last})", (cut_ms,))  # noqa: S608


_VALUES = 6
_NEAR_MS = 3_600_000
