"""Moments in words, and the error of a bar.

Every clock time that a person reads is UTC and says so: at a terminal, on the page, in messages and logs.
A table says it once, in a column's header or in the line above. Only these functions write such times.
"""

from datetime import UTC, datetime

from bot.domain.errors import StrategyFailed
from bot.domain.market import DAY_MS
from bot.domain.messages import StrategyFailure, StrategyStopped

ZONE = "UTC"


def clock_words(ts_ms: int, now_ms: int) -> str:
    """Return the time of day, ``12:44:29 UTC``; of another UTC day than ``now_ms`` with its date."""
    date = "" if ts_ms // DAY_MS == now_ms // DAY_MS else "%Y-%m-%d "
    return _form(ts_ms, f"{date}%H:%M:%S {ZONE}")


def minute_words(ts_ms: int) -> str:
    """Return ``2025-12-01 08:00 UTC``."""
    return f"{minute_cell(ts_ms)} {ZONE}"


def second_words(ts_ms: int) -> str:
    """Return ``2025-12-01 08:00:05 UTC``."""
    return f"{second_cell(ts_ms)} {ZONE}"


def in_zone(header: str) -> str:
    """Return the header of a column of times: ``closed (UTC)``."""
    return f"{header} ({ZONE})"


def clock_cell(ts_ms: int, now_ms: int) -> str:
    """Return ``12:44`` for a cell below ``in_zone``; of another UTC day than ``now_ms`` with its date."""
    date = "" if ts_ms // DAY_MS == now_ms // DAY_MS else "%Y-%m-%d "
    return _form(ts_ms, f"{date}%H:%M")


def minute_cell(ts_ms: int) -> str:
    """Return ``2025-12-01 08:00`` for a cell below ``in_zone``."""
    return _form(ts_ms, "%Y-%m-%d %H:%M")


def second_cell(ts_ms: int) -> str:
    """Return ``2025-12-01 08:00:05`` for a cell below ``in_zone``."""
    return _form(ts_ms, "%Y-%m-%d %H:%M:%S")


def _form(ts_ms: int, form: str) -> str:
    return datetime.fromtimestamp(ts_ms / 1000.0, UTC).strftime(form)


def failure_words(symbol: str, failure: StrategyFailure) -> str:
    """Return what a strategy raised in one line: file, line, error, symbol, and the bar's open time.

    An error of ``on_close`` is one of all symbols.
    """
    where = f"{failure.file}:{failure.line}: {failure.error}"
    bar, of = minute_words(failure.bar_ms), "all symbols" if failure.method == "on_close" else symbol
    return f"{where} ({failure.strategy}.{failure.method} for {of}, bar of {bar})"


def strategy_failed(stopped: StrategyStopped) -> StrategyFailed:
    """Return the error that ends a run without a daemon; its note is the way to the error, for ``-vv``."""
    error = StrategyFailed(failure_words(stopped.symbol, stopped.failure))
    error.add_note("in the strategy:\n" + "\n".join(f"  {each}" for each in stopped.failure.trace))
    return error
