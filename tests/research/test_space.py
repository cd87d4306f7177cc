"""What a search tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadUsage
from bot.research.space import Axis, check_axes, draws, grid, parse_axis, point, size


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
    ],
)
def test_an_axis_that_cannot_be_meant_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadUsage, match="--grid"):
        parse_axis(text)


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
