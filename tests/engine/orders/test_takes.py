"""Takes: orders that close parts of a position at profits, and live as long as the position."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.account import OpenOrder
from bot.domain.errors import BadInput
from bot.domain.ledger import Fill
from bot.domain.messages import (
    CancelOrder,
    Command,
    Effect,
    Filled,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    ProcessStarted,
)
from bot.engine.core import Assignment, Engine
from bot.engine.orders.execution import ExecutionPolicy
from bot.engine.orders.takes import TAKE_TRIES_MAX, shares
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
    holding,
    limit_engine,
    long_at,
    orders,
    reading,
    remote,
)
from tests.exchange.bars.desk import FREE, free
from tests.helpers import T0, bar, closed, instrument

D = Decimal
BTC = "BTCUSDT"
TWO = [(101.0, 0.5), (103.0, 0.5)]
LONG = Target(2.0, takes=TWO)  # type: ignore[arg-type]


def shown(effects: Sequence[Effect]) -> list[tuple[Decimal | None, Decimal]]:
    """Price and quantity of the orders among effects."""
    return [(order.intent.price, order.intent.qty) for order in orders(effects)]


def entered(
    wishes: dict[int, Target], price: str = "100", **changes: object
) -> tuple[Engine, list[PlaceOrder]]:
    """An engine after the fill of the entry of bar 0, and the takes that followed; all accepted."""
    one = engine(wishes, **changes)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    return one, accepted(one, one.handle(fill_of(order, price)))


def accepted(one: Engine, effects: Sequence[Effect]) -> list[PlaceOrder]:
    sent = orders(effects)
    for order in sent:
        one.handle(OrderAccepted(one.state.now_ms, order.order_id))
    return sent


def gone(one: Engine, order_id: str, why: str = "CancelByUser") -> Sequence[Effect]:
    return one.handle(OrderCancelled(one.state.now_ms, order_id, why))


def there(order: PlaceOrder) -> OpenOrder:
    """A take as the venue lists it."""
    intent = order.intent
    return OpenOrder(order.order_id, BTC, intent.side, "Limit", intent.qty, D(0), intent.price, True)


def test_an_entry_that_opens_a_position_again_after_its_stop_takes_profits_again() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0, takes=[(101.0, 1.0)])})  # type: ignore[arg-type]
    (first,) = accepted(one, one.handle(fill_of(order, "99", "0.5", "a")))
    stopped = Fill(T0, BTC, "Sell", D("0.5"), D(97), D(0), "venue", "s1", cause="stop_loss")
    assert cancels(one.handle(Filled(stopped))) == [first.order_id]
    gone(one, first.order_id)
    assert shown(one.handle(fill_of(order, "97", "0.5", "b"))) == [(D(101), D("0.5"))]


def stopped(one: Engine, qty: str, price: str = "95") -> Sequence[Effect]:
    """The venue's stop closes ``qty`` of a long position."""
    made = Fill(one.state.now_ms, BTC, "Sell", D(qty), D(price), D(0), "venue", "s1", cause="stop_loss")
    return one.handle(Filled(made))


def position(one: Engine) -> Decimal:
    return one.state.symbols[BTC].position.qty


# Their life


@pytest.mark.parametrize("side", [1, -1])
def test_the_fill_of_an_entry_sends_reduce_only_limit_orders_on_the_other_side(side: int) -> None:
    takes = [(100.0 + side * 3.04, 0.25), (100.0 + side * 1.0, 0.5)]
    _, sent = entered({0: Target(2.0 * side, takes=takes)})  # type: ignore[arg-type]
    assert shown(sent) == [(D(100 + side), D(1)), (D("100") + side * D("3.1"), D("0.5"))]
    for order in sent:
        intent = order.intent
        assert (intent.reduce_only, intent.order_type, intent.time_in_force) == (True, "Limit", "GTC")
        assert intent.side == ("Sell" if side > 0 else "Buy")
        assert intent.reason == "take"


def test_nothing_is_sent_before_the_first_fill_and_part_of_a_market_entry_waits_for_its_end() -> None:
    one = engine({0: LONG})
    effects = one.handle(closed(bar(0)))
    (order,) = orders(effects)
    assert not orders(one.handle(fill_of(order, qty="1.5", exec_id="a")))
    assert shown(gone(one, order.order_id)) == [(D(101), D("0.75")), (D(103), D("0.75"))]


