"""Limit orders that wait in an estimated queue (``limit_fills`` ``queue``)."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.market import Bar
from bot.exchange import BarVenue, Terms
from bot.exchange.bars.queue import PACE_BARS, Pace, reached_frac
from bot.exchange.orders import Amend, NewOrder
from tests.exchange.bars.desk import BarDesk, exact, free, opened
from tests.helpers import bar, instrument

D = Decimal
MINUTES = 60_000


def queued(ahead_ms: int = 0, share: float = 1.0, **changes: object) -> Terms:
    return free(
        liquidity="volume",
        participation_frac=share,
        limit_fills="queue",
        queue_ahead_ms=ahead_ms,
        **changes,
    )


def waiting(terms: Terms, qty: str = "1000", price: str = "99", **options: object) -> BarDesk:
    """A desk after one bar of volume 1,000, with a buy order at 99 that rests."""
    desk = opened(BarDesk(terms, "1e9", **options))
    desk.buy(qty, price=price)
    return desk


def filled(bars: Sequence[Bar], terms: Terms, qty: str = "1000") -> list[Decimal]:
    """What an order at 99 has filled after each bar."""
    desk, totals = waiting(terms, qty), []
    for each in bars:
        desk.bar(each)
        totals.append(sum((fill.qty for fill in desk.fills), D(0)))
    return totals


def touch(index: int, volume: float = 1000.0) -> Bar:
    """Comes to 99, its lowest of three levels, and no further."""
    return bar(index, 99.2, low=99.0, volume=volume)


# The estimate


def test_a_touch_first_uses_up_the_queue_and_then_fills_in_parts() -> None:
    # 30 s of 1,000 in 300 s are 100 ahead. A quarter of a bar lies at its lowest of three levels, half of
    # that sells: 125. So 25 fill at once, and with nobody ahead 125 in the next bar.
    assert filled([touch(1), touch(2)], queued(30_000)) == [25, 150]


def test_with_a_longer_queue_it_takes_another_touch() -> None:
    assert filled([touch(1), touch(2), touch(3)], queued(60_000)) == [0, 50, 175]


def test_by_default_a_touch_fills_nothing_and_a_price_beyond_fills_all() -> None:
    assert filled([touch(1), bar(2, 98.9)], free(liquidity="volume", participation_frac=1.0)) == [0, 1000]


def test_a_price_beyond_has_served_the_queue_and_fills_up_to_the_volume_there() -> None:
    # Four levels 98.9 … 99.2 weigh 1, 2, 2, 1: at 99.0 and below half of 1,000, of which half sells.
    below = bar(1, 99.2, low=98.9)
    assert filled([below], queued(86_400_000)) == [250]
    assert filled([below], queued(86_400_000), "100") == [100]


def test_a_bar_without_range_has_all_its_volume_at_one_price() -> None:
    assert filled([bar(1), bar(2, 99.0)], queued(30_000)) == [0, 400]


def test_the_future_of_a_bar_does_not_make_its_queue() -> None:
    # The order lines up in bar 1; only bar 0 says how fast the market trades.
    assert filled([touch(1, 4_000.0)], queued(60_000)) == [300]


def test_a_new_price_goes_to_the_end_of_its_queue_and_a_smaller_quantity_stays() -> None:
    desk = waiting(queued(60_000))
    desk.bar(touch(1))
    exchange, (order,) = desk.venue.exchange, desk.venue.open_orders
    assert order.queue_base == 75
    assert exchange.amend(Amend(symbol="BTCUSDT", order_id=order.order_id, qty=D(900)), 0) is None
    assert order.queue_base == 75
    assert exchange.amend(Amend(symbol="BTCUSDT", order_id=order.order_id, price=D("99.1")), 0) is None
    desk.bar(bar(2, 99.5))
    assert order.queue_base == 200


def test_of_the_bar_in_which_an_order_begins_to_rest_only_the_rest_counts() -> None:
    # The path is 98.5, 98.5, 99.5, 98.9. The order arrives half-way, at 99.0; from there on it has seven
    # levels of weight 16 in all, and 98.9 has 1 of it: 1,000 / 2 / 2 / 16 reach the order.
    desk = opened(BarDesk(queued(latency_ms=150_000), "1e9"))
    desk.buy("1000", price="98.9")
    desk.bar(bar(1, 98.9, open=98.5, low=98.5, high=99.5))
    assert desk.qty == D("15.625")


def test_an_order_that_waited_for_its_trigger_lines_up_when_it_begins_to_rest() -> None:
    desk = opened(BarDesk(queued(60_000), "1e9"))
    waits = NewOrder(
        order_id="o1",
        link_id="o1",
        symbol="BTCUSDT",
        side="Buy",
        order_type="Limit",
        qty=D(1000),
        price=D("98.5"),
        trigger_price=D(99),
    )
    assert desk.venue.exchange.place(waits, 0) is None
    desk.bar(touch(1))
    (order,) = desk.venue.open_orders
    assert (order.status, order.queue_base) == ("New", 200)


def test_a_bar_that_comes_again_does_not_count_again() -> None:
    desk = opened(BarDesk(queued(60_000), "1e9"))
    desk.bar(bar(0, volume=9_000.0))
    assert desk.venue.exchange._books["BTCUSDT"].queue_ahead() == 200


def test_our_own_orders_share_the_volume_that_reaches_them() -> None:
    desk = waiting(queued(), "50")
    desk.buy("1000", price="99")
    desk.bar(touch(1))
    assert [fill.qty for fill in desk.fills] == [50, 75]


def test_a_sell_order_mirrors_a_buy_order() -> None:
    desk = opened(BarDesk(queued(30_000), "1e9"), 98.0)
    desk.sell("1000", price="99")
    desk.bar(bar(1, 98.8, high=99.0))
    assert [(fill.qty, fill.price) for fill in desk.fills] == [(25, 99)]


def test_without_past_bars_the_queue_is_unknown_and_only_a_price_beyond_fills() -> None:
    desk = BarDesk(queued(), "1e9")
    desk.buy("10", price="99", ref_price="100")
    desk.bar(touch(0))
    desk.bar(touch(1))
    assert not desk.fills
    desk.bar(bar(2, 99.2, low=98.9))
    assert desk.qty == 10


def test_without_a_price_step_a_touch_fills_only_in_a_bar_without_range() -> None:
    desk = waiting(queued(), instruments=[exact()])
    desk.bar(touch(1))
    assert not desk.fills
    desk.bar(bar(2, 99.0))
    assert desk.qty == 500


def test_the_bars_share_of_volume_bounds_every_fill() -> None:
    assert filled([touch(1), bar(2, 90.0)], queued(share=0.1)) == [100, 200]


def test_full_liquidity_and_a_queue_exclude_each_other() -> None:
    with pytest.raises(BadInput, match="liquidity full ignores it"):
        free(limit_fills="queue")


# Takes and stops


@pytest.mark.parametrize("side", [1, -1])
def test_a_bar_that_reaches_the_stop_and_comes_to_a_take_meets_the_stop_first(side: int) -> None:
    for seed in range(8):
        desk = opened(BarDesk(queued(), "1e9", seed=seed))
        desk.send("Buy" if side > 0 else "Sell", "1", stop_loss=str(100 - side))
        desk.bar(bar(1))
        desk.send("Sell" if side > 0 else "Buy", "1", price=str(100 + side), reduce_only=True)
        desk.bar(bar(2, low=99.0, high=101.0))
        assert desk.last.cause == "stop_loss"
        assert desk.qty == 0


def test_a_take_fills_where_the_price_only_comes_to_it() -> None:
    desk = opened(BarDesk(queued(), "1e9"))
    desk.buy("1", stop_loss="99")
    desk.bar(bar(1))
    desk.sell("1", price="100.2", reduce_only=True)
    desk.bar(bar(2, 100.0, high=100.2))
    assert (desk.last.price, desk.last.maker, desk.qty) == (D("100.2"), True, 0)


# What holds for all


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_levels_of_a_range_weigh_like_a_triangle(levels: int, reached: int) -> None:
    weights = [min(level, levels + 1 - level) for level in range(1, levels + 1)]
    exact_frac = sum(weights[:reached]) / sum(weights)
    assert reached_frac((reached - 1) / 10, (levels - 1) / 10, 0.1) == pytest.approx(exact_frac, abs=1e-12)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.001, 0.1]))
def test_a_price_further_inside_is_reached_by_no_less_volume(inside: float, more: float, tick: float) -> None:
    near = reached_frac(inside, 1.0, tick)
    assert 0.0 <= near <= reached_frac(min(inside + more, 1.0), 1.0, tick) <= 1.0
    assert reached_frac(-0.1, 1.0, tick) == 0.0


steps = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8)


def tape(moves: Sequence[tuple[int, int, int]], volume: float) -> list[Bar]:
    made, last = [], 992
    for index, (move, above, below) in enumerate(moves, 1):
        now = last + move
        low, high = min(last, now) - below, max(last, now) + above
        made.append(
            bar(
                index, now / 10, open=last / 10, low=low / 10, high=high / 10, volume=volume * (1 + index % 3)
            )
        )
        last = now
    return made


@given(steps, st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.1, 1.0]))
def test_more_volume_never_fills_less_and_a_longer_queue_never_more(
    moves: list[tuple[int, int, int]], seconds: int, more: int, share: float
) -> None:
    base = filled(tape(moves, 100.0), queued(1000 * seconds, share))
    loud = filled(tape(moves, 250.0), queued(1000 * seconds, share))
    late = filled(tape(moves, 100.0), queued(1000 * (seconds + more), share))
    assert all(a <= b for a, b in zip(base, loud, strict=True))
    assert all(a >= b for a, b in zip(base, late, strict=True))


@given(steps)
def test_without_a_queue_and_with_much_volume_all_fills_that_the_default_has(
    moves: list[tuple[int, int, int]],
) -> None:
    through = filled(tape(moves, 1e9), free(liquidity="volume", participation_frac=1.0), "1")
    assert all(a >= b for a, b in zip(filled(tape(moves, 1e9), queued(), "1"), through, strict=True))


@given(steps, st.integers(0, 60))
def test_no_bar_fills_beyond_its_share_or_a_price_it_has_not_seen(
    moves: list[tuple[int, int, int]], seconds: int
) -> None:
    desk = waiting(queued(1000 * seconds, 0.1))
    for each in tape(moves, 500.0):
        before = len(desk.fills)
        desk.bar(each)
        new = desk.fills[before:]
        assert sum((fill.qty for fill in new), D(0)) <= D(repr(each.volume)) / 10
        assert all(each.low <= float(fill.price) for fill in new)


def test_the_pace_is_that_of_the_last_bars_whatever_came_before() -> None:
    long, short = Pace(), Pace()
    for index in range(3 * PACE_BARS):
        each = bar(index, volume=0.1 * index)
        long.note(each)
        if index >= 2 * PACE_BARS:
            short.note(each)
    assert long.volume_of(MINUTES) == short.volume_of(MINUTES)


def test_an_order_keeps_its_place_over_a_restart() -> None:
    desk = waiting(queued(60_000))
    desk.bar(touch(1))
    again = BarVenue({"BTCUSDT": instrument()}, D("1e9"), queued(60_000))
    again.restore(desk.venue.snapshot())
    assert [order.queue_base for order in again.open_orders] == [75]
    assert again.exchange._books["BTCUSDT"].queue_ahead() == 200
    desk.venue = again
    desk.bar(touch(2))
    assert desk.qty == 50
