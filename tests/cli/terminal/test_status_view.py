"""``bot status`` and ``bot kill`` for people, drawn from what an engine tells."""

from collections.abc import Mapping
from decimal import Decimal
from io import StringIO
from typing import Any

import click
import pytest
from rich.console import Console, RenderableType

from bot.cli.views.killed import killed_lines
from bot.cli.views.status import lost_view, status_view
from bot.domain.messages import Command, LinkDown, StopsChanged
from bot.engine.core import Engine
from bot.service.readiness import Word
from bot.service.views import status
from bot.strategy.signal import Target
from tests.engine.scripted import engine, limit_engine, long_at, remote
from tests.helpers import T0, bar, closed

NOW = T0 + 15 * 60_000


def told(one: Engine, word: Word = Word.TRADING, **more: object) -> Mapping[str, Any]:
    """What the daemon's status would hold for this engine."""
    state = one.state
    who = {"mode": "paper", "feed": "local", "venue": "paper", "symbols": ["BTCUSDT"], "interval": "5m"}
    return {
        **who,
        "strategy": "ema_cross",
        "state": status.state_of(state.breaker, word),
        **status.readiness(state, word, NOW),
        **status.risk(one),
        **status.account(one),
        **status.day(state, NOW),
        **status.closes(state, NOW - 29_000),
        "limits": status.limits(one, NOW),
        "now_ms": NOW - 29_000,
        "last_bar_ms": NOW - 300_000,
        "fills": 1,
        "fees": 0.01,
        **more,
    }


def drawn(view: RenderableType, width: int = 80) -> str:
    stream = StringIO()
    Console(file=stream, width=width, markup=False, highlight=False).print(view)
    return stream.getvalue()


def killed(reply: Mapping[str, Any]) -> str:
    return click.unstyle("\n".join(killed_lines(reply)))


def holding() -> Engine:
    one = engine({0: Target(2.0, stop_loss=97.0)})
    long_at(one)
    one.handle(StopsChanged(T0, "BTCUSDT", Decimal("97"), Decimal("103.5")))
    one.handle(closed(bar(1, 101.23456)))
    return one


def test_a_bot_at_work_tells_its_account_its_position_and_what_comes_next() -> None:
    lines = drawn(status_view(told(holding()))).splitlines()
    assert lines[0].strip() == "PAPER  trading; entries and exits are sent"
    assert lines[1] == "ema_cross on BTCUSDT, 5m bars from local"
    assert lines[2].startswith("00:14:31 UTC; last bar 00:10:00 UTC; next close 00:15:00 UTC, in 0:29")
    assert "equity 10,002.46 USDT; today +2.46 (+0.02 %), 0 trades" in lines
    assert "this run: 1 fill, fees 0.01" in lines
    row = next(line for line in lines if line.startswith("BTCUSDT long"))
    assert row.split() == ["BTCUSDT", "long", "2", "100", "101.2346", "+2.47", "97", "103.5", "00:05"]
    assert max(map(len, lines)) <= 80


def test_a_bot_that_is_held_back_says_why_since_when_and_what_to_do() -> None:
    one = engine({})
    one.handle(LinkDown(NOW - 60_000, "feed"))
    text = drawn(status_view(told(one, Word.FEED_DOWN)))
    held = "held back: feed down since 00:14:00 UTC; exits only until its data are back"
    assert held in " ".join(text.split())
    one.handle(Command(NOW - 50_000, "halt"))
    text = drawn(status_view(told(one, Word.FEED_DOWN)))
    assert "halted: halted by the operator since 00:14:10 UTC" in text
    assert "do: `bot unhalt` when trading may go on" in text


def test_an_account_that_was_never_read_shows_no_equity() -> None:
    text = drawn(status_view(told(remote({}))))
    assert "equity unread: the venue's account has not been read yet" in text
    assert "10,000" not in text.split("limit")[0]
    assert "today" not in text


