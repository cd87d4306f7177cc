from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import OrderAccepted, Quote, SetStops, StopsChanged, StopsRejected
from bot.engine.core import Engine
from bot.engine.orders.protection import protective_stop
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import (
    engine,
    fill_of,
    holding,
    moves,
    orders,
    reading,
    remote,
    stops,
    stranger,
    turn,
)
from tests.helpers import T0, bar, closed, instrument

TENTH = Decimal("0.1")


@given(
    st.sampled_from(["Buy", "Sell"]),
    st.decimals("0.001", "100000", places=4),
    st.decimals("0.001", "0.9", places=3),
    st.sampled_from(["0.0001", "0.1", "0.5", "5"]),
)
def test_a_protective_stop_lies_on_the_grid_and_on_the_losing_side(side, price, frac, tick) -> None:
    rules = instrument(tick_size=Decimal(tick))
    stop = protective_stop(side, price, frac, rules)
    if stop is None:
        assert side == "Buy"  # no tick is left below the price
        return
    assert stop % rules.tick_size == 0
    assert stop > 0
    assert stop < price if side == "Buy" else stop > price
    far = abs(price - stop)
    assert far <= max(price * frac, rules.tick_size)


def test_the_stop_keeps_to_the_instruments_price_range() -> None:
    rules = instrument(min_price=Decimal(95), max_price=Decimal(105))
    assert protective_stop("Buy", Decimal(100), TENTH, rules) == 95
    assert protective_stop("Sell", Decimal(100), TENTH, rules) == 105
    assert protective_stop("Buy", Decimal(95), TENTH, rules) is None


def guarded(wishes: dict[int, Target], **changes: object) -> Engine:
    one = remote(wishes, protective_stop_frac=TENTH, **changes)
    one.handle(reading(first=True))
    return one


@pytest.mark.parametrize(("qty", "stop"), [(2.0, "90.1"), (-2.0, "110.1")])
def test_an_entry_that_names_no_stop_gets_one(qty: float, stop: str) -> None:
    (order,) = orders(guarded({0: Target(qty)}).handle(closed(bar(0, close=100.1))))
    assert order.intent.stop_loss == Decimal(stop)


def test_an_entry_that_names_a_stop_keeps_it() -> None:
    (order,) = orders(guarded({0: Target(2.0, stop_loss=80.0)}).handle(closed(bar(0))))
    assert order.intent.stop_loss == 80


def test_without_the_setting_nothing_is_attached() -> None:
    (order,) = orders(engine({0: Target(2.0)}).handle(closed(bar(0))))
    assert order.intent.stop_loss is None


def held(wishes: dict[int, Target] | None = None, stop: str | None = "90") -> Engine:
    """Long 2 at 100, with the stop of its entry seen at the venue."""
    one = guarded({0: Target(2.0)} | (wishes or {}))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    one.handle(fill_of(order))
    if stop is not None:
        one.handle(StopsChanged(T0, "BTCUSDT", Decimal(stop), None))
    return one


def test_a_turn_protects_the_new_side_and_leaves_the_exit_alone() -> None:
    close, entry = turn(held({1: Target(-1.0)}), closed(bar(1)))
    assert (close.intent.reduce_only, close.intent.stop_loss) == (True, None)
    assert (entry.intent.reduce_only, entry.intent.stop_loss) == (False, Decimal("110"))


@pytest.mark.parametrize(("stop", "known"), [("110", Decimal(110)), ("90", None)])
def test_a_turn_keeps_the_stop_that_the_venue_told_of_before_the_fills(
    stop: str, known: Decimal | None
) -> None:
    one = held({1: Target(-1.0)})
    close, entry = turn(one, closed(bar(1)))
    one.handle(OrderAccepted(T0, entry.order_id))
    one.handle(StopsChanged(T0, "BTCUSDT", Decimal(stop), None))
    one.handle(fill_of(close))
    assert one.state.symbols["BTCUSDT"].stops.at_venue == (known, None)
    one.handle(fill_of(entry))
    assert one.state.symbols["BTCUSDT"].stops.at_venue == (known, None)


def test_an_addition_to_a_protected_position_does_not_move_its_stop() -> None:
    (order,) = orders(held({1: Target(3.0)}, stop="95").handle(closed(bar(1))))
    assert order.intent.stop_loss is None


def test_an_addition_to_a_naked_position_brings_a_stop() -> None:
    (order,) = orders(held({1: Target(3.0)}, stop=None).handle(closed(bar(1))))
    assert order.intent.stop_loss == 90


