"""The marks of the last hours, which late settlements are paid at."""

from decimal import Decimal

from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.exchange.quotes.past_marks import KEPT, PastMarks

D = Decimal
T = 480 * HOUR_MS


def test_the_mark_of_a_time_is_the_last_one_up_to_it() -> None:
    past = PastMarks()
    for ts_ms, price in ((T - 90_000, 1), (T - 5_000, 2), (T - 1, 3), (T + 1, 4), (T + 59_000, 5)):
        past.note(ts_ms, D(price))
    assert past.at(T) == 3
    assert past.at(T - MINUTE_MS) == 1
    assert past.at(T + MINUTE_MS) == 5
    assert past.at(T - 91_000) is None


def test_an_older_mark_than_the_last_changes_nothing() -> None:
    past = PastMarks()
    past.note(T, D(1))
    past.note(T - 1, D(9))
    assert (past.times, past.prices) == ([T], [D(1)])


def test_a_bar_fills_only_minutes_without_a_mark() -> None:
    past = PastMarks()
    past.note(T - 30_000, D(1))
    past.note(T + HOUR_MS, D(5))
    past.fill(T - 1, D(7))
    past.fill(T + MINUTE_MS - 1, D(2))
    assert (past.at(T), past.at(T + MINUTE_MS)) == (1, 2)
    assert past.times == sorted(past.times)


def test_it_keeps_a_bounded_number_of_minutes() -> None:
    past = PastMarks()
    for minute in range(KEPT + 50):
        past.note(T + minute * MINUTE_MS, D(minute))
    assert len(past.times) == len(past.prices) == KEPT
    assert past.at(T + 49 * MINUTE_MS) is None
