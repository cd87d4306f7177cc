"""A contract's tick or step changes while a position is held: what is sent then fits the new rules."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bot.domain.messages import (
    Effect,
    InstrumentChanged,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    SetStops,
    SetTrailing,
    StopsChanged,
    StopsRejected,
    TimePassed,
)
from bot.engine.core import Engine
from bot.strategy.signal import Target
from tests.engine.scripted import fill_of, orders, reading, remote
from tests.helpers import T0, bar, closed

D = Decimal
BTC = "BTCUSDT"
LATER = T0 + 100
SOON = LATER + 60_000
SIDES = {"long": 1.0, "short": -1.0}


def held(
    side: float, wishes: dict[int, Target] | None = None, **terms: Any
) -> tuple[Engine, Sequence[Effect]]:
    """Hold 2 at 100.3 with stops on ticks of 0.1; also return what its fill led to."""
    one = remote({0: Target(2.0 * side, **terms)} | (wishes or {}))
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0, close=100.3))))
    one.handle(OrderAccepted(T0, order.order_id))
    effects = one.handle(fill_of(order, "100.3"))
    one.handle(StopsChanged(T0, BTC, order.intent.stop_loss, order.intent.take_profit))
    return one, effects


def new_rules(one: Engine, **changes: str) -> Sequence[Effect]:
    numbers = {name: D(text) for name, text in changes.items()}
    rules = msgspec.structs.replace(one.state.symbols[BTC].instrument, **numbers)  # type: ignore[arg-type]
    return one.handle(InstrumentChanged(LATER, rules))


@pytest.mark.parametrize(
    ("side", "asked", "sent"), [(1.0, (93.7, 123.4), ("90", "125")), (-1.0, (123.4, 93.7), ("125", "90"))]
)
def test_a_lost_stop_is_sent_again_on_the_new_grid(
    side: float, asked: tuple[float, float], sent: tuple[str, str]
) -> None:
    one, _ = held(side, stop_loss=asked[0], take_profit=asked[1])
    new_rules(one, tick_size="5")
    assert one.handle(StopsChanged(LATER, BTC, None, None)) == [SetStops(BTC, *map(D, sent))]


def test_a_stop_that_the_venue_refused_is_sent_again_as_soon_as_the_new_rules_are_known() -> None:
    one, _ = held(1.0, stop_loss=93.7)
    assert one.handle(StopsChanged(LATER, BTC, None, None)) == [SetStops(BTC, D("93.7"), None)]
    for _ in range(5):
        one.handle(StopsRejected(LATER, BTC, 10001, "not a multiple of the tick"))
    assert list(new_rules(one, tick_size="5")) == [SetStops(BTC, D(90), None)]


def test_a_stop_is_moved_together_with_a_target_that_was_on_the_older_grid() -> None:
    one, _ = held(1.0, {1: Target(2.0, stop_loss=96.0)}, stop_loss=93.7, take_profit=123.4)
    new_rules(one, tick_size="5")
    assert one.handle(closed(bar(1, close=100.3))) == [SetStops(BTC, D(95), D(125))]


def test_a_lost_trailing_stop_is_sent_again_on_the_new_grid() -> None:
    one, _ = held(1.0, stop_loss=93.7, trailing_stop=1.3)
    new_rules(one, tick_size="5")
    one.handle(StopsChanged(LATER, BTC, D("93.7"), None, D("1.3")))
    lost = one.handle(StopsChanged(SOON, BTC, D("93.7"), None, D(0)))
    assert list(lost) == [SetTrailing(BTC, D(5), None)]
    assert not one.handle(StopsChanged(SOON, BTC, D("93.7"), None, D(5)))


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("changes", [{"tick_size": "5"}, {"qty_step": "0.4", "min_qty": "0.4"}])
def test_takes_that_are_gone_are_sent_again_as_the_new_rules_allow(
    side: float, changes: dict[str, str]
) -> None:
    one, effects = held(side, takes=((100.3 + side * 3.0, 0.5), (100.3 + side * 14.0, 0.25)))
    new_rules(one, **changes)
    after: list[Effect] = []
    for order in orders(effects):
        after += one.handle(OrderAccepted(LATER, order.order_id))
        after += one.handle(OrderCancelled(LATER, order.order_id, "CancelByUser"))
    after += one.handle(closed(bar(1, close=100.3)))
    again = orders(after)
    rules = one.state.symbols[BTC].instrument
    assert len(again) == 2
    for order in again:
        assert order.intent.price is not None
        assert order.intent.price % rules.tick_size == order.intent.qty % rules.qty_step == 0
        assert side * float(order.intent.price) > side * 100.3


def test_a_take_that_is_done_stays_done_though_its_price_is_another_one_now() -> None:
    same = Target(2.0, takes=((103.3, 0.5), (114.3, 0.25)))
    one, effects = held(1.0, dict.fromkeys((1, 2), same), takes=((103.3, 0.5), (114.3, 0.25)))
    near, far = orders(effects)
    for order in (near, far):
        one.handle(OrderAccepted(T0, order.order_id))
    one.handle(fill_of(near, "103.3"))
    new_rules(one, tick_size="5")
    one.handle(OrderCancelled(LATER, far.order_id, "CancelByUser"))
    one.state.symbols[BTC].strategy.wishes.clear()  # type: ignore[union-attr]
    assert [order.intent.price for order in orders(one.handle(closed(bar(1, close=100.3))))] == [D(115)]


def test_a_refused_part_of_an_exit_is_sent_again_as_the_new_rules_allow() -> None:
    one, _ = held(1.0, {1: Target(1.3)})
    (part,) = orders(one.handle(closed(bar(1, close=100.3))))
    assert part.intent.qty == D("0.7")
    one.handle(OrderRejected(LATER, part.order_id, 10001, "qty"))
    new_rules(one, qty_step="0.5", min_qty="0.5")
    (again,) = orders(one.handle(TimePassed(T0 + 900_000)))
    assert again.intent.qty == D("0.5")
