import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app.venue_check.shapes import differences, shape_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_an_answer_does_not_differ_from_itself(value: object) -> None:
    assert differences(shape_of(value), shape_of(value)) == []


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(alphabet="xyz", min_size=1, max_size=3))
)
def test_a_shape_holds_no_value(value: dict[str, object]) -> None:
    kinds = set().union(*shape_of(value).values()) if value else set()
    assert kinds <= {"whole number", "text"}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({}, "a: missing, expected number as text"),
        ({"a": 1}, "a: is whole number, expected number as text"),
        ({"a": "x"}, "a: is text, expected number as text"),
        ({"a": ["1"]}, "a: is list, expected number as text"),
        ({"a": "1", "b": 2}, "b: not expected, is whole number"),
    ],
    ids=str,
)
def test_a_field_that_differs_is_named(found: dict[str, object], line: str) -> None:
    told = differences(shape_of(found), shape_of({"a": "1.5"}))
    assert line in told


@pytest.mark.parametrize("found", [{"a": ""}, {"a": None}, {"a": "-2e-8"}, {"a": "7"}])
def test_other_values_and_empty_ones_are_no_difference(found: dict[str, object]) -> None:
    assert differences(shape_of(found), shape_of({"a": "1.5"})) == []


def test_an_empty_list_says_nothing_about_its_rows_and_a_row_is_judged_by_all_rows() -> None:
    rows = {"list": [{"a": "", "b": 1}, {"a": "2", "b": 2}]}
    assert differences(shape_of({"list": []}), shape_of(rows)) == []
    assert differences(shape_of(rows), shape_of({"list": []})) == []
    assert differences(shape_of({"list": [{"a": "5"}]}), shape_of(rows)) == [
        "list[].b: missing, expected whole number"
    ]


def test_the_digits_of_a_name_do_not_make_it_a_number() -> None:
    assert differences(shape_of({"orderId": "12"}), shape_of({"orderId": "f3-a"})) == []
