import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.domain.market import MINUTE_MS
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.server import running
from bot.simulator.ws import connection as connection_module
from tests.simulator.bench import START_MS, Client, Door, candle_file, candles, config, door


@asynccontextmanager
async def public(faults: FaultHooks | None = None, **changes: Any) -> AsyncIterator[tuple[Door, Client]]:
    """A quick exchange and a client of its public stream."""
    settings = config(**{"ticks_per_s": 50.0, **changes})
    async with running(settings, faults) as exchange, door(exchange) as opened, opened.socket() as client:
        yield opened, client


async def test_acks_and_pongs_have_the_shape_of_the_stream() -> None:
    async with public() as (_, client):
        ack = await client.subscribe("publicTrade.BTCUSDT", req_id="a")
        assert ack == {
            "success": True,
            "ret_msg": "",
            "conn_id": ack["conn_id"],
            "req_id": "a",
            "op": "subscribe",
        }
        await client.say(op="ping", req_id=7)
        pong = await client.until(lambda m: m.get("ret_msg") == "pong")
        assert pong == {
            "success": True,
            "ret_msg": "pong",
            "conn_id": ack["conn_id"],
            "req_id": "7",
            "op": "ping",
        }


async def test_texts_are_compact_and_protocol_pings_are_answered() -> None:
    async with public() as (_, client):
        await client.say(op="ping")
        text = await client.socket.receive_str(timeout=5)
        assert '"ret_msg":"pong"' in text
        assert ": " not in text
        await client.socket.ping(b"x")  # aiohttp hides the pong frame; that we are still here says enough
        await client.say(op="ping", req_id="after")
        await client.until(lambda m: m.get("req_id") == "after")


async def test_one_bad_topic_refuses_the_whole_request() -> None:
    async with public() as (_, client):
        ack = await client.subscribe("tickers.BTCUSDT", "kline.1.NOSUCHUSDT")
        assert not ack["success"]
        assert ack["ret_msg"] == "error:handler not found,topic:kline.1.NOSUCHUSDT"
        await client.subscribe("tickers.ETHUSDT", req_id="good")
        for _ in range(4):
            assert (await client.until(lambda m: "topic" in m))["topic"] == "tickers.ETHUSDT"


@pytest.mark.parametrize(
    "topic",
    ["kline.2.BTCUSDT", "orderbook.500.BTCUSDT", "liquidation.BTCUSDT", "tickers", "", "kline.1.btcusdt"],
)
async def test_topics_that_do_not_exist_are_refused(topic: str) -> None:
    async with public() as (_, client):
        ack = await client.subscribe(topic)
        assert (ack["success"], ack["ret_msg"]) == (False, f"error:handler not found,topic:{topic}")


async def test_a_second_subscription_is_an_error_and_one_after_leaving_is_not() -> None:
    async with public() as (_, client):
        assert (await client.subscribe("tickers.BTCUSDT", req_id="1"))["success"]
        twice = await client.subscribe("tickers.BTCUSDT", req_id="2")
        assert (twice["success"], twice["ret_msg"]) == (
            False,
            "error:already subscribed,topic:tickers.BTCUSDT",
        )
        await client.say(op="unsubscribe", args=["tickers.BTCUSDT"], req_id="3")
        assert (await client.until(lambda m: m.get("req_id") == "3"))["success"]
        assert (await client.subscribe("tickers.BTCUSDT", req_id="4"))["success"]


async def test_requests_are_carried_out_in_the_order_they_came() -> None:
    async with public() as (_, client):
        for number, op in enumerate(("subscribe", "unsubscribe", "subscribe", "subscribe")):
            await client.say(op=op, args=["tickers.BTCUSDT"], req_id=str(number))
        good = [(await client.until(lambda m, n=n: m.get("req_id") == str(n)))["success"] for n in range(4)]
        assert good == [True, True, True, False]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"op":"dance"}', '{"op":"subscribe","args":"x"}', "null"])
async def test_nonsense_is_answered_and_survived(text: str) -> None:
    async with public() as (_, client):
        await client.socket.send_str(text)
        assert (await client.hear())["success"] is False
        assert (await client.subscribe("tickers.BTCUSDT"))["success"]


