"""A thread for one address: takes alerts, sends them when the outbox says so, and tells what came of it."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from bot.adapters.notify.service import Picture
from bot.domain.alerts import Alert, Level
from bot.service.notify.outbox import Outbox
from bot.service.notify.wording import Message, message_of

Tell = Callable[[Level, str, dict[str, object]], None]
"""Called with the level, the name and the facts of what a person may want to know."""


class Sends(Protocol):
    """Sends one message and waits; ``adapters.notify.Service`` does."""

    name: str

    def send(self, title: str, body: str, level: Level, picture: Picture | None = None) -> str | None:
        """Return None if the message arrived, else why not, without secrets."""


class Courier:
    """Sends the alerts of one address, each try in its own thread.

    Args:
        number: of the address in the settings, from 1; it is named by number and service, never by itself.
        service: sends.
        outbox: keeps what waits.
        bot_name: begins each message.
        tell: hears of failures, returns and losses, from this thread.
    """

    def __init__(self, number: int, service: Sends, outbox: Outbox, bot_name: str, tell: Tell) -> None:
        self.target = f"{number} {service.name}"
        self._service = service
        self._outbox = outbox
        self._bot_name = bot_name
        self._tell = tell
        self._changed = threading.Condition()
        self._pictures: dict[int, Picture] = {}
        self._closing_s: float | None = None
        self._told_dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"address {number}", daemon=True)
        self._thread.start()

    def put(self, alert: Alert, picture: Picture | None = None) -> None:
        """Take an alert; returns at once."""
        with self._changed:
            self._outbox.add(alert)
            if picture is not None:
                self._pictures = {alert.ts_ms: picture}  # of the latest day alone
            dropped = self._outbox.dropped
            self._changed.notify()
        if dropped and dropped.bit_count() == 1 and dropped != self._told_dropped:  # the 1st, 2nd, 4th, 8th
            self._told_dropped = dropped
            self._tell("warning", "messages_dropped", {"target": self.target, "so_far": dropped})

    def close(self, within_s: float) -> None:
        """Send what waits without regard to the rate, and stop after ``within_s`` at the latest."""
        with self._changed:
            self._closing_s = time.monotonic() + within_s
            self._changed.notify()

    def join(self) -> int:
        """Wait for the end that ``close`` set; return how many alerts did not leave."""
        assert self._closing_s is not None, "closed before"
        self._thread.join(max(0.0, self._closing_s - time.monotonic()))
        with self._changed:
            return len(self._outbox)

    def counts(self) -> dict[str, object]:
        """Return what the status says about this address."""
        with self._changed:
            box = self._outbox
            counts = {"sent": box.sent, "waiting": len(box), "dropped": box.dropped, "failing": box.failures}
        return {"target": self.target, **counts}

    # The thread

    def _run(self) -> None:
        while (message := self._next()) is not None:
            text, picture = message
            why = self._service.send(text.title, text.body, text.level, picture)
            with self._changed:
                tries = self._outbox.failures + 1
                self._outbox.done(time.monotonic(), ok=why is None)
                waiting = len(self._outbox)
            if why is not None and tries.bit_count() == 1:
                facts = {"target": self.target, "reason": why, "tries": tries, "waiting": waiting}
                self._tell("warning", "message_failed", facts)
            elif why is None and tries > 1:
                self._tell("info", "messages_again", {"target": self.target, "failed_tries": tries - 1})

    def _next(self) -> tuple[Message, Picture | None] | None:
        """Wait for the next message that may leave; None once nothing more will."""
        with self._changed:
            while True:
                now_s = time.monotonic()
                due_s = self._outbox.due_s(now_s)
                if self._closing_s is not None:
                    if due_s is None or now_s >= self._closing_s:
                        return None
                    due_s = self._outbox.retry_s(now_s)
                if due_s is not None and due_s <= now_s:
                    batch = self._outbox.take()
                    pictured = [each.ts_ms for each in batch.shown if each.ts_ms in self._pictures]
                    picture = self._pictures[pictured[-1]] if pictured else None
                    return message_of(batch, self._bot_name), picture
                ends_s = [s for s in (due_s, self._closing_s) if s is not None]
                self._changed.wait(max(0.0, min(ends_s) - now_s) if ends_s else None)
