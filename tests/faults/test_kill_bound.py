"""After a kill nothing new leaves, and what rests is gone: measured at the exchange, under load."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from bot.adapters.state.directory import HaltFile
from bot.service.commands import ask
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import ExchangeServer, running
from tests.faults.test_canary import KEY, SECRET, Running
from tests.simulator.bench import config

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
FAST = {"BOT_RISK__MAX_ORDERS_PER_MINUTE": "6000", "BOT_RISK__MAX_SIGNAL_AGE_MS": "600000"}
"""At this speed of the market's clock a second of the machine is ten minutes."""
LOOP_BOUND_S, GONE_BOUND_S = 0.25, 10.0
RESTING = """
from bot.strategy.signal import Target

class Resting:
    bars = 0

    def on_bar(self, view):
        self.bars += 1
        price = view.bar.close * (0.97 if self.bars % 2 else 0.98)  # so each close moves the order
        return Target(view.worth(0.05), "rest", limit_price=price)
"""


class Watch(FaultHooks):
    """When each order that could open a position came in, by the loop's time."""

    def __init__(self) -> None:
        self.created_s: list[float] = []
        self.slow_s = 0.0

    def rest(self, request: web.Request) -> FaultAction | None:
        return FaultAction(delay_s=self.slow_s) if self.slow_s else None

    def ws_in(self, connection: object, text: str) -> str | None:
        if '"order.create"' in text and not json.loads(text)["args"][0].get("reduceOnly"):
            self.created_s.append(asyncio.get_running_loop().time())
        return text


def resting(exchange: ExchangeServer) -> list[str]:
    account = exchange.accounts.by_key[KEY]
    return [order.link_id for order in account.engine.open_orders(None) if not order.reduce_only]


async def when(is_so: Callable[[], object], within_s: float = 30.0) -> float:
    """The loop's time at which something became so."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    return asyncio.get_running_loop().time()


async def by_command(state: Path) -> None:
    async with Running(state.parent, "kill", "--json") as kill:
        assert await kill.ends() == 0


async def by_file(state: Path) -> None:
    HaltFile(state).set()


@pytest.mark.fault(56)
@pytest.mark.invariant(16)
@pytest.mark.parametrize("kill", [by_command, by_file])
async def test_nothing_is_created_after_a_kill_and_what_rests_is_gone(
    kill: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    (tmp_path / "resting.py").write_text(RESTING)
    venue, state = Watch(), tmp_path / ".data"
    where = ["--feed", "local", "--venue", "local", "--interval", "1m", "--strategy", "resting:Resting"]
    symbols = [word for symbol in SYMBOLS for word in ("--symbol", symbol)]
    async with running(config(speed=600.0, key=KEY, secret=SECRET), venue) as exchange:
        words = ["run", *where, *symbols, "--exchange", exchange.http_url]
        async with Running(tmp_path, *words, **FAST) as bot:
            await bot.until('"trading"')
            await when(lambda: len(venue.created_s) > 30 and len(resting(exchange)) == len(SYMBOLS))
            venue.slow_s = 0.2  # REST is slow when it is needed
            killing = asyncio.create_task(kill(state))
            halted_s = await when(lambda: (state / "halted").exists())
            gone_s = await when(lambda: not resting(exchange), GONE_BOUND_S)
            assert gone_s - halted_s < GONE_BOUND_S
            await killing
            await asyncio.sleep(3.0)  # thirty more closes of three symbols would each move an order
            assert max(venue.created_s) <= halted_s + LOOP_BOUND_S
            assert resting(exchange) == []
            told = await asyncio.to_thread(ask, state, "status")
            assert told["state"] == "halted"
            bot.process.kill()
            await bot.process.wait()
        count, venue.slow_s = len(venue.created_s), 0.0
        async with Running(tmp_path, *words, "--bars", "6", **FAST) as again:  # a restart stays halted
            assert await again.ends() == 6
        assert len(venue.created_s) == count
