"""What a person reads."""

from collections import Counter

from bot.domain.alerts import Alert
from bot.service.notify.outbox import Batch
from bot.service.notify.wording import message_of
from tests.helpers import T0
from tests.service.notify.alerts import alert

HALT = Alert(
    ts_ms=T0 + 45_869_000,
    level="error",
    name="halted",
    words="drawdown: equity 7900.00 is 0.2100 below its peak 10000.00, limit 0.2",
    do="check strategy and market, then `bot unhalt`",
)


def test_one_alert_has_its_words_what_to_do_and_when() -> None:
    message = message_of(Batch((HALT,)), "bot PAPER paper-1")
    assert message.title == "bot PAPER paper-1: halted"
    assert message.body.split("\n") == [
        "drawdown: equity 7900.00 is 0.2100 below its peak 10000.00, limit 0.2",
        "What to do: check strategy and market, then `bot unhalt`",
        "2025-01-01 12:44:29 UTC",
    ]
    assert message.level == "error"


def test_several_alerts_begin_with_the_worst_and_end_with_and_n_more() -> None:
    batch = Batch((alert("fill", at_s=1, symbol="BTCUSDT"), HALT), Counter(fill=30, limit_refused=2))
    message = message_of(batch, "mine")
    assert message.title == "mine: halted and 33 more"
    first, second, last = message.body.split("\n")
    assert first == "00:00:01 UTC fill 1"
    assert second.startswith("12:44:29 UTC ERROR drawdown")
    assert last == "and 32 more: 30 fill, 2 limit refused"


def test_a_venues_endless_words_are_cut() -> None:
    message = message_of(Batch((alert(words="x" * 100_000),) * 8, Counter(fill=1)), "mine")
    assert len(message.body) < 3_000
    assert len(message_of(Batch((alert(words="y" * 100_000),)), "mine").body) < 2_000
