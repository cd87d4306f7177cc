from decimal import Decimal

import msgspec
import pytest

from bot.domain.messages import (
    BarsClosed,
    Candle,
    Command,
    Filled,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Quote,
    RejectCause,
)
from bot.engine.core import Assignment, Engine
from bot.engine.orders.execution import ExecutionPolicy, at_touch
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import Script, cancels, fill_of, orders
from tests.helpers import bar, closed, instrument, intent

MAKER = ExecutionPolicy(maker=True, reprice_ms=2_000, max_reprices=2, deadline_ms=20_000)
CLOSE_MS = bar(0).close_ms


def maker(wishes: dict[int, Target], rule: ExecutionPolicy = MAKER, limits: Limits | None = None) -> Engine:
    assignment = Assignment(instrument(), 300_000, Script(wishes), round_trip_bps=12.0)
    return Engine([assignment], Decimal(10_000), limits or Limits(), name="t", execution=rule)


def quote(one: Engine, after_ms: int, bid: float = 99.9, ask: float = 100.1) -> list[object]:
    return list(one.handle(Quote(CLOSE_MS + after_ms, "BTCUSDT", bid, ask)))


def resting(qty: float = 2.0, rule: ExecutionPolicy = MAKER) -> tuple[Engine, PlaceOrder]:
    """A wish at bar 0 whose first order rests at 99.9 or 100.1."""
    one = maker({0: Target(qty)}, rule)
    quote(one, -1_000)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    return one, order


def gone(one: Engine, order: PlaceOrder, after_ms: int, reason: str = "CancelByUser") -> list[PlaceOrder]:
    return orders(one.handle(OrderCancelled(CLOSE_MS + after_ms, order.order_id, reason)))


def price_of(order: PlaceOrder) -> tuple[str, str, Decimal | None]:
    return order.intent.order_type, order.intent.time_in_force, order.intent.price


@pytest.mark.parametrize(("qty", "price"), [(2.0, "99.9"), (-2.0, "100.1")])
def test_a_wish_rests_post_only_at_its_side_of_the_market(qty: float, price: str) -> None:
    _, order = resting(qty)
    assert price_of(order) == ("Limit", "PostOnly", Decimal(price))


def test_prices_are_rounded_so_that_they_do_not_cross() -> None:
    rules = instrument(tick_size=Decimal("0.5"))
    assert at_touch(intent("Buy"), 99.9, 100.1, rules).price == Decimal("99.5")
    assert at_touch(intent("Sell"), 99.9, 100.1, rules).price == Decimal("100.5")


def test_without_fresh_quotes_the_last_close_is_the_touch() -> None:
    one = maker({0: Target(2.0)})
    quote(one, -60_000, 90.0, 91.0)
    (order,) = orders(one.handle(closed(bar(0))))
    assert order.intent.price == 100


def test_a_wish_with_a_price_of_its_own_is_left_as_it_is() -> None:
    (order,) = orders(maker({0: Target(2.0, limit_price=98.0)}).handle(closed(bar(0))))
    assert price_of(order) == ("Limit", "GTC", Decimal(98))


def test_the_order_follows_the_touch_that_moved_away_and_no_sooner_than_allowed() -> None:
    one, order = resting()
    assert not quote(one, 1_999, 100.4, 100.6)
    assert not quote(one, 2_000)
    assert not quote(one, 2_001, 99.4, 99.6)  # the market came to it: it is first in line
    assert cancels(quote(one, 2_002, 100.4, 100.6)) == [order.order_id]  # type: ignore[arg-type]
    assert not quote(one, 2_500, 100.4, 100.6)  # one cancel is enough
    (again,) = gone(one, order, 2_600)
    assert price_of(again) == ("Limit", "PostOnly", Decimal("100.4"))
    assert again.intent.decided_ms == CLOSE_MS


def test_what_was_filled_while_the_cancel_was_on_its_way_is_not_ordered_again() -> None:
    one, order = resting()
    quote(one, 2_002, 100.4, 100.6)
    one.handle(fill_of(order, "99.9", "1.5"))
    (again,) = gone(one, order, 2_600)
    assert again.intent.qty == Decimal("0.5")


def test_after_its_last_price_an_order_only_waits() -> None:
    one, order = resting()
    for step in range(1, 3):
        quote(one, 3_000 * step, 99.9 + step, 100.1 + step)
        (order,) = gone(one, order, 3_000 * step)
        one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    assert not quote(one, 12_000, 105.0, 105.2)
    assert one.state.costs.reprices == 2


def test_at_the_deadline_what_is_left_is_taken_though_the_signal_is_older_than_an_entry_may_be() -> None:
    one, order = resting()
    one.handle(fill_of(order, "99.9", "0.5"))
    assert cancels(quote(one, 20_000)) == [order.order_id]  # type: ignore[arg-type]
    (taker,) = gone(one, order, 20_050)
    assert (taker.intent.order_type, taker.intent.qty) == ("Market", Decimal("1.5"))
    one.handle(fill_of(taker, "100.1"))
    assert one.state.working == ()
    assert one.state.costs.deadlines == 1


