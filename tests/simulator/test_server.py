import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot.bybit.sign import rest_signature
from bot.domain.errors import BotError
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import running
from tests.simulator.bench import START_MS, candle_file, candles, config


async def test_answers_are_compact_json_with_the_envelope_and_the_clocks_speed() -> None:
    async with (
        running(config(speed=2.0)) as exchange,
        aiohttp.ClientSession() as http,
        http.get(f"{exchange.http_url}/v5/market/time") as response,
    ):
        text = await response.text()
        assert response.headers["X-Clock-Speed"] == "2.0"
        assert response.content_type == "application/json"
    assert text.startswith('{"retCode":0,"retMsg":"OK","result":{')
    assert set(json.loads(text)) == {"retCode", "retMsg", "result", "retExtInfo", "time"}


async def test_an_unknown_path_is_404_and_a_get_with_a_body_403() -> None:
    async with running(config()) as exchange, aiohttp.ClientSession() as http:
        async with http.get(f"{exchange.http_url}/v5/market/nothing") as response:
            assert response.status == 404
            assert (await response.json())["retCode"] == 10017
        async with http.put(f"{exchange.http_url}/v5/order/create") as response:
            assert response.status == 405
        async with http.get(f"{exchange.http_url}/v5/market/time", json={"a": 1}) as response:
            assert response.status == 403


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"\x00\x01\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (
            b"POST /v5/order/create HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            b"400",
        ),
        (b"POST /v5/order/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc", b""),
    ],
)
async def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    raw: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config()) as exchange:
        reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port)
        writer.write(raw)
        if not status:
            writer.write_eof()  # the client leaves in the middle of its body
        async with asyncio.timeout(5):
            assert status in (await reader.read(64))
        writer.close()
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_upgrade_header_is_no_way_around_the_limit() -> None:
    async with running(config(ip_limit=True)) as exchange, aiohttp.ClientSession() as http:
        exchange._limit._most = 0
        headers = {"Upgrade": "websocket"}
        async with http.get(f"{exchange.http_url}/v5/market/time", headers=headers) as response:
            assert response.status == 403


@pytest.mark.fault(86)
@pytest.mark.surface("http")
async def test_it_listens_on_loopback_only() -> None:
    async with running(config()) as exchange:
        assert exchange.http_url == f"http://127.0.0.1:{exchange.port}"
        assert exchange.ws_url == f"ws://127.0.0.1:{exchange.port}"
        assert exchange.port > 0


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    async with running(config()) as exchange:
        with pytest.raises(BotError, match=f"port {exchange.port} .* choose another with --port"):
            async with running(config(port=exchange.port)):
                pass


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(config()):
            raise ZeroDivisionError


async def test_beyond_600_requests_in_five_seconds_an_address_is_shut_out_if_asked_for() -> None:
    async with running(config(ip_limit=True)) as exchange, aiohttp.ClientSession() as http:
        seen = []
        for _ in range(602):
            async with http.get(f"{exchange.http_url}/v5/market/time") as response:
                seen.append(response.status)
    assert seen == [200] * 600 + [403] * 2


class _Broken(FaultHooks):
    def rest(self, request: web.Request) -> FaultAction | None:
        match request.path.rpartition("/")[2]:
            case "tickers":
                return FaultAction(status=502, body=b"<html>Bad Gateway</html>", content_type="text/html")
            case "orderbook":
                return FaultAction(status=0)
            case "kline":
                return FaultAction(delay_s=0.05)
        return None

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        return body[:20] if request.path.endswith("/time") else body


async def test_faults_replace_delay_cut_and_damage_answers() -> None:
    async with running(config(), _Broken()) as exchange, aiohttp.ClientSession() as http:
        base = f"{exchange.http_url}/v5/market"
        async with http.get(f"{base}/tickers?category=linear") as response:
            assert (response.status, response.content_type) == (502, "text/html")
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{base}/orderbook?category=linear&symbol=BTCUSDT")
        begun = asyncio.get_running_loop().time()
        async with http.get(f"{base}/kline?symbol=BTCUSDT&interval=1") as response:
            assert response.status == 200
        assert asyncio.get_running_loop().time() - begun >= 0.05
        async with http.get(f"{base}/time") as response:
            assert len(await response.read()) == 20


def test_the_command_says_where_it_is_on_one_line_and_stops_cleanly(tmp_path: Path) -> None:
    file = candle_file(tmp_path, candles(bars=300))
    command = [sys.executable, "-m", "bot", "exchange", "--port", "0", "--data", str(file)]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert set(where) == {"http", "ws", "key", "secret"}
    assert where["http"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--start", str(START_MS - 60_000)], 2, "choose a time in it"),
        (["--symbols", "5"], 2, "--data the files say which symbols"),
    ],
)
def test_what_does_not_fit_the_files_is_one_line(
    tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    file = candle_file(tmp_path, candles(bars=30))
    command = [sys.executable, "-m", "bot", "exchange", "--port", "0", "--data", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_takes_the_order_quota_of_a_users_level(tmp_path: Path) -> None:
    file = candle_file(tmp_path, candles(bars=300))
    command = [sys.executable, "-m", "bot", "exchange", "--port", "0", "--data", str(file), "--order-quota"]
    environment = {**os.environ, "HOME": str(tmp_path)}

    async def limit(url: str) -> str:
        async with aiohttp.ClientSession() as http:
            body = '{"category":"linear","symbol":"BTCUSDT","orderId":"none"}'
            stamp = str(int(time.time() * 1000))
            headers = {
                "X-BAPI-API-KEY": "test-key",
                "X-BAPI-TIMESTAMP": stamp,
                "X-BAPI-RECV-WINDOW": "5000",
                "X-BAPI-SIGN": rest_signature("test-secret", int(stamp), "test-key", "5000", body),
            }
            async with http.post(f"{url}/v5/order/cancel", data=body, headers=headers) as response:
                return response.headers["X-Bapi-Limit"]

    with subprocess.Popen([*command, "10"], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert asyncio.run(limit(where["http"])) == "10"
        process.terminate()
        assert process.wait(timeout=10) == 0
