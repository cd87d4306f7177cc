"""Times as people write them."""

from datetime import UTC, datetime


def read_time(text: str) -> int:
    """Return ms since 1970 of ``2025-12-01``, ``2025-12-01T08:00+02:00`` or ms; without an offset it is UTC.

    Raises:
        ValueError: the text is no time.
    """
    if text.isdecimal() and 8 < len(text) < 15:
        return int(text)
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)