async def test_an_ack_comes_before_its_first_push() -> None:
    async with public() as (_, client):
        await client.subscribe("tickers.BTCUSDT", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")
        assert "topic" not in client.told[0]
        assert {(await client.hear())["type"] for _ in range(2)} == {"snapshot"}


async def test_a_ticker_is_a_snapshot_then_what_changed_and_adds_up() -> None:
    async with public() as (ask, client):
        await client.subscribe("tickers.BTCUSDT")
        first = await client.topic("tickers.BTCUSDT")
        known = dict(first["data"])
        for _ in range(5):
            delta = await client.topic("tickers.BTCUSDT")
            assert (first["type"], delta["type"]) == ("snapshot", "delta")
            assert "symbol" in delta["data"]
            assert len(delta["data"]) < len(known)
            assert set(delta["data"]) <= set(known)
            assert all(known[key] != text for key, text in delta["data"].items() if key != "symbol")
            known |= delta["data"]
        (row,) = (await ask.market("tickers", symbol="BTCUSDT"))["list"]
        assert set(known) <= set(row)


async def test_a_book_follows_from_its_snapshot_and_deltas() -> None:
    async with public() as (_, client):
        await client.subscribe("orderbook.50.BTCUSDT")
        first = await client.topic("orderbook.50.BTCUSDT")
        sides = {side: dict(first["data"][side]) for side in "ba"}
        u = first["data"]["u"]
        for _ in range(20):
            message = await client.topic("orderbook.50.BTCUSDT")
            assert message["type"] == "delta"
            u += 1
            assert message["data"]["u"] == u
            for side in "ba":
                for price, size in message["data"][side]:
                    if size == "0":
                        del sides[side][price]
                    else:
                        sides[side][price] = size
            assert (len(sides["b"]), len(sides["a"])) == (50, 50)
            assert max(map(Decimal, sides["b"])) < min(map(Decimal, sides["a"]))


async def test_who_comes_later_builds_on_the_same_book() -> None:
    async with public() as (ask, client):
        await client.subscribe("orderbook.50.BTCUSDT")
        for _ in range(3):
            before = await client.topic("orderbook.50.BTCUSDT")
        async with ask.socket() as other:
            await other.subscribe("orderbook.50.BTCUSDT")
            snapshot = await other.topic("orderbook.50.BTCUSDT")
            delta = await other.topic("orderbook.50.BTCUSDT")
        assert (snapshot["type"], delta["type"]) == ("snapshot", "delta")
        assert delta["data"]["u"] == snapshot["data"]["u"] + 1
        while before["data"]["u"] < delta["data"]["u"]:
            after = await client.topic("orderbook.50.BTCUSDT")
            assert after["data"]["u"] == before["data"]["u"] + 1
            before = after
        assert before == delta


async def test_the_first_level_is_snapshots_only_and_repeated_when_it_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.simulator.ws.public.REPEAT_S", 0.1)
    made = candles(bars=30)
    ended = config(data=(candle_file(tmp_path, made),), start_ms=made.end_ms - 1, ticks_per_s=50.0)
    async with running(ended) as exchange, door(exchange) as ask, ask.socket() as client:
        await asyncio.sleep(0.05)  # the file ends: nothing moves any more
        await client.subscribe("orderbook.1.BTCUSDT")
        rows = [await client.topic("orderbook.1.BTCUSDT") for _ in range(3)]
    assert {row["type"] for row in rows} == {"snapshot"}
    assert len({row["data"]["u"] for row in rows[1:]}) == 1
    assert all(len(row["data"][side]) == 1 for row in rows for side in "ba")


async def test_trades_come_in_order_once_and_are_those_of_the_query() -> None:
    async with public() as (ask, client):
        await client.subscribe("publicTrade.BTCUSDT")
        told = []
        while len(told) < 20:
            told += (await client.topic("publicTrade.BTCUSDT"))["data"]
        asked = (await ask.market("recent-trade", symbol="BTCUSDT", limit=200))["list"]
    times = [row["T"] for row in told]
    assert times == sorted(set(times))
    known = {row["execId"]: (row["price"], row["size"], row["side"]) for row in asked}
    assert all(known[row["i"]] == (row["p"], row["v"], row["S"]) for row in told)


async def test_candles_are_confirmed_once_each_with_the_figures_that_rest_then_gives(tmp_path: Path) -> None:
    made = candles(bars=400)
    file = candle_file(tmp_path, made)
    fast = {"data": (file,), "start_ms": START_MS + 100 * MINUTE_MS, "speed": 1200.0}
    async with public(**fast) as (ask, client):
        await client.subscribe("kline.1.BTCUSDT", "kline.5.BTCUSDT")
        fives = await client.confirmed("kline.5.BTCUSDT", 3)
        told = [row for m in client.told if str(m.get("topic", "")).startswith("kline") for row in m["data"]]
        final = [row for row in told if row["confirm"]]
        assert len({(row["interval"], row["start"]) for row in final}) == len(final)
        assert [b["start"] - a["start"] for a, b in pairwise(fives)] == [5 * MINUTE_MS] * 2
        for row in final:
            page = await ask.market(
                "kline", symbol="BTCUSDT", interval=row["interval"], start=row["start"], end=row["start"]
            )
            names = ("open", "high", "low", "close", "volume", "turnover")
            assert page["list"] == [[str(row["start"]), *(row[name] for name in names)]]
    first = (final[0]["start"] - START_MS) // MINUTE_MS
    minutes = [row for row in final if row["interval"] == "1"]
    for index, row in enumerate(minutes):
        assert [float(row[key]) for key in ("open", "high", "low", "close", "volume")] == made.ohlcv[
            first + index
        ].tolist()


async def test_an_open_candle_stays_within_what_it_becomes(tmp_path: Path) -> None:
    fast = {"data": (candle_file(tmp_path, candles()),), "start_ms": START_MS + 99 * MINUTE_MS, "speed": 20.0}
    async with public(**fast) as (_, client):
        await client.subscribe("kline.1.BTCUSDT")
        (whole,) = await client.confirmed("kline.1.BTCUSDT", 1)
        rows = [
            row for m in client.told if "topic" in m for row in m["data"] if row["start"] == whole["start"]
        ]
    assert len(rows) >= 2
    for row in rows:
        assert row["end"] == row["start"] + MINUTE_MS - 1
        assert float(whole["low"]) <= float(row["low"]) <= float(row["high"]) <= float(whole["high"])
    volumes = [float(row["volume"]) for row in rows]
    assert volumes == sorted(volumes)


async def test_minutes_are_confirmed_though_the_file_has_five(tmp_path: Path) -> None:
    file = candle_file(tmp_path, candles(bars=100, interval_ms=5 * MINUTE_MS))
    async with public(data=(file,), start_ms=START_MS + 250 * MINUTE_MS, speed=1200.0) as (_, client):
        await client.subscribe("kline.1.BTCUSDT")
        rows = await client.confirmed("kline.1.BTCUSDT", 7)
    starts = [row["start"] for row in rows]
    assert starts == list(range(starts[0], starts[0] + 7 * MINUTE_MS, MINUTE_MS))


async def test_spot_and_option_streams_answer_in_their_dialect_and_have_no_topics() -> None:
    async with public() as (ask, _):
        for path, mark in (("public/spot", "ping"), ("public/option", "pong"), ("public/inverse", "ping")):
            async with ask.socket(path) as client:
                await client.say(op="ping")
                assert (await client.hear())["op"] == mark
                await client.say(op="subscribe", args=["tickers.BTCUSDT"])
                answer = await client.hear()
                assert not answer.get("success") or answer["data"]["failTopics"]


@pytest.mark.parametrize(("messages", "chars"), [(50, 1 << 30), (1 << 30, 5_000_000)])
async def test_a_client_that_does_not_read_is_cut_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch, messages: int, chars: int
) -> None:
    monkeypatch.setattr(connection_module, "MAX_WAITING_CHARS", chars)
    async with public(queue_max=messages) as (ask, client):
        connections = ask.exchange.streams._connections
        (mine,) = connections
        async with ask.socket():  # says nothing and reads nothing
            (lazy,) = connections.keys() - {mine}
            async with asyncio.timeout(5):
                while lazy in connections:
                    lazy.send("x" * 100_000)
                    await asyncio.sleep(0)
        assert lazy.cut
        await client.subscribe("publicTrade.BTCUSDT")
        await client.topic("publicTrade.BTCUSDT")
        assert list(connections) == [mine]


class _Twisted(FaultHooks):
    """Doubles tickers, loses trades, delays nothing."""

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic.startswith("tickers"):
            return [(0.0, text), (0.01, text)]
        return [] if topic.startswith("publicTrade") else None


async def test_faults_change_what_leaves() -> None:
    async with public(_Twisted()) as (_, client):
        await client.subscribe("tickers.BTCUSDT", "publicTrade.BTCUSDT")
        for _ in range(6):
            await client.topic("tickers.BTCUSDT")
    topics = [m["topic"] for m in client.told if "topic" in m]
    assert set(topics) == {"tickers.BTCUSDT"}
    texts = [json.dumps(m) for m in client.told if "topic" in m]
    assert len(set(texts)) < len(texts)


async def test_stopping_says_goodbye() -> None:
    async with aiohttp.ClientSession() as http:
        async with running(config()) as exchange:
            socket = await http.ws_connect(f"{exchange.ws_url}/v5/public/linear")
            waiting = asyncio.create_task(socket.receive())
            await asyncio.sleep(0.01)
        message = await waiting
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
        await socket.close()
