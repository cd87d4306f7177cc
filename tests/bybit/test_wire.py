import msgspec
import pytest

from bot.bybit import wire
from bot.bybit.decode import decode
from tests.payloads import bybit as payloads
from tests.payloads.bybit import text


@pytest.mark.parametrize("nothing", ["", "0", "0.00", "0.0000", "UNKNOWN", None, msgspec.UNSET])
def test_unset_recognises_every_spelling_of_nothing(nothing: object) -> None:
    assert wire.unset(nothing)


@pytest.mark.parametrize("something", ["0.01", "10", "100", "-1", "LastPrice"])
def test_unset_is_false_for_a_value(something: str) -> None:
    assert not wire.unset(something)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (wire.OrderPush, payloads.ORDER),
        (wire.ExecutionPush, payloads.EXECUTION),
        (wire.PositionPush, payloads.POSITION),
        (wire.WalletRow, payloads.WALLET),
        (wire.TickerRow, payloads.TICKER_SNAPSHOT["data"]),
        (wire.InstrumentRow, payloads.INSTRUMENT),
        (wire.RiskRow, payloads.RISK),
    ],
)
def test_a_row_keeps_given_fields_and_defaults_the_others(row: type, message: dict[str, object]) -> None:
    again = msgspec.json.decode(msgspec.json.encode(decode(text(message), row)))
    assert {name: again[name] for name in message if name not in ("coin", "lotSizeFilter")} == {
        name: value for name, value in message.items() if name not in ("coin", "lotSizeFilter")
    }


def test_a_delta_carries_only_what_changed() -> None:
    delta = wire.TickerRow(symbol="BTCUSDT", bid1Price="")
    assert msgspec.json.encode(delta) == b'{"symbol":"BTCUSDT","bid1Price":""}'


def test_rest_and_stream_name_the_entry_price_differently() -> None:
    assert "avgPrice" in wire.PositionRow.__struct_fields__
    assert "avgPrice" not in wire.PositionPush.__struct_fields__
    assert "entryPrice" in wire.PositionPush.__struct_fields__
    assert "category" not in wire.OrderRow.__struct_fields__
    assert "category" in wire.OrderPush.__struct_fields__
