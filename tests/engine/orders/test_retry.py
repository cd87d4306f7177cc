"""Exits that the venue does not take are sent again within seconds; a turn enters behind its exit."""

from decimal import Decimal

import pytest

from bot.domain.messages import (
    Command,
    Effect,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    ProcessStarted,
    Quote,
    RejectCause,
    TimePassed,
)
from bot.engine.core import Engine
from bot.engine.orders.activity import Exiting, Turning
from bot.strategy.signal import Target
from tests.engine.scripted import engine, fill_of, holding, long_at, orders, reading, remote, turn
from tests.helpers import bar, closed

CLOSE_MS = bar(1).close_ms
OUT = {0: Target(2.0), 1: Target(0.0)}
TURN = {0: Target(2.0), 1: Target(-1.0)}


def leaving(wishes: dict[int, Target]) -> tuple[Engine, PlaceOrder]:
    """An engine that was long 2 and has sent its exit."""
    one = engine(wishes)
    long_at(one)
    (exit_,) = orders(one.handle(closed(bar(1))))
    return one, exit_


def refuse(one: Engine, order: PlaceOrder, cause: RejectCause = RejectCause.VENUE) -> list[Effect]:
    return list(one.handle(OrderRejected(one.state.now_ms, order.order_id, 10001, "no", cause)))


def later(one: Engine, ms: int) -> list[PlaceOrder]:
    """The orders that the passing of time alone leads to."""
    return orders(one.handle(TimePassed(one.state.now_ms + ms)))


@pytest.mark.parametrize("cause", [RejectCause.VENUE, RejectCause.MISSED, RejectCause.NOT_SENT])
def test_a_refused_exit_is_sent_again_after_a_second(cause: RejectCause) -> None:
    one, exit_ = leaving(OUT)
    assert not orders(refuse(one, exit_, cause))
    assert one.state.due_ms() == CLOSE_MS + 1_000
    assert not later(one, 999)
    (again,) = later(one, 1)
    assert (again.intent.side, again.intent.qty, again.intent.reduce_only) == ("Sell", Decimal(2), True)
    one.handle(fill_of(again))
    assert one.state.symbols["BTCUSDT"].position.qty == 0
    assert one.state.due_ms() is None


def test_each_try_waits_twice_as_long_up_to_half_a_minute_and_none_is_the_last() -> None:
    one, exit_ = leaving(OUT)
    waits = []
    for _ in range(9):
        refuse(one, exit_, RejectCause.MISSED)
        due_ms = one.state.due_ms()
        assert due_ms is not None
        waits.append(due_ms - one.state.now_ms)
        (exit_,) = later(one, waits[-1])
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]


@pytest.mark.parametrize("kind", ["quote", "mark"])
def test_any_event_of_the_market_tells_the_time_too(kind: str) -> None:
    one, exit_ = leaving(OUT)
    refuse(one, exit_)
    at_ms = CLOSE_MS + 1_000
    event = Quote(at_ms, "BTCUSDT", 99.0, 101.0) if kind == "quote" else MarkPrice(at_ms, "BTCUSDT", 99.0)
    assert len(orders(one.handle(event))) == 1


def test_an_exit_that_found_nobody_is_sent_again_for_what_is_left() -> None:
    one, exit_ = leaving(OUT)
    one.handle(fill_of(exit_, qty="0.5"))
    one.handle(OrderCancelled(CLOSE_MS, exit_.order_id, "EC_NoImmediateQtyToFill"))
    (again,) = later(one, 1_000)
    assert again.intent.qty == Decimal("1.5")


def test_a_refused_reduction_is_sent_again_and_no_larger() -> None:
    one, part = leaving({0: Target(2.0), 1: Target(1.5)})
    refuse(one, part)
    (again,) = later(one, 1_000)
    assert (again.intent.qty, again.intent.reduce_only) == (Decimal("0.5"), True)


def test_a_refused_flatten_is_sent_again() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    (exit_,) = orders(one.handle(Command(CLOSE_MS, "flatten")))
    refuse(one, exit_)
    (again,) = later(one, 1_000)
    assert again.intent.qty == 2


def test_after_a_restart_a_refused_exit_waits_until_the_account_is_read() -> None:
    one = remote(OUT)
    one.handle(reading(first=True))
    long_at(one)
    (exit_,) = orders(one.handle(closed(bar(1))))
    refuse(one, exit_)
    again = remote({})
    again.restore(one.snapshot())
    assert not orders(again.handle(ProcessStarted(CLOSE_MS + 60_000, 2)))
    assert again.state.due_ms() is None
    (sent,) = orders(again.handle(reading("10000", holding(), ts_ms=CLOSE_MS + 61_000)))
    assert (sent.intent.qty, sent.intent.reduce_only) == (Decimal(2), True)


