"""Moments on the command line: a UTC date, an ISO time, or milliseconds."""

from datetime import UTC, datetime

import click


class UtcTime(click.ParamType[int]):
    """``2025-12-01``, ``2025-12-01T08:00``, ``2025-12-01T08:00+02:00`` or ms since 1970 → UTC ms."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds; a time without an offset is UTC."""
        if isinstance(value, int):
            return value
        text = str(value)
        if text.isdecimal() and 8 < len(text) < 15:
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time; expected 2025-12-01, 2025-12-01T08:00 or milliseconds", param, ctx
            )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)


TIME = UtcTime()


def show_time(ts_ms: int) -> str:
    """``2025-12-01 08:00``: for people, in UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
