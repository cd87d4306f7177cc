"""Every request that reaches the exchange was on disk before, and has one approval that nothing else used.

The exchange looks at the journal of the running daemon at the moment a request comes in. Answers are lost,
connections are cut, and the daemon is killed and started again meanwhile. No code of the engine judges here.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import running
from bot.simulator.ws.connection import Connection
from tests.faults.test_canary import KEY, SECRET, Running
from tests.simulator.bench import config

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
KILLS, ORDERS_A_LIFE = 3, 20
MAX_AGE_MS = 600_000
ENVIRONMENT = {
    # Two minutes of the market are a second of the machine; to prove that an order never came takes twelve.
    "BOT_RISK__UNKNOWN_ORDER_REDUCE_MS": "3600000",
    "BOT_RISK__UNKNOWN_ORDER_HALT_MS": "86400000",
    "BOT_RISK__MAX_ORDERS_PER_MINUTE": "6000",
    "BOT_RISK__MAX_SIGNAL_AGE_MS": str(MAX_AGE_MS),
    "BOT_RISK__MAX_DAILY_LOSS_FRAC": "1",
    "BOT_RISK__MAX_DRAWDOWN_FRAC": "1",
    "BOT_RISK__MAX_CONSECUTIVE_REJECTS": "1000",
    "BOT_DAEMON__RESTARTS_MAX": "100",
}


class Witness(FaultHooks):
    """Reads the journal when a request comes in; loses some requests and some answers."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.rng = random.Random(5)
        self.creates: list[dict[str, Any]] = []
        self.cancels: list[str] = []
        self.ahead: list[str] = []
        self.connections: set[Connection] = set()

    def text(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.journal.glob("*/0*.jsonl")))

    def saw(self, path: str, body: dict[str, Any]) -> None:
        name = str(body.get("orderLinkId", ""))
        match path.rpartition("/")[2].rpartition(".")[2]:
            case "create":
                self.creates.append(body)
                kept = f'"order_id":"{name}"' in self.text().decode()
            case "cancel" if name:
                self.cancels.append(name)
                kept = f'"CancelOrder","order_id":"{name}"' in self.text().decode()
            case _:
                return
        if not kept:
            self.ahead.append(f"{path} {name}")

    def rest(self, request: web.Request) -> FaultAction | None:
        return None

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        return FaultAction(status=0) if self.rng.random() < 0.02 else body

    def ws_in(self, connection: object, text: str) -> str | None:
        if '"order.' in text:
            frame = json.loads(text)
            self.saw(frame["op"], frame["args"][0])
            if self.rng.random() < 0.05:
                return None
        return text

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [] if topic.startswith("op:order.") and self.rng.random() < 0.15 else None

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)


def lines(journal: Path) -> Iterator[dict[str, Any]]:
    """The entries of all segments in order, as plain JSON."""
    for path in sorted(journal.glob("*/0*.jsonl")):
        for line in path.read_bytes().splitlines():
            yield json.loads(line[line.index(b"{") :])


def effects(entry: object) -> Iterator[dict[str, Any]]:
    """The effects anywhere in an entry, in their order."""
    if isinstance(entry, dict):
        if entry.get("type") in ("Verdict", "PlaceOrder"):
            yield entry
            return
        for value in entry.values():
            yield from effects(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from effects(value)


@pytest.mark.fault(28, 54)
@pytest.mark.invariant(4, 5, 6)
async def test_each_order_was_on_disk_before_it_came_and_has_an_approval_of_its_own(tmp_path: Path) -> None:
    journal = tmp_path / ".data/journal"
    venue = Witness(journal)
    words = ["run", "--feed", "local", "--venue", "local", "--interval", "1m", "--strategy", "random"]
    words += ["--param", "hold_bars=2", "--param", "leverage=0.2"]
    words += [word for symbol in SYMBOLS for word in ("--symbol", symbol)]
    async with running(config(speed=120.0, key=KEY, secret=SECRET), venue) as exchange:
        words += ["--exchange", exchange.http_url]
        for life in range(KILLS + 1):
            async with Running(tmp_path, *words, **ENVIRONMENT) as bot:
                wanted = len(venue.creates) + ORDERS_A_LIFE
                async with asyncio.timeout(60):
                    while len(venue.creates) < wanted:
                        assert bot.process.returncode is None, bot.err.read_text()[-2000:]
                        await asyncio.sleep(venue.rng.uniform(0.0, 0.01))
                if life == 1:
                    for connection in list(venue.connections):
                        connection.abort()
                bot.process.kill()  # at the moment of an order
        account = exchange.accounts.by_key[KEY]
        there = Counter(kept.order.link_id for kept in account.ledger.orders._all.values())
        del there[""]  # protective orders, which the exchange makes itself
    assert venue.ahead == []
    assert set(there.values()) == {1}
    assert all(len(name) <= 36 for name in there)
    approvals: list[dict[str, Any]] = []
    placed: dict[str, dict[str, Any]] = {}
    for entry in lines(journal):
        for effect in effects(entry):
            if effect["type"] == "Verdict":
                if effect["verdict"]["type"] == "Approved":
                    approvals.append(effect["verdict"])
                continue
            # the approval before it, and no other order's
            assert effect["order_id"] not in placed
            assert approvals.pop() == effect["approved"]
            placed[effect["order_id"]] = effect["approved"]
    assert approvals == []
    assert there.keys() <= placed.keys()
    assert len(there) > KILLS * ORDERS_A_LIFE / 2
    for sent in venue.creates:
        approved = placed[sent["orderLinkId"]]["intent"]
        assert (sent["symbol"], sent["side"], sent["qty"]) == tuple(
            approved[name] for name in ("symbol", "side", "qty")
        )
