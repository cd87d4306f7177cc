"""Times as people write them."""

from datetime import UTC, datetime

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_time(text: str) -> int:
    """Return ms since 1970 of ``2025-12-01``, ``2025-12-01T08:00+02:00`` or ms; without an offset it is UTC.

    Raises:
        ValueError: the text is no time.
    """
    if text.isdecimal() and 8 < len(text) < 15:
        return int(text)
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def read_span(text: str) -> float:
    """Return seconds, more than 0, of ``90``, ``90s``, ``30m``, ``2h`` or ``1d``.

    Raises:
        ValueError: the text is no span of time.
    """
    unit = _SECONDS.get(text[-1:], 0)
    seconds = float(text[:-1]) * unit if unit else float(text)
    if not 0.0 < seconds < 1e9:
        raise ValueError(text)
    return seconds