def test_a_wish_whose_deadline_is_long_past_is_dropped() -> None:
    one, order = resting()
    quote(one, 20_000)
    assert not gone(one, order, 35_001)
    assert one.state.refusals == {"stale_signal": 1}
    assert one.state.working == ()


def test_an_exit_rests_first_and_leaves_at_the_market_however_late() -> None:
    one = maker({0: Target(2.0), 1: Target(0.0)})
    quote(one, -1)
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(entry, "99.9"))
    (exit_,) = orders(one.handle(closed(bar(1))))
    assert (exit_.intent.reduce_only, exit_.intent.time_in_force) == (True, "PostOnly")
    one.handle(OrderAccepted(bar(1).close_ms, exit_.order_id))
    quote(one, 300_000 + 20_000)
    (taker,) = gone(one, exit_, 300_000 + 90_000)
    assert (taker.intent.order_type, taker.intent.reduce_only) == ("Market", True)


def test_an_order_refused_for_crossing_is_priced_again_and_is_no_refusal() -> None:
    one, order = resting()
    assert not gone(one, order, 10, "EC_PostOnlyWillTakeLiquidity")
    (again,) = orders(quote(one, 2_000, 99.5, 99.7))  # type: ignore[arg-type]
    assert price_of(again) == ("Limit", "PostOnly", Decimal("99.5"))
    one.handle(
        OrderRejected(
            CLOSE_MS + 2_001, again.order_id, 0, "EC_PostOnlyWillTakeLiquidity", RejectCause.POST_ONLY
        )
    )
    assert one.state.breaker.consecutive_rejects == 0
    assert orders(quote(one, 4_001))  # type: ignore[arg-type]


def test_an_order_the_venue_refuses_is_tried_once_more_at_the_deadline_and_no_more() -> None:
    one, order = resting()
    one.handle(OrderRejected(CLOSE_MS + 1, order.order_id, 110007, "balance"))
    assert not quote(one, 10_000, 101.0, 101.2)
    (taker,) = orders(quote(one, 20_000))  # type: ignore[arg-type]
    one.handle(OrderRejected(CLOSE_MS + 20_001, taker.order_id, 110007, "balance"))
    assert not quote(one, 60_000)
    assert one.state.breaker.consecutive_rejects == 2


@pytest.mark.parametrize("word", ["sent", "unknown"])
def test_nothing_is_replaced_while_nobody_knows_what_became_of_it(word: str) -> None:
    one = maker({0: Target(2.0)})
    quote(one, -1)
    (order,) = orders(one.handle(closed(bar(0))))
    if word == "unknown":
        one.handle(OrderUnknown(CLOSE_MS, order.order_id))
    assert not quote(one, 25_000, 105.0, 105.2)
    assert one.state.orders.resting_qty("BTCUSDT") == (Decimal(2), Decimal(0))


def test_a_cancel_nothing_came_of_is_sent_again() -> None:
    one, order = resting()
    sent = [cancels(quote(one, ms)) for ms in (20_000, 21_000, 24_999, 25_000)]  # type: ignore[arg-type]
    assert sent == [[order.order_id], [], [], [order.order_id]]


def test_the_same_wish_again_keeps_the_place_in_the_queue() -> None:
    slow = ExecutionPolicy(maker=True, deadline_ms=3_600_000, max_reprices=0)
    one = maker({0: Target(2.0), 1: Target(2.0)}, slow)
    quote(one, -1)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    quote(one, 299_999, 103.0, 103.2)
    assert not one.handle(closed(bar(1, close=103.1)))


def test_a_new_wish_takes_the_place_of_the_old_one() -> None:
    slow = ExecutionPolicy(maker=True, deadline_ms=3_600_000)
    one = maker({0: Target(2.0), 1: Target(-1.0)}, slow)
    quote(one, -1)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    one.handle(fill_of(order, "99.9", "0.5"))
    quote(one, 299_999)
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id]
    close, entry = gone(one, order, 300_010)
    assert (close.intent.side, close.intent.qty, close.intent.reduce_only) == ("Sell", Decimal("0.5"), True)
    assert (entry.intent.qty, entry.intent.time_in_force) == (Decimal(1), "PostOnly")


def test_a_halt_that_flattens_does_not_wait_for_a_better_price() -> None:
    one = maker({0: Target(2.0), 1: Target(0.0)}, limits=Limits(on_halt="flatten"))
    quote(one, -1)
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(entry, "99.9"))
    (exit_,) = orders(one.handle(closed(bar(1))))
    one.handle(OrderAccepted(bar(1).close_ms, exit_.order_id))
    assert cancels(one.handle(Command(bar(1).close_ms, "halt"))) == [exit_.order_id]
    (taker,) = gone(one, exit_, 300_001)
    assert taker.intent.order_type == "Market"


def test_entries_under_way_end_when_entries_stop() -> None:
    one, order = resting()
    assert cancels(one.handle(Command(CLOSE_MS + 1, "pause"))) == [order.order_id]
    assert not gone(one, order, 2)
    assert not orders(quote(one, 2_001))  # type: ignore[arg-type]
    assert one.state.refusals == {"breaker": 1}
    assert one.state.working == ()