def test_a_take_that_fills_in_parts_is_counted_and_does_not_change_the_others() -> None:
    one, (first, second) = entered({0: LONG})
    assert not one.handle(fill_of(first, "101", "0.4", "a"))
    assert not one.handle(fill_of(first, "101", "0.6", "b"))
    assert position(one) == 1
    assert not one.handle(closed(bar(1)))
    assert not one.handle(fill_of(second, "103", "1", "c"))
    assert position(one) == 0
    assert not one.state.taking
    assert one.state.orders.ended == {"filled": 3}


def test_a_take_that_is_done_changes_no_other_order_though_parts_are_rounded() -> None:
    thirds = [(101.0, 1 / 3), (102.0, 1 / 3), (103.0, 1 / 3)]
    one, sent = entered({0: Target(0.5, takes=thirds)})  # type: ignore[arg-type]
    assert [order.intent.qty for order in sent] == [D("0.166"), D("0.166"), D("0.168")]
    for order in sent:
        assert not one.handle(fill_of(order, "103"))
    assert not one.state.taking


def test_none_comes_back_while_a_refused_exit_waits_to_be_sent_again() -> None:
    one, sent = entered({0: LONG, 1: Target(0.0)})
    (leave,) = orders(one.handle(closed(bar(1))))
    for order in sent:
        gone(one, order.order_id)
    assert not orders(one.handle(OrderRejected(one.state.now_ms, leave.order_id, 10016, "busy")))
    assert [order.intent.reason for order in orders(one.handle(closed(bar(2))))] == [""]  # the exit alone


def test_a_part_without_a_take_stays() -> None:
    one, (only,) = entered({0: Target(2.0, takes=[(101.0, 0.25)])})  # type: ignore[arg-type]
    one.handle(fill_of(only, "101"))
    assert position(one) == D("1.5")
    assert not one.handle(closed(bar(1)))
    assert one.state.taking  # so that the same target, named again, begins nothing


def test_a_take_that_is_done_does_not_come_back_with_the_same_target() -> None:
    again = Target(1.0, takes=TWO)  # type: ignore[arg-type]
    one, (first, _) = entered({0: LONG, 1: again, 2: Target(3.0)})
    one.handle(fill_of(first, "101"))
    assert not one.handle(closed(bar(1)))
    (more,) = orders(one.handle(closed(bar(2))))
    assert more.intent.side == "Buy"
    assert shown(one.handle(fill_of(more, "102"))) == [
        (D(103), D(2))
    ]  # the rest, beside the one that is there


def test_the_stop_that_closes_the_position_takes_them_away() -> None:
    one, sent = entered({0: Target(2.0, stop_loss=95.0, takes=TWO)})  # type: ignore[arg-type]
    assert cancels(stopped(one, "2")) == [order.order_id for order in sent]
    for order in sent:
        assert not gone(one, order.order_id)
    assert not one.state.taking
    assert not one.handle(closed(bar(1)))


def test_an_exit_leaves_at_once_and_they_are_cancelled_before_it() -> None:
    one, sent = entered({0: LONG, 1: Target(0.0)})
    effects = one.handle(closed(bar(1)))
    kinds = [type(each) for each in effects if isinstance(each, CancelOrder | PlaceOrder)]
    assert kinds == [CancelOrder, CancelOrder, PlaceOrder]
    (leave,) = orders(effects)
    one.handle(fill_of(sent[0], "101"))  # it raced the cancel
    assert not orders(one.handle(fill_of(leave, "100", "1")))
    assert position(one) == 0


def test_a_turn_takes_them_away_and_the_other_side_has_its_own() -> None:
    short = Target(-2.0, takes=[(99.0, 1.0)])  # type: ignore[arg-type]
    one, sent = entered({0: LONG, 1: short})
    effects = one.handle(closed(bar(1)))
    (leave,) = orders(effects)
    assert cancels(effects) == [order.order_id for order in sent]
    (enter,) = orders(one.handle(OrderAccepted(one.state.now_ms, leave.order_id)))
    for order in sent:
        gone(one, order.order_id)
    one.handle(fill_of(leave, "100"))
    assert shown(one.handle(fill_of(enter, "100"))) == [(D(99), D(2))]


