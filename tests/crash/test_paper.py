"""A paper bot killed with a position, a resting order or a halt: the next process has the same account."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.domain.ledger import fills_digest
from bot.service.commands import ask
from tests.cli.exchanges import Daemon, daemon, exchange
from tests.crash import acts, oracle

SPEED = 5.0
BAR_S = 60.0 / SPEED
SAME = ("equity", "cash", "net_notional", "positions", "open_orders", "halt_reason", "risk_state")
"""What a kill must leave as it was; with fills from bars it changes at closes only."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange("--no-funding", speed=SPEED, symbols=1) as address:
        yield address


@contextmanager
def paper(place: Path, url: str, *strategy: str) -> Iterator[Daemon]:
    words = [
        "--feed",
        "local",
        "--venue",
        "paper",
        "--exchange",
        url,
        "--symbol",
        "BTCUSDT",
        "--interval",
        "1m",
    ]
    settings = {"BOT_FEED__QUOTES": "none", "BOT_VENUE__PROTECTIVE_STOP_FRAC": "0.05"}
    with daemon(place, *words, "--fills", "bars", *strategy, "--json", env=settings) as running:
        yield running


def after_a_close(url: str) -> None:
    """Wait until a bar has just begun, so that a process can end and start before the next close."""
    while oracle.now_ms(url) % 60_000 > 15_000:
        time.sleep(0.05)


def told(place: Path) -> dict[str, Any]:
    return ask(place / ".data", "status")


def held_by(status: dict[str, Any]) -> dict[str, Any]:
    """Return what a kill must leave as it was even if a bar closes meanwhile: all but the mark and its worth.

    The mark is that of the last close, which the new process has seen and the killed one may not have.
    """
    marked = sum(each["unrealised"] for each in status["positions"])
    assert status["equity"] == pytest.approx(float(status["cash"]) + marked, abs=1e-6)
    unmarked = [
        {name: value for name, value in each.items() if name not in ("mark", "unrealised")}
        for each in status["positions"]
    ]
    same = {name: status[name] for name in SAME if name not in ("equity", "net_notional")}
    return same | {"positions": unmarked}


def peak(place: Path) -> tuple[float, float]:
    """Return the highest equity and the day's first, as the last snapshot holds them."""
    snapshots = sorted((place / ".data/journal/paper-1").glob("*.snapshot.json"))
    engine = json.loads(snapshots[-1].read_bytes().split(b"\n")[0])["engine"]
    return _found(engine, "peak_equity"), _found(engine, "day_start_equity")


def _found(value: Any, name: str) -> Any:
    """Return the value under a name, wherever it is."""
    if isinstance(value, dict):
        if name in value:
            return value[name]
        value = list(value.values())
    if isinstance(value, list):
        return next((each for part in value if (each := _found(part, name)) is not None), None)
    return None


def test_a_killed_paper_bot_has_the_account_and_the_fills_of_its_twin_that_lived(
    url: str, tmp_path: Path
) -> None:
    coin = ["--strategy", "random", "--param", "hold_bars=1", "--param", "leverage=0.3"]
    places = {name: tmp_path / name for name in ("lived", "killed")}
    for place in places.values():
        place.mkdir()
    after_a_close(url)
    with paper(places["lived"], url, *coin) as lived, paper(places["killed"], url, *coin) as killed:
        lived.until("trading")
        killed.until("trading")
        assert told(places["lived"])["last_bar_ms"] == told(places["killed"])["last_bar_ms"]
        for _ in range(3):
            killed.until("close")
        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
        with paper(places["killed"], url, *coin) as again:
            again.until("trading")
            again.until("close")
            again.until("close")
            while told(places["lived"])["fills"] < 3:  # a coin may show the same side for a while
                again.until("close")
            both = [told(place) for place in places.values()]
            for each in (order for status in both for order in status["open_orders"]):
                del each["order_id"]  # it counts the events of its bot
            assert {name: both[0][name] for name in SAME} == {name: both[1][name] for name in SAME}
            assert both[0]["positions"]
            again.end()
            lived.end()
    fills = [JournalIndex(Journal(place / ".data/journal/paper-1")).fills() for place in places.values()]
    assert fills_digest(fills[0]) == fills_digest(fills[1])
    assert len(fills[0]) >= 3
    assert peak(places["lived"]) == peak(places["killed"])
    assert peak(places["lived"])[0] >= 10_000.0


@pytest.mark.fault(42)
@pytest.mark.fault(60)
@pytest.mark.parametrize("held", ["position", "order", "halt"])
def test_what_a_paper_bot_held_when_it_was_killed_is_there_again(url: str, held: str, tmp_path: Path) -> None:
    shutil.copy(acts.__file__, tmp_path)
    words = ["--strategy", "acts:Acts", "--param", f"how={'rest' if held == 'order' else 'at_once'}"]
    with paper(tmp_path, url, *words) as first:
        first.until("trading")
        while not told(tmp_path)["open_orders" if held == "order" else "positions"]:
            first.until("close")
        if held == "halt":
            ask(tmp_path / ".data", "kill")
        after_a_close(url)
        before = told(tmp_path)
        os.kill(first.process.pid, signal.SIGKILL)
    with paper(tmp_path, url, *words) as second:
        second.until("trading")
        after = told(tmp_path)
        assert held_by(after) == held_by(before)
        assert (after["state"] == "halted") is (held == "halt")
        assert second.end()[0] == 0
