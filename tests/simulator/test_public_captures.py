"""Our public answers beside recorded ones: the same keys, types and notation of numbers, or a reason."""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.simulator.server import running
from tests.simulator.bench import Door, config, door

CAPTURES = os.environ.get("TEST_CAPTURES", "")
pytestmark = pytest.mark.skipif(not CAPTURES, reason="TEST_CAPTURES names no folder of recorded messages")

MORE = {
    "tickers": {  # Bybit sends these today; the recordings are older
        "data.fundingIntervalHour",
        "data.fundingCap",
        "data.singleOpenInterest",
        "data.singleOpenInterestValue",
    },
    "publicTrade": {"data[].RPI", "data[].seq"},  # since 2025; the recording is older
}
"""Keys that we send beyond a recording, by topic."""


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Door]:
    async with running(config(ticks_per_s=50.0)) as exchange, door(exchange) as opened:
        yield opened


def recorded(name: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads((Path(CAPTURES) / f"{name}.json").read_text())
    return message


def shape(value: object, at: str = "") -> dict[str, str]:
    """Place → kind of value: JSON's types, and of texts what they look like."""
    match value:
        case dict():
            return {
                k: v for key, each in value.items() for k, v in shape(each, f"{at}.{key}".lstrip(".")).items()
            }
        case list():
            return {k: v for each in value for k, v in shape(each, f"{at}[]").items()}
        case bool():
            return {at: "bool"}
        case int():
            return {
                at: "milliseconds"
                if value > 10**12 and at.endswith(("ts", "T", "time", "start", "end"))
                else "int"
            }
        case str() if re.fullmatch(r"-?\d+(\.\d+)?", value):
            return {at: "number as text"}
        case _:
            return {at: type(value).__name__}


def compare(ours: dict[str, Any], name: str, more: frozenset[str] | set[str] = frozenset()) -> None:
    theirs = shape(recorded(name))
    mine = shape(ours)
    assert set(mine) - more == set(theirs)
    assert {at: kind for at, kind in mine.items() if at in theirs} == theirs


async def test_the_open_candle_of_the_stream(ask: Door) -> None:
    async with ask.socket() as client:
        await client.subscribe("kline.1.BTCUSDT")
        compare(await client.topic("kline.1.BTCUSDT"), "real_ws_kline_linear_open")


async def test_the_ticker_of_the_stream(ask: Door) -> None:
    async with ask.socket() as client:
        await client.subscribe("tickers.BTCUSDT")
        first = await client.topic("tickers.BTCUSDT")
        for name in ("real_ws_ticker_linear_snapshot", "real_ws_ticker_linear_snapshot_btc_2025"):
            compare(first, name, MORE["tickers"])
        places = {key: decimals(text) for key, text in first["data"].items()}
        theirs = recorded("real_ws_ticker_linear_snapshot_btc_2025")["data"]
        for key in (
            "lastPrice",
            "bid1Price",
            "ask1Price",
            "highPrice24h",
            "price24hPcnt",
            "turnover24h",
            "volume24h",
        ):
            assert places[key] == decimals(theirs[key]), key
        delta, older = await client.topic("tickers.BTCUSDT"), recorded("real_ws_ticker_linear_delta_btc")
        assert set(delta) == set(older)
        assert {at for at in shape(delta) if "data" not in at} == {
            at for at in shape(older) if "data" not in at
        }


async def test_the_first_level_of_the_book(ask: Door) -> None:
    async with ask.socket() as client:
        await client.subscribe("orderbook.1.BTCUSDT")
        message = await client.topic("orderbook.1.BTCUSDT")
    compare(message, "real_ws_orderbook1_snapshot")
    assert decimals(message["data"]["b"][0][0]) == decimals(
        recorded("real_ws_orderbook1_snapshot")["data"]["b"][0][0]
    )


async def test_the_trades_of_the_stream(ask: Door) -> None:
    async with ask.socket() as client:
        await client.subscribe("publicTrade.BTCUSDT")
        message = await client.topic("publicTrade.BTCUSDT")
    compare(message, "real_ws_public_trade_2025", MORE["publicTrade"])
    assert decimals(message["data"][0]["p"]) == decimals(
        recorded("real_ws_public_trade_2025")["data"][0]["p"]
    )


async def test_acks_and_pongs(ask: Door) -> None:
    async with ask.socket() as client:
        await client.say(op="subscribe", args=["kline.1.BTCUSDT"])
        ack = await client.until(lambda m: "success" in m)
        compare(ack, "real_ws_subscribe_ack_linear")
        assert list(ack) == list(recorded("real_ws_subscribe_ack_linear"))
        refused = await client.subscribe("liquidation.BTCUSDT", req_id="old")
        compare(refused, "real_ws_subscribe_unknown_topic")
        assert refused["ret_msg"] == recorded("real_ws_subscribe_unknown_topic")["ret_msg"]
        await client.say(op="ping", req_id="7")
        compare(await client.until(lambda m: m.get("op") == "ping"), "real_ws_pong_public_with_req_id")


async def test_candles_of_a_query(ask: Door) -> None:
    answer = await ask.get("market/kline", category="linear", symbol="BTCUSDT", interval="1", limit=1)
    compare(answer, "real_rest_kline_limit1_is_the_open_candle")
    nothing = await ask.get("market/kline", category="linear", symbol="BTCUSDT", interval="1", end=1)
    compare(nothing, "real_rest_kline_empty")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("market/time", "doc_rest_time"),
        ("market/risk-limit?category=linear&symbol=BTCUSDT", "doc_rest_risk_limit"),
        ("market/funding/history?category=linear&symbol=BTCUSDT&limit=1", "doc_rest_funding_history"),
        ("market/mark-price-kline?symbol=BTCUSDT&interval=1&limit=1", "doc_rest_mark_kline"),
        (
            "market/premium-index-price-kline?symbol=BTCUSDT&interval=1&limit=1",
            "doc_rest_premium_index_kline",
        ),
        ("market/orderbook?category=linear&symbol=BTCUSDT", "doc_rest_orderbook_spot"),
        ("market/recent-trade?category=linear&symbol=BTCUSDT&limit=1", "doc_rest_recent_trade_spot"),
        ("market/price-limit?symbol=BTCUSDT", "doc_rest_price_limit"),
    ],
)
async def test_keys_of_the_documented_answers(ask: Door, path: str, name: str) -> None:
    async with ask.http.get(f"{ask.exchange.http_url}/v5/{path}") as response:
        ours = await response.json()
    missing = {"result.nextPageCursor"}  # risk-limit pages; the old example has one page
    assert set(shape(ours)) - missing == set(shape(recorded(name)))


async def test_an_instrument_has_the_documented_keys(ask: Door) -> None:
    ours = shape(await ask.get("market/instruments-info", category="linear", symbol="BTCUSDT"))
    theirs = shape(recorded("doc_rest_instruments_linear_1"))
    assert set(theirs) <= set(ours)
    assert set(ours) - set(theirs) == {"result.list[].displayName", "result.list[].forbidUplWithdrawal"}
    assert {at: kind for at, kind in ours.items() if at in theirs} == theirs


def decimals(text: str) -> int:
    return len(text.partition(".")[2])
