"""Times as text for people."""

from datetime import UTC, datetime


def show_time(ts_ms: int) -> str:
    """Return ``2025-12-01 08:00``, in UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
