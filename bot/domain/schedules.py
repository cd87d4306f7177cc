"""When something is due again and again: ``daily@03:00``, ``weekly@sun 03:00``, ``12h``, ``7d``; in UTC.

UTC has no summer time, so a period always has the same length, and no rounding adds up over the years.
"""

import re
from dataclasses import dataclass

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS

FORMS = "daily@03:00, weekly@sun 03:00 (mon to sun), 12h or 7d, in UTC"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIRST_MONDAY_MS = 4 * DAY_MS
"""1970-01-01 was a Thursday."""
_LONGEST_MS = 365 * DAY_MS
_AT = re.compile(rf"(?:daily|weekly@(?P<day>{'|'.join(_DAYS)}))[@ ](?P<hour>\d\d):(?P<minute>\d\d)", re.ASCII)
_SPAN = re.compile(r"(?P<count>\d{1,4})(?P<unit>[hd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due every ``period_ms``, at times that are ``phase_ms`` after a multiple of it since 1970.

    ``phase_ms`` None: the periods count from the moment at which the schedule began.
    """

    period_ms: int
    phase_ms: int | None

    @classmethod
    def of(cls, text: str) -> "Schedule":
        """Return the schedule that a person wrote.

        Raises:
            BadInput: it is none.
        """
        words = " ".join(text.lower().split())
        if found := _AT.fullmatch(words):
            hour, minute = int(found["hour"]), int(found["minute"])
            if hour < 24 and minute < 60:
                at_ms = hour * HOUR_MS + minute * MINUTE_MS
                if found["day"] is None:
                    return cls(DAY_MS, at_ms)
                return cls(7 * DAY_MS, _FIRST_MONDAY_MS + _DAYS.index(found["day"]) * DAY_MS + at_ms)
        if found := _SPAN.fullmatch(words):
            period_ms = int(found["count"]) * (HOUR_MS if found["unit"] == "h" else DAY_MS)
            if HOUR_MS <= period_ms <= _LONGEST_MS:
                return cls(period_ms, None)
        raise BadInput(f"must be a schedule such as {FORMS}; a span is from 1h to 365d")

    def next_after(self, ts_ms: int, since_ms: int) -> int:
        """Return the first due time after ``ts_ms``; ``since_ms`` is when the schedule began."""
        return self.last_until(ts_ms, since_ms) + self.period_ms

    def last_until(self, ts_ms: int, since_ms: int) -> int:
        """Return the last due time at or before ``ts_ms``."""
        phase_ms = since_ms if self.phase_ms is None else self.phase_ms
        return ts_ms - (ts_ms - phase_ms) % self.period_ms