def test_working_orders_and_a_missing_stop_are_shown() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    row = next(line for line in drawn(status_view(told(one))).splitlines() if order.order_id in line)
    assert row.split() == ["BTCUSDT", "Buy", "2", "0", "99", "open", order.order_id]
    bare = engine({0: Target(1.0)})
    long_at(bare)
    row = next(
        line for line in drawn(status_view(told(bare))).splitlines() if line.startswith("BTCUSDT long")
    )
    assert "none" in row


def test_a_limit_is_shown_once_something_of_it_is_used() -> None:
    flat = engine({})
    flat.handle(closed(bar(0)))
    text = drawn(status_view(told(flat)))
    assert "loss today" in text
    assert "largest position" not in text
    assert "largest position" in drawn(status_view(told(holding())))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_older_daemon_that_tells_less_is_shown_all_the_same(width: int) -> None:
    few = {"state": "trading", "equity": 1.0, "feed": "local", "venue": "paper", "positions": []}
    assert "trading" in drawn(status_view(few), width)


def test_what_an_old_status_says_is_marked_as_old() -> None:
    lines = drawn(lost_view(told(holding()), "no daemon runs on x; start one", 5.4)).splitlines()
    assert lines[0] == "no daemon runs on x; what is below is 5 s old"
    assert "trading" in lines[1]


def test_a_kill_names_what_stays() -> None:
    text = killed({**told(holding()), "survivors": []})
    assert "orders that could open a position, left at paper: none" in text
    assert "position BTCUSDT long 2 stays, with its stop at 97 and its take profit at 103.5" in text
    assert "to close them: `bot flatten`" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions": None}, "positions: could not be read"),
        ({"positions": []}, "positions: none"),
        ({"on_halt": "flatten"}, "long 2 is being closed (risk.on_halt)"),
        ({"survivors": ["bot1-2-0"]}, "left at paper: bot1-2-0"),
        ({"exits": ["bot1-3-0"]}, "exit orders that stay: bot1-3-0"),
        ({"daemon": "no daemon runs on x; start one"}, "halted (no daemon runs on x); no entries"),
        ({"daemon": "no daemon runs on x; start one"}, "a stop acts only while the bot runs"),
    ],
)
def test_a_kill_says_what_is_uncertain(changes: dict[str, object], words: str) -> None:
    assert words in killed({**told(holding()), "survivors": [], **changes})


def test_a_position_without_a_stop_is_named_as_such() -> None:
    one = engine({0: Target(1.0)})
    long_at(one)
    assert "long 1 stays; WITHOUT A STOP at the venue" in killed(told(one))


def test_a_trailing_stop_is_shown_beside_the_fixed_one() -> None:
    one = holding()
    one.handle(StopsChanged(T0, "BTCUSDT", Decimal("97"), Decimal("103.5"), Decimal("2.5")))
    lines = drawn(status_view(told(one))).splitlines()
    assert any("97" in line and "103.5" in line for line in lines)
    assert "trails by 2.5" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    assert "with its stop at 97 and a stop that trails by 2.5 and its take profit" in killed(told(one))
    one.handle(StopsChanged(T0, "BTCUSDT", None, None, Decimal("2.5")))
    assert "with a stop that trails by 2.5" in killed(told(one))


def test_a_schedule_of_retrainings_tells_what_is_next_and_how_the_last_one_ended() -> None:
    retrain = {
        "schedule": "daily@03:00",
        "next_ms": T0 + 3 * 3_600_000,
        "running_since_ms": None,
        "last_verdict": "failed",
        "last_reason": "no [network]",
        "last_ended_ms": T0,
    }
    lines = drawn(status_view(told(holding(), retrain=retrain)), 200).splitlines()
    line = "retraining: daily@03:00, next try 03:00:00 UTC; the last one failed 00:00:00 UTC: no [network]"
    assert line in map(str.strip, lines)
    running = {**retrain, "running_since_ms": T0, "next_ms": None, "last_ended_ms": None}
    assert "retraining: daily@03:00, runs since 00:00:00 UTC\n" in drawn(
        status_view(told(holding(), retrain=running)), 60
    )
