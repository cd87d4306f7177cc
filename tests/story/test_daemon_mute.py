"""A daemon whose market goes mute (TCP up, nothing else): noticed, nothing entered, replaced, caught up."""

import os
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from bot.service.commands import ask
from bot.settings import FeedSettings
from tests.cli.exchanges import daemon, exchange

QUICK = {"BOT_FEED__PING_MS": "300", "BOT_FEED__PONG_TIMEOUT_MS": "300", "BOT_FEED__BACKOFF_MS": "50"}
MUTE_S = 4.0


def post(path: Path, fault: str) -> None:
    connection = HTTPConnection("exchange")
    connection.sock = socket(AF_UNIX)
    connection.sock.connect(os.fspath(path))
    connection.request("POST", "/faults", fault)
    assert connection.getresponse().status == 200
    connection.close()


def wait(holds: Callable[[], object], within_s: float = 20.0) -> float:
    """Seconds until it holds."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s, "it never came to hold"
        time.sleep(0.02)
    return time.monotonic() - began_s


def test_by_default_a_mute_server_is_replaced_within_thirty_seconds() -> None:
    feed = FeedSettings()
    assert feed.ping_ms + feed.pong_timeout_ms + feed.backoff_ms + 1_000 <= 30_000


@pytest.mark.fault(1)
def test_nothing_is_entered_while_the_market_is_mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    control = tmp_path / "x.sock"
    with (
        exchange("--control", os.fspath(control)) as url,
        daemon(
            tmp_path,
            *("--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "BTCUSDT"),
            *(
                "--interval",
                "1m",
                "--strategy",
                "random",
                "--param",
                "hold_bars=1",
                "--param",
                "leverage=0.2",
                "--json",
            ),
        ) as running,
    ):

        def told() -> dict[str, object]:
            return ask(tmp_path / ".data", "status")

        running.until("trading")
        wait(lambda: told()["fills"])
        post(control, f'{{"kind": "stall", "on": "public", "for_s": {MUTE_S}}}')
        post(control, f'{{"kind": "refuse", "on": "public", "for_s": {MUTE_S}}}')
        noticed_s = wait(lambda: told()["state"] == "reducing")
        assert noticed_s <= 0.3 + 0.3 + 0.5
        orders, closes = told()["orders"], told()["closes"]
        time.sleep(MUTE_S / 2)
        still = told()
        assert (still["orders"], still["closes"], still["state"]) == (orders, closes, "reducing")
        wait(lambda: told()["state"] == "trading")
        wait(lambda: told()["closes"] > closes + 1)  # type: ignore[operator]
        facts = told()["feed_facts"]
        assert isinstance(facts, dict)
        assert (facts["gaps"], facts["reconnects"]) == (0, 1)
        assert facts["bars_fetched"] > 0  # the bars of the mute time
        assert running.end()[0] == 0