def test_a_smaller_position_replaces_them_and_a_larger_one_adds_to_them() -> None:
    one, sent = entered({0: LONG, 1: Target(1.0), 2: Target(3.0)})
    effects = one.handle(closed(bar(1)))
    assert cancels(effects) == [order.order_id for order in sent]  # before they could close too much
    (less,) = orders(effects)
    one.handle(fill_of(less, "100"))
    assert not gone(one, sent[0].order_id)
    again = accepted(one, gone(one, sent[1].order_id))
    assert shown(again) == [(D(101), D("0.5")), (D(103), D("0.5"))]
    (more,) = orders(one.handle(closed(bar(2))))
    assert shown(one.handle(fill_of(more, "100"))) == [(D(101), D(1)), (D(103), D(1))]


def test_an_entry_that_fills_in_many_parts_leads_to_orders_at_closes_and_at_its_end() -> None:
    one, entry = limit_engine({0: Target(4.0, limit_price=99.0, takes=TWO)})  # type: ignore[arg-type]
    assert shown(accepted(one, one.handle(fill_of(entry, "99", "1", "a")))) == [
        (D(101), D("0.5")),
        (D(103), D("0.5")),
    ]
    for name in "bc":
        assert not one.handle(fill_of(entry, "99", "0.5", name))
    assert shown(accepted(one, one.handle(closed(bar(1))))) == [(D(101), D("0.5")), (D(103), D("0.5"))]
    assert shown(one.handle(fill_of(entry, "99", "2", "d"))) == [(D(101), D(1)), (D(103), D(1))]


def test_a_later_target_names_others_or_takes_them_away() -> None:
    others = Target(2.0, takes=[(105.0, 1.0)])  # type: ignore[arg-type]
    one, sent = entered({0: LONG, 1: others, 2: Target(2.0), 3: Target(2.0, takes=[])})  # type: ignore[arg-type]
    effects = one.handle(closed(bar(1)))
    assert cancels(effects) == [order.order_id for order in sent]
    assert not orders(effects) + orders(gone(one, sent[0].order_id))  # both beside these would be too much
    (far,) = accepted(one, gone(one, sent[1].order_id))
    assert shown([far]) == [(D(105), D(2))]
    assert not one.handle(closed(bar(2)))
    assert cancels(one.handle(closed(bar(3)))) == [far.order_id]


def test_a_target_with_takes_on_the_wrong_side_is_refused() -> None:
    one = engine({0: Target(2.0, takes=[(99.0, 1.0)])})  # type: ignore[arg-type]
    assert not orders(one.handle(closed(bar(0))))
    other, _ = entered({0: LONG, 1: Target(2.0, takes=[(99.0, 1.0)])})  # type: ignore[arg-type]
    assert not other.handle(closed(bar(1)))
    assert one.state.refusals["stop_side"] == other.state.refusals["stop_side"] == 1


@pytest.mark.parametrize(
    "takes",
    [
        [(101.0, 0.0)], [(101.0, 1.1)], [(101.0, 0.6), (102.0, 0.6)], [(float("nan"), 0.5)], [(-1.0, 0.5)],
        [(101.0, float("nan"))], [(101.0 + i, 0.05) for i in range(11)], [101.0], 5, "ab",
    ],
)  # fmt: skip
def test_takes_that_cannot_be_are_refused(takes: object) -> None:
    with pytest.raises(BadInput, match="take"):
        Target(1.0, takes=takes)  # type: ignore[arg-type]


# Halts, refusals, restarts


def test_a_pause_keeps_them_and_a_flatten_cancels_them_for_good() -> None:
    one, sent = entered({0: LONG})
    assert not cancels(one.handle(Command(one.state.now_ms, "pause")))
    effects = one.handle(Command(one.state.now_ms, "flatten"))
    assert cancels(effects) == [order.order_id for order in sent]
    (leave,) = orders(effects)
    for order in sent:
        assert not orders(gone(one, order.order_id))
    assert not orders(one.handle(closed(bar(1))))
    one.handle(fill_of(leave, "100"))
    assert not one.state.taking


def test_after_a_halt_that_holds_nothing_new_is_sent_before_it_is_lifted() -> None:
    one, sent = entered({0: LONG})
    assert not cancels(one.handle(Command(one.state.now_ms, "halt")))
    assert not orders(gone(one, sent[0].order_id))  # `bot kill` cancels it
    assert not orders(one.handle(closed(bar(1))))
    one.handle(Command(one.state.now_ms, "unhalt"))
    assert shown(one.handle(closed(bar(2)))) == [(D(101), D(1))]


