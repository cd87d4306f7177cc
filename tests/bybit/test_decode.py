import msgspec
import pytest

from bot.bybit.decode import MAX_REST_BYTES, decode, rows
from bot.domain.errors import BadInput


class Row(msgspec.Struct):
    qty: str
    count: int = 3
    tags: list[str] = []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"count":1}',
        '{"qty":5}',
        '{"qty":"1","count":"many"}',
        '{"qty":"1","count":1.5}',
        '{"qty":"1","count":NaN}',
        '{"qty":"1","count":Infinity}',
        '{"qty":"1","tags":[1]}',
        '{"qty":"1"} x',
        '{"qty":"\ud800"}',
        b'{"qty":"\xff"}',
        '{"x":' * 100_000,
        '{"qty":"1","new":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"qty":"' + "9" * 300_000 + '"}',
    ],
)
def test_what_is_not_of_the_shape_is_bad_input_in_one_line(text: str | bytes) -> None:
    with pytest.raises(BadInput) as caught:
        decode(text, Row)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_unknown_fields_are_skipped_and_numbers_may_be_text() -> None:
    assert decode('{"qty":"1","count":"7","new":{"deep":[1,{}]}}', Row) == Row("1", 7)
    assert decode(b'{"qty":"1"}', Row) == Row("1")


def test_the_limit_is_the_callers() -> None:
    long = '{"qty":"' + "9" * 300_000 + '"}'
    assert len(decode(long, Row, limit=MAX_REST_BYTES).qty) == 300_000
    with pytest.raises(BadInput, match="at most 10"):
        decode('{"qty":"123"}', Row, limit=10)


def test_each_row_is_read_by_itself() -> None:
    found = rows(msgspec.Raw(b'[{"qty":"1"},{"qty":2},{"qty":"3","count":null,"tags":"x"},{"count":1}]'), Row)
    assert found.good == [Row("1"), Row("3")]
    assert len(found.bad) == 2
    assert all(reason.startswith("Row: ") for reason in found.bad)


@pytest.mark.parametrize("raw", [b"{}", b"null", b"[1]", b'["a"]', b"[[", b"[{}", b"[{\xff}]"])
def test_what_is_no_list_of_objects_is_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput):
        rows(msgspec.Raw(raw), Row)
