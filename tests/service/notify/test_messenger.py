"""The daemon's messages to a webhook, through the sender process: what arrives, and what is never delayed."""

import asyncio
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.domain.alerts import KINDS, Kind
from bot.domain.market import DAY_MS
from bot.logs import Redactor, make_logger
from bot.service.notify.messenger import Messenger
from bot.service.notify.pipe import Sound, Task, line_of
from bot.service.process import environ
from tests.helpers import T0
from tests.service.notify.alerts import alert
from tests.service.notify.receiver import Receiver

ALL: tuple[Kind, ...] = tuple(dict.fromkeys(KINDS.values()))


def task(*urls: str, **changes: Any) -> Task:
    values: dict[str, Any] = {
        "urls": urls,
        "level": "info",
        "events": ALL,
        "bot_name": "bot PAPER paper-1",
        "rate": 60,
        "waiting_max": 500,
        "retry_s": 0.02,
        "max_retry_s": 0.1,
    }
    return Task(**(values | changes))


class Sending:
    """``async with Sending(task)``: a messenger, and what it logged."""

    def __init__(self, task: Task, *, close_s: float = 20.0, **changes: Any) -> None:
        self.close_s = close_s
        self.stream = io.StringIO()
        log = make_logger(Redactor(), form="json", stream=self.stream)
        self.messenger = Messenger(task, log, **changes)

    async def __aenter__(self) -> "Sending":
        self.messenger.start()
        await self.until("messages_ready")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.messenger.close(self.close_s)
        assert "canary" not in self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    async def until(self, event: str, within_s: float = 60.0) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            while True:
                if found := [line for line in self.lines if line["event"] == event]:
                    return found[-1]
                await asyncio.sleep(0.01)


async def test_every_kind_of_alert_arrives_at_the_address_that_wants_it(tmp_path: Path) -> None:
    async with Receiver() as hook, Receiver() as phone:
        errors = phone.url.replace("json://", "error=json://")
        async with Sending(task(hook.url, errors, rate=60)) as sending:
            for index, name in enumerate(KINDS):
                level = "error" if name == "halted" else "info"
                sending.messenger.sound(alert(name, level, f"words of {name}", at_s=index))
                await hook.until(lambda name=name: f"words of {name}" in str(hook.messages))
            await phone.until(lambda: phone.messages)
    assert phone.titles == ["bot PAPER paper-1: halted"]
    assert len(hook.messages) == len(KINDS)


async def test_a_receiver_that_is_down_for_a_while_gets_everything_together_once_it_is_back() -> None:
    async with Receiver() as hook, Sending(task(hook.url)) as sending:
        await hook.stop()
        for index in range(30):
            sending.messenger.sound(alert(at_s=index))
        failed = await sending.until("message_failed")
        assert (failed["target"], failed["tries"]) == ("1 JSON", 1)
        assert "Connection refused" in failed["reason"]
        await hook.start()
        again = await sending.until("messages_again")
        assert again["failed_tries"] >= 1
        await hook.until(lambda: hook.messages)
    more = [int(title.partition(" and ")[2].partition(" more")[0] or 0) for title in hook.titles]
    assert sum(more) + len(more) == 30
    assert len(more) < 10


async def test_a_receiver_that_refuses_is_tried_again_and_a_burst_is_told_together() -> None:
    async with Receiver() as hook:
        hook.status = 503
        async with Sending(task(hook.url, rate=2)) as sending:
            sending.messenger.sound(alert())
            await hook.until(lambda: hook.tries >= 4)
            hook.status = 200
            await hook.until(lambda: len(hook.messages) == 1)
            for index in range(20):
                sending.messenger.sound(alert(at_s=index))
        assert len(hook.messages) <= 4  # the rate, and what was left at the end
    more = [int(title.partition(" and ")[2].partition(" more")[0] or 0) for title in hook.titles]
    assert sum(more) + len(more) == 21


async def test_the_end_waits_a_bounded_time_for_what_is_pending_and_says_what_was_lost() -> None:
    async with Receiver() as hook:
        hook.status = 503
        sending = Sending(task(hook.url), close_s=0.2)
        async with sending:
            for index in range(5):
                sending.messenger.sound(alert(at_s=index))
            await hook.until(lambda: hook.tries)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 5.0
    lost = await sending.until("messages_unsent")
    assert lost["1 JSON"] == 5


async def test_what_came_before_the_end_leaves_at_the_end() -> None:
    async with Receiver() as hook, Sending(task(hook.url, rate=1)) as sending:
        sending.messenger.sound(alert("started"))
        await hook.until(lambda: hook.messages)
        sending.messenger.sound(alert("ended"))
    assert [title.rpartition(": ")[2] for title in hook.titles] == ["started", "ended"]


