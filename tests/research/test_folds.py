"""The spans of a walk-forward."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS
from bot.research.search.folds import make_folds

T0 = 20_000 * DAY_MS


@given(
    st.integers(0, 47),
    st.integers(1, 200),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(0, 60),
    st.booleans(),
)
def test_tests_are_whole_days_without_a_hole_and_no_training_reaches_into_them(
    begin_h: int, days: int, train: int, test: int, gap_h: int, is_growing: bool
) -> None:
    first, end = T0 + begin_h * HOUR_MS, T0 + days * DAY_MS
    lengths = {"train_ms": train * DAY_MS, "test_ms": test * DAY_MS, "gap_ms": gap_h * HOUR_MS}
    try:
        folds = make_folds(first, end, is_growing=is_growing, **lengths)
    except BadUsage:
        assert first + sum(lengths.values()) + DAY_MS > end
        return
    for fold in folds:
        assert fold.test_from_ms % DAY_MS == 0
        assert fold.test_to_ms - fold.test_from_ms == lengths["test_ms"]
        assert fold.test_from_ms - fold.train_to_ms == lengths["gap_ms"]
        assert first <= fold.train_from_ms
        assert fold.test_to_ms <= end
        trained = fold.train_to_ms - fold.train_from_ms
        assert trained >= lengths["train_ms"] if is_growing else trained == lengths["train_ms"]
    assert all(one.test_to_ms == two.test_from_ms for one, two in itertools.pairwise(folds))
    assert end - folds[-1].test_to_ms < lengths["test_ms"]  # no day is wasted


def test_spans_that_are_no_days_and_data_that_are_too_short_are_refused_with_numbers() -> None:
    with pytest.raises(BadUsage, match="--test: must be whole days"):
        make_folds(T0, T0 + 100 * DAY_MS, train_ms=DAY_MS, test_ms=HOUR_MS)
    with pytest.raises(BadUsage, match=r"needs 40\.0 days .* have 30\.0"):
        make_folds(T0, T0 + 30 * DAY_MS, train_ms=30 * DAY_MS, test_ms=10 * DAY_MS)