def test_a_stop_that_is_lost_is_put_back_as_it_was() -> None:
    one = held(stop="93.5")
    assert list(one.handle(StopsChanged(T0 + 9, "BTCUSDT", None, None))) == [
        SetStops("BTCUSDT", Decimal("93.5"), None)
    ]


def test_a_stop_the_price_is_past_is_replaced_by_one_below_the_price() -> None:
    one = held()
    one.handle(Quote(bar(0).close_ms + 1, "BTCUSDT", 85.0, 85.0))
    (effect,) = one.handle(StopsChanged(bar(0).close_ms + 2, "BTCUSDT", None, None))
    assert effect == SetStops("BTCUSDT", Decimal("76.5"), None)


def test_a_wished_stop_is_put_back_without_the_setting_too() -> None:
    one = engine({0: Target(2.0, stop_loss=95.0, take_profit=120.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    assert stops(one.handle(StopsChanged(T0, "BTCUSDT", None, None))) == [
        SetStops("BTCUSDT", Decimal(95), Decimal(120))
    ]


def test_a_position_that_wants_no_stop_gets_none() -> None:
    one = engine({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    assert not one.handle(StopsChanged(T0, "BTCUSDT", None, None))


def test_a_flat_position_needs_no_stop() -> None:
    one = held()
    one.handle(stranger("Sell", "2", "stop_loss"))
    assert not one.handle(StopsChanged(T0 + 1, "BTCUSDT", None, None))


def lose_stops(one: Engine, times: int) -> list[object]:
    effects: list[object] = []
    for _ in range(times):
        effects += one.handle(StopsChanged(one.state.now_ms + 1_000, "BTCUSDT", None, None))
    return effects


def test_after_five_tries_entries_stop_until_a_stop_is_seen() -> None:
    one = held()
    effects = lose_stops(one, 9)
    assert len(stops(effects)) == 5  # type: ignore[arg-type]
    assert moves(effects) == ["reducing unprotected: BTCUSDT"]  # type: ignore[arg-type]
    seen = one.handle(StopsChanged(bar(0).close_ms + 60_000, "BTCUSDT", Decimal(90), None))
    assert moves(seen) == ["active "]
    assert len(stops(lose_stops(one, 9))) == 5  # type: ignore[arg-type]


def test_being_flat_ends_the_search_for_a_stop() -> None:
    one = held()
    lose_stops(one, 6)
    assert moves(one.handle(stranger("Sell", "2", "stop_loss"))) == ["active "]


def test_while_a_stop_is_on_its_way_no_other_is_sent() -> None:
    one = held(stop=None)
    at_ms = bar(0).close_ms
    sent = [stops(one.handle(StopsChanged(at_ms + ms, "BTCUSDT", None, None))) for ms in (1, 100, 400, 501)]
    assert [len(each) for each in sent] == [1, 0, 0, 1]


def test_a_refused_stop_is_tried_again_and_is_no_refused_order() -> None:
    one = held()
    lose_stops(one, 1)
    tries = 0
    for _ in range(9):
        tries += len(stops(one.handle(StopsRejected(T0, "BTCUSDT", 10001, "no"))))
    assert tries == 4
    assert one.state.breaker.consecutive_rejects == 0
    assert one.state.breaker.reason == "unprotected: BTCUSDT"


def test_each_reading_of_the_account_tries_once_more() -> None:
    one = held()
    lose_stops(one, 7)
    later_ms = bar(0).close_ms + 100_000
    naked = reading("9999.99", holding("2"), ts_ms=later_ms)
    assert len(stops(one.handle(naked))) == 1
    effects = one.handle(reading("9999.99", holding("2", stop="90"), ts_ms=later_ms + 60_000))
    assert moves(effects) == ["active "]


def test_an_adopted_position_without_a_stop_gets_one_at_once() -> None:
    one = remote({}, protective_stop_frac=TENTH, limits=Limits())
    assert stops(one.handle(reading("10000", holding("-2"), first=True))) == [
        SetStops("BTCUSDT", Decimal(110), None)
    ]
    one = remote({}, protective_stop_frac=TENTH)
    assert not stops(one.handle(reading("10000", holding("-2", stop="130"), first=True)))


def test_a_target_the_price_is_past_does_not_keep_a_stop_from_being_put_back() -> None:
    one = engine({0: Target(2.0, stop_loss=95.0, take_profit=120.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    one.handle(Quote(bar(0).close_ms, "BTCUSDT", 121.0, 121.0))
    (effect,) = one.handle(StopsChanged(bar(0).close_ms + 1, "BTCUSDT", None, None))
    assert effect == SetStops("BTCUSDT", Decimal(95), None)
