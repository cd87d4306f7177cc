"""Moments in words, in UTC: for people who read them beside the milliseconds, and the error of a bar."""

from datetime import UTC, datetime

from bot.domain.errors import StrategyFailed
from bot.domain.market import DAY_MS
from bot.domain.messages import StrategyFailure, StrategyStopped


def clock_words(ts_ms: int, now_ms: int) -> str:
    """Return the time of day, ``12:44:29``; of another UTC day than ``now_ms`` with its date."""
    form = "%H:%M:%S" if ts_ms // DAY_MS == now_ms // DAY_MS else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(ts_ms / 1000.0, UTC).strftime(form)


def failure_words(symbol: str, failure: StrategyFailure) -> str:
    """Return what a strategy raised in one line: file, line, error, symbol, and the bar's open time."""
    bar = datetime.fromtimestamp(failure.bar_ms / 1000.0, UTC).strftime("%Y-%m-%d %H:%M")
    where = f"{failure.file}:{failure.line}: {failure.error}"
    return f"{where} ({failure.strategy}.{failure.method} for {symbol}, bar of {bar} UTC)"


def strategy_failed(stopped: StrategyStopped) -> StrategyFailed:
    """Return the error that ends a run without a daemon; its note is the way to the error, for ``-vv``."""
    error = StrategyFailed(failure_words(stopped.symbol, stopped.failure))
    error.add_note("in the strategy:\n" + "\n".join(f"  {each}" for each in stopped.failure.trace))
    return error
