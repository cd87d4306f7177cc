"""What the status says: the state with its cause and time, the account, the day, the limits."""

from decimal import Decimal
from typing import Any

import pytest

from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.messages import Command, LinkDown, LinkUp, Transferred
from bot.engine.core import Engine
from bot.risk.limits import Limits
from bot.service.readiness import Word
from bot.service.views import status
from bot.strategy.signal import Target
from tests.engine.scripted import engine, fill_of, holding, long_at, orders, reading, remote
from tests.helpers import T0, bar, closed

AT = T0 + 12 * HOUR_MS + (44 * 60 + 29) * 1000
"""2025-01-01 12:44:29 UTC."""


def words(one: Engine, word: Word, now_ms: int = AT) -> str:
    return str(status.readiness(one.state, word, now_ms)["state_words"])


def test_a_bot_without_feed_says_since_when() -> None:
    one = engine({})
    one.handle(LinkDown(AT, "feed"))
    assert words(one, Word.FEED_DOWN) == (
        "held back: feed down since 12:44:29 UTC; exits only until its data are back"
    )
    one.handle(LinkUp(AT + 1, "feed"))
    one.handle(LinkDown(AT + 5_000, "feed"))
    assert "since 12:44:34 UTC" in words(one, Word.FEED_DOWN)


def test_every_cause_has_its_own_time_and_a_time_of_another_day_its_date() -> None:
    one = engine({})
    one.handle(Command(AT, "pause"))
    one.handle(LinkDown(AT + 60_000, "venue"))
    one.handle(Command(AT + 120_000, "halt"))
    assert words(one, Word.TRADING, AT + DAY_MS) == (
        "halted: halted by the operator since 2025-01-01 12:46:29 UTC (operator); "
        "no entries until `bot unhalt`"
    )
    causes: Any = status.readiness(one.state, Word.TRADING, AT)["causes"]
    assert [(each["cause"], each["since_ms"] - AT, each["halts"]) for each in causes] == [
        ("operator", 120_000, True),
        ("paused", 0, False),
        ("link_down: venue", 60_000, False),
    ]
    one.handle(Command(AT + 180_000, "unhalt"))
    assert words(one, Word.TRADING) == (
        "paused by the operator since 12:44:29 UTC; exits only until `bot resume`; "
        "also: the line venue is down since 12:45:29 UTC (link_down: venue)"
    )


def test_a_restart_does_not_forget_since_when_and_no_decision_depends_on_it() -> None:
    one, other = engine({}), engine({})
    one.handle(Command(AT, "halt"))
    other.restore(one.snapshot())
    assert "since 12:44:29 UTC" in words(other, Word.TRADING)
    other.state.causes_ms = {}
    assert other.state.digest() == one.state.digest()


def test_the_day_counts_from_midnight_and_money_paid_in_is_no_result() -> None:
    one = engine({1: Target(10.0)}, limits=Limits(max_daily_loss_frac=Decimal("0.5")))
    one.handle(closed(bar(0)))
    (order,) = orders(one.handle(closed(bar(1))))
    one.handle(fill_of(order))
    one.handle(closed(bar(2, 90.0)))  # 10 × -10, and a fee of 0.01
    then = one.state.now_ms
    assert status.day(one.state, then)["day_pnl"] == pytest.approx(-100.01)
    one.handle(Transferred(then, Decimal(9_000), "t1", "deposit"))
    told = status.day(one.state, then)
    assert told["day_pnl"] == pytest.approx(-100.01)
    assert told["day_pnl_frac"] == pytest.approx(-100.01 / 19_000)
    one.handle(Command(then, "unhalt"))  # the loss limits begin anew; the day does not
    assert status.day(one.state, then)["day_pnl"] == pytest.approx(-100.01)
    unvalued = status.day(one.state, T0 + DAY_MS)["day_pnl"]  # nobody has valued it since midnight
    assert unvalued == pytest.approx(0.0, abs=1e-6)
    one.handle(closed(bar(288, 91.0)))
    assert status.day(one.state, one.state.now_ms)["day_pnl"] == pytest.approx(10.0)


def test_only_closed_trades_of_today_are_counted() -> None:
    one = engine({0: Target(1.0), 1: Target(-1.0)})
    long_at(one)
    for order in orders(one.handle(closed(bar(1)))):
        one.handle(fill_of(order))
    assert status.day(one.state, T0)["trades_today"] == 1
    assert status.day(one.state, T0 + DAY_MS)["trades_today"] == 0


