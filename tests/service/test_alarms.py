"""What a person hears of halts, refusals, differences and unknown orders: log, status and hook."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.net.inbox import Inbox
from bot.adapters.state.clock import ReplayClock
from bot.domain.alerts import Alert
from bot.domain.messages import (
    Event,
    LinkUp,
    OrderAccepted,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Reconciled,
    RejectCause,
    StopsRejected,
    TimePassed,
)
from bot.engine.core import Engine
from bot.logs import Redactor, make_logger
from bot.risk.limits import Limits
from bot.service.alarms import Alarms
from bot.service.daemon import Daemon
from bot.strategy.signal import Target
from tests.engine.scripted import engine, limit_engine, orders
from tests.helpers import T0, bar, closed
from tests.service.daemons import WARM, bars, make_parts, put_all, story


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


def rejected(order: PlaceOrder, cause: RejectCause = RejectCause.VENUE) -> OrderRejected:
    return OrderRejected(T0, order.order_id, 110007, "ab not enough for new order", cause)


def test_five_refusals_are_five_warnings_and_one_halt_with_number_limit_code_and_words() -> None:
    one = engine(dict.fromkeys(range(9), Target(2.0)))
    heard = Heard(one)
    for index in range(5):
        (order,) = orders(one.handle(closed(bar(index))))
        said = heard.take(rejected(order))
        assert said == ["warning order_refused"] + (["error halted"] if index == 4 else [])
    alert = heard.hooked[-1]
    for part in ("5 orders refused", "limit 5", "110007 ab not enough for new order"):
        assert part in alert.words
    assert "bot unhalt" in alert.do
    last = heard.lines[-1]
    assert (last["level"], last["event"], last["words"], last["cause"]) == (
        "error",
        "halted",
        alert.words,
        "rejects",
    )


@pytest.mark.parametrize(("cause", "said"), [("missed", "order_refused"), ("not_sent", "order_not_sent")])
def test_an_order_that_missed_or_never_left_is_said(cause: str, said: str) -> None:
    one = engine({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    assert Heard(one).take(rejected(order, RejectCause(cause))) == [f"warning {said}"]


@pytest.mark.fault(30)
def test_an_order_of_unknown_fate_is_said_at_once_when_entries_stop_and_at_the_halt() -> None:
    one = engine({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    heard, at_ms = Heard(one), bar(0).close_ms
    assert heard.take(OrderUnknown(at_ms, order.order_id)) == ["warning order_unknown"]
    assert heard.take(TimePassed(at_ms + 30_001)) == ["error entries_held_back"]
    assert heard.take(TimePassed(at_ms + 300_001)) == ["error halted"]
    assert order.order_id in heard.hooked[-1].words
    assert heard.take(OrderAccepted(at_ms + 300_002, order.order_id)) == []
    assert [line["cause"] for line in heard.lines if line["event"] == "lifted"] == [
        f"unknown_order: {order.order_id}"
    ]


def test_a_halt_that_a_restart_finds_is_said_at_the_start() -> None:
    one = engine({})
    one.state.breaker.halt()
    heard = Heard(one)
    heard.alarms.look(started=False)
    assert [each.name for each in heard.hooked] == ["halted"]
    heard.alarms.look(started=True)
    assert len(heard.hooked) == 1


def test_a_second_cause_behind_the_first_is_said_too() -> None:
    one = engine({})
    heard = Heard(one)
    one.state.breaker.pause()
    heard.alarms.look(started=True)
    assert heard.hooked == []
    one.state.breaker.unprotected("BTCUSDT")
    heard.alarms.look(started=True)
    assert [each.facts["cause"] for each in heard.hooked] == ["unprotected: BTCUSDT"]


def test_lines_that_are_down_at_a_start_are_no_alarm_and_later_they_are() -> None:
    one = engine({})
    heard = Heard(one)
    one.state.breaker.link_down("feed")
    heard.alarms.look(started=False)
    assert heard.hooked == []
    heard.take(LinkUp(T0, "feed"))  # type: ignore[arg-type]
    one.state.breaker.link_down("venue")
    heard.alarms.look(started=True)
    assert [(each.level, each.name) for each in heard.hooked] == [("warning", "entries_held_back")]


def test_differences_of_a_reading_are_an_error_and_at_the_first_reading_a_warning() -> None:
    heard = Heard(engine({}))
    heard.alarms.effects([Reconciled(T0, False, ("BTCUSDT position ours 2 venue 1",), Decimal("-3.5"))])
    heard.alarms.effects([Reconciled(T0, True, ("BTCUSDT position ours 0 venue 1",))])
    assert [(each.level, each.name) for each in heard.hooked] == [
        ("error", "account_differs"),
        ("warning", "wallet_adjusted"),
        ("warning", "account_differs"),
    ]
    assert "ours 2 venue 1" in heard.hooked[0].words
    assert heard.lines[0]["differences"] == ["BTCUSDT position ours 2 venue 1"]
    assert "-3.5" in heard.hooked[1].words


def test_a_limit_that_refuses_says_wanted_and_allowed_once_an_hour_and_counts_all() -> None:
    one = engine(dict.fromkeys(range(30), Target(2.0)), Limits(max_order_notional_quote=Decimal(150)))
    heard = Heard(one)
    for index in range(14):
        heard.take(closed(bar(index)))
    assert [each.name for each in heard.hooked] == ["limit_refused", "limit_refused"]
    assert "order_notional: wanted 200, allowed 150" in heard.hooked[0].words
    assert heard.hooked[1].facts["count"] == 13


def test_a_refused_stop_is_said_with_its_code() -> None:
    one, _ = limit_engine({0: Target(2.0, limit_price=99.0)})
    heard = Heard(one)
    heard.take(StopsRejected(T0, "BTCUSDT", 10001, "can not set tp/sl/ts for zero position"))
    assert "10001 can not set" in heard.hooked[0].words


def test_what_is_remembered_is_bounded() -> None:
    heard = Heard(engine({}))
    for number in range(1_000):
        heard.alarms.effects([Reconciled(T0 + number, False, (str(number),))])
    assert len(heard.alarms.recent) == 20


async def test_a_halted_daemon_is_heard_in_log_status_and_at_the_hook(tmp_path: Path) -> None:
    stream, hooked = io.StringIO(), list[Alert]()

    class Hook:
        def sound(self, alert: Alert) -> None:
            hooked.append(alert)

    class Feed:
        async def run(self, inbox: Inbox) -> None:
            await put_all(inbox, story(1)[:-1], clock)
            daemon.engine.state.breaker.halt()
            await put_all(inbox, bars(WARM, WARM + 2), clock)
            await asyncio.Event().wait()

    clock = ReplayClock(1)
    log = make_logger(Redactor(), form="json", stream=stream)
    parts = make_parts(tmp_path, [], clock=clock, feed=Feed(), log=log, alarms=(Hook(),))
    daemon = Daemon(replace(parts))
    task = asyncio.create_task(daemon.run())
    await until(lambda: daemon.totals.closes == 2)
    told = daemon.status()
    daemon.stop("test")
    await task
    assert [each.name for each in hooked] == ["halted"]
    assert [each["name"] for each in told["alerts"]] == ["halted"]  # type: ignore[attr-defined]
    assert "halted by the operator" in str(told["state_words"])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    loud = [line["event"] for line in lines if line["level"] in ("warning", "error")]
    assert loud[:2] == ["halted", "close"]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
