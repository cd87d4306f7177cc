"""Rows in shapes that Bybit sends without notice: blank, missing and unknown fields, new words.

A blank number is unknown. It is never taken for 0 and never ends the program.
"""

import json
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest

from bot.bybit import orders, rest, wire
from bot.bybit.account.order_table import OrderTable
from bot.bybit.account.reading import AccountReading, AccountRows, account_of
from bot.bybit.account.rows import cause_of, entry_price, executed_qty, number, number_or_none
from bot.bybit.instruments import instrument_of
from bot.bybit.private import ExecutionUpdates, OrderUpdates, PositionUpdates, PrivateSession, WalletUpdates
from bot.bybit.public import Kline, PublicSession, TickerUpdate
from bot.bybit.session import BadMessage, Patience
from bot.domain.errors import BadInput
from bot.domain.messages import Filled
from tests.bybit.account.rows import execution, order_row

PATIENCE = Patience(1e12, 1e12, 1e12)
KINDS = {
    "order": (OrderUpdates, wire.OrderPush),
    "execution": (ExecutionUpdates, wire.ExecutionPush),
    "position": (PositionUpdates, wire.PositionPush),
    "wallet": (WalletUpdates, wire.WalletRow),
}
ROWS: dict[str, dict[str, Any]] = {
    "order": msgspec.to_builtins(order_row()),
    "execution": msgspec.to_builtins(execution()),
    "position": msgspec.to_builtins(
        wire.PositionPush(symbol="BTCUSDT", side="Buy", size="1", entryPrice="100", positionValue="100")
    ),
    "wallet": msgspec.to_builtins(wire.WalletRow(coin=[wire.CoinRow(coin="USDT", walletBalance="10")])),
}
IDENTITY = {"symbol", "orderId", "execId", "side", "orderStatus", "orderType", "qty", "coin", "size"}
IDENTITY |= {"execPrice", "execQty", "execType", "execTime"}
"""Fields without which a row says nothing."""
CHANGES = [
    (topic, field, what)
    for topic, row in ROWS.items()
    for field in sorted(row.keys() - IDENTITY)
    for what in ("", None, "gone", 12345)
]


def told(topic: str, row: dict[str, Any]) -> Any:
    session = PrivateSession("k", "s", [topic], ids=(str(n) for n in count()), patience=PATIENCE)
    push = {"id": "1", "topic": topic, "creationTime": 1, "data": [row]}
    return session.receive(json.dumps(push), 1)


@pytest.mark.parametrize(("topic", "field", "what"), CHANGES)
def test_a_row_outlives_any_minor_field_that_is_blank_missing_or_odd(
    topic: str, field: str, what: Any
) -> None:
    row = {**ROWS[topic], field: what}
    if what == "gone":
        del row[field]
    (found,) = told(topic, row)
    assert isinstance(found, KINDS[topic][0])
    assert len(found.rows) == 1


@pytest.mark.parametrize("topic", ROWS)
def test_unknown_fields_and_words_are_let_through(topic: str) -> None:
    (found,) = told(topic, {**ROWS[topic], "fieldOf2027": {"deep": [1, "x"]}, "createType": "CreateByMagic"})
    assert isinstance(found, KINDS[topic][0])


@pytest.mark.parametrize("text", ["", " ", "none", "NaN", "1e", "--"])
def test_a_text_without_a_number_is_no_number(text: str) -> None:
    with pytest.raises(BadInput):
        number(text)
    assert number_or_none("") is None
    assert number_or_none("0") == 0


@pytest.mark.parametrize(
    ("fields", "executed"),
    [
        ({"cum": "0.4"}, "0.4"),
        ({"cum": "", "status": "New"}, "0"),
        ({"cum": "", "status": "Untriggered"}, "0"),
        ({"cum": "", "status": "Rejected"}, "0"),
        ({"cum": "", "status": "PartiallyFilled", "leavesQty": "0.3"}, "0.7"),
        ({"cum": "", "status": "PartiallyFilled", "leavesQty": ""}, None),
        # the rest of a cancelled order is told as 0, so it does not say what was executed
        ({"cum": "", "status": "Cancelled", "leavesQty": "0"}, None),
    ],
)
def test_an_executed_quantity_that_is_not_told_is_unknown_unless_the_row_implies_it(
    fields: dict[str, Any], executed: str | None
) -> None:
    row = order_row(**fields)
    if executed is None:
        with pytest.raises(BadInput):
            executed_qty(row)
    else:
        assert executed_qty(row) == Decimal(executed)


def position(**fields: Any) -> wire.PositionRow:
    return wire.PositionRow(symbol="BTCUSDT", side="Buy", **({"size": "2"} | fields))


def test_an_entry_price_that_is_not_told_follows_from_the_value_or_is_unknown() -> None:
    assert entry_price(position(avgPrice="100")) == 100
    assert entry_price(position(avgPrice="", positionValue="210")) == 105
    with pytest.raises(BadInput, match="does not tell the entry price"):
        entry_price(position(avgPrice="", positionValue=""))


