"""When messages leave, what is told together and what is dropped: all in virtual time."""

import random
from collections import Counter

from bot.service.notify.outbox import SHOWN_MAX, Outbox, Policy
from tests.service.notify.alerts import alert


def left(box: Outbox, now_s: float, *, ok: bool = True) -> bool:
    """Send what is due; return whether something was."""
    due_s = box.due_s(now_s)
    if due_s is None or due_s > now_s:
        return False
    box.take()
    box.done(now_s, ok=ok)
    return True


def test_the_first_alert_leaves_at_once_and_alone() -> None:
    box = Outbox(Policy())
    assert box.due_s(5.0) is None
    box.add(alert())
    assert box.due_s(5.0) == 5.0
    assert [each.name for each in box.take().shown] == ["fill"]


def test_no_minute_has_more_messages_than_the_rate_and_none_is_lost() -> None:
    box, rng, at_s = Outbox(Policy(rate=6)), random.Random(3), list[float]()
    told = added = 0
    for tick in range(3_000):  # five minutes in tenths of a second
        now_s = tick / 10.0
        if rng.random() < 0.2:
            box.add(alert("halted", "error") if rng.random() < 0.05 else alert())
            added += 1
        due_s = box.due_s(now_s)
        if due_s is not None and due_s <= now_s:
            batch = box.take()
            told += len(batch.shown) + sum(batch.more.values())
            box.done(now_s, ok=True)
            at_s.append(now_s)
    assert added > 400
    assert told + len(box) == added
    assert max(sum(first <= s < first + 60.0 for s in at_s) for first in at_s) <= 6


def test_an_error_finds_room_when_fills_have_used_theirs() -> None:
    box = Outbox(Policy(rate=10))
    for second in range(40):
        box.add(alert())
        left(box, float(second))
    due_s = box.due_s(40.0)
    assert due_s is not None
    assert due_s > 40.0
    box.add(alert("halted", "error"))
    assert box.due_s(40.0) == 40.0


def test_what_comes_together_is_told_together_the_worst_in_words_the_rest_counted() -> None:
    box = Outbox(Policy())
    for index in range(20):
        box.add(alert("halted", "error", at_s=index) if index == 13 else alert(at_s=index))
    batch = box.take()
    assert len(batch.shown) == SHOWN_MAX
    assert [each.name for each in batch.shown].count("halted") == 1
    assert [each.ts_ms for each in batch.shown] == sorted(each.ts_ms for each in batch.shown)
    assert batch.more == Counter(fill=20 - SHOWN_MAX)


def test_a_failed_message_is_tried_again_after_waits_that_double_up_to_a_bound() -> None:
    box = Outbox(Policy(retry_s=2.0, max_retry_s=30.0))
    box.add(alert())
    now_s, waits = 0.0, []
    for _ in range(7):
        assert left(box, now_s, ok=False)
        due_s = box.due_s(now_s)
        assert due_s is not None
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert left(box, now_s)
    assert (box.sent, len(box), box.failures) == (1, 0, 0)


def test_what_waits_is_bounded_the_least_severe_goes_first_and_is_counted_in_the_next_message() -> None:
    box = Outbox(Policy(waiting_max=10))
    box.add(alert("halted", "error", at_s=0))
    for index in range(1, 50):
        box.add(alert(at_s=index))
    assert (len(box), box.dropped) == (10, 40)
    assert left(box, 0.0, ok=False)
    batch = box.take()
    assert batch.shown[0].name == "halted"
    assert len(batch.shown) + sum(batch.more.values()) == 50
    for index in range(20):  # while one is on its way
        box.add(alert(at_s=100 + index))
    assert len(box) == 10
    box.done(9.0, ok=True)
    assert sum(box.take().more.values()) == 20


def test_a_day_without_an_answer_costs_no_memory_and_few_tries() -> None:
    box, tries = Outbox(Policy(waiting_max=100)), 0
    for second in range(86_400):
        if second % 10 == 0:
            box.add(alert())
        tries += left(box, float(second), ok=False)
    assert len(box) == 100
    assert tries < 310
    assert left(box, 1e6)
    assert box.dropped == 8_540
