"""The daemon as a program on an account that it does not have to itself, and on one that it knows."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from bot.adapters.net.signed_rest import Credentials, signed_rest
from bot.adapters.state.clock import FollowedClock
from bot.adapters.venue.account import read_executions, read_position
from bot.bybit import orders
from bot.domain.messages import PlaceOrder
from bot.domain.orders import Approved, Intent, Side
from bot.service.commands import ask
from tests.cli.exchanges import daemon, exchange
from tests.story.test_daemon_program import bot, words


@pytest.fixture
def url() -> Iterator[str]:
    with exchange() as address:
        yield address


def by_hand(url: str, side: Side, qty: str) -> None:
    """Somebody else trades the account."""

    async def send() -> None:
        keys = Credentials("test-key", "test-secret")
        async with signed_rest(url, keys, FollowedClock(), random.Random(1)) as rest:
            await rest.measure()
            intent = Intent("BTCUSDT", side, Decimal(qty), Decimal(1), 0)
            order = PlaceOrder(f"hand-{random.getrandbits(40)}", Approved(intent))
            assert (await rest.send_once(orders.create_order(order), "create")).kind == "ok"

    asyncio.run(send())


def held(url: str) -> tuple[str, str, set[str]]:
    """The position's size, its stop, and the names of the orders that were executed."""

    async def read() -> tuple[str, str, set[str]]:
        keys = Credentials("test-key", "test-secret")
        async with signed_rest(url, keys, FollowedClock(), random.Random(1)) as rest:
            await rest.measure()
            (row,) = await read_position(rest, "BTCUSDT")
            executions = await read_executions(rest, 0)
            return row.size, row.stopLoss, {each.orderLinkId.split("-")[0] for each in executions}

    return asyncio.run(read())


def test_a_position_made_by_hand_is_left_alone_and_the_account_takes_one_bot(
    url: str, tmp_path: Path
) -> None:
    by_hand(url, "Buy", "0.05")
    (tmp_path / "other").mkdir()
    with daemon(tmp_path, *words(url, "local")) as running:
        told = running.until("account_differs")
        assert told["level"] == "warning"
        assert told["differences"] == ["BTCUSDT foreign 0.05: not ours, no entries in BTCUSDT"]
        running.until("trading")
        second = bot(tmp_path / "other", "run", *words(url, "local"))
        assert second.returncode == 1
        assert f"another bot trades this account under the same prefix (process {running.process.pid}" in (
            second.stderr
        )
        assert "taken_back" not in second.stderr  # the orders under this prefix are the first one's
        while ask(tmp_path / ".data", "status")["closes"] < 4:  # type: ignore[operator]
            running.until("close")
        status = ask(tmp_path / ".data", "status")
        assert status["foreign_positions"] == [{"symbol": "BTCUSDT", "qty": "0.05"}]
        assert status["positions"] == []
        assert running.end()[0] == 0
    size, stop, names = held(url)
    assert (Decimal(size), stop, names) == (Decimal("0.05"), "", {"hand"})


def test_a_bot_that_was_killed_knows_its_account_again_and_adopts_nothing(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, "local")) as first:
        first.until("trading")
        while not (before := ask(tmp_path / ".data", "status"))["positions"]:
            first.until("close")
        os.kill(first.process.pid, signal.SIGKILL)
    by_hand(url, "Sell" if str(before["positions"][0]["qty"]).startswith("-") else "Buy", "0.01")  # type: ignore[index]
    with daemon(tmp_path, *words(url, "local", ["--strategy", "flat"])) as second:
        told = second.until("account_differs")
        assert any("foreign" in each for each in told["differences"])  # type: ignore[attr-defined]
        assert "BTCUSDT foreign" in json.dumps(told)
        second.until("trading")
        status = ask(tmp_path / ".data", "status")
        assert status["held_back_by"] == []
        assert [each["symbol"] for each in status["positions"]] == ["BTCUSDT"]  # type: ignore[attr-defined]
        assert abs(Decimal(status["foreign_positions"][0]["qty"])) == Decimal("0.01")  # type: ignore[index]
        assert second.end()[0] == 0
