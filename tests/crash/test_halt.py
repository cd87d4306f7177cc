"""The bound of a halt, measured at the exchange while the bot places and cancels in many symbols."""

import shutil
import time
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
from bot.service.commands import ask
from tests.cli.exchanges import daemon, exchange
from tests.crash import acts, oracle

SPEED = 120.0
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "X000USDT", "X001USDT", "X002USDT", "X003USDT", "X004USDT")
CREATE_BOUND_S, CLEAR_BOUND_S = 0.25, 10.0


def orders(url: str) -> list[oracle.Row]:
    return [order for symbol in SYMBOLS for order in oracle.truth(url, "bot", symbol).orders]


@pytest.mark.fault(45)
@pytest.mark.fault(56)
@pytest.mark.invariant(16)
@pytest.mark.parametrize("way", ["command", "file"])
def test_after_a_halt_nothing_is_created_and_entries_are_gone_within_their_bounds(
    way: str, tmp_path: Path
) -> None:
    shutil.copy(acts.__file__, tmp_path)
    state = tmp_path / ".data"
    settings = {"BOT_FEED__SYMBOLS": ",".join(SYMBOLS), "BOT_RISK__MAX_ORDERS_PER_MINUTE": "6000"}
    with exchange("--no-funding", speed=SPEED, symbols=len(SYMBOLS)) as url:
        words = ["--feed", "local", "--venue", "local", "--exchange", url, "--interval", "1m"]
        with daemon(tmp_path, *words, "--strategy", "acts:Requotes", env=settings) as running:
            running.until("trading")
            while len(orders(url)) < 5 * len(SYMBOLS):
                running.until("close")
            halted_ms, began_s = oracle.now_ms(url), time.monotonic()
            if way == "command":
                assert ask(state, "kill")["survivors"] == []
            else:
                HaltFile(state).set()
            while any(order["orderStatus"] == "New" for order in orders(url)):
                assert time.monotonic() - began_s < CLEAR_BOUND_S
            cleared_s = time.monotonic() - began_s
            assert cleared_s < CLEAR_BOUND_S
            time.sleep(3 * 60.0 / SPEED)  # three closes more
            assert ask(state, "status")["state"] == "halted"
            last_ms = max(int(order["createdTime"]) for order in orders(url))
            after_s = (last_ms - halted_ms) / SPEED / 1000.0
            print(f"halt by {way}: last create {after_s * 1000:.0f} ms after, clear in {cleared_s:.2f} s")  # noqa: T201
            assert after_s < CREATE_BOUND_S
            assert running.end()[0] == 0