def test_a_position_of_unknown_size_is_not_taken_for_flat() -> None:
    reading = AccountReading(1, AccountRows(Decimal(10), (position(size="", avgPrice="1"),)))
    with pytest.raises(BadInput):
        account_of(OrderTable("bot", ["BTCUSDT"]), reading)


@pytest.mark.parametrize("kind", ["CorporateAction", "MovePosition", "FutureSpread", "KindOf2027"])
def test_a_position_change_of_a_new_kind_is_booked_and_is_nobodys_order(kind: str) -> None:
    table = OrderTable("bot", ["BTCUSDT"])
    table.adopted = True
    (event,) = table.on_execution(execution(link="", order="venue", execType=kind, createType=""))
    assert isinstance(event, Filled)
    assert table.positions == {"BTCUSDT": 1}
    assert cause_of(execution(execType=kind)) == "order"
    assert table.foreign_fills == 1


# Market data


def public(message: dict[str, Any]) -> Any:
    session = PublicSession([message["topic"]], ids=(str(n) for n in count()), patience=PATIENCE)
    return session.receive(json.dumps(message, separators=(",", ":")), 1)


def test_a_candle_without_turnover_or_interval_is_a_candle() -> None:
    row = {"start": 60_000, "open": "1", "close": "1", "high": "1", "low": "1", "volume": "1"}
    row |= {"confirm": True, "turnover": "", "extra": [1]}
    (found,) = public({"topic": "kline.1.BTCUSDT", "ts": 120_000, "type": "snapshot", "data": [row]})
    assert isinstance(found, Kline)
    assert found.bar().turnover is None


def test_a_candle_without_a_price_is_unreadable_and_not_0() -> None:
    row = {"start": 60_000, "open": "1", "close": "", "high": "1", "low": "1", "volume": "1", "confirm": True}
    (found,) = public({"topic": "kline.1.BTCUSDT", "ts": 120_000, "type": "snapshot", "data": [row]})
    assert isinstance(found, BadMessage)


def test_blank_prices_of_a_ticker_are_unknown() -> None:
    blank = dict.fromkeys(("bid1Price", "ask1Price", "markPrice", "fundingRate", "nextFundingTime"), "")
    data = {"symbol": "BTCUSDT", "lastPrice": "100", "newIn2027": None, **blank}
    (found,) = public({"topic": "tickers.BTCUSDT", "ts": 1, "type": "snapshot", "data": data})
    assert isinstance(found, TickerUpdate)
    assert (found.last, found.bid, found.ask, found.mark, found.next_funding_ms) == (100.0, *[None] * 4)


def test_a_candle_of_rest_may_leave_its_turnover_blank() -> None:
    rows = [["60000", "1", "2", "1", "1", "5", ""]]
    body = json.dumps({"retCode": 0, "result": {"symbol": "BTCUSDT", "list": rows}, "time": 1}).encode()
    assert rest.parse_klines(body, "BTCUSDT", 60_000).bars[0].turnover is None


def wallet_answer(**coin: str) -> bytes:
    row = {"coin": [{"coin": "USDT", **coin}], "accountType": "UNIFIED", "totalEquity": ""}
    return json.dumps({"retCode": 0, "result": {"list": [row]}}).encode()


def test_what_may_be_withdrawn_is_blank_and_nobody_asks() -> None:
    wallet = orders.parse_wallet(wallet_answer(walletBalance="12.5", availableToWithdraw="", equity=""))
    assert wallet.coin[0].walletBalance == "12.5"


INSTRUMENT: dict[str, Any] = {
    "symbol": "XAUUSDT",
    "symbolId": 7,
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "XAU",
    "quoteCoin": "USDT",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "25", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.1", "maxPrice": "9999", "tickSize": "0.1"},
    "lotSizeFilter": {"maxOrderQty": "100", "minOrderQty": "0.01", "qtyStep": "0.01"},
    "fundingInterval": 60,
    "preListingInfo": {"curAuctionPhase": "CallAuction", "phases": []},
    "symbolType": "commodity",
}
TIER = wire.RiskRow(
    id=1,
    symbol="XAUUSDT",
    riskLimitValue="1",
    maintenanceMargin="0.01",
    initialMargin="0.04",
    maxLeverage="25",
)


@pytest.mark.parametrize("kind", ["commodity", "stock", "forex", "kindOf2027", ""])
def test_a_contract_of_any_type_is_read(kind: str) -> None:
    body = json.dumps({"retCode": 0, "result": {"list": [{**INSTRUMENT, "symbolType": kind}]}}).encode()
    page = orders.parse_instruments(body)
    assert page.bad == ()
    assert instrument_of(page.rows[0], [TIER]).funding_interval_ms == 3_600_000
