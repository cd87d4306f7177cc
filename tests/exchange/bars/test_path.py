import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.market import Bar
from bot.exchange.bars.path import Path, Pursuit, agrees, covers, joined, path, uniform, via
from tests.helpers import T0, bar, walk

prices = st.floats(0.01, 1e6)


@st.composite
def bars(draw: st.DrawFn, index: int | None = None) -> Bar:
    low, *inner, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    opened, close = draw(st.permutations(inner))
    at = draw(st.integers(0, 10_000)) if index is None else index
    return bar(at, close, open=opened, high=high, low=low)


@given(bars(), st.integers(0, 2**40))
def test_a_path_goes_from_open_to_close_by_way_of_high_and_low(b: Bar, seed: int) -> None:
    road = path(b, seed)
    assert road[0] == b.open
    assert road[-1] == b.close
    assert set(road) >= {b.high, b.low}
    assert all(b.low <= price <= b.high for price in road)
    assert road == path(b, seed)


@given(bars(), st.integers(0, 100), st.floats(0, 1))
def test_every_price_on_a_path_is_inside_the_bar(b: Bar, seed: int, place: float) -> None:
    assert b.low * (1 - 1e-12) <= Path(path(b, seed)).price(place) <= b.high * (1 + 1e-12)


def test_the_high_comes_first_as_often_as_the_gamblers_ruin_says() -> None:
    # open 101, low 100, high 104: (101 − 100) / (104 − 100) = 1/4
    firsts = [path(bar(i, 102, open=101, high=104, low=100), 7)[1] == 104 for i in range(4000)]
    assert sum(firsts) / 4000 == pytest.approx(0.25, abs=0.02)


def test_the_seed_and_the_symbol_change_the_coin() -> None:
    flips = [[uniform(seed, T0 + i, name) < 0.5 for i in range(64)] for seed in (1, 2) for name in ("A", "B")]
    assert len({tuple(flip) for flip in flips}) == 4


def test_an_open_at_an_extreme_visits_it_first() -> None:
    assert all(path(bar(i, 101, open=104, high=104, low=100), 3)[1] == 104 for i in range(100))
    assert all(path(bar(i, 101, open=100, high=104, low=100), 3)[1] == 100 for i in range(100))


def test_a_level_is_reached_where_the_line_crosses_it() -> None:
    road = Path((100.0, 104.0, 96.0, 100.0))
    # 102 is half of the first of three segments: place 1/6; 100 on the way down is half of the second: 1/2.
    assert road.reach(102.0, 0.0, rising=True) == pytest.approx(1 / 6)
    assert road.reach(98.0, 0.0, rising=False) == pytest.approx((1 + 6 / 8) / 3)
    assert road.reach(99.0, 0.9, rising=True) == pytest.approx(1 - 1 / 12)
    assert road.reach(104.1, 0.0, rising=True) == float("inf")


def test_a_touch_reaches_but_does_not_go_beyond() -> None:
    road = Path((100.0, 104.0, 96.0, 100.0))
    assert road.reach(104.0, 0.0, rising=True) == pytest.approx(1 / 3)
    assert road.reach(104.0, 0.0, rising=True, beyond=True) == float("inf")
    assert road.reach(96.0, 0.0, rising=False, beyond=True) == float("inf")


def test_the_past_of_a_path_is_not_reached_again() -> None:
    road = Path((100.0, 104.0, 96.0, 100.0))
    assert road.reach(103.0, 0.5, rising=True) == float("inf")


def test_finer_bars_jump_from_close_to_open_and_a_level_in_the_jump_is_met_behind_it() -> None:
    minute = 60_000
    first = bar(0, 100, interval_ms=minute)
    second = bar(1, 90, open=90, interval_ms=minute)
    road = joined([first, second], 0)
    place = road.reach(95.0, 0.0, rising=False)
    assert place == 4 / 7  # the fifth of eight points
    assert road.price(place) == 90.0
    assert road.price(place - 1e-6) == 90.0  # nothing traded in the jump: the next trade is at 90


def test_finer_bars_must_cover_a_bar_and_agree_with_it() -> None:
    minutes = [bar(i, 100 + i, open=100 + i, interval_ms=60_000) for i in range(5)]
    whole = bar(0, 104, open=100)
    assert covers(minutes, whole)
    assert agrees(minutes, whole)
    assert not covers(minutes[:4], whole)
    assert not covers(minutes[1:], whole)
    assert not covers([minutes[0], *minutes[2:]], whole)
    assert not covers([], whole)
    assert not agrees(minutes, bar(0, 104, open=100, high=105))


def test_the_road_can_be_told_which_way_to_go() -> None:
    b = bar(0, 101, open=100, high=104, low=98)
    assert via(b, True) == (100, 104, 98, 101)
    assert via(b, False) == (100, 98, 104, 101)


# A trailing stop


def left(b: Bar, high_comes_first: bool, stop: float, distance: float, active: float | None = None) -> float:
    """What a long position of 1 is worth at the close, by a walk over the four prices written out apart."""
    for at, price in enumerate(via(b, high_comes_first)):
        if price <= stop:
            return price if at == 0 else stop
        if active is not None and price >= active:
            active = None
        if active is None:
            stop = max(stop, price - distance)
    return b.close


@given(
    bars(),
    st.floats(0.3, 1.2),
    st.floats(0.001, 0.5),
    st.none() | st.floats(0.8, 1.5),
    st.sampled_from([1, -1]),
)
def test_of_both_orders_a_trailing_stop_meets_the_one_that_leaves_less(
    b: Bar, below: float, away: float, ahead: float | None, side: int
) -> None:
    stop, distance = b.open * below, b.open * away
    active = None if ahead is None else b.open * ahead
    if side < 0:  # the same bar upside down, for a short position
        top = 2.0 * b.high
        mirrored = bar(0, top - b.close, open=top - b.open, high=top - b.low, low=top - b.high)
        pursuit = Pursuit(False, distance, None if active is None else top - active, top - stop)
        first = not pursuit.high_first(mirrored)
    else:
        first = Pursuit(True, distance, active, stop).high_first(b)
    worth = [left(b, each, stop, distance, active) for each in (False, True)]
    if b.open == b.low:
        assert not first  # the candle has told the order
    else:
        assert worth[first] == pytest.approx(min(worth), rel=1e-9)


@given(st.lists(st.integers(90, 110), min_size=13, max_size=13), st.integers(1, 6), st.integers(0, 11))
def test_the_order_of_a_bar_knows_nothing_of_later_bars(closes: list[int], distance: int, cut: int) -> None:
    made = walk([float(each) for each in closes])
    changed = made[:cut] + [bar(i, 300.0, open=300.0, high=900.0, low=10.0) for i in range(cut, len(made))]
    orders = [
        list(Pursuit(True, float(distance), None, closes[0] - distance).along(each))
        for each in (made, changed)
    ]
    assert orders[0][:cut] == orders[1][:cut]
