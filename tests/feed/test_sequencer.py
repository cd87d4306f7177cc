"""The order in which a feed tells bars and rates, without a socket."""

from decimal import Decimal

from bot.domain.market import MINUTE_MS, Bar
from bot.domain.messages import BarsClosed, Event, FundingRate
from bot.feed.sequencer import CLOCK_SLACK_MS, RATE_LAG_MS, FeedSequencer, MissingData
from tests.helpers import T0

A, B = "AAAUSDT", "BBBUSDT"
EVERY_MS = 4 * MINUTE_MS
"""Between two settlements of these tests."""


def bar(i: int, symbol: str = A) -> Bar:
    return Bar(symbol, MINUTE_MS, T0 + i * MINUTE_MS, 100.0, 101.0, 99.0, 100.0, 1.0, 100.0)


def close_ms(i: int) -> int:
    """Close of bar ``i``."""
    return T0 + (i + 1) * MINUTE_MS


def rate(ts_ms: int, symbol: str = A) -> FundingRate:
    return FundingRate(ts_ms, symbol, Decimal("0.0001"))


def book(*symbols: str) -> tuple[FeedSequencer, list[Event]]:
    seen: list[Event] = []
    return FeedSequencer(dict.fromkeys(symbols or (A,), EVERY_MS), MINUTE_MS, T0, seen.append), seen


def kinds(seen: list[Event]) -> list[tuple[str, int, bool]]:
    return [
        ("bars", e.close_ms, e.live) if isinstance(e, BarsClosed) else ("rate", e.ts_ms, True) for e in seen
    ]


def test_a_close_waits_for_the_rate_settled_before_it() -> None:
    feed, seen = book()
    for i in range(4):
        feed.confirmed(bar(i), close_ms(i))
        feed.flush(close_ms(i))
    assert feed.rates_due(close_ms(3)) == [A]
    feed.confirmed(bar(4), close_ms(4))
    feed.flush(close_ms(4))
    assert kinds(seen)[-1] == ("bars", close_ms(3), True)
    feed.settled(A, [rate(close_ms(3))])
    feed.flush(close_ms(4))
    assert kinds(seen)[-2:] == [("rate", close_ms(3), True), ("bars", close_ms(4), True)]
    assert feed.rates_due(close_ms(4)) == []


def test_the_wait_for_a_rate_ends_with_the_barrier() -> None:
    feed, seen = book()
    for i in range(5):
        feed.confirmed(bar(i), close_ms(i))
        feed.flush(close_ms(i))
    feed.decide(close_ms(4), close_ms(4) + 1500)
    assert kinds(seen)[-1] == ("bars", close_ms(4), True)
    feed.settled(A, [rate(close_ms(3))])
    feed.flush(close_ms(4) + 2000)
    assert kinds(seen)[-1] == ("rate", close_ms(3), True)
    feed.confirmed(bar(5), close_ms(5))
    feed.flush(close_ms(5))
    assert kinds(seen)[-1] == ("bars", close_ms(5), True)


def test_rates_of_a_symbol_that_is_behind_wait_for_its_bars() -> None:
    feed, seen = book(A, B)
    for i in range(6):
        feed.confirmed(bar(i, A), close_ms(i))
        feed.decide(close_ms(i), close_ms(i))
    feed.settled(A, [rate(close_ms(3), A)])
    feed.settled(B, [rate(close_ms(3), B)])
    feed.flush(close_ms(5))
    assert [e.symbol for e in seen if isinstance(e, FundingRate)] == [A]
    feed.fetched(bar(i, B) for i in range(6))
    seen.clear()
    feed.flush(close_ms(5))
    assert kinds(seen) == [
        *(("bars", close_ms(i), False) for i in range(4)),
        ("rate", close_ms(3), True),
        *(("bars", close_ms(i), False) for i in (4, 5)),
    ]


def test_a_bar_confirmed_before_its_close_is_not_used() -> None:
    feed, seen = book()
    feed.confirmed(bar(0), close_ms(0) - CLOCK_SLACK_MS - 1)
    feed.flush(close_ms(0))
    assert (seen, feed.counts().misaligned) == ([], 1)
    feed.confirmed(bar(0), close_ms(0) - CLOCK_SLACK_MS)
    feed.flush(close_ms(0))
    assert len(seen) == 1


def test_missing_bars_and_rates_are_named() -> None:
    feed, _ = book()
    feed.confirmed(bar(2), close_ms(2))
    assert feed.missing_of(A, close_ms(4), close_ms(2)) == MissingData(A, (T0, bar(2).start_ms), None)
    assert feed.missing_of(A, 0, T0 + EVERY_MS) == MissingData(A, None, T0)
    gap = feed.give_up(A, bar(2).start_ms)
    assert gap is not None
    assert (gap.from_ms, gap.to_ms) == (T0, bar(2).start_ms)
    assert feed.give_up(A, T0) is None
    assert feed.missing_of(A, close_ms(2), close_ms(2)) is None


def test_a_dispute_is_handed_on() -> None:
    feed, _ = book()
    feed.confirmed(bar(0), close_ms(0))
    other = Bar(A, MINUTE_MS, T0, 100.0, 101.0, 99.0, 100.5, 1.0, 100.0)
    feed.confirmed(other, close_ms(0))
    assert feed.disputed == [other]
    assert feed.used(other) == bar(0)


