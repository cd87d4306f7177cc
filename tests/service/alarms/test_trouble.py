"""What a person hears of halts, refusals, differences and unknown orders: log, status and hook."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import bot
from bot.adapters.net.inbox import Inbox
from bot.adapters.state.clock import ReplayClock
from bot.domain.alerts import KINDS, Alert, Kind
from bot.domain.messages import (
    Filled,
    LinkDown,
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
from bot.engine.core import Assignment, Engine
from bot.logs import Redactor, make_logger
from bot.risk.limits import Limits
from bot.service.alarms.notes import Notes
from bot.service.daemon import Daemon
from bot.strategy.signal import Target
from tests.engine.scripted import engine, limit_engine, long_at, orders
from tests.helpers import T0, bar, closed, fill, instrument
from tests.service.alarms.heard import Heard
from tests.service.daemons import WARM, bars, make_parts, put_all, story


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
    assert heard.take(OrderUnknown(at_ms, order.order_id)) == ["error order_unknown"]
    assert "after 30 s, the bot halts after 5 min" in heard.hooked[-1].words
    assert heard.take(TimePassed(at_ms + 30_001)) == ["error entries_held_back"]
    assert heard.take(TimePassed(at_ms + 300_001)) == ["error halted"]
    assert order.order_id in heard.hooked[-1].words
    assert heard.take(OrderAccepted(at_ms + 300_002, order.order_id)) == [
        "info order_known",
        "info entries_again",
    ]
    assert heard.lines[-1]["cause"] == f"unknown_order: {order.order_id}"


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
    assert [(each.level, each.name) for each in heard.hooked] == [("warning", "line_down")]


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


@pytest.mark.parametrize("rounding", ["-7.69E-10", "0.01"])
def test_a_rounding_of_the_wallet_is_no_alarm(rounding: str) -> None:
    heard = Heard(engine({}))
    heard.alarms.effects([Reconciled(T0, False, (), Decimal(rounding))])
    assert heard.hooked == []


def test_money_and_quantities_are_told_in_plain_digits() -> None:
    heard = Heard(engine({}))
    heard.alarms.effects([Reconciled(T0, False, (), Decimal("1E+3"))])
    small = msgspec.structs.replace(fill(qty="1E-7", price="2E-7"), cause="liquidation")
    heard.alarms.event(Filled(small))
    assert "moved by 1000 that" in heard.hooked[0].words
    assert "0.0000001 at 0.0000002 by liquidation" in heard.hooked[1].words


def test_a_limit_that_refuses_says_wanted_and_allowed_once_an_hour_and_counts_all() -> None:
    one = engine(dict.fromkeys(range(30), Target(2.0)), Limits(max_order_notional_quote=Decimal(150)))
    heard = Heard(one)
    for index in range(14):
        heard.take(closed(bar(index)))
    assert [each.name for each in heard.hooked] == ["limit_refused", "limit_refused"]
    assert "order_notional: wanted 200, allowed 150" in heard.hooked[0].words
    assert heard.hooked[0].do == "trade less at a time, or set risk.max_order_notional_quote"
    assert heard.hooked[1].facts["count"] == 13


def test_a_refused_stop_is_said_with_its_code() -> None:
    one, _ = limit_engine({0: Target(2.0, limit_price=99.0)})
    heard = Heard(one)
    said = heard.take(StopsRejected(T0, "BTCUSDT", 10001, "can not set tp/sl/ts for zero position"))
    assert said == ["error stop_refused"]
    assert "10001 can not set" in heard.hooked[0].words
    assert heard.hooked[0].do


def test_what_is_remembered_is_bounded() -> None:
    heard = Heard(engine({}))
    for number in range(1_000):
        heard.alarms.effects([Reconciled(T0 + number, False, (str(number),))])
    assert len(heard.alarms.recent) == 20


def test_a_refused_exit_is_an_error_with_code_number_limit_and_what_to_do() -> None:
    one = engine({0: Target(2.0), 1: Target(0.0)})
    long_at(one)
    (exit_,) = orders(one.handle(closed(bar(1))))
    heard = Heard(one)
    assert heard.take(rejected(exit_)) == ["error exit_refused"]
    words = heard.hooked[-1].words
    for part in ("exit Sell 2", "110007 ab not enough", "refusal 1 in a row", "halts at 5", "try 1"):
        assert part in words
    assert "close the position at the venue" in heard.hooked[-1].do


def test_many_refusals_in_a_short_time_are_one_burst_and_later_another() -> None:
    one = engine(dict.fromkeys(range(40), Target(2.0)))
    heard = Heard(one)

    def refusals(first: int) -> list[str]:
        said = []
        for index in range(first, first + 6):
            (order,) = orders(one.handle(closed(bar(index))))
            said += heard.take(msgspec.structs.replace(rejected(order, RejectCause.MISSED), ts_ms=T0 + first))
        return [each for each in said if "burst" in each]

    assert refusals(0) == ["error refusal_burst"]
    assert "5 orders refused within 5 min: 5 × 110007 by the venue" in heard.hooked[-2].words
    assert refusals(6) == []
    heard.alarms._trouble._refusals._burst_ms = T0 - 3_700_000
    assert refusals(12) == ["error refusal_burst"]


def test_the_log_of_a_halted_bot_reminds_each_hour() -> None:
    one = engine({})
    heard = Heard(one)
    one.state.breaker.halt()
    heard.alarms.look(started=True)
    for minute in range(181):
        heard.alarms.turn(T0 + minute * 60_000)
    reminders = [line for line in heard.lines if line["event"] == "still_halted"]
    assert len(reminders) == 3
    assert reminders[0]["halted_by"] == ["halted by the operator"]
    assert "bot unhalt" in reminders[0]["do"]
    one.state.breaker.unhalt()
    heard.alarms.look(started=True)
    assert heard.hooked[-1].name == "halt_lifted"
    heard.alarms.turn(T0 + 100 * 3_600_000)
    assert len([line for line in heard.lines if line["event"] == "still_halted"]) == 3


def test_a_lost_feed_is_said_with_its_time_and_reason_and_its_return_with_the_length() -> None:
    one = engine({})
    heard = Heard(one)
    heard.take(LinkUp(T0, "feed"))  # type: ignore[arg-type]
    heard.alarms.note(T0, "feed_link_lost", {"symbols": 1, "reason": "no pong for 8000 ms"})
    assert heard.take(LinkDown(T0 + 45_869_000, "feed")) == ["warning line_down"]  # type: ignore[arg-type]
    assert heard.hooked[-1].words == (
        "the feed is down since 12:44:29 UTC: no pong for 8000 ms; no entries meanwhile"
    )
    assert heard.take(LinkUp(T0 + 46_061_000, "feed")) == ["info line_up"]  # type: ignore[arg-type]
    assert heard.hooked[-1].words == "the feed is back after 3 min 12 s"


def test_an_account_that_cannot_be_read_is_an_error_and_its_reading_is_said() -> None:
    heard = Heard(engine({}))
    notes = Notes(heard.alarms.voice.log, lambda: T0)
    notes("account_unread", {"reason": "10003 API key is invalid", "tries": 3})
    notes.heard_by(heard.alarms)
    notes("account_read", {"tries": 4})
    assert [(each.level, each.name) for each in heard.hooked] == [
        ("error", "account_unread"),
        ("info", "account_read"),
    ]
    assert "(3 failed tries so far): 10003 API key is invalid" in heard.hooked[0].words
    assert "key is valid" in heard.hooked[0].do


def test_every_alert_of_the_program_has_a_kind() -> None:
    folder = Path(str(bot.__file__)).parent
    text = "".join(path.read_text() for path in folder.rglob("*.py"))
    raised = set(re.findall(r"(?:_raise|_say|say)\(\s*\S+,\s*\S+,\s*\"(\w+)\"", text))
    assert {"halted", "fill", "trade_closed", "started", "daily_summary"} <= raised
    assert raised - set(KINDS) == set()
    assert set(get_args(Kind)) == set(KINDS.values())


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
    assert [each.name for each in hooked] == ["started", "halted", "ended"]
    assert [each["name"] for each in told["alerts"]] == ["halted"]  # type: ignore[attr-defined]
    assert "halted by the operator" in str(told["state_words"])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    loud = [line["event"] for line in lines if line["level"] in ("warning", "error")]
    assert loud == ["halted"]
    assert "close" not in [line["event"] for line in lines]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Explodes:
    def on_close(self, view: object) -> None:
        raise RuntimeError("no rank")


def test_an_error_of_the_strategy_of_all_symbols_is_one_alarm() -> None:
    one = Explodes()
    assigned = [Assignment(instrument(each), 300_000, one, 12.0) for each in ("AUSDT", "BUSDT")]
    heard = Heard(Engine(assigned, Decimal(10_000), Limits()))
    both = closed(bar(0, symbol="AUSDT"), bar(0, symbol="BUSDT"))
    assert heard.take(both) == ["error strategy_stopped"]
    (alert,) = heard.hooked
    assert "RuntimeError: no rank (Explodes.on_close for all symbols, bar of " in alert.words
    assert "; no symbol takes entries, exits and stops go on" in alert.words


def test_a_strategy_that_raises_is_an_error_with_its_line_and_what_to_do() -> None:
    heard = Heard(engine({0: 5}))  # type: ignore[dict-item]  # no target: the strategy's mistake
    assert heard.take(closed(bar(0))) == ["error strategy_stopped"]
    (alert,) = heard.hooked
    assert alert.words.startswith("scripted.py:")
    assert "TypeError: on_bar must return a Target or None, was 5 (Script.on_bar for BTCUSDT, bar of " in (
        alert.words
    )
    assert "2025-01-01 00:00 UTC); BTCUSDT takes no entries, exits and stops go on" in alert.words
    assert "`bot unhalt`" in alert.do


def test_a_stop_that_can_never_act_says_both_prices_and_what_to_set() -> None:
    wanted = {0: Target(2.0, stop_loss=97.0)}
    heard = Heard(engine(wanted, Limits(isolated_leverage=Decimal(50))))
    heard.take(closed(bar(0)))
    (said,) = heard.hooked
    assert "stop_liquidation: wanted 97, allowed 98.5" in said.words
    assert said.do == "give a stop nearer to the price, or lower account.leverage"
