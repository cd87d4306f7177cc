"""The script at a local exchange that deviates: every deviation is found, the account is left flat."""

import ast
import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import bot
from bot.adapters.net.signed_rest import Credentials, RestPolicy, signed_rest
from bot.adapters.state.clock import WallClock
from bot.app.venue_check import script as script_module
from bot.app.venue_check import streams
from bot.app.venue_check.script import NotFlat, Script
from bot.app.venue_check.transcript import Transcript, compare
from bot.bybit.hosts import local_urls
from bot.bybit.orders import create_by
from bot.domain.errors import VenueError
from bot.simulator.faults.hooks import FaultAction
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Mischief, exchange_with

SYMBOL = "BTCUSDT"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WAIT_S", 1.0)
    monkeypatch.setattr(script_module, "_AGAIN_S", 0.05)


async def checked(faults: Mischief, exchange: ExchangeServer, key: str = "test-key") -> Script:
    urls = local_urls(exchange.http_url)
    keys, policy = Credentials(key, "test-secret"), RestPolicy(timeout_ms=500, attempts=2)
    async with signed_rest(urls.rest, keys, WallClock(), random.Random(1), policy=policy) as rest:
        await rest.measure()
        script = Script(rest, urls, SYMBOL, "bot1-0")
        try:
            await script.run()
        finally:
            engine = exchange.accounts.by_key["test-key"].engine
            if not script.left:
                assert engine.position(SYMBOL, 0).size == 0
                assert not [o for o in engine.open_orders(None) if o.link_id.startswith("bot1-0-")]
        return script


async def transcript_of(faults: Mischief) -> Transcript:
    async with exchange_with(faults) as exchange:
        return (await checked(faults, exchange)).transcript


@pytest.fixture(scope="module")
def expected() -> Transcript:
    return asyncio.run(transcript_of(Mischief()))


def rest_row(path: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Mischief], None]:
    """Change each row of the answers to ``path``."""

    def plant(faults: Mischief) -> None:
        def answered(request: web.Request, body: bytes) -> bytes:
            if not request.path.endswith(path):
                return body
            answer = json.loads(body)
            for row in answer["result"].get("list", []):
                change(row)
            return json.dumps(answer).encode()

        faults.on_answered = answered

    return plant


def rest_code(path: str, old: int, new: int) -> Callable[[Mischief], None]:
    def plant(faults: Mischief) -> None:
        def answered(request: web.Request, body: bytes) -> bytes:
            answer = json.loads(body)
            if request.path.endswith(path) and answer["retCode"] == old:
                answer["retCode"] = new
            return json.dumps(answer).encode()

        faults.on_answered = answered

    return plant


def push(topic: str, change: Callable[[dict[str, Any]], None] | None) -> Callable[[Mischief], None]:
    """Change each row of a private topic, or lose it."""

    def plant(faults: Mischief) -> None:
        def out(_: Any, name: str, text: str) -> list[tuple[float, str]] | None:
            message = json.loads(text) if text.startswith("{") else {}
            if message.get("topic") != topic:
                return None
            if change is None:
                return []
            for row in message["data"]:
                change(row)
            return [(0.0, json.dumps(message))]

        faults.on_out = out

    return plant


def trade_code(op: str, new: int) -> Callable[[Mischief], None]:
    def plant(faults: Mischief) -> None:
        def out(_: Any, name: str, text: str) -> list[tuple[float, str]] | None:
            message = json.loads(text) if text.startswith("{") else {}
            if message.get("op") != op or message.get("retCode") == 0:
                return None
            return [(0.0, json.dumps(message | {"retCode": new}))]

        faults.on_out = out

    return plant


DEVIATIONS: dict[str, tuple[Callable[[Mischief], None], str]] = {
    "a field of orders is gone": (
        rest_row("/order/realtime", lambda row: row.pop("cumExecQty")),
        "look up: result.list[].cumExecQty: missing",
    ),
    "a whole number of positions as text": (
        rest_row("/position/list", lambda row: row.update(seq=str(row["seq"]))),
        "position held: result.list[].seq: is number as text",
    ),
    "a new field of executions": (
        rest_row("/execution/list", lambda row: row.update(surprise="1")),
        "executions of it: result.list[].surprise: not expected",
    ),
    "a wallet without coins' balances": (
        rest_row("/wallet-balance", lambda row: [coin.pop("walletBalance") for coin in row["coin"]]),
        "wallet: result.list[].coin[].walletBalance: missing",
    ),
    "another code for an order that is gone": (
        rest_code("/order/cancel", 110001, 170213),
        "cancel again: code 170213",
    ),
    "another code for a name in use": (rest_code("/order/create", 110072, 10001), "place again: code 10001"),
    "another code for a leverage that is set": (
        rest_code("/set-leverage", 110043, 0),
        "leverage again: code 0, expected code 110043",
    ),
    "another code for stops that are set": (
        rest_code("/trading-stop", 34040, 10001),
        "move stop again: code 10001",
    ),
    "a push without a field": (
        push("order", lambda row: row.pop("orderStatus")),
        "pushes of order: data[].orderStatus: missing",
    ),
    "a topic without pushes": (push("wallet", None), "pushes of wallet: none"),
    "an execution that is not pushed": (push("execution", None), "it is executed: not seen"),
    "another code on the trade socket": (
        trade_code("order.cancel", 10001),
        "trade socket: cancel again: code 10001",
    ),
}


