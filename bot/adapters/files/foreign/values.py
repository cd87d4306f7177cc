"""Times and numbers out of texts. A text that can be read in two ways is an error that says what decides."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bot.domain.errors import BadFile

Numbers = NDArray[np.int32]

# Since 1973 these ranges of whole numbers do not meet, so the unit follows from the size.
_UNITS: tuple[tuple[str, int, int, int, int], ...] = (
    ("seconds", 10**8, 10**10, 1000, 1),
    ("milliseconds", 10**11, 10**13, 1, 1),
    ("microseconds", 10**14, 10**16, 1, 1000),
    ("nanoseconds", 10**17, 9 * 10**18, 1, 1_000_000),
)
"""Unit, smallest value, end, and what turns it into milliseconds: multiplier and divisor."""
_DOTTED = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)(?: (\d\d:\d\d(?::\d\d)?))?")
"""MetaTrader's 2025.01.31 23:59."""
_DAY_FIRST = re.compile(r"(\d\d)\.(\d\d)\.(\d{4}) (\d\d:\d\d(?::\d\d(?:\.\d+)?)?)")
"""31.01.2025 23:59: with points the day is first everywhere."""

_THOUSANDS = "take the separators of thousands out"


class Times:
    """Reads the times of one table; ``units`` counts the rows of each unit that was met."""

    def __init__(self, label: str, naive_is_utc: bool) -> None:
        self._label = label
        self._naive_is_utc = naive_is_utc
        self.units: Counter[str] = Counter()

    def read(self, column: Any, rows: Numbers) -> NDArray[np.int64]:
        """Return a column of times in milliseconds.

        Raises:
            BadFile: a text that is no time, or a written time without an offset.
        """
        if not pa.types.is_string(column.type):
            return self._typed(column, rows)
        if pc.all(pc.match_substring_regex(pc.fill_null(column, ""), r"^[0-9]{1,19}(\.0*)?$")).as_py():
            return self._whole(column, rows)
        texts = column.to_pylist()
        self.units["ISO 8601"] += len(texts)
        return np.array([self._written(text, row) for text, row in zip(texts, rows, strict=True)], np.int64)

    def _typed(self, column: Any, rows: Numbers) -> NDArray[np.int64]:
        if column.null_count:
            row = rows[column.is_null().to_pylist().index(True)]
            raise BadFile(f"{self._label}:{row}: has no time")
        if getattr(column.type, "tz", None) is None and not self._naive_is_utc:
            raise BadFile(f"{self._label}: its times have no zone; say --utc if they are UTC")
        self.units[str(column.type)] += len(column)
        try:
            ms = column.cast(pa.timestamp("ms", getattr(column.type, "tz", None)))
        except pa.ArrowInvalid as error:
            raise BadFile(f"{self._label}: a time is no whole millisecond ({error})") from error
        return np.array(ms.cast(pa.int64()).to_pylist(), np.int64)

    def _whole(self, column: Any, rows: Numbers) -> NDArray[np.int64]:
        """Each row's unit follows from its size: Binance's dumps turn from ms to µs at 2025-01-01."""
        try:
            whole = pc.replace_substring_regex(column, r"\.0*$", "").cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise BadFile(f"{self._label}: a time is no 64-bit number ({error})") from error
        out, units = whole_times(self._label, np.array(whole.to_pylist(), np.int64), rows)
        self.units += units
        return out

    def _written(self, text: str | None, row: int) -> int:
        us = written_time(self._label, text, row, naive_is_utc=self._naive_is_utc)
        if us % 1000:
            raise BadFile(f"{self._label}:{row}: {(text or '').strip()!r} is no whole millisecond")
        return us // 1000


def written_time(label: str, text: str | None, row: int, *, naive_is_utc: bool) -> int:
    """Return a written time in microseconds since 1970.

    Raises:
        BadFile: it is no time, or has no offset and ``naive_is_utc`` is False.
    """
    text = _DOTTED.sub(lambda m: f"{m[1]}-{m[2]}-{m[3]} {m[4] or '00:00'}", (text or "").strip())
    text = _DAY_FIRST.sub(r"\3-\2-\1 \4", text)
    text = re.sub(r" ?(UTC|GMT)$", "+00:00", text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadFile(
            f"{label}:{row}: {text!r} is no time in s, ms or ISO 8601; write it as 2024-12-31T19:00Z"
        ) from None
    if moment.tzinfo is None:
        if not naive_is_utc:
            raise BadFile(f"{label}:{row}: {text!r} has no offset; say --utc if these times are UTC")
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def whole_times(
    label: str, values: NDArray[np.int64], rows: Numbers | None = None
) -> tuple[NDArray[np.int64], Counter[str]]:
    """Return whole numbers as times in ms, and how many had each unit; ``rows`` are their lines, from 1.

    Raises:
        BadFile: a number that is no time since 1973, or no whole millisecond.
    """
    lines = np.arange(1, len(values) + 1) if rows is None else rows
    out = np.full(len(values), -1, np.int64)
    units: Counter[str] = Counter()
    for unit, low, end, multiplier, divisor in _UNITS:
        inside = (values >= low) & (values < end)
        if not inside.any():
            continue
        broken = np.flatnonzero(inside & (values % divisor != 0))
        if len(broken):
            i = broken[0]
            raise BadFile(f"{label}:{lines[i]}: time {values[i]} in {unit} is no whole millisecond")
        out[inside] = values[inside] * multiplier // divisor
        units[unit] += int(inside.sum())
    unknown = np.flatnonzero(out < 0)
    if len(unknown):
        i = unknown[0]
        raise BadFile(f"{label}:{lines[i]}: {values[i]} is no time since 1973 in s, ms, µs or ns")
    return out, units


def read_numbers(label: str, name: str, column: Any, rows: Numbers, decimal: str) -> NDArray[np.float64]:
    """Return a column of numbers; an empty cell is NaN. ``decimal`` is the sign before the fraction.

    Raises:
        BadFile: a cell that is no number.
    """
    texts = pc.utf8_trim_whitespace(column)
    if decimal == ",":
        pointed = pc.match_substring(texts, ".")
        if pc.any(pointed).as_py():
            i = pointed.to_pylist().index(True)
            raise BadFile(
                f"{label}:{rows[i]}: {name} is not a number: {column[i].as_py()!r} "
                f"(numbers are read with a decimal comma; {_THOUSANDS}, or say --decimal . for a point)"
            )
        texts = pc.replace_substring(texts, ",", ".")
    try:
        values = texts.cast(pa.float64()).to_pylist()
    except pa.ArrowInvalid:
        values = [_number(label, name, text, row) for text, row in zip(texts.to_pylist(), rows, strict=True)]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _number(label: str, name: str, text: str | None, row: int) -> float | None:
    try:
        return None if not text else float(text if "_" not in text else "?")
    except ValueError:
        hint = f"; {_THOUSANDS}, or say --decimal , if the comma stands before the fraction"
        hint = hint if text and "," in text else ""
        raise BadFile(f"{label}:{row}: {name} is not a number: {text!r}{hint}") from None


def decimal_sign(label: str, texts: list[str], delimiter: str) -> str:
    """Return the decimal sign of a CSV whose separator is ``delimiter``, seen in some of its numbers.

    Raises:
        BadFile: a comma that may as well part thousands.
    """
    with_comma = [text for text in texts if "," in text]
    if delimiter == "," or not with_comma:
        return "."
    if all(re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", text) for text in with_comma):
        raise BadFile(
            f"{label}: {with_comma[0]!r} may be read in two ways; say --decimal , if the comma stands before "
            "the fraction, or take the separators of thousands out"
        )
    return ","
