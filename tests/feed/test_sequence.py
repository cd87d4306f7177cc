import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.market import MINUTE_MS, Bar
from bot.feed.sequence import AHEAD_BARS, BarSequence
from tests.helpers import T0


def bar(i: int, close: float = 100.0, symbol: str = "BTCUSDT") -> Bar:
    return Bar(symbol, MINUTE_MS, T0 + i * MINUTE_MS, 100.0, 1e6, 0.001, close, 1.0, 100.0)


def close_ms(i: int) -> int:
    """Return the close of bar ``i``."""
    return T0 + (i + 1) * MINUTE_MS


def sequence() -> BarSequence:
    return BarSequence("BTCUSDT", MINUTE_MS, T0)


def test_bars_in_order_pass_through() -> None:
    bars = sequence()
    assert [bars.take(bar(i)) for i in range(3)] == [[bar(0)], [bar(1)], [bar(2)]]
    assert bars.next_ms == close_ms(2)


def test_a_bar_before_its_turn_waits_and_the_missing_range_is_named() -> None:
    bars = sequence()
    assert bars.take(bar(3)) == ()
    assert bars.missing(close_ms(9)) == (T0, bar(3).start_ms)
    assert bars.take(bar(0)) == [bar(0)]
    assert bars.missing(close_ms(9)) == (bar(1).start_ms, bar(3).start_ms)
    assert bars.take(bar(1)) == [bar(1)]
    assert bars.take(bar(2)) == [bar(2), bar(3)]
    assert bars.missing(close_ms(3)) is None
    assert bars.missing(close_ms(5)) == (bar(4).start_ms, close_ms(5))
    assert bars.counts.early == 1


def test_the_first_confirmation_counts_and_what_contradicts_it_is_counted() -> None:
    bars = sequence()
    assert bars.take(bar(0, 100.0)) == [bar(0, 100.0)]
    assert bars.take(bar(0, 100.0)) == ()
    assert bars.take(bar(0, 100.5)) == ()
    assert (bars.counts.repeats, bars.counts.conflicts) == (1, 1)
    assert bars.used(T0) == bar(0, 100.0)


def test_turnover_alone_is_no_conflict() -> None:
    bars = sequence()
    bars.take(bar(0))
    bars.take(Bar("BTCUSDT", MINUTE_MS, T0, 100.0, 1e6, 0.001, 100.0, 1.0, None))
    assert (bars.counts.repeats, bars.counts.conflicts) == (1, 0)


def test_what_is_long_gone_is_late() -> None:
    bars = BarSequence("BTCUSDT", MINUTE_MS, T0 + 100 * MINUTE_MS)
    assert bars.take(bar(3)) == ()
    assert bars.counts.late == 1


@pytest.mark.fault(5)
@pytest.mark.invariant(10)
def test_a_bar_that_cannot_have_closed_is_not_taken() -> None:
    bars = sequence()
    assert bars.take(bar(0), close_ms(0) - 1) == ()
    assert bars.take(Bar("BTCUSDT", 5 * MINUTE_MS, T0, 1.0, 1.0, 1.0, 1.0, 0.0)) == ()
    assert bars.take(bar(10**6), close_ms(0)) == ()
    assert bars.counts.misaligned == 3
    assert bars.take(bar(0), close_ms(0)) == [bar(0)]


@pytest.mark.fault(9)
@pytest.mark.parametrize("close", [1_000.0, 0.01])
def test_a_spike_is_believed_from_rest_alone(close: float) -> None:
    bars = sequence()
    bars.take(bar(0))
    assert bars.take(bar(1, close)) == ()
    assert bars.counts.jumps == 1
    assert bars.take(bar(1, close), sure=True) == [bar(1, close)]
    assert bars.take(bar(2, close)) == [bar(2, close)]


def test_what_waits_is_bounded() -> None:
    bars = sequence()
    for i in range(1, AHEAD_BARS + 100):
        bars.take(bar(i))
    assert bars.waiting == AHEAD_BARS
    assert len(bars.take(bar(0))) == AHEAD_BARS + 1


def test_a_hole_can_be_given_up() -> None:
    bars = sequence()
    bars.take(bar(0))
    bars.take(bar(5))
    bars.take(bar(6))
    assert bars.skip_to(bar(3).start_ms) == ()
    assert bars.missing(close_ms(9)) == (bar(3).start_ms, bar(5).start_ms)
    assert bars.skip_to(bar(5).start_ms) == [bar(5), bar(6)]
    assert bars.skip_to(T0) == ()


@pytest.mark.fault(4)
@pytest.mark.invariant(10)
@given(
    st.lists(
        st.tuples(st.integers(0, 19), st.sampled_from([100.0, 101.0]), st.booleans()), min_size=1, max_size=80
    )
)
def test_any_order_with_repeats_and_conflicts_uses_each_bar_once_in_order(
    told: list[tuple[int, float, bool]],
) -> None:
    """Drawn: (bar, close, whether it comes from REST). At the end REST delivers all missing bars."""
    bars = sequence()
    used: list[Bar] = []
    firsts: dict[int, float] = {}
    for i, close, sure in told:
        before = bars.next_ms
        if bar(i).start_ms >= before and (i not in firsts or sure):
            firsts[i] = close
        used += bars.take(bar(i, close), sure=sure)
    while (hole := bars.missing(close_ms(19))) is not None:
        for start_ms in range(*hole, MINUTE_MS):
            i = (start_ms - T0) // MINUTE_MS
            firsts[i] = 102.0
            used += bars.take(bar(i, 102.0), sure=True)
    assert [each.start_ms for each in used] == [bar(i).start_ms for i in range(20)]
    assert [each.close for each in used] == [firsts[i] for i in range(20)]
    counts = bars.counts
    assert counts.repeats + counts.conflicts + counts.late <= len(told)


@given(
    starts=st.lists(st.integers(0, 12), max_size=12),
    ahead=st.sets(st.integers(0, 12), max_size=4),
    straight=st.booleans(),
)
def test_many_bars_at_once_are_taken_as_one_by_one(
    starts: list[int], ahead: set[int], straight: bool
) -> None:
    many = [bar(i) for i in (range(len(starts)) if straight else starts)]
    sequences = [sequence() for _ in range(2)]
    for each in sequences:
        for i in ahead:
            each.take(bar(i, close=101.0))
    one_by_one = [released for one in many for released in sequences[0].take(one, sure=True)]
    assert list(sequences[1].take_all(many)) == one_by_one
    assert sequences[0].next_ms == sequences[1].next_ms
    assert sequences[0].counts == sequences[1].counts
    assert sequences[0].waiting == sequences[1].waiting
    for i in range(13):
        assert sequences[0].used(bar(i).start_ms) == sequences[1].used(bar(i).start_ms)
    following = bar(13, close=5.0)  # both judge a jump by the same last close
    assert sequences[0].take(following) == sequences[1].take(following)
    assert sequences[0].counts == sequences[1].counts
