"""What a search tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadUsage
from bot.research.search.space import Axis, check_axes, draws, grid, parse_axis, point, size


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=6,12,24", ("6", "12", "24")),
        ("fast=10..50:20", ("10", "30", "50")),
        ("fast=3..5", ("3", "4", "5")),
        ("size=0.1..0.3:0.1", ("0.1", "0.2", "0.3")),
        ("size=0.1..0.35:0.1", ("0.1", "0.2", "0.3")),
        ("k=-1..1", ("-1", "0", "1")),
        ("mode=long, both", ("long", "both")),
        ("n=1,5..7,none", ("1", "5", "6", "7", "none")),
    ],
)
def test_an_axis_lists_its_values(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text) == Axis(text.partition("=")[0], values)


@pytest.mark.parametrize(
    "text",
    [
        "fast",
        "=1,2",
        "fast=",
        "fast=1,,2",
        "fast=5..1",
        "fast=1..5:0",
        "fast=1..5:-1",
        "fast=a..b",
        "fast=1,2,1",
        "fast=1..3,2",
        "fast=0..1:1e-9",
        "fast=nan..2",
        "fast=1..inf",
        "stop=5..0.5",
        "stop=0.5..0.5",
        "stop=0.5..5,7",
        "stop=0..5:log",
        "stop=0.5..nan:log",
        "stop=0.5..x",
    ],
)
def test_an_axis_that_cannot_be_meant_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadUsage, match="--grid"):
        parse_axis(text)


def test_a_range_has_a_thousand_equal_steps_and_both_ends() -> None:
    axis = parse_axis("stop=0.5..5")
    assert (axis.name, axis.range, len(axis.values)) == ("stop", "0.5..5", 1_001)
    assert (axis.values[0], axis.values[1], axis.values[-1]) == ("0.5", "0.5045", "5")
    assert parse_axis("n=1.0..5").range == "1.0..5"
    assert parse_axis("n=1..5").range == ""


def test_a_range_with_log_draws_each_ratio_as_often() -> None:
    for text, low in (("stop=0.02..20:log", 0.02), ("bars=1..1000:log", 1.0)):
        axis = parse_axis(text)
        values = [float(value) for value in axis.values]
        assert values == sorted(values)
        third = sum(value < 10 * low for value in values)
        assert third == pytest.approx(333, abs=12 if low < 1 else 17)
    assert all("." not in value for value in axis.values)
    drawn = list(draws([axis], 400, seed=1))
    assert len({each["bars"] for each in drawn}) == len(drawn)
    assert len(list(draws([axis], 5_000, seed=1))) == size([axis]) == len(set(axis.values))


def test_all_points_of_a_range_are_refused() -> None:
    with pytest.raises(BadUsage, match=r"stop=0.5..5: a range has no grid; --trials"):
        check_axes([parse_axis("a=1"), parse_axis("stop=0.5..5")])
    check_axes([parse_axis("stop=0.5..5")], 20)


def test_a_parameter_has_one_axis_and_a_search_at_least_one() -> None:
    with pytest.raises(BadUsage, match="fast: given twice"):
        check_axes([parse_axis("fast=1"), parse_axis("fast=2")])
    with pytest.raises(BadUsage, match="at least one"):
        check_axes([])


AXES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(
    lambda counts: [Axis(f"p{i}", tuple(map(str, range(n)))) for i, n in enumerate(counts)]
)


@given(AXES)
def test_a_grid_has_every_point_once(axes: list[Axis]) -> None:
    points = list(grid(axes))
    assert len({tuple(each.items()) for each in points}) == len(points) == size(axes)
    assert points == [point(axes, at) for at in range(len(points))]


@given(AXES, st.integers(1, 700), st.integers(0, 9))
def test_draws_are_different_points_and_a_longer_search_begins_as_a_shorter(
    axes: list[Axis], count: int, seed: int
) -> None:
    drawn = list(draws(axes, count, seed))
    assert len({tuple(each.items()) for each in drawn}) == len(drawn) == min(count, size(axes))
    assert list(draws(axes, count + 3, seed))[: len(drawn)] == drawn
