"""A span of time in words, for people who read it beside the milliseconds."""

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))


def span_words(span_ms: int) -> str:
    """Return a span's two largest units: ``3 h 12 min``, ``30 s``, ``250 ms``; a negative one is 0 ms."""
    parts: list[str] = []
    left_ms = max(span_ms, 0)
    for name, size_ms in _UNITS:
        count, left_ms = divmod(left_ms, size_ms)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2]) or f"{left_ms} ms"


def span_with_ms(span_ms: int) -> str:
    """Return a span in words and in milliseconds: ``30 s (30000 ms)``."""
    words = span_words(span_ms)
    return words if words.endswith(" ms") else f"{words} ({span_ms} ms)"
