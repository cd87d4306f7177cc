"""Symbols as people write them, and the name that was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.symbols import is_symbol, nearest, no_such_symbol, spelled

KNOWN = ("1000PEPEUSDT", "BTCUSDT", "ETHUSDT", "ETHFIUSDT", "1000000MOGUSDT", "SHIB1000USDT", "SOLUSDT")


@pytest.mark.parametrize(
    "text",
    [
        "BTCUSDT",
        "btcusdt",
        "BTC/USDT",
        "BTC-USDT",
        "btc_usdt",
        "BTC/USDT:USDT",
        "BtcUsdt",
        "BTCUSDT.P",
        "BYBIT:BTCUSDT.P",
    ],
)
def test_a_symbol_is_understood_as_people_write_it(text: str) -> None:
    assert spelled(text) == "BTCUSDT"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("BTC-26DEC25", "BTC-26DEC25"),
        ("btc/usd:btc", "BTCUSD"),
        ("../b", "../B"),
        ("币安人生usdt", "币安人生USDT"),
        ("币安人生/USDT:USDT", "币安人生USDT"),
    ],
)
def test_other_forms_are_left_alone(text: str, same: str) -> None:
    assert spelled(text) == same


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("BTCUSDT", True),
        ("BTC-26DEC25", True),
        ("币安人生USDT", True),
        ("ÖLUSDT", True),
        ("A" * 40, True),
        ("A" * 41, False),
        ("", False),
        ("btcusdt", False),
        ("ölUSDT", False),
        ("-BTC", False),
        ("..", False),
        *((f"BTC{sign}USDT", False) for sign in "/\\_ :%\n\0&?#"),
    ],
)
def test_a_symbol_has_letters_of_any_script_and_no_sign_of_a_path(text: str, is_one: bool) -> None:
    assert is_symbol(text) == is_one


@given(st.text(max_size=30))
def test_spelling_twice_changes_nothing(text: str) -> None:
    assert spelled(spelled(text)) == spelled(text)


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        ("PEPEUSDT", "1000PEPEUSDT"),
        ("MOGUSDT", "1000000MOGUSDT"),
        ("SHIBUSDT", "SHIB1000USDT"),
        ("1000BTCUSDT", "BTCUSDT"),
        ("BTC", "BTCUSDT"),
        ("BTCUSD", "BTCUSDT"),
        ("ETHUSDC", "ETHUSDT"),
        ("XBTUSDT", "BTCUSDT"),
        ("BTCUST", "BTCUSDT"),
        ("SOLLUSDT", "SOLUSDT"),
        ("NOPEXXUSDT", None),
        ("USDT", None),
        ("", None),
    ],
)
def test_the_symbol_that_was_meant_is_named(symbol: str, meant: str | None) -> None:
    assert nearest(symbol, KNOWN) == meant
    assert (f"did you mean {meant}?" in no_such_symbol(symbol, KNOWN)) == (meant is not None)
