"""Trailing stops: sent after the first fill, sent again when the venue lacks one, kept by a snapshot."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.ledger import Fill
from bot.domain.messages import Filled, OrderAccepted, SetTrailing, StopsChanged, StopsRejected
from bot.engine.core import Assignment, Engine
from bot.engine.orders.protection import STOP_WAY_MS, TRIES_MAX, Trail
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.service.backtest.tape import RunTape
from bot.service.driver import Driver
from bot.service.views import status
from bot.strategy.signal import Target
from tests.engine.scripted import Script, engine, fill_of, holding, limit_engine, orders, reading, remote
from tests.exchange.bars.desk import FREE
from tests.helpers import T0, bar, closed, instrument

D = Decimal
BTC = "BTCUSDT"


def trails(effects: object) -> list[SetTrailing]:
    return [each for each in effects if isinstance(each, SetTrailing)]  # type: ignore[attr-defined]


def told(one: Engine, distance: str, stop: str | None = "98", after_ms: int = 0) -> StopsChanged:
    return StopsChanged(one.state.now_ms + after_ms, BTC, D(stop) if stop else None, None, D(distance))


def long(target: Target, price: str = "100") -> tuple[Engine, list[SetTrailing]]:
    """An engine that is long by ``target``, decided at bar 0, and what its fill led to."""
    one = engine({0: target})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    return one, trails(one.handle(fill_of(order, price)))


def test_the_first_fill_sends_it_once_and_a_fixed_stop_is_there_before() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0, trailing_stop=2.04)})
    assert order.intent.stop_loss == D("96.9")  # 99 − 2.04, away from the market
    assert trails(one.handle(fill_of(order, "99", "0.5", "a"))) == [SetTrailing(BTC, D("2.1"))]
    assert not trails(one.handle(fill_of(order, "99", "1.5", "b")))


def test_a_later_part_of_an_entry_undoes_nothing_that_was_changed_since() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0, stop_loss=90.0, trailing_stop=5.0)})
    one.handle(fill_of(order, "99", "0.5", "a"))
    one.handle(told(one, "5", "90"))
    one.handle(told(one, "1", "97", after_ms=STOP_WAY_MS))  # the operator's, at the venue
    assert not trails(one.handle(fill_of(order, "99", "0.5", "b")))
    stops = one.state.symbols[BTC].stops
    assert (stops.trail, stops.wanted) == (Trail(D(1)), (D(97), None))


def test_an_entry_that_opens_a_position_again_after_its_stop_has_a_trailing_stop_again() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0, trailing_stop=2.0)})
    one.handle(fill_of(order, "99", "0.5", "a"))
    one.handle(Filled(Fill(T0, BTC, "Sell", D("0.5"), D(97), D(0), "venue", "s1", cause="stop_loss")))
    assert trails(one.handle(fill_of(order, "97", "0.5", "b"))) == [SetTrailing(BTC, D(2))]
    assert not trails(one.handle(fill_of(order, "97", "1", "c")))


def test_one_that_follows_is_not_made_to_wait() -> None:
    """A reading tells the distance alone; so does a position that was taken over."""
    waits = Target(2.0, stop_loss=90.0, trailing_stop=2.0, trailing_from=105.0)
    one = engine({0: Target(2.0, stop_loss=90.0, trailing_stop=2.0), 1: waits})
    (order,) = orders(one.handle(closed(bar(0))))
    assert trails(one.handle(fill_of(order))) == [SetTrailing(BTC, D(2))]
    one.handle(told(one, "2"))
    assert not trails(one.handle(closed(bar(1))))


@pytest.mark.parametrize(("qty", "stop"), [(2.0, "98"), (-2.0, "102")])
def test_the_fixed_stop_lies_on_the_side_of_the_loss(qty: float, stop: str) -> None:
    (order,) = orders(engine({0: Target(qty, trailing_stop=2.0)}).handle(closed(bar(0))))
    assert order.intent.stop_loss == D(stop)


def test_a_stop_that_the_target_names_stays_and_a_later_one_waits_without() -> None:
    (named,) = orders(engine({0: Target(2.0, stop_loss=90.0, trailing_stop=2.0)}).handle(closed(bar(0))))
    assert named.intent.stop_loss == D(90)
    (later,) = orders(engine({0: Target(2.0, trailing_stop=2.0, trailing_from=105.0)}).handle(closed(bar(0))))
    assert later.intent.stop_loss is None


def test_it_waits_for_its_price_or_follows_at_once_where_that_is_passed() -> None:
    waits = Target(2.0, stop_loss=90.0, trailing_stop=2.0, trailing_from=105.0)
    assert long(waits)[1] == [SetTrailing(BTC, D(2), D(105))]
    passed = Target(2.0, stop_loss=90.0, trailing_stop=2.0, trailing_from=95.0)
    assert long(passed)[1] == [SetTrailing(BTC, D(2))]


def test_the_same_target_sends_nothing_and_another_distance_does() -> None:
    one = engine(
        {
            0: Target(2.0, trailing_stop=2.0),
            1: Target(2.0, trailing_stop=2.0),
            2: Target(2.0, trailing_stop=3.0),
        }
    )
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    one.handle(told(one, "2"))
    assert not trails(one.handle(closed(bar(1))))
    assert trails(one.handle(closed(bar(2)))) == [SetTrailing(BTC, D(3))]


def test_a_distance_that_no_price_can_reach_is_not_sent() -> None:
    assert not long(Target(2.0, stop_loss=90.0, trailing_stop=100.0))[1]


def test_one_that_the_venue_lost_is_sent_again_and_one_on_its_way_is_not() -> None:
    one, _ = long(Target(2.0, trailing_stop=2.0))
    assert not trails(one.handle(told(one, "0")))  # of before it was sent
    assert not trails(one.handle(told(one, "2")))
    assert trails(one.handle(told(one, "0"))) == [SetTrailing(BTC, D(2))]
    assert trails(one.handle(told(one, "0", after_ms=STOP_WAY_MS))) == [SetTrailing(BTC, D(2))]


def test_refused_again_and_again_it_is_given_up_until_the_next_reading() -> None:
    one, sent = long(Target(2.0, trailing_stop=2.0))
    one.handle(told(one, "0"))
    for _ in range(2 * TRIES_MAX):
        sent += trails(one.handle(StopsRejected(one.state.now_ms, BTC, 10001, "invalid")))
    assert len(sent) == TRIES_MAX


def test_what_somebody_changed_at_the_venue_is_taken_over() -> None:
    one, _ = long(Target(2.0, trailing_stop=2.0))
    one.handle(told(one, "2"))
    assert not trails(one.handle(told(one, "5", after_ms=STOP_WAY_MS)))
    assert one.state.symbols[BTC].stops.trail == Trail(D(5))


def test_a_snapshot_keeps_it_and_the_status_shows_it() -> None:
    one, _ = long(Target(2.0, trailing_stop=2.0))
    one.handle(told(one, "2"))
    other = engine({})
    other.restore(one.snapshot())
    assert other.state.symbols[BTC].stops == one.state.symbols[BTC].stops
    (position,) = status.account(other)["positions"]  # type: ignore[misc]
    assert position["trailing_stop"] == "2"


def test_it_ends_with_the_position() -> None:
    one, _ = long(Target(2.0, trailing_stop=2.0))
    one.handle(told(one, "2"))
    one.handle(Filled(Fill(T0 + 400_000, BTC, "Sell", D(2), D(98), D(0), "venue", "s1", cause="stop_loss")))
    stops = one.state.symbols[BTC].stops
    assert (stops.trail, stops.trail_at_venue) == (None, D(0))
    assert not trails(one.handle(told(one, "0", None)))


def test_a_reading_that_lacks_it_names_the_difference_and_sends_it_again() -> None:
    one = remote({0: Target(2.0, trailing_stop=2.0)})
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    one.handle(told(one, "2"))
    later_ms = one.state.now_ms + 60_000
    effects = one.handle(reading("9999.99", holding(stop="98"), ts_ms=later_ms))
    assert trails(effects) == [SetTrailing(BTC, D(2))]
    assert "BTCUSDT trailing stop ours 2 venue 0" in str(effects)
    assert one.state.reconciled["stops"] == 1


def test_a_first_price_without_a_distance_is_refused() -> None:
    with pytest.raises(BadInput, match="trailing_from"):
        Target(1.0, trailing_from=100.0)


# In a backtest


def run(wishes: dict[int, Target], *bars: tuple[float, float, float, float]) -> tuple[Engine, RunTape]:
    """A backtest over bars of (open, high, low, close); the entry of bar 0 fills at the open of bar 1."""
    rules = instrument()
    one = Engine([Assignment(rules, 300_000, Script(wishes), 12.0)], D(10_000), Limits(), name="t")
    tape = RunTape()
    driver = Driver(one, BarVenue({rules.symbol: rules}, D(10_000), FREE), tape)
    for index, (opened, high, low, close) in enumerate(bars):
        driver.take(closed(bar(index, close, open=opened, high=high, low=low)))
    return one, tape


FLAT = (100.0, 100.0, 100.0, 100.0)
ENTRY = {0: Target(1.0, trailing_stop=5.0)}


def exits(
    *bars: tuple[float, float, float, float], wishes: dict[int, Target] = ENTRY
) -> list[tuple[int, Decimal]]:
    """Bar and price of each fill after the entry."""
    fills = run(wishes, *bars)[1].fills[1:]
    return [((fill.ts_ms - T0) // 300_000, fill.price) for fill in fills]


def test_it_follows_closes_up_and_fires_below_them() -> None:
    up = (100.0, 110.0, 100.0, 110.0)  # opens at its low: the low came first
    assert exits(FLAT, FLAT, up, (110.0, 110.0, 104.0, 104.0)) == [(3, D(105))]


def test_a_bar_that_reaches_the_stop_as_it_stood_is_not_helped_by_its_own_high() -> None:
    assert exits(FLAT, FLAT, (100.0, 110.0, 94.0, 109.0)) == [(2, D(95))]


def test_a_bar_whose_low_reaches_the_lifted_stop_alone_ends_there_though_it_closes_above() -> None:
    assert exits(FLAT, FLAT, (100.0, 110.0, 99.0, 109.0)) == [(2, D(105))]


def test_one_that_waits_does_nothing_before_its_price() -> None:
    waits = {0: Target(1.0, stop_loss=50.0, trailing_stop=5.0, trailing_from=108.0)}
    assert not exits(FLAT, FLAT, (100.0, 107.0, 90.0, 100.0), wishes=waits)
    assert exits(FLAT, FLAT, (100.0, 109.0, 99.0, 101.0), wishes=waits) == [(2, D(104))]


def test_the_engine_and_the_venue_agree_on_what_is_there() -> None:
    one, _ = run(ENTRY, FLAT, FLAT, FLAT)
    stops = one.state.symbols[BTC].stops
    assert (stops.at_venue, stops.trail_at_venue, stops.trail_tries) == ((D(95), None), D(5), 0)


def by_hand(
    bars: list[tuple[float, float, float, float]], distance: Decimal, active: Decimal | None
) -> object:
    """Bar and price of the exit of a long position, with the worse order of each bar, written out apart."""
    stop, fixed, begins = None if active is not None else D(repr(bars[1][3])) - distance, D(50), active
    for index, each in enumerate(bars[2:], start=2):
        opened, high, low, close = (D(repr(price)) for price in each)

        def walk(order: tuple[Decimal, ...], at: Decimal | None, waits: Decimal | None) -> tuple[object, ...]:
            for place, price in enumerate(order):
                level = max(fixed, at) if at is not None else fixed
                if price <= level:
                    return (price if place == 0 else level), True, at, waits
                if waits is None or price >= waits:
                    waits, at = None, price - distance if at is None else max(at, price - distance)
            return order[-1], False, at, waits

        low_first = walk((opened, low, high, close), stop, begins)
        high_first = walk((opened, high, low, close), stop, begins)
        told = low_first if opened == low or low_first[0] < high_first[0] else high_first  # type: ignore[operator]
        if told[1]:
            return index, told[0]
        stop, begins = told[2], told[3]  # type: ignore[assignment]
    return None


tenths = st.integers(960, 1040)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(tenths, tenths, tenths, tenths), min_size=2, max_size=8),
    st.integers(1, 45),
    st.none() | st.integers(1000, 1045),
)
def test_every_exit_is_the_one_worked_out_by_hand(
    drawn: list[tuple[int, int, int, int]], away: int, ahead: int | None
) -> None:
    bars = [FLAT, FLAT]
    for opened, one, two, close in drawn:
        high, low = max(opened, one, two, close), min(opened, one, two, close)
        bars.append((opened / 10, high / 10, low / 10, close / 10))
    begins = None if ahead is None else ahead / 10
    wishes = {0: Target(1.0, stop_loss=50.0, trailing_stop=away / 10, trailing_from=begins)}
    passed = ahead is not None and ahead <= 1000
    found = exits(*bars, wishes=wishes)
    active = None if begins is None or passed else D(repr(begins))
    expected = by_hand(bars, D(away) / 10, active)
    assert found == ([] if expected is None else [expected])
