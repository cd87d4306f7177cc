"""Counts and times in messages."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.words import counted, utc_words

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("count", "words"), [(0, "0 gaps"), (1, "1 gap"), (2000, "2,000 gaps")])
def test_one_thing_is_not_many(count: int, words: str) -> None:
    assert counted(count, "gap") == words


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_is_told_to_the_minute_and_finer_only_if_it_has_more(ms: int) -> None:
    assert datetime.fromisoformat(utc_words(ms)) == EPOCH + timedelta(milliseconds=ms)
    assert utc_words(ms - ms % 60_000) == utc_words(ms)[:16] + "Z"


def test_a_time_that_no_clock_shows_is_told_too() -> None:
    assert utc_words(10**18).endswith("Z")
    assert utc_words(10**30) == f"{10**30} ms"
    assert utc_words(float("nan")) == "nan ms"  # type: ignore[arg-type]
    assert utc_words(-1) == "1969-12-31T23:59:59.999Z"
