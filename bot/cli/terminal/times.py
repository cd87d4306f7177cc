"""Times and durations on the command line: a UTC date, an ISO time, milliseconds; ``90s``, ``2h``."""

import click

from bot.app.times import read_span, read_time


class UtcTime(click.ParamType[int]):
    """``2025-12-01``, ``2025-12-01T08:00``, ``2025-12-01T08:00+02:00`` or ms since 1970 → UTC ms."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds; a time without an offset is UTC."""
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            return read_time(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time; expected 2025-12-01, 2025-12-01T08:00 or milliseconds", param, ctx
            )


class Span(click.ParamType[float]):
    """``90``, ``90s``, ``30m``, ``2h``, ``1d`` → seconds."""

    name = "SPAN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, more than 0."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        try:
            return read_span(text)
        except ValueError:
            self.fail(f"{text!r} is no span of time; expected 90s, 30m or 2h", param, ctx)


TIME = UtcTime()
DURATION = Span()