def test_one_that_somebody_cancelled_comes_back_at_the_next_close() -> None:
    one, sent = entered({0: LONG})
    assert not gone(one, sent[0].order_id)
    assert shown(one.handle(closed(bar(1)))) == [(D(101), D(1))]


def test_refused_again_and_again_they_are_given_up_and_the_bot_is_not_halted() -> None:
    one = engine({0: LONG}, Limits(max_consecutive_rejects=2))
    entry = orders(one.handle(closed(bar(0))))[0]
    sent = orders(one.handle(fill_of(entry)))
    tries = 0
    for index in range(1, 4 * TAKE_TRIES_MAX):
        for order in sent:
            tries += 1
            assert not one.handle(OrderRejected(one.state.now_ms, order.order_id, 110017, "no"))
        sent = orders(one.handle(closed(bar(index))))
    assert TAKE_TRIES_MAX <= tries <= TAKE_TRIES_MAX + 1
    assert one.state.breaker.state == "active"
    assert one.state.refusals["takes"] == tries


def test_one_that_finds_the_position_closed_is_no_refusal() -> None:
    one = engine({0: LONG})
    entry = orders(one.handle(closed(bar(0))))[0]
    sent = orders(one.handle(fill_of(entry)))
    stopped(one, "2")
    for order in sent:
        one.handle(OrderRejected(one.state.now_ms, order.order_id, 110017, "current position is zero"))
    assert not one.state.refusals
    assert not one.state.taking


def test_one_of_unknown_fate_is_not_sent_twice() -> None:
    one = engine({0: LONG})
    entry = orders(one.handle(closed(bar(0))))[0]
    sent = orders(one.handle(fill_of(entry)))
    one.handle(OrderUnknown(one.state.now_ms, sent[0].order_id))
    assert not orders(one.handle(closed(bar(1))))
    assert sent[0].order_id not in cancels(one.handle(closed(bar(2))))


def test_a_snapshot_keeps_them_and_goes_on_as_without_a_break() -> None:
    one, sent = entered({0: LONG})
    one.handle(fill_of(sent[0], "101", "0.4"))
    other = engine({})
    other.restore(one.snapshot())
    assert other.state.digest() == one.state.digest()
    assert [sym.symbol for sym in other.state.taking] == [BTC]
    after = [each.handle(closed(bar(1))) for each in (one, other)]
    assert after[0] == after[1]
    assert cancels(stopped(other, "1.6")) == [order.order_id for order in sent]


def test_a_process_that_starts_waits_for_the_account_before_it_sends_one() -> None:
    one = remote({0: LONG})
    one.handle(reading(first=True))
    entry = orders(one.handle(closed(bar(0))))[0]
    sent = accepted(one, one.handle(fill_of(entry)))
    one.handle(ProcessStarted(one.state.now_ms, 2))
    assert not orders(gone(one, sent[0].order_id))
    assert not orders(one.handle(closed(bar(1))))
    listed = (there(sent[1]),)
    effects = one.handle(reading("9999.99", holding(), orders=listed, ts_ms=one.state.now_ms, first=True))
    assert shown(effects) == [(D(101), D(1))]


def test_a_position_that_a_reading_takes_away_takes_them_along() -> None:
    one = remote({0: LONG})
    one.handle(reading(first=True))
    entry = orders(one.handle(closed(bar(0))))[0]
    sent = accepted(one, one.handle(fill_of(entry)))
    listed = tuple(there(order) for order in sent)
    effects = one.handle(reading("9999.99", orders=listed, ts_ms=one.state.now_ms + 60_000))
    assert set(cancels(effects)) == {order.order_id for order in sent}
    assert not one.state.symbols[BTC].takes.asked