def test_without_quotes_the_next_close_takes_what_is_left() -> None:
    one = maker({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id]
    (taker,) = gone(one, order, 300_000)
    assert taker.intent.order_type == "Market"


def test_open_candles_tell_the_time_too() -> None:
    one = maker({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    late = Candle(CLOSE_MS + 20_000, "BTCUSDT", 300_000, CLOSE_MS, 100.0, 100.0, 100.0, 100.0, 1.0)
    assert cancels(one.handle(late)) == [order.order_id]


def test_a_late_close_moves_no_wish_on() -> None:
    one = maker({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    assert not one.handle(BarsClosed(bar(1).close_ms, 300_000, (bar(1),), live=False))


def test_the_cost_is_counted_against_the_middle_when_the_wish_arose() -> None:
    one, order = resting()
    made = fill_of(order, "99.9", "0.5")
    one.handle(Filled(msgspec.structs.replace(made.fill, maker=True)))
    quote(one, 20_000, 100.9, 101.1)
    (taker,) = gone(one, order, 20_050)
    one.handle(fill_of(taker, "101.1"))
    costs = one.state.costs
    assert costs.maker_quote == pytest.approx(0.5 * 99.9)
    assert costs.taker_quote == pytest.approx(1.5 * 101.1)
    assert costs.shortfall_quote == pytest.approx(0.5 * -0.1 + 1.5 * 1.1)
    assert costs.maker_frac == pytest.approx(49.95 / (49.95 + 151.65))
    assert costs.shortfall_bps == pytest.approx(1e4 * 1.6 / (49.95 + 151.65))


def test_a_taker_policy_counts_its_cost_too() -> None:
    one = maker({0: Target(-2.0)}, ExecutionPolicy())
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order, "99.5"))
    assert one.state.costs.shortfall_quote == pytest.approx(1.0)
    assert one.state.costs.maker_frac == 0.0


def test_a_deadline_of_nothing_is_a_taker() -> None:
    (order,) = orders(
        maker({0: Target(2.0)}, ExecutionPolicy(maker=True, deadline_ms=0)).handle(closed(bar(0)))
    )
    assert order.intent.order_type == "Market"


def test_each_replacement_passes_risk_again() -> None:
    one = maker({0: Target(2.0)}, limits=Limits(price_collar_frac=Decimal("0.01")))
    quote(one, -1_000)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    quote(one, 3_000, 100.9, 110.0)
    assert not gone(one, order, 3_001)
    assert one.state.refusals == {"price_collar": 1}


def test_an_exit_that_was_approved_is_no_leave_for_the_entry_that_was_not() -> None:
    wishes = {0: Target(2.0), 1: Target(-1.0), 2: Target(-1.0)}
    one = maker(wishes)
    quote(one, -1)
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(entry, "99.9"))
    first = closed(bar(1))
    seen = BarsClosed(first.close_ms, 300_000, first.bars, seen_ms=first.close_ms + 15_001)
    (close,) = orders(one.handle(seen))
    assert close.intent.reduce_only
    one.handle(OrderAccepted(one.state.now_ms, close.order_id))
    one.handle(fill_of(close, "100.1"))
    assert not orders(quote(one, 300_000 + 18_000))  # type: ignore[arg-type]
    assert set(one.state.refusals) == {"stale_signal"}


@pytest.mark.parametrize(
    ("seen_after_ms", "taken"), [(None, True), (-400, False), (0, False), (7, False)], ids=str
)
def test_only_a_replay_may_take_a_target_at_the_close_after_its_deadline(
    seen_after_ms: int | None, taken: bool
) -> None:
    one = maker({0: Target(2.0)})
    first = closed(bar(0))
    if seen_after_ms is not None:  # also by a clock that is behind
        first = msgspec.structs.replace(first, seen_ms=CLOSE_MS + seen_after_ms)
    (order,) = orders(one.handle(first))
    one.handle(OrderAccepted(CLOSE_MS, order.order_id))
    assert cancels(list(one.handle(Candle(CLOSE_MS + 299_990, "BTCUSDT", 300_000, CLOSE_MS, 1, 1, 1, 1, 1))))
    assert bool(gone(one, order, 299_999)) is taken
    assert one.state.refusals == ({} if taken else {"stale_signal": 1})


def test_an_order_that_ends_by_itself_after_the_deadline_is_followed_at_once() -> None:
    one, order = resting()
    (taker,) = gone(one, order, 20_000, "CancelByReduceOnly")
    assert taker.intent.order_type == "Market"


def test_the_market_order_of_a_deadline_is_left_to_end_by_itself() -> None:
    one, order = resting()
    quote(one, 20_000)
    (taker,) = gone(one, order, 20_001)
    one.handle(OrderAccepted(CLOSE_MS + 20_002, taker.order_id))
    assert not quote(one, 27_000)
    one.handle(fill_of(taker, "100.1", "0.5"))
    assert not gone(one, taker, 27_001, "EC_NoImmediateQtyToFill")
    assert one.state.working == ()
