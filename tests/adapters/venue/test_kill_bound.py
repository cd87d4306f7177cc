"""After a halt no entry leaves any more, and the entries that rest are taken back in time."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.adapters.state.directory import HaltFile
from bot.service.halt import entry_block_now
from bot.simulator.faults.hooks import FaultAction
from tests.adapters.venue.live import Mischief, Trader, exchange_with, venue_at
from tests.adapters.venue.test_adversary import socket_up

NO_CREATE_S = 0.25
CLEARED_S = 10.0


class Arrivals(Mischief):
    """Notes when each create order arrives, over REST or over the trade socket."""

    def __init__(self) -> None:
        super().__init__()
        self.creates_s: list[float] = []
        self.on_rest = self._rest
        self.on_in = self._in

    def _rest(self, request: web.Request) -> FaultAction | None:
        if request.path.endswith("/order/create"):
            self.creates_s.append(asyncio.get_running_loop().time())
        return None

    def _in(self, connection: Any, text: str) -> str:
        with contextlib.suppress(ValueError):
            if json.loads(text).get("op") == "order.create":
                self.creates_s.append(asyncio.get_running_loop().time())
        return text


@asynccontextmanager
async def busy() -> AsyncIterator[None]:
    """Something else takes half of the event loop, 20 ms at a time."""

    async def work() -> None:
        while True:
            by_s = time.perf_counter() + 0.02
            while time.perf_counter() < by_s:
                pass
            await asyncio.sleep(0.02)

    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()


def obey(trader: Trader, halt: HaltFile) -> None:
    """The gate of the daemon: the halt file is looked at when an entry leaves."""
    from bot.risk.breaker import Breaker

    breaker = Breaker()
    trader.venue.may_enter = lambda: entry_block_now(breaker, halt) is None


@pytest.mark.invariant(16)
@pytest.mark.parametrize("way", ["socket", "rest"])
async def test_no_create_leaves_after_a_halt_and_what_rests_is_cancelled_and_verified(
    way: str, tmp_path: Path
) -> None:
    faults = Arrivals()
    if way == "rest":
        faults.barred.add("trade")
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader, busy():
        if way == "socket":
            await socket_up(trader)
        halt = HaltFile(tmp_path)
        obey(trader, halt)
        loop = asyncio.get_running_loop()
        for _ in range(120):  # two seconds' worth of the quota, so most of them wait for their turn
            trader.place(trader.limit())
        await trader.until(lambda: len(faults.creates_s) >= 10, within_s=10)
        halt.set()
        halted_s = loop.time()
        before = len(faults.creates_s)
        left = await trader.venue.clear()
        cleared_s = loop.time() - halted_s
        await asyncio.sleep(3.0)  # what still waits would have its turn by now
        late_s = [at_s - halted_s for at_s in faults.creates_s[before:]]
        resting = [order for order in trader.desk.engine.open_orders(None) if not order.reduce_only]
    assert before < 120
    assert max(late_s, default=0.0) <= NO_CREATE_S
    assert left == []
    assert cleared_s <= CLEARED_S
    assert resting == []


@pytest.mark.invariant(16)
async def test_an_entry_whose_connection_takes_seconds_does_not_leave_after_the_halt(tmp_path: Path) -> None:
    faults = Arrivals()
    faults.barred.add("trade")
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        halt = HaltFile(tmp_path)
        obey(trader, halt)
        gate = asyncio.Event()
        await_connection(trader.rest, gate)
        entry = trader.place(trader.limit())
        await trader.until(lambda: trader.venue.counts["sent_by_rest"])
        await asyncio.sleep(0.05)
        halt.set()
        gate.set()
        await trader.until(lambda: trader.of(entry))
        assert trader.of(entry) == ["OrderCancelled"]
        assert faults.creates_s == []


def await_connection(rest: Any, gate: asyncio.Event) -> None:
    """Let each new connection of ``rest`` wait for ``gate``."""
    connector: aiohttp.BaseConnector = rest._http.connector
    connect = connector.connect

    async def slow(*arguments: Any, **named: Any) -> Any:
        await gate.wait()
        return await connect(*arguments, **named)

    connector.connect = slow  # type: ignore[method-assign]