def test_an_exit_of_unknown_fate_is_not_sent_twice() -> None:
    one, exit_ = leaving(OUT)
    one.handle(OrderUnknown(CLOSE_MS, exit_.order_id))
    assert not later(one, 60_000)


def test_a_target_that_stays_takes_the_refused_exit_back() -> None:
    one, exit_ = leaving(OUT | {2: Target(2.0)})
    refuse(one, exit_)
    assert not orders(one.handle(closed(bar(2))))
    assert not later(one, 60_000)


def test_a_refused_entry_is_not_sent_again_before_the_next_close() -> None:
    one = engine({0: Target(2.0)})
    (entry,) = orders(one.handle(closed(bar(0))))
    refuse(one, entry)
    assert one.state.due_ms() is None
    assert not later(one, 60_000)


# A change of side


def test_the_entry_of_a_turn_waits_until_its_exit_is_accepted() -> None:
    one, exit_ = leaving(TURN)
    assert exit_.intent.reduce_only
    (entry,) = orders(one.handle(OrderAccepted(CLOSE_MS, exit_.order_id)))
    assert (entry.intent.side, entry.intent.qty, entry.intent.reduce_only) == ("Sell", Decimal(1), False)


def test_a_fill_before_the_answer_lets_the_entry_of_a_turn_go() -> None:
    one, exit_ = leaving(TURN)
    (entry,) = orders(one.handle(fill_of(exit_)))
    assert entry.intent.qty == 1
    assert not orders(one.handle(OrderAccepted(CLOSE_MS, exit_.order_id)))


def test_a_turn_whose_exit_is_refused_enters_only_behind_the_exit_that_is_taken() -> None:
    one, exit_ = leaving(TURN)
    assert not orders(refuse(one, exit_))
    assert isinstance(one.state.symbols["BTCUSDT"].activity, Turning)
    (again,) = later(one, 1_000)
    assert again.intent.reduce_only
    (entry,) = orders(one.handle(OrderAccepted(one.state.now_ms, again.order_id)))
    assert (entry.intent.qty, entry.intent.decided_ms) == (Decimal(1), CLOSE_MS)


def test_a_turn_whose_exit_takes_too_long_leaves_and_does_not_enter() -> None:
    one, exit_ = leaving(TURN)
    for wait_ms in (1_000, 2_000, 4_000, 8_000, 16_000):
        refuse(one, exit_, RejectCause.MISSED)
        (exit_,) = later(one, wait_ms)
    assert not orders(one.handle(OrderAccepted(one.state.now_ms, exit_.order_id)))
    assert one.state.refusals == {"stale_signal": 1}
    assert isinstance(one.state.symbols["BTCUSDT"].activity, Exiting)


def test_a_turn_whose_exit_is_of_unknown_fate_waits() -> None:
    one, exit_ = leaving(TURN)
    assert not orders(one.handle(OrderUnknown(CLOSE_MS, exit_.order_id)))
    assert not later(one, 5_000)
    assert len(orders(one.handle(OrderAccepted(one.state.now_ms, exit_.order_id)))) == 1


def test_a_flatten_drops_the_entry_of_a_turn() -> None:
    one, exit_ = leaving(TURN)
    one.handle(Command(CLOSE_MS, "flatten"))
    assert not orders(one.handle(OrderAccepted(CLOSE_MS, exit_.order_id)))
    assert not orders(one.handle(fill_of(exit_)))


def test_the_next_close_of_a_turn_that_hangs_leaves_and_gives_the_old_entry_up() -> None:
    one, exit_ = leaving(TURN)
    refuse(one, exit_)
    (again,) = orders(one.handle(closed(bar(2))))
    assert (again.intent.qty, again.intent.reduce_only) == (Decimal(2), True)
    assert not orders(one.handle(OrderAccepted(one.state.now_ms, again.order_id)))


def test_a_turn_that_nothing_disturbs_ends_on_the_other_side() -> None:
    one = engine(TURN)
    long_at(one)
    close, entry = turn(one, closed(bar(1)))
    one.handle(fill_of(close))
    one.handle(fill_of(entry))
    assert one.state.symbols["BTCUSDT"].position.qty == -1
    assert one.state.due_ms() is None