def test_a_target_that_rests_maker_first_does_not_buy_back_what_was_taken() -> None:
    assignment = Assignment(instrument(), 300_000, Script({0: Target(1.0, takes=TWO), 1: Target(3.0)}), 12.0)  # type: ignore[arg-type]
    policy = ExecutionPolicy(maker=True, deadline_ms=20_000)
    one = Engine([assignment], D(10_000), Limits(), name="t", execution=policy)
    entry = long_at(one)
    (first, _) = [each for each in one.state.orders.live.values() if each.intent.take_at]
    assert entry.intent.time_in_force == "PostOnly"
    one.handle(OrderAccepted(one.state.now_ms, first.order_id))
    one.handle(closed(bar(1)))  # two more rest
    made = Fill(one.state.now_ms, BTC, "Sell", D("0.5"), D(101), D(0), first.order_id, "t1")
    one.handle(Filled(made))
    (activity,) = [sym.activity for sym in one.state.symbols.values()]
    assert activity.execution.target.qty == 2.5  # type: ignore[union-attr]


# Distances from the entry

FAR = Target(2.0, takes_bps=((100.0, 0.5), (300.0, 0.5)))


@pytest.mark.parametrize(("side", "near", "far"), [(1, "101.4", "103.4"), (-1, "99.3", "97.3")])
def test_distances_count_from_the_fill_and_are_rounded_away_from_it(side: int, near: str, far: str) -> None:
    """100.33 is 1.0033 more at 100 bps and 3.0099 more at 300; the grid has steps of 0.1."""
    distances = ((300.0, 0.25), (100.0, 0.5))
    _, sent = entered({0: Target(2.0 * side, takes_bps=distances)}, price="100.33")
    assert shown(sent) == [(D(near), D(1)), (D(far), D("0.5"))]


def test_an_average_that_no_decimal_holds_costs_no_tick() -> None:
    """A third at 99 and the rest at 100 is 99.666..., of which 7000 bps less are 29.9 exactly."""
    one, entry = limit_engine(
        {0: Target(-3.0, limit_price=101.0, takes_bps=((7000.0, 1.0),)), 1: Target(-2.0)}
    )
    for qty, price in (("1", "99"), ("2", "100")):
        one.handle(fill_of(entry, price, qty, price))
    (less,) = orders(one.handle(closed(bar(1))))
    one.handle(fill_of(less, "100"))  # rounds the value of what is left
    (plan,) = [sym.takes for sym in one.state.taking]
    assert [level.price for level in plan.levels] == [D("29.9")]


def test_an_entry_that_fills_on_at_another_price_moves_them_once_it_is_done() -> None:
    """0.5 at 99 and 3.5 at 98 are 98.125 on average, of which 100 bps more are 99.10625."""
    one, entry = limit_engine({0: Target(4.0, limit_price=99.0, takes_bps=FAR.takes_bps)})
    sent = accepted(one, one.handle(fill_of(entry, "99", "0.5", "a")))
    assert shown(sent) == [(D(100), D("0.25")), (D(102), D("0.25"))]
    assert not one.handle(fill_of(entry, "98", "1", "b"))  # of an entry of many small fills, none moves them
    assert cancels(one.handle(fill_of(entry, "98", "2.5", "c"))) == [order.order_id for order in sent]
    again = [order for old in sent for order in orders(gone(one, old.order_id))]
    assert shown(again) == [(D("99.2"), D(2)), (D("101.1"), D(2))]


def test_a_close_moves_them_while_the_entry_still_fills() -> None:
    one, entry = limit_engine({0: Target(4.0, limit_price=99.0, takes_bps=FAR.takes_bps)})
    sent = accepted(one, one.handle(fill_of(entry, "99", "0.5", "a")))
    assert not one.handle(fill_of(entry, "98", "0.5", "b"))
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id for order in sent]
    for old in sent:
        gone(one, old.order_id)
    assert {order.intent.price for order in one.state.orders.takes_of(BTC)} == {D("99.5"), D("101.5")}


def test_one_that_fills_while_it_is_moved_counts_and_does_not_come_back() -> None:
    one, sent = entered({0: FAR, 1: Target(4.0), 2: Target(3.0, takes_bps=FAR.takes_bps)})
    (more,) = orders(one.handle(closed(bar(1))))
    one.handle(fill_of(more, "102"))  # 101 on average: both are cancelled
    faster = one.handle(fill_of(sent[0], "101", "1"))
    assert shown(accepted(one, faster)) == [(D("102.1"), D(1))]  # its part of what came to the position
    assert shown(accepted(one, gone(one, sent[1].order_id))) == [(D("104.1"), D(2))]
    assert not one.handle(closed(bar(2)))  # the same takes again bring it not back
    assert position(one) == 3


