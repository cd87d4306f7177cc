"""Says an alert once: to the log with its level, to the status, and to whoever else wants it."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from bot.domain.alerts import Alert, Fact, Level
from bot.ports import Alarm

_KEPT = 20


class Voice:
    """Makes alerts and hands them on.

    Attributes:
        recent: the latest warnings and errors, oldest first; what happens while all is well would push them
            out.
    """

    def __init__(self, log: Any, hooks: Sequence[Alarm] = ()) -> None:
        self.recent: deque[Alert] = deque(maxlen=_KEPT)
        self.log = log
        self._hooks = tuple(hooks)

    def say(self, ts_ms: int, level: Level, name: str, words: str, *, do: str = "", **facts: Fact) -> None:
        """Say one alert. ``facts`` are values for programs, beside the words."""
        alert = Alert(ts_ms=ts_ms, level=level, name=name, words=words, do=do, facts=facts)
        if level != "info":
            self.recent.append(alert)
        write = {"info": self.log.info, "warning": self.log.warning, "error": self.log.error}[level]
        write(name, words=words, **({"do": do} if do else {}), **facts)
        for hook in self._hooks:
            hook.sound(alert)
