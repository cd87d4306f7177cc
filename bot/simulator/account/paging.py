"""Pages of a history, newest first, with cursors in Bybit's form, and the allowed time ranges.

A cursor names the first and the last row of the page, ``{name}:{mark},{name}:{mark}`` with ``:`` and ``,``
escaped. Every page that is not empty has one, also the last. It is accepted raw or escaped once more. https://bybit-exchange.github.io/docs/v5/order/order-list
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote, unquote

from bot.simulator.account.access import RequestRefused

DAY_MS = 86_400_000
Row = TypeVar("Row")
_UNESCAPES = 3


def page(
    rows: Iterable[Row],
    limit: int,
    cursor: str,
    name: Callable[[Row], str],
    after: Callable[[str, int], Callable[[Row], bool]],
) -> tuple[list[Row], str]:
    """Return up to ``limit`` of ``rows`` (newest first) after ``cursor``, and the cursor of this page.

    ``name`` writes a row as ``name:mark``. ``after`` turns the last row of a cursor into a test whether a row
    comes after it. An empty page has the cursor "".

    Raises:
        RequestRefused: 10001, a cursor that none of our pages gave.
    """
    behind = after(*_last_of(cursor)) if cursor else None
    taken: list[Row] = []
    for row in rows:
        if behind is not None and not behind(row):
            continue
        taken.append(row)
        if len(taken) == limit:
            break
    if not taken:
        return taken, ""
    return taken, quote(f"{name(taken[0])},{name(taken[-1])}", safe="-")


def _last_of(cursor: str) -> tuple[str, int]:
    text = cursor
    for _ in range(_UNESCAPES):
        if "%" in text:
            text = unquote(text)
    last, colon, mark = text.rpartition(",")[2].rpartition(":")
    if not (colon and mark.isdecimal() and len(mark) <= 20):
        raise RequestRefused(10001, "params error: cursor invalid")
    return last, int(mark)


def limit_of(params: Mapping[str, object], most: int, default: int) -> int:
    """Return the requested page size.

    Raises:
        RequestRefused: 10001, not a number from 1 to ``most``.
    """
    text = str(params.get("limit", "") or default)
    if not (text.isdecimal() and 1 <= int(text) <= most):
        raise RequestRefused(10001, f"params error: limit must be 1 to {most}")
    return int(text)


def span(
    params: Mapping[str, object], now_ms: int, *, default_days: int = 7, most_days: int = 7
) -> tuple[int, int]:
    """Return first and last millisecond: none given = the last days; one given = the days beside it.

    Raises:
        RequestRefused: 10001, not a time, or the end before the start; 181010, too long.
    """
    start, end = _time(params, "startTime"), _time(params, "endTime")
    if start is None and end is None:
        return now_ms - default_days * DAY_MS, now_ms + DAY_MS
    if start is None:
        assert end is not None
        return end - default_days * DAY_MS, end
    if end is None:
        return start, start + default_days * DAY_MS
    if end < start:
        raise RequestRefused(10001, "params error: endTime is before startTime")
    if end - start > most_days * DAY_MS:
        raise RequestRefused(
            181010, f"the time range between startTime and endTime must be within {most_days} days"
        )
    return start, end


def _time(params: Mapping[str, object], name: str) -> int | None:
    text = str(params.get(name, "") or "")
    if not text:
        return None
    if not (text.isdecimal() and len(text) <= 16):
        raise RequestRefused(10001, f"params error: {name} invalid")
    return int(text)
