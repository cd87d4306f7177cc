"""The page as a program beside the daemon: it opens by its link, obeys, and tells the truth of a dead bot."""

import http.cookiejar
import json
import os
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.service.commands import ask
from tests.cli.exchanges import BOT, daemon, exchange

WAIT_S = 30.0
COIN = ["--strategy", "random", "--param", "hold_bars=2", "--param", "leverage=0.2"]


class Browser:
    """Follows a link and keeps its cookie."""

    def __init__(self, link: str) -> None:
        self.home = link.partition("?")[0]
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)
        with suppress(urllib.error.HTTPError):  # the cookie comes with the redirect, before any file
            self._opener.open(link, timeout=WAIT_S).close()

    def get(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.home + path, data, {"Content-Type": "application/json"})
        with self._opener.open(asked, timeout=WAIT_S) as answer:
            return json.load(answer)


def bot(place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*BOT, *words], cwd=place, capture_output=True, text=True, timeout=WAIT_S)


def until(true: Callable[[], object]) -> None:
    due_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < due_s
        time.sleep(0.05)


def is_open(home: str) -> bool:
    try:
        urllib.request.urlopen(home + "healthz", timeout=WAIT_S).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@pytest.mark.surface("http")
def test_the_page_lives_with_the_daemon_and_shows_it_when_it_is_dead(tmp_path: Path) -> None:
    with exchange(speed=300.0) as url:
        words = ["--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "BTCUSDT"]
        words += ["--interval", "1m", "--web-port", "0", *COIN]
        state = tmp_path / ".data"
        with daemon(tmp_path, *words) as running:
            page = Browser(str(running.until("web")["url"]))
            until(lambda: page.get("api/status").get("state") == "trading")
            until(lambda: page.get("api/status")["fills"])
            assert page.get("api/fills")["rows"][0]["symbol"] == "BTCUSDT"
            assert page.get("api/candles?symbol=BTCUSDT")["bars"]
            assert page.get("api/pause", {"confirm": "pause"})["state"] == "paused"
            assert ask(state, "status")["state"] == "paused"
            assert stat.S_IMODE((state / "web-token").stat().st_mode) == 0o600
            link = bot(tmp_path, "web", "--link")
            assert Browser(link.stdout.strip()).get("api/status")["state"] == "paused"
            os.kill(running.process.pid, signal.SIGKILL)
            until(lambda: not is_open(page.home))
        command = [*BOT, "web", "--web-port", "0"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=quiet, text=True
        ) as alone:
            assert alone.stdout is not None
            page = Browser(json.loads(alone.stdout.readline())["url"])
            assert page.get("api/status")["daemon"] == "down"
            assert page.get("api/fills")["rows"]
            alone.terminate()
            assert alone.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--web-host", "0.0.0.0"], "give --web-insecure"),
        (["--web-host", "192.0.2.1", "--web-insecure"], "the page cannot listen on 192.0.2.1:8660"),
    ],
)
def test_a_page_that_may_not_or_cannot_listen_says_why(words: list[str], said: str, tmp_path: Path) -> None:
    done = bot(tmp_path, "web", "--web-port", "8660", *words)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert said in line
