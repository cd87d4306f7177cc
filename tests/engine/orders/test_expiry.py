"""Entries with an end: cancelled at their close, renewed by the same target, forgotten by nothing."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.messages import (
    OrderAccepted,
    OrderCancelled,
    OrderUnknown,
    ProcessStarted,
    TimePassed,
)
from bot.engine.core import Assignment, Engine
from bot.engine.orders.expiry import CANCEL_AGAIN_MS
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.service.backtest.tape import RunTape
from bot.service.driver import Driver
from bot.strategy.signal import Target
from tests.engine.scripted import (
    Script,
    cancels,
    engine,
    fill_of,
    late,
    limit_engine,
    orders,
    reading,
    remote,
    working,
)
from tests.exchange.bars.desk import FREE
from tests.helpers import T0, bar, closed, instrument, walk

BAR_MS = 300_000
AGE_MS = Limits().max_signal_age_ms
D = Decimal


def dip(bars: int = 2, qty: float = 2.0, price: float = 99.0) -> Target:
    return Target(qty, limit_price=price, stop_loss=95.0, expires_bars=bars)


@pytest.mark.parametrize("bars", [1, 2, 5])
def test_what_is_left_of_an_entry_is_cancelled_at_the_close_at_which_it_expires(bars: int) -> None:
    one, order = limit_engine({0: dip(bars)})
    assert order.intent.expires_ms == T0 + (bars + 1) * BAR_MS
    for index in range(1, bars):
        assert not cancels(one.handle(closed(bar(index))))
    assert cancels(one.handle(closed(bar(bars)))) == [order.order_id]


def test_a_partial_fill_stays_and_only_the_rest_is_cancelled() -> None:
    one, order = limit_engine({0: dip(1)})
    one.handle(fill_of(order, "99", "0.5"))
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id]
    assert not one.handle(OrderCancelled(T0, order.order_id, "CancelByUser"))
    assert one.state.symbols["BTCUSDT"].position.qty == D("0.5")
    assert one.state.symbols["BTCUSDT"].stops.wanted == (D(95), None)
    assert not one.handle(closed(bar(2)))
    assert not one.state.expiring


def test_the_same_target_at_a_later_close_begins_the_count_again() -> None:
    one, order = limit_engine({0: dip(2), 1: dip(2), 2: dip(2)})
    for index in (1, 2, 3):
        assert not one.handle(closed(bar(index)))
    assert cancels(one.handle(closed(bar(4)))) == [order.order_id]


def test_the_same_target_without_an_end_takes_the_end_away() -> None:
    one, _ = limit_engine({0: dip(2), 1: Target(2.0, limit_price=99.0)})
    for index in range(1, 9):
        assert not one.handle(closed(bar(index)))


def test_a_decision_of_the_close_comes_before_the_end_and_sends_one_cancel() -> None:
    one, order = limit_engine({0: dip(1), 1: dip(1, price=98.0)})
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id]
    (again,) = orders(one.handle(OrderCancelled(T0, order.order_id, "CancelByUser")))
    assert (again.intent.price, again.intent.expires_ms) == (D(98), T0 + 3 * BAR_MS)
    one.handle(OrderAccepted(one.state.now_ms, again.order_id))
    assert cancels(one.handle(closed(bar(2)))) == [again.order_id]


def test_an_exit_does_not_expire() -> None:
    one, order = limit_engine({0: dip(9), 1: Target(0.0, limit_price=101.0, expires_bars=1)})
    one.handle(fill_of(order, "99"))
    (leave,) = orders(one.handle(closed(bar(1))))
    one.handle(OrderAccepted(one.state.now_ms, leave.order_id))
    assert leave.intent.reduce_only
    for index in range(2, 6):
        assert not cancels(one.handle(closed(bar(index))))


def test_a_dropped_stream_does_not_keep_an_order_alive() -> None:
    """No close comes: the cancel leaves once no decision of that close can come any more."""
    one, order = limit_engine({0: dip(1)})
    due_ms = one.state.due_ms()
    assert due_ms == T0 + 2 * BAR_MS + AGE_MS
    assert not one.handle(TimePassed(due_ms - 1))
    assert cancels(one.handle(TimePassed(due_ms))) == [order.order_id]


def test_a_close_that_came_too_late_to_be_decided_on_cancels_too() -> None:
    one, order = limit_engine({0: dip(1), 1: dip(1)})
    assert cancels(one.handle(late(bar(1)))) == [order.order_id]


def test_a_cancel_without_an_answer_is_sent_again_and_not_at_every_event() -> None:
    one, order = limit_engine({0: dip(1)})
    one.handle(closed(bar(1)))
    sent_ms = one.state.now_ms
    assert not one.handle(TimePassed(sent_ms + AGE_MS))
    due_ms = one.state.due_ms()
    assert due_ms == sent_ms + CANCEL_AGAIN_MS + AGE_MS
    assert cancels(one.handle(TimePassed(due_ms))) == [order.order_id]
    one.handle(OrderCancelled(due_ms, order.order_id, "CancelByUser"))
    assert one.state.due_ms() is None


def test_an_order_of_unknown_fate_is_cancelled_once_it_is_known() -> None:
    one = engine({0: dip(1)}, Limits(unknown_order_reduce_ms=10**9, unknown_order_halt_ms=10**9))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderUnknown(one.state.now_ms, order.order_id))
    assert not cancels(one.handle(closed(bar(1))))
    one.handle(OrderAccepted(one.state.now_ms, order.order_id))
    assert cancels(one.handle(closed(bar(2)))) == [order.order_id]


def test_a_restart_does_not_forget_the_end() -> None:
    first, order = limit_engine({0: dip(1)})
    other = engine({})
    other.restore(first.snapshot())
    assert cancels(other.handle(ProcessStarted(T0 + 9 * BAR_MS, 2))) == [order.order_id]


def test_after_a_restart_at_a_remote_venue_the_account_is_read_before_the_cancel() -> None:
    one = remote({0: dip(1)})
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(one.state.now_ms, order.order_id))
    one.handle(ProcessStarted(T0 + 9 * BAR_MS, 2))
    assert one.state.due_ms() is None
    read = reading(orders=(working(order.order_id),), ts_ms=T0 + 9 * BAR_MS, first=True)
    assert set(cancels(one.handle(read))) == {order.order_id}


@pytest.mark.parametrize("target", [{"expires_bars": 3}, {"expires_bars": 0, "limit_price": 9.0}])
def test_an_end_without_a_limit_price_or_below_one_bar_is_refused(target: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="expires_bars"):
        Target(1.0, **target)  # type: ignore[arg-type]


# In a backtest


def fills(closes: list[float], wishes: dict[int, Target]) -> list[tuple[int, Decimal, Decimal]]:
    """Time, quantity and price of the fills of a backtest over bars with these closes."""
    rules = instrument()
    one = Engine([Assignment(rules, BAR_MS, Script(wishes), 12.0)], D(10_000), Limits(), name="t")
    tape = RunTape()
    driver = Driver(one, BarVenue({rules.symbol: rules}, D(10_000), FREE), tape)
    for each in walk(closes):
        driver.take(closed(each))
    return [(fill.ts_ms, fill.qty, fill.price) for fill in tape.fills]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(960, 1040), min_size=4, max_size=14),
    st.integers(1, 6),
    st.floats(97.0, 99.9),
    st.integers(1, 12),
)
def test_a_backtest_fills_no_entry_after_its_end_and_the_future_changes_no_fill_before(
    tenths: list[int], bars: int, price: float, cut: int
) -> None:
    closes = [100.0, *(each / 10 for each in tenths)]
    wishes = {0: Target(2.0, limit_price=price, expires_bars=bars)}
    with_end = fills(closes, wishes)
    end_ms = T0 + (bars + 1) * BAR_MS
    without = fills(closes, {0: Target(2.0, limit_price=price)})
    assert with_end == [each for each in without if each[0] < end_ms]
    changed = closes[:cut] + [each * 1.5 for each in closes[cut:]]
    cut_ms = T0 + cut * BAR_MS

    def before(found: list[tuple[int, Decimal, Decimal]]) -> list[tuple[int, Decimal, Decimal]]:
        return [each for each in found if each[0] < cut_ms]

    assert before(fills(changed, wishes)) == before(with_end)