# Settlements whose interval changes

M = MINUTE_MS


def due_after(feed: FeedSequencer, *minutes: int) -> list[int]:
    """The minutes, of those given, at which a rate is due."""
    return [minute for minute in minutes if feed.rates_due(T0 + minute * M)]


def announce(feed: FeedSequencer, next_minute: int, said: float, every: int | None = None) -> None:
    feed.announced(A, T0 + next_minute * M, round(T0 + said * M), None if every is None else every * M)


def test_an_interval_that_shrinks_makes_the_next_settlement_earlier() -> None:
    feed, _ = book()
    announce(feed, 4, said=0.5)
    announce(feed, 1, said=0.6, every=1)
    assert due_after(feed, 0, 1, 2) == [1, 2]
    feed.settled(A, [rate(T0 + M)])
    announce(feed, 2, said=1.0, every=1)
    assert due_after(feed, 1, 2) == [2]


def test_an_interval_that_grows_a_moment_before_a_settlement_takes_it_back() -> None:
    feed, _ = book()
    announce(feed, 1, said=0.0, every=1)
    announce(feed, 4, said=1 - 1 / 60, every=4)
    assert due_after(feed, 1, 2, 3, 4) == [4]


def test_a_settlement_that_has_passed_stays_due_when_the_next_is_announced() -> None:
    feed, _ = book()
    announce(feed, 1, said=0.0, every=1)
    announce(feed, 2, said=1.0, every=1)
    announce(feed, 4, said=2.0, every=4)
    assert due_after(feed, 0, 1, 2) == [1, 2]
    missing = feed.missing_of(A, 0, T0 + 2 * M)
    assert missing == MissingData(A, None, T0)
    feed.settled(A, [rate(T0 + M), rate(T0 + 2 * M)])
    assert due_after(feed, 2, 3, 4) == [4]


def test_an_interval_that_returns_is_followed_both_ways() -> None:
    feed, _ = book()
    for said, following, every in ((0.0, 4, 4), (0.5, 1, 1), (1.0, 2, 1), (1.5, 4, 4)):
        announce(feed, following, said, every)
    feed.settled(A, [rate(T0 + M)])
    assert due_after(feed, 2, 3, 4) == [4]


def test_an_announcement_that_comes_first_after_a_settlement_does_not_hide_it() -> None:
    feed, _ = book()
    announce(feed, 8, said=4.5, every=4)
    assert due_after(feed, 3, 4) == [4]


def test_a_settlement_that_never_shows_is_given_up_and_its_rate_is_taken_all_the_same() -> None:
    feed, seen = book()
    announce(feed, 1, said=0.0)
    feed.settled(A, [], asked_ms=T0 + M + RATE_LAG_MS - 1)
    assert due_after(feed, 1) == [1]
    feed.settled(A, [], asked_ms=T0 + M + RATE_LAG_MS)
    assert due_after(feed, 1) == []
    for i in range(3):
        feed.confirmed(bar(i), close_ms(i))
    feed.settled(A, [rate(T0 + M)])
    feed.flush(close_ms(2))
    assert ("rate", T0 + M, True) in kinds(seen)


def test_a_doubt_is_asked_once_and_ends_with_an_answer() -> None:
    feed, _ = book()
    feed.doubt([A])
    assert feed.missing_of(A, 0, T0) == MissingData(A, None, T0)
    assert feed.missing_of(A, 0, T0, doubts=False) is None
    feed.settled(A, [])  # no answer came
    assert feed.missing_of(A, 0, T0) is not None
    feed.settled(A, [], asked_ms=T0)
    assert feed.missing_of(A, 0, T0) is None
    feed.set_interval(A, M)
    assert feed.missing_of(A, 0, T0) is not None


def test_a_symbol_that_is_dropped_is_waited_for_no_more() -> None:
    feed, seen = book(A, B)
    feed.confirmed(bar(0), close_ms(0))
    feed.flush(close_ms(0))
    assert kinds(seen) == []
    feed.drop(B)
    feed.confirmed(bar(0, B), close_ms(0))
    feed.fetched([bar(0, B)])
    feed.flush(close_ms(0))
    assert kinds(seen) == [("bars", close_ms(0), True)]
    assert [each.symbol for each in seen[0].bars] == [A]  # type: ignore[union-attr]
    assert feed.missing_of(B, close_ms(9), close_ms(9)) is None
    assert feed.give_up(B, close_ms(9)) is None
    assert feed.rates_due(close_ms(9)) == [A]


def test_what_an_earlier_process_has_seen_is_not_told_again() -> None:
    """One symbol had seen bar 0 when the process ended, the other had not."""
    seen: list[Event] = []
    every_ms = dict.fromkeys((A, B), EVERY_MS)
    feed = FeedSequencer(every_ms, MINUTE_MS, T0, seen.append, seen_ms={A: close_ms(0), B: T0})
    for symbol in (A, B):
        feed.fetched([bar(0, symbol), bar(1, symbol)])
    feed.decide(close_ms(1), 0, live=False)
    told = [[each.symbol for each in event.bars] for event in seen if isinstance(event, BarsClosed)]
    assert told == [[B], [A, B]]


def test_rules_of_a_symbol_that_is_not_followed_change_nothing() -> None:
    feed, _ = book(A)
    feed.set_interval(B, 1)
    assert feed.rates_due(close_ms(9)) == [A]
