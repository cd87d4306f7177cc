"""What the status says of an account: nothing before it was read, and whose its positions are."""

from bot.service import status
from tests.engine.scripted import engine, holding, reading, remote


def test_an_account_that_was_never_read_shows_no_money() -> None:
    one = remote({})
    told = status.account(one)
    assert (told["equity"], told["cash"]) == (None, None)
    one.handle(reading("1234.5", first=True))
    told = status.account(one)
    assert (told["equity"], told["cash"]) == (1234.5, 1234.5)
    assert status.account(engine({}))["equity"] == 10_000


def test_a_foreign_position_is_shown_apart_from_ours() -> None:
    one = remote({})
    one.handle(reading("10000", holding("2.5", own="2"), first=True))
    told = status.account(one)
    assert told["foreign_positions"] == [{"symbol": "BTCUSDT", "qty": "0.5"}]
    assert [each["qty"] for each in told["positions"]] == ["2"]  # type: ignore[attr-defined]