def test_a_smaller_position_keeps_the_prices() -> None:
    one, _ = entered({0: FAR, 1: Target(1.0)}, price="100.33")
    (less,) = orders(one.handle(closed(bar(1))))
    one.handle(fill_of(less, "95"))
    assert [level.price for level in one.state.symbols[BTC].takes.levels] == [D("101.4"), D("103.4")]


def test_distances_named_later_are_refused_where_the_price_is_past_them() -> None:
    one, sent = entered({0: FAR, 1: Target(2.0, takes_bps=((50.0, 1.0),)), 2: Target(2.0, takes_bps=())})
    assert not one.handle(closed(bar(1, close=100.6)))
    assert one.state.refusals["stop_side"] == 1
    assert cancels(one.handle(closed(bar(2)))) == [order.order_id for order in sent]


def test_a_short_position_takes_nothing_where_its_price_would_be_zero() -> None:
    _, sent = entered({0: Target(-2.0, takes_bps=((10_000.0, 0.5), (9_999.9, 0.5)))})
    assert shown(sent) == [(D("0.1"), D(1))]


def test_a_snapshot_between_the_fill_and_the_takes_keeps_the_distances() -> None:
    one, entry = limit_engine({0: Target(4.0, limit_price=99.0, takes_bps=FAR.takes_bps)})
    one.handle(fill_of(entry, "99", "0.5", "a"))
    other = engine({})
    other.restore(one.snapshot())
    assert other.state.digest() == one.state.digest()
    rest = fill_of(entry, "98", "3.5", "b")
    effects = one.handle(rest)
    assert effects == other.handle(rest)
    assert len(cancels(effects)) == 2


def test_a_target_names_prices_or_distances() -> None:
    with pytest.raises(BadInput, match="not both"):
        Target(1.0, takes=((101.0, 1.0),), takes_bps=((100.0, 1.0),))
    with pytest.raises(BadInput, match=r"takes_bps must be a list of \(distance in bps, part"):
        Target(1.0, takes_bps=[100.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bps", "prices"])
def test_only_distances_follow_a_position_that_grows(name: str) -> None:
    start = FAR if name == "bps" else Target(2.0, takes=((101.0, 0.5), (103.0, 0.5)))
    one, sent = entered({0: start, 1: Target(4.0)})
    (more,) = orders(one.handle(closed(bar(1))))
    effects = one.handle(fill_of(more, "102"))
    if name == "prices":
        assert shown(effects) == [(D(101), D(1)), (D(103), D(1))]
        return
    assert cancels(effects) == [order.order_id for order in sent]
    assert not orders(effects)
    again = [order for old in sent for order in accepted(one, gone(one, old.order_id))]
    assert shown(again) == [(D("102.1"), D(2)), (D("104.1"), D(2))]
    assert not one.handle(closed(bar(2)))


# Quantities


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 400),
    st.lists(st.integers(1, 100), min_size=1, max_size=6),
    st.integers(0, 50),
    st.integers(1, 9),
)
def test_shares_are_on_the_grid_never_more_than_there_is_and_never_too_small(
    steps: int, weights: list[int], kept: int, least: int
) -> None:
    step = D("0.001")
    rules = instrument(qty_step=step, min_qty=step * least)
    qty = step * steps
    made, fits = shares(qty, [D(each) / 100 for each in weights], D(kept) / 100, rules)
    assert sum(made) <= qty
    assert all(each % step == 0 for each in made)
    assert all(each >= rules.min_qty or each in (0, qty) for each in made)
    assert sum(made) == qty or kept or not any(made)
    if fits and not kept:
        whole = sum(weights)
        for each, weight in zip(made[:-1], weights[:-1], strict=True):
            assert 0 <= qty * weight / whole - each < step


def test_a_part_below_the_minimum_goes_to_the_last_and_this_is_counted() -> None:
    one, sent = entered(
        {0: Target(0.003, takes=[(101.0, 0.2), (102.0, 0.4), (103.0, 0.4)])},
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        min_notional_quote=D(0),
    )  # type: ignore[arg-type]
    assert shown(sent) == [(D(102), D("0.001")), (D(103), D("0.002"))]
    assert one.state.refusals["take_below_minimum"] == 1


# In a backtest