def test_a_position_says_since_when_also_after_a_turn_and_a_restart() -> None:
    one = engine({0: Target(1.0), 1: Target(-1.0)})
    entry = long_at(one)
    (position,) = _positions(one)
    assert position["since_ms"] == entry.intent.decided_ms
    for order in orders(one.handle(closed(bar(1)))):
        turned = order.intent.decided_ms
        for follow in orders(one.handle(fill_of(order))):
            one.handle(fill_of(follow))
    other = engine({})
    other.restore(one.snapshot())
    (position,) = _positions(other)
    assert (float(position["qty"]), position["since_ms"]) == (-1.0, turned)


def _positions(one: Engine) -> Any:
    return status.account(one)["positions"]


def test_limits_show_what_is_used_and_an_unread_account_uses_nothing_known() -> None:
    one = engine({0: Target(100.0)}, limits=Limits(max_daily_notional_quote=Decimal(20_000)))
    long_at(one)
    rows = {str(each["name"]): each for each in status.limits(one, T0)}
    assert (rows["max_leverage"]["used"], rows["max_leverage"]["bound"]) == (
        pytest.approx(1.0, rel=1e-5),
        3.0,
    )
    assert rows["max_position_notional_quote"]["used"] == 10_000.0
    assert rows["max_daily_notional_quote"]["used_frac"] == 0.5
    assert rows["max_orders_per_minute"]["used"] == 1
    assert rows["max_consecutive_losses"]["bound"] is None
    one.handle(closed(bar(1, 97.0)))  # 300 of 10,000
    rows = {str(each["name"]): each for each in status.limits(one, T0)}
    assert rows["max_daily_loss_frac"]["used"] == pytest.approx(0.03, abs=1e-5)
    unread = {str(each["name"]): each for each in status.limits(remote({}), T0)}
    assert {
        unread[name]["used"] for name in ("max_daily_loss_frac", "max_drawdown_frac", "max_leverage")
    } == {None}
    assert status.day(remote({}).state, T0)["day_pnl"] is None


def test_the_next_close_is_the_next_of_the_shortest_bars() -> None:
    assert status.closes(engine({}).state, T0 + 1) == {"interval_ms": 300_000, "next_close_ms": T0 + 300_000}
    assert status.closes(engine({}).state, T0 + 300_000)["next_close_ms"] == T0 + 600_000


def test_an_account_that_was_never_read_shows_no_money() -> None:
    one = remote({})
    told = status.account(one)
    assert (told["equity"], told["cash"]) == (None, None)
    one.handle(reading("1234.5", first=True))
    told = status.account(one)
    assert (told["equity"], told["cash"]) == (1234.5, 1234.5)
    assert status.account(engine({}))["equity"] == 10_000


def test_a_foreign_position_is_shown_apart_from_ours() -> None:
    one = remote({})
    one.handle(reading("10000", holding("2.5", own="2"), first=True))
    told = status.account(one)
    assert told["foreign_positions"] == [{"symbol": "BTCUSDT", "qty": "0.5"}]
    assert [each["qty"] for each in told["positions"]] == ["2"]  # type: ignore[attr-defined]


def test_a_bot_whose_strategies_have_all_raised_does_not_call_itself_trading() -> None:
    one = engine({0: 5})  # type: ignore[dict-item]  # no target: the strategy's mistake
    assert status.state_word(one.state, Word.TRADING) == "trading"
    one.handle(closed(bar(0)))
    assert status.state_word(one.state, Word.TRADING) == "reducing"
    said = words(one, Word.TRADING)
    assert said.startswith("held back: no strategy is left; exits only; the strategy of BTCUSDT has raised")
    assert "scripted.py:" in said
    (stopped,) = status.readiness(one.state, Word.TRADING, AT)["strategies_stopped"]  # type: ignore[misc]
    assert (stopped["symbol"], stopped["bar_ms"]) == ("BTCUSDT", T0)
    one.handle(LinkDown(AT, "feed"))
    assert "held back: feed down" in words(one, Word.FEED_DOWN)
    assert "the strategy of BTCUSDT has raised" in words(one, Word.FEED_DOWN)


def test_a_bot_with_one_strategy_left_trades_and_names_the_other() -> None:
    one = engine({0: 5})  # type: ignore[dict-item]
    one.state.symbols["ETHUSDT"] = one.state.symbols["BTCUSDT"]
    one.handle(closed(bar(0)))
    assert status.state_word(one.state, Word.TRADING) == "trading"
    assert words(one, Word.TRADING).startswith("trading; entries and exits are sent; the strategy of BTCUSDT")
