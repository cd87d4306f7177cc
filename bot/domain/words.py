"""Counts and times in messages that come from below the shell. Pure: a time comes from its caller."""

_FAR_MS = 1 << 62


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 gap``, ``2,000 gaps``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def utc_words(ts_ms: int) -> str:
    """Return a time as ``2025-01-01T00:00Z``; seconds and milliseconds only if there are any.

    What can be no time stays as it is: ``999999999999999999999 ms``.
    """
    import numpy as np  # only for messages

    if not -_FAR_MS < ts_ms < _FAR_MS:
        return f"{ts_ms} ms"
    whole = ("m", 60_000), ("s", 1_000), ("ms", 1)
    unit = next(name for name, size_ms in whole if int(ts_ms) % size_ms == 0)
    return f"{np.datetime64(int(ts_ms), 'ms').astype(f'datetime64[{unit}]')}Z"
