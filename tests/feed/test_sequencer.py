"""The order in which a feed tells bars and rates, without a socket."""

from decimal import Decimal

from bot.domain.market import MINUTE_MS, Bar
from bot.domain.messages import BarsClosed, Event, FundingRate
from bot.feed.sequencer import CLOCK_SLACK_MS, FeedSequencer, MissingData
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
