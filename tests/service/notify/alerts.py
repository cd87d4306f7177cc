"""Alerts with defaults."""

from bot.domain.alerts import Alert, Fact, Level
from tests.helpers import T0


def alert(name: str = "fill", level: Level = "info", words: str = "", at_s: int = 0, **facts: Fact) -> Alert:
    return Alert(ts_ms=T0 + at_s * 1000, level=level, name=name, words=words or f"{name} {at_s}", facts=facts)