def run(wishes: dict[int, Target], *bars: tuple[float, float, float, float], **terms: object) -> RunTape:
    """A backtest over bars of (open, high, low, close); the entry of bar 0 fills at the open of bar 1."""
    rules = instrument()
    one = Engine([Assignment(rules, 300_000, Script(wishes), 12.0)], D(10_000), Limits(), name="t")
    tape = RunTape()
    driver = Driver(one, BarVenue({rules.symbol: rules}, D(10_000), free(**terms) if terms else FREE), tape)
    for index, (opened, high, low, close) in enumerate(bars):
        driver.take(closed(bar(index, close, open=opened, high=high, low=low)))
    return tape


FLAT = (100.0, 100.0, 100.0, 100.0)
BOTH = {0: Target(2.0, stop_loss=97.0, takes=TWO)}  # type: ignore[arg-type]


def fills(tape: RunTape) -> list[tuple[int, Decimal, Decimal]]:
    """Bar, price and quantity of each fill after the entry."""
    return [((fill.ts_ms - T0) // 300_000, fill.price, fill.qty) for fill in tape.fills[1:]]


def test_a_backtest_fills_them_only_through_their_price() -> None:
    touched = (100.0, 101.0, 100.0, 100.0)
    through = (100.0, 101.1, 100.0, 100.0)
    assert fills(run(BOTH, FLAT, FLAT, touched, through, FLAT)) == [(3, D(101), D(1))]


def test_the_bar_of_the_entry_fills_none() -> None:
    assert not fills(run(BOTH, FLAT, (100.0, 110.0, 100.0, 100.0), FLAT))


@pytest.mark.parametrize("index", range(2, 12))
def test_a_bar_that_reaches_the_stop_and_a_take_ends_at_the_stop(index: int) -> None:
    wide = (100.0, 104.0, 96.0, 100.0)
    assert fills(run(BOTH, *[FLAT] * index, wide)) == [(index, D(97), D(2))]
    mirrored = {0: Target(-2.0, stop_loss=103.0, takes=[(99.0, 0.5), (97.0, 0.5)])}  # type: ignore[arg-type]
    assert fills(run(mirrored, *[FLAT] * index, wide)) == [(index, D(103), D(2))]


def test_after_the_first_take_the_stop_closes_the_rest() -> None:
    up, down = (100.0, 102.0, 100.0, 102.0), (102.0, 102.0, 96.0, 96.0)
    assert fills(run(BOTH, FLAT, FLAT, up, down, FLAT)) == [(2, D(101), D(1)), (3, D(97), D(1))]


def test_distances_count_from_the_open_that_filled_the_entry() -> None:
    later = (102.0, 102.0, 102.0, 102.0)
    up = (102.0, 103.1, 102.0, 103.0)
    assert fills(run({0: FAR}, FLAT, later, up, later)) == []  # 100 bps of 102 are 1.02: the grid makes 103.1
    higher = (102.0, 103.2, 102.0, 103.0)
    assert fills(run({0: FAR}, FLAT, later, higher, later)) == [(2, D("103.1"), D(1))]


def test_they_work_beside_a_trailing_stop() -> None:
    trailing = {0: Target(2.0, trailing_stop=5.0, takes=TWO)}  # type: ignore[arg-type]
    up = (100.0, 110.0, 100.0, 110.0)
    found = fills(run(trailing, FLAT, FLAT, up, (110.0, 110.0, 104.0, 104.0)))
    assert found == [(2, D(101), D(1)), (2, D(103), D(1))]
    half = {0: Target(2.0, trailing_stop=5.0, takes=TWO[:1])}  # type: ignore[arg-type]
    found = fills(run(half, FLAT, FLAT, up, (110.0, 110.0, 104.0, 104.0)))
    assert found == [(2, D(101), D(1)), (3, D(105), D(1))]


def test_a_bar_of_little_volume_fills_a_part_and_the_rest_waits() -> None:
    thin = {"liquidity": "volume", "participation_frac": 0.1}
    through = (100.0, 101.1, 100.0, 100.0)  # bars of tests trade 10
    tape = run({0: Target(1.0, takes=[(101.0, 1.0)])}, FLAT, FLAT, through, FLAT, through, **thin)  # type: ignore[arg-type]
    assert sum(fill.qty for fill in tape.fills if fill.side == "Sell") == 1
