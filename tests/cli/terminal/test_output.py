import json
from decimal import Decimal

import numpy as np
import pytest

from bot.cli.terminal.output import emit_json, emit_table


def test_json_is_one_line_of_plain_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json(
        {
            "price": Decimal("5.50"),
            "whole": Decimal("1E+3"),
            "none": None,
            "nan": float("nan"),
            "inf": [float("-inf"), np.float64("nan")],
            "array": np.array([[1.0, np.nan]]),
            "count": np.int64(3),
            "pair": (1, "é"),
            "flag": True,
        }
    )
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text, parse_constant=pytest.fail) == {
        "price": 5.5,
        "whole": 1000,
        "none": None,
        "nan": None,
        "inf": [None, None],
        "array": [[1.0, None]],
        "count": 3,
        "pair": [1, "é"],
        "flag": True,
    }


def test_a_value_json_has_no_form_for_is_an_error() -> None:
    with pytest.raises(TypeError):
        emit_json({"x": object()})


def test_tables_align_numbers_right_and_texts_left(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(("name", "rows"), [("a", 1234), ("bcd", None)])
    assert capsys.readouterr().out == "name   rows\na     1,234\nbcd\n"
