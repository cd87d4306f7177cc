"""When missing bars are asked for again, and when they count as not existing."""

import pytest

from bot.domain.market import MINUTE_MS, Bar
from bot.domain.messages import Event, Gap
from bot.feed.backlog import FIRST_PAUSE_S, GAP_AFTER_ANSWERS, LAST_PAUSE_S, Backlog, Fetched
from bot.feed.sequencer import FeedSequencer
from tests.feed.test_sequence import bar, close_ms
from tests.helpers import T0

SYMBOL = "BTCUSDT"
NEVER_MS = 10**9
NOTHING = Fetched(answered=True)


def backlog(gap_after_ms: float = 0.0) -> tuple[Backlog, FeedSequencer]:
    seen: list[Event] = []
    sequencer = FeedSequencer({SYMBOL: NEVER_MS * 1000}, MINUTE_MS, T0, seen.append)
    return Backlog(sequencer, gap_after_ms, lambda: 1.0), sequencer


def answer(*bars: Bar) -> dict[str, Fetched]:
    return {SYMBOL: Fetched(list(bars), answered=True)}


def test_a_symbol_is_due_until_its_bars_are_here() -> None:
    wanted, _ = backlog()
    wanted.want([SYMBOL], close_ms(1), now_s=5.0)
    assert (wanted.due(4.9), wanted.due(5.0)) == ([], [SYMBOL])
    missing = wanted.missing_of(SYMBOL, T0)
    assert missing is not None
    assert missing.bars == (T0, close_ms(1))
    assert wanted.take(answer(bar(0), bar(1)), 5.0, T0) == []
    assert (wanted.due(99.0), wanted.next_s) == ([], None)


def test_bars_that_came_by_stream_meanwhile_leave_the_backlog() -> None:
    wanted, sequencer = backlog()
    wanted.want([SYMBOL], close_ms(0), now_s=0.0)
    sequencer.confirmed(bar(0), close_ms(0))
    assert wanted.missing_of(SYMBOL, T0) is None
    assert wanted.next_s is None


def test_pauses_double_up_to_a_bound() -> None:
    wanted, _ = backlog(gap_after_ms=NEVER_MS)
    wanted.want([SYMBOL], close_ms(0), now_s=0.0)
    pauses = []
    for _ in range(7):
        wanted.take({SYMBOL: NOTHING}, 0.0, T0)
        assert wanted.next_s is not None
        pauses.append(wanted.next_s)
    assert pauses == [FIRST_PAUSE_S * 2**n for n in range(5)] + [LAST_PAUSE_S] * 2


def test_a_symbol_that_moved_is_asked_for_more_at_once() -> None:
    wanted, _ = backlog()
    wanted.want([SYMBOL], close_ms(3), now_s=0.0)
    wanted.take({SYMBOL: NOTHING}, 9.0, T0)
    assert wanted.due(9.0) == []
    wanted.take(answer(bar(0)), 9.0, T0)
    assert wanted.due(9.0) == [SYMBOL]


def test_bars_that_rest_never_shows_become_a_gap() -> None:
    wanted, sequencer = backlog(gap_after_ms=2_000)
    sequencer.confirmed(bar(2), close_ms(2))
    wanted.want([SYMBOL], close_ms(2), now_s=0.0)
    for n in range(GAP_AFTER_ANSWERS - 1):
        assert wanted.take({SYMBOL: NOTHING}, float(n), T0) == []
    gaps = wanted.take({SYMBOL: NOTHING}, 4.0, T0)
    assert gaps == [Gap(bar(2).start_ms, SYMBOL, MINUTE_MS, T0, bar(2).start_ms)]
    assert sequencer.next_ms(SYMBOL) == close_ms(2)


@pytest.mark.parametrize(("answered", "gap_after_ms"), [(False, 0), (True, NEVER_MS)])
def test_failures_and_haste_prove_no_gap(answered: bool, gap_after_ms: float) -> None:
    wanted, _ = backlog(gap_after_ms)
    wanted.want([SYMBOL], close_ms(0), now_s=0.0)
    for n in range(3 * GAP_AFTER_ANSWERS):
        assert wanted.take({SYMBOL: Fetched(answered=answered)}, float(n), T0) == []
