"""Alarms on an engine, and what they said."""

import io
import json
from typing import Any

from bot.domain.alerts import Alert
from bot.domain.messages import Event
from bot.engine.core import Engine
from bot.logs import Redactor, make_logger
from bot.service.alarms import Alarms


class Heard:
    """Alarms on an engine, and what they said."""

    def __init__(self, one: Engine) -> None:
        self.engine = one
        self.stream = io.StringIO()
        self.hooked: list[Alert] = []
        self.alarms = Alarms(one, make_logger(Redactor(), form="json", stream=self.stream), [self])

    def sound(self, alert: Alert) -> None:
        self.hooked.append(alert)

    def take(self, *events: Event, started: bool = True) -> list[str]:
        """Let the engine handle events as the daemon does; return the alerts in short."""
        before = len(self.hooked)
        for event in events:
            self.alarms.event(event)
            self.alarms.effects(self.engine.handle(event))
            self.alarms.look(started=started)
        return [f"{each.level} {each.name}" for each in self.hooked[before:]]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]
