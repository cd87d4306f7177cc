"""The supervisor as a program, beside a real daemon that is stopped, killed, or well."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from bot.adapters.net.signed_rest import Credentials, SignedRest, signed_rest
from bot.adapters.state.alive import SignOfLife
from bot.adapters.state.clock import WallClock
from bot.adapters.venue.account import open_orders
from bot.bybit import orders
from bot.bybit.wire import OrderRow
from bot.domain.messages import PlaceOrder
from bot.domain.orders import Approved, Intent
from bot.service.commands import ask
from tests.cli.exchanges import BOT, Daemon, daemon, exchange

HOLD = ["--strategy", "buy_and_hold", "--param", "leverage=0.2"]
AFTER_S = 3.0
BOUND_S = AFTER_S + 3.0
"""The guard looks twice a second; cancels and their verification take a few requests."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange() as address:
        yield address


def words(url: str) -> list[str]:
    where = ["--feed", "local", "--venue", "local", "--exchange", url]
    return [*where, "--symbol", "BTCUSDT", "--interval", "1m", *HOLD, "--json"]


@asynccontextmanager
async def account(url: str) -> AsyncIterator[SignedRest]:
    keys = Credentials("test-key", "test-secret")
    async with signed_rest(url, keys, WallClock(), random.Random(1)) as rest:
        await rest.measure()
        yield rest


def resting(url: str) -> list[OrderRow]:
    async def read() -> list[OrderRow]:
        async with account(url) as rest:
            return await open_orders(rest)

    return asyncio.run(read())


def names(url: str) -> set[str]:
    return {row.orderLinkId for row in resting(url)}


def place(url: str, *ids: str, reduce_only: bool = False, side: str = "Buy", frac: str = "0.9") -> None:
    """Rest limit orders far from the market, as the daemon does."""

    async def send() -> None:
        async with account(url) as rest:
            page = await rest.ask(orders.tickers("BTCUSDT"), orders.parse_tickers)
            price = (Decimal(str(page.rows[0].lastPrice)) * Decimal(frac)).quantize(Decimal("0.1"))
            for order_id in ids:
                intent = Intent(
                    symbol="BTCUSDT",
                    side=side,  # type: ignore[arg-type]
                    qty=Decimal("0.001"),
                    order_type="Limit",
                    price=price,
                    time_in_force="GTC",
                    reduce_only=reduce_only,
                    decided_ms=0,
                    ref_price=price,
                    stop_loss=None,
                )
                request = orders.create_order(PlaceOrder(order_id, Approved(intent)))
                outcome = await rest.send_once(request, "create")
                assert outcome.kind == "ok", outcome

    asyncio.run(send())


@contextmanager
def guarded(place: Path, *arguments: str) -> Iterator[Daemon]:
    command = [*BOT, "guard", "--after", str(AFTER_S), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place
    ) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()


@contextmanager
def holding(place: Path, url: str) -> Iterator[tuple[Daemon, str]]:
    """A daemon with a position and its stop at the venue; and the name of an entry of its own."""
    with daemon(place, *words(url)) as running:
        running.until("trading")
        while not (told := ask(place / ".data", "status"))["positions"]:
            running.until("close")
        yield running, f"bot{told['run']}-{random.randrange(10**9)}-0"


@pytest.mark.fault(46)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "dead"])
def test_entries_of_a_daemon_that_stopped_are_cancelled_in_time_and_stops_stay(
    url: str, how: signal.Signals, tmp_path: Path
) -> None:
    with holding(tmp_path, url) as (running, entry), guarded(tmp_path) as guard:
        guard.until("guard_watching")
        os.kill(running.process.pid, how)
        (stop,) = [row for row in resting(url) if row.stopOrderType == "StopLoss"]
        exit_side = "Sell" if stop.side == "Sell" else "Buy"
        foreign, leave = f"somebody-elses-{how}", f"bot9-{int(how)}-1"
        place(url, entry, foreign)
        place(url, leave, reduce_only=True, side=exit_side, frac="1.1" if exit_side == "Sell" else "0.9")
        assert entry in names(url)
        began = time.monotonic()
        guard.until("guard_cleared")
        assert time.monotonic() - began < BOUND_S
        left = resting(url)
        assert {row.orderLinkId for row in left if row.orderLinkId} == {foreign, leave}
        assert [row.orderId for row in left if row.stopOrderType == "StopLoss"] == [stop.orderId]
        assert guard.end()[0] == 0
        os.kill(running.process.pid, signal.SIGCONT)
    clear(url)


