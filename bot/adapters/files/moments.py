"""Times in the messages about files."""

from datetime import UTC, datetime


def utc_words(ts_ms: int) -> str:
    """Write a time as 2025-01-01T00:00Z."""
    return datetime.fromtimestamp(int(ts_ms) / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
