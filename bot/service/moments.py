"""Moments in words, in UTC: for people who read them beside the milliseconds."""

from datetime import UTC, datetime

from bot.domain.market import DAY_MS


def clock_words(ts_ms: int, now_ms: int) -> str:
    """Return the time of day, ``12:44:29``; of another UTC day than ``now_ms`` with its date."""
    form = "%H:%M:%S" if ts_ms // DAY_MS == now_ms // DAY_MS else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(ts_ms / 1000.0, UTC).strftime(form)