@pytest.mark.fault(46)
def test_a_daemon_that_lives_keeps_its_entries(url: str, tmp_path: Path) -> None:
    """This process gives the signs of life; the guard sees no other daemon."""
    sign = SignOfLife(tmp_path / ".data")
    (tmp_path / ".data").mkdir()
    sign.begin()
    place(url, "bot7-1-0")
    venue = {"BOT_VENUE__KIND": "local", "BOT_FEED__KIND": "local", "BOT_LOCAL__URL": url}
    once = [*BOT, "guard", "--once", "--after", "2", "--json"]
    with subprocess.Popen(
        once, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | venue
    ) as lives:
        while lives.poll() is None:
            sign.beat()
            time.sleep(0.3)
        assert lives.stdout is not None
        assert json.loads(lives.stdout.read()) == {"daemon": "lives", "survivors": []}
    assert names(url) == {"bot7-1-0"}
    done = subprocess.run(
        once, capture_output=True, text=True, cwd=tmp_path, env=os.environ | venue, timeout=30
    )
    assert json.loads(done.stdout) == {"daemon": "frozen", "survivors": []}
    assert (done.returncode, names(url)) == (0, set())


@pytest.mark.fault(46)
def test_the_stop_hook_of_the_unit_clears_what_a_killed_daemon_left(url: str, tmp_path: Path) -> None:
    unit = Path("config/systemd/bot@.service").read_text(encoding="utf-8")
    (hook,) = re.findall(r"^ExecStopPost=\S+ -c \S+ --log-format json (.*)$", unit, re.MULTILINE)
    with holding(tmp_path, url) as (running, entry):
        os.kill(running.process.pid, signal.SIGKILL)
        place(url, entry)
        done = subprocess.run([*BOT, *hook.split(), "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"daemon": "dead", "survivors": []})
    assert entry not in names(url)
    assert [row for row in resting(url) if row.stopOrderType == "StopLoss"]
    clear(url)


def test_a_hook_that_cannot_reach_the_venue_says_so(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    SignOfLife(tmp_path / ".data").begin()
    venue = {"BOT_VENUE__KIND": "local", "BOT_FEED__KIND": "local", "BOT_LOCAL__URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [*BOT, "guard", "--once", "--after", "2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | venue,
        timeout=30,
    )
    assert done.returncode == 4
    assert "does not answer" in done.stderr.splitlines()[-1]


def test_where_no_daemon_has_run_there_is_nothing_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [*BOT, "guard", "--once", "--json"], capture_output=True, text=True, cwd=tmp_path, timeout=30
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, {"daemon": "none", "survivors": []})


def clear(url: str) -> None:
    """Leave the account flat for the next test."""

    async def leave() -> None:
        async with account(url) as rest:
            for row in await open_orders(rest):
                await rest.send_once(orders.cancel_order(row.symbol, order_id=row.orderId), "cancel")
            held = await rest.ask(orders.positions(), orders.parse_positions)
            for position in held.rows:
                side = "Sell" if position.side == "Buy" else "Buy"
                qty = Decimal(str(position.size))
                intent = Intent(
                    symbol=position.symbol,
                    side=side,  # type: ignore[arg-type]
                    qty=qty,
                    reduce_only=True,
                    decided_ms=0,
                    ref_price=Decimal(1),
                    stop_loss=None,
                )
                request = orders.create_order(PlaceOrder(f"clear-{time.monotonic_ns()}", Approved(intent)))
                await rest.send_once(request, "create")

    asyncio.run(leave())