async def test_a_daemon_that_is_killed_is_told_by_its_sender() -> None:
    async with Receiver() as hook:
        sender = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.service.notify.sender",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert sender.stdin is not None
        assert sender.stdout is not None
        half = line_of(Sound(alert()))[:20]
        sender.stdin.write(line_of(task(hook.url, pid=4711)) + line_of(Sound(alert("started"))) + half)
        await sender.stdin.drain()
        assert b"messages_ready" in await sender.stdout.readline()
        os.kill(sender.pid, signal.SIGTERM)  # as a service manager does with all processes: it goes on
        sender.stdin.close()
        async with asyncio.timeout(60):
            assert await sender.wait() == 0
    assert "daemon (process 4711) is gone without a word" in str(hook.messages)


async def test_a_sender_that_dies_is_started_again_and_loses_nothing_that_waited() -> None:
    async with Receiver() as hook, Sending(task(hook.url)) as sending:
        (child,) = children()
        os.kill(child, signal.SIGKILL)
        await sending.until("message_sender_ended")
        sending.messenger.sound(alert("halted", "error"))
        await hook.until(lambda: hook.messages)
    assert hook.titles == ["bot PAPER paper-1: halted"]


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [
        pid for pid in map(int, text.split()) if "notify.sender" in Path(f"/proc/{pid}/cmdline").read_text()
    ]


async def test_a_sender_that_hangs_costs_an_alert_microseconds_and_a_bounded_queue() -> None:
    hanging = (sys.executable, "-c", "import time; print('{}', flush=True); time.sleep(600)")
    sending = Sending(task("json://127.0.0.1:9/canary", waiting_max=100), command=hanging)
    sending.messenger.start()
    await sending.until("message_sender_said")
    took_s = []
    for index in range(5_000):
        began_s = time.perf_counter()
        sending.messenger.sound(alert(words="x" * 200, at_s=index))
        took_s.append(time.perf_counter() - began_s)
        if index % 100 == 0:
            await asyncio.sleep(0)
    assert sorted(took_s)[len(took_s) // 2] < 0.001
    began_s = time.monotonic()
    await sending.messenger.close(0.2)
    assert time.monotonic() - began_s < 5.0
    dropped = sending.messenger.facts()["messages_dropped"]
    assert isinstance(dropped, int)
    assert dropped > 1_000
    assert [line["so_far"] for line in sending.lines if line["event"] == "messages_dropped"][:3] == [1, 2, 4]


async def test_the_summary_of_a_day_has_its_trades_and_a_picture_of_its_equity(folder: Path) -> None:
    day = alert("daily_summary", words="2025-01-02: equity 10,028.80", at_s=1, day_end_ms=T0 + 2 * DAY_MS)
    async with Receiver() as hook, Sending(task(hook.url, folder=str(folder))) as sending:
        sending.messenger.sound(day)
        await hook.until(lambda: hook.messages)
    (message,) = hook.messages
    assert "1 trade closed (0 won, -12.50 after costs)" in message["message"]
    assert message["attachments"][0]["filename"] == "equity-2025-01-02.png"


async def test_without_a_journal_the_summary_arrives_all_the_same(tmp_path: Path) -> None:
    day = alert("daily_summary", words="2025-01-02: equity", day_end_ms=T0)
    async with Receiver() as hook, Sending(task(hook.url, folder=str(tmp_path / "none"))) as sending:
        sending.messenger.sound(day)
        await hook.until(lambda: hook.messages)
        assert (await sending.until("summary_without_journal"))["reason"]


async def test_a_wrong_address_beside_a_right_one_is_an_error_by_number(tmp_path: Path) -> None:
    async with Receiver() as hook, Sending(task("nosuch://canary-secret", hook.url)) as sending:
        unusable = await sending.until("message_target_unusable")
        assert (unusable["level"], unusable["target"]) == ("error", 1)
        sending.messenger.sound(alert())
        await hook.until(lambda: hook.messages)


async def test_a_secret_in_an_alert_does_not_leave_the_process() -> None:
    redact = Redactor(["canary/secret+0123"])
    async with Receiver() as hook, Sending(task(hook.url), redact=redact) as sending:
        sending.messenger.sound(alert(words='refused: key "canary/secret+0123"\n'))
        await hook.until(lambda: hook.messages)
    assert "canary/" not in str(hook.messages)
    assert 'key "[redacted]"' in hook.messages[0]["message"]


def test_the_environment_of_the_sender_holds_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_VENUE__API_SECRET", "canary")
    assert "canary" not in str(environ.plain_environment())
    assert msgspec.json.decode(line_of(Sound(alert())))["type"] == "Sound"
