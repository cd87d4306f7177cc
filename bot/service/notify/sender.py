"""The sender: the process that sends messages; the daemon starts it as a module.

Reads lines from stdin until it ends. An end without a goodbye means that the daemon was killed or crashed
hard: then the last message says so.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from bot.adapters.notify.service import Hider, Picture, Service
from bot.domain.addresses import Address
from bot.domain.alerts import Alert, Level
from bot.domain.errors import BadSettings, BotError
from bot.service.notify.courier import Courier
from bot.service.notify.outbox import Outbox, Policy
from bot.service.notify.pipe import Bye, Counts, Sound, Task, Told, line_of, read_down
from bot.service.process.priority import give_way
from bot.service.process.private import forbid_core_dump, private_files

_COUNTS_EVERY_S = 5.0
_GONE_WITHIN_S = 20.0
"""How long the last message of a killed daemon is tried."""
_NICE = 5
"""An order goes first where cores are few."""


class AlertSender:
    """Takes what the daemon says, and hands each alert to the couriers whose address wants it.

    Args:
        task: where to send and how.
        out: lines to the daemon go there.
    """

    def __init__(self, task: Task, out: BinaryIO) -> None:
        self._task = task
        self._out = out
        self._turn = threading.Lock()
        self._counted: tuple[dict[str, object], ...] = ()
        self._days: list[threading.Thread] = []
        self.couriers: list[tuple[Address, Courier]] = []
        for number, text in enumerate(task.urls, 1):
            address = Address.of(text)
            try:
                service = Service(address)
            except BadSettings as error:
                facts: dict[str, object] = {"target": number, "reason": Hider(address)(str(error))}
                self.tell("error", "message_target_unusable", facts)
                continue
            policy = Policy(
                rate=task.rate,
                waiting_max=task.waiting_max,
                retry_s=task.retry_s,
                max_retry_s=task.max_retry_s,
            )
            courier = Courier(number, service, Outbox(policy), task.bot_name, self.tell)
            self.couriers.append((address, courier))
        ready = [courier.target for _, courier in self.couriers]
        self.tell("info", "messages_ready", {"targets": ready})

    def tell(self, level: Level, name: str, facts: dict[str, object]) -> None:
        """Tell the daemon; one that has gone is told nothing."""
        self._write(line_of(Told(level, name, facts)))

    def take(self, alert: Alert) -> None:
        """Hand on an alert. The summary of a day is completed from the journal first, in its own thread."""
        if alert.name == "daily_summary" and self._task.folder:
            day = threading.Thread(target=self._take_day, args=(alert,), name="day", daemon=True)
            self._days = [each for each in self._days if each.is_alive()] + [day]
            day.start()
        else:
            self._give(alert)

    def count(self) -> None:
        """Tell the daemon how much was sent, waits and was dropped, if that has changed."""
        counted = tuple(courier.counts() for _, courier in self.couriers)
        if counted != self._counted:
            self._counted = counted
            self._write(line_of(Counts(counted)))

    def close(self, within_s: float) -> None:
        """Send what waits; tell what did not leave in time."""
        by_s = time.monotonic() + within_s
        for day in self._days:
            day.join(max(0.0, by_s - time.monotonic()))
        for _, courier in self.couriers:
            courier.close(max(0.0, by_s - time.monotonic()))
        left = {courier.target: courier.join() for _, courier in self.couriers}
        self.count()
        if any(left.values()):
            unsent: dict[str, object] = {target: count for target, count in left.items() if count}
            self.tell("warning", "messages_unsent", unsent)

    # Inside

    def _give(self, alert: Alert, picture: Picture | None = None) -> None:
        for address, courier in self.couriers:
            if address.wants(alert, self._task.level, self._task.events):
                courier.put(alert, picture)

    def _take_day(self, alert: Alert) -> None:
        from bot.service.notify.picture import equity_picture
        from bot.service.notify.summary import day_of

        picture = None
        try:
            day = day_of(Path(self._task.folder), int(str(alert.facts["day_end_ms"])))
            alert = msgspec.structs.replace(alert, words=f"{alert.words}; {day.words}")
            png = equity_picture(day.points)
            picture = Picture(png, f"equity-{alert.words[:10]}.png") if png is not None else None
        except BotError as error:
            self.tell("warning", "summary_without_journal", {"reason": str(error)})
        self._give(alert, picture)

    def _write(self, line: bytes) -> None:
        try:
            with self._turn:
                self._out.write(line)
                self._out.flush()
        except OSError:
            return


def serve(lines: Iterable[bytes], out: BinaryIO) -> None:
    """Do what the daemon says until it says goodbye, or says nothing more."""
    coming = iter(lines)
    task = read_down(next(coming))
    assert isinstance(task, Task), "the first line is the task"
    sender = AlertSender(task, out)
    counting = threading.Thread(target=_count, args=(sender,), name="counts", daemon=True)
    counting.start()
    for line in coming:
        try:
            said = read_down(line)
        except msgspec.MsgspecError:  # the daemon died while it wrote
            continue
        match said:
            case Sound(alert):
                sender.take(alert)
            case Bye(within_s):
                sender.close(within_s)
                return
            case Task():
                raise AssertionError("one task a process")
    sender.take(_gone(task))
    sender.close(_GONE_WITHIN_S)


def _gone(task: Task) -> Alert:
    words = f"the daemon (process {task.pid}) is gone without a word: killed, crashed or out of memory"
    do = "start it again; stops of positions at a remote venue stay, `bot kill` cancels resting entries"
    return Alert(ts_ms=time.time_ns() // 1_000_000, level="error", name="daemon_gone", words=words, do=do)


def _count(sender: AlertSender) -> None:
    while True:
        time.sleep(_COUNTS_EVERY_S)
        sender.count()


def main() -> None:
    """Run the sender on stdin and stdout."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the daemon says when to end
        signal.signal(number, signal.SIG_IGN)
    forbid_core_dump()
    give_way(_NICE)
    logging.getLogger().addHandler(logging.NullHandler())  # libraries name addresses in their logs
    with private_files():
        serve(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.flush()
    os._exit(0)  # a send that hangs must not keep the process


if __name__ == "__main__":
    main()