async def test_a_venue_that_answers_as_expected_has_no_differences(expected: Transcript) -> None:
    assert compare(await transcript_of(Mischief()), expected) == []
    codes = {name: step.code for name, step in expected.steps.items()}
    assert (codes["place"], codes["amend"], codes["cancel"], codes["enter"], codes["leave"]) == (0,) * 5
    assert (codes["place again"], codes["cancel again"], codes["move stop again"]) == (110072, 110001, 34040)
    assert all(step.seen is not False for step in expected.steps.values())
    assert {"order", "execution", "position", "wallet", "auth", "order.create"} <= set(expected.pushes)


@pytest.mark.parametrize("name", DEVIATIONS)
async def test_each_deviation_is_found_and_the_account_is_flat(name: str, expected: Transcript) -> None:
    plant, line = DEVIATIONS[name]
    faults = Mischief()
    plant(faults)
    differences = compare(await transcript_of(faults), expected)
    assert [each for each in differences if each.startswith(line)], differences


@pytest.mark.parametrize("path", ["/order/create", "/order/cancel", "/order/amend", "/position/trading-stop"])
async def test_lost_answers_are_named_and_leave_nothing_behind(path: str, expected: Transcript) -> None:
    faults = Mischief()
    lost = [3]

    def answered(request: web.Request, body: bytes) -> bytes | FaultAction:
        if request.path.endswith(path) and lost[0]:
            lost[0] -= 1
            return FaultAction(status=0)
        return body

    faults.on_answered = answered
    differences = compare(await transcript_of(faults), expected)
    assert differences


async def test_a_venue_that_ends_half_way_is_left_flat_once_it_is_back() -> None:
    faults = Mischief()
    away = [False]

    def rest(request: web.Request) -> FaultAction | None:
        if request.path.endswith("/trading-stop"):
            away[0] = True
            asyncio.get_running_loop().call_later(1.5, away.__setitem__, 0, False)
        return FaultAction(status=502) if away[0] else None

    faults.on_rest = rest
    async with exchange_with(faults) as exchange:
        script = await checked(faults, exchange)
    assert script.left == []


async def test_a_cancelled_check_leaves_the_account_flat() -> None:
    faults = Mischief()
    held = asyncio.Event()

    def rest(request: web.Request) -> FaultAction | None:
        if request.path.endswith("/trading-stop"):
            held.set()
        return None

    faults.on_rest = rest
    async with exchange_with(faults) as exchange:
        task = asyncio.ensure_future(checked(faults, exchange))
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_after_a_403_what_is_left_is_said() -> None:
    faults = Mischief()
    faults.on_rest = lambda request: (
        FaultAction(status=403) if request.path.endswith("/trading-stop") else None
    )
    async with exchange_with(faults) as exchange:
        urls = local_urls(exchange.http_url)
        keys = Credentials("test-key", "test-secret")
        async with signed_rest(urls.rest, keys, WallClock(), random.Random(1)) as rest:
            script = Script(rest, urls, SYMBOL, "bot1-0")
            with pytest.raises(VenueError, match="403"):
                await script.run()
    assert script.left[0].startswith("unknown:")


@pytest.mark.parametrize("what", ["position", "order"])
async def test_an_account_that_is_not_flat_is_refused_and_left_alone(what: str) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange:
        urls = local_urls(exchange.http_url)
        keys = Credentials("test-key", "test-secret")
        async with signed_rest(urls.rest, keys, WallClock(), random.Random(1)) as rest:
            other = Script(rest, urls, SYMBOL, "bot2-0")
            await other._look()
            kind = "Market" if what == "position" else "Limit"
            price = None if what == "position" else other._price(script_module._FAR)
            intent = other._intent("Buy", other._qty(), kind, price)  # type: ignore[arg-type]
            assert (await rest.send_once(create_by(intent, "mine"), "create")).kind == "ok"
            before = len(faults.requests)
            with pytest.raises(NotFlat, match="the check trades only"):
                await Script(rest, urls, SYMBOL, "bot1-0").run()
        assert not [path for method, path in faults.requests[before:] if method == "POST"]


async def test_an_answer_that_the_bot_cannot_read_ends_the_check_with_the_field() -> None:
    faults = Mischief()
    rest_row("/position/list", lambda row: row.update(size=0.0))(faults)
    async with exchange_with(faults) as exchange:
        with pytest.raises(VenueError, match=r"PositionRow: .*size"):
            await checked(faults, exchange)


def test_nothing_else_sends_an_order_that_risk_has_not_approved() -> None:
    root = Path(bot.__file__).parent
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and "create_by" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    }
    assert users == {"app/venue_check/script.py", "bybit/orders.py"}


async def test_a_key_that_the_venue_does_not_know_ends_the_check() -> None:
    async with exchange_with(Mischief()) as exchange:
        with pytest.raises(VenueError, match="10003"):
            await checked(Mischief(), exchange, key="another-key")
