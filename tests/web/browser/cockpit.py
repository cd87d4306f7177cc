"""A daemon at a local exchange with its page, and what a browser saw of it."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page

from bot.service.commands import ask
from bot.web.server.access import TOKEN_FILE, Access, read_token
from tests.cli.exchanges import BOT, Daemon, daemon, exchange

KEYS = {"BOT_VENUE__API_KEY": "test-key", "BOT_VENUE__API_SECRET": "test-secret"}
DESK, PHONE = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
"""A condition that comes later than this never comes. The machine may be slow."""


class Cockpit:
    """A running daemon and the address of its page."""

    def __init__(self, place: Path, process: Daemon, port: int) -> None:
        self.place = place
        self.process = process
        self.origin = f"http://127.0.0.1:{port}"

    @property
    def state_dir(self) -> Path:
        return self.place / ".data"

    def ask(self, command: str) -> dict[str, Any]:
        """Ask the daemon over its socket, as a terminal does."""
        return ask(self.state_dir, command, timeout_s=30.0)

    def link(self) -> str:
        """An address that opens the page once."""
        words = [*BOT, "web", "--link"]
        made = subprocess.run(words, cwd=self.place, capture_output=True, text=True, check=True)
        return made.stdout.strip()

    def page_server(self) -> int:
        """The process that serves the page: a child of the daemon."""
        pid = self.process.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = [
            each for each in children if b"web" in Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")
        ]
        return int(found[0])


@contextmanager
def cockpit(
    place: Path, *words: str, symbols: int = 2, speed: float = 100.0, env: dict[str, str]
) -> Iterator[Cockpit]:
    """``bot run --web-port 0`` at ``bot exchange``, once its page is served."""
    quick = ("--ticks-per-s", "1" if symbols < 10 else "0.1")
    root = str(Path(__file__).resolve().parents[3])
    with exchange(*quick, speed=speed, symbols=symbols) as url:
        given = ["--feed", "local", "--exchange", url, "--web-port", "0", *words]
        with daemon(place, *given, env={"PYTHONPATH": root, **env}) as process:
            yield Cockpit(place, process, int(str(process.until("web")["port"])))


@contextmanager
def page_alone(place: Path) -> Iterator[Cockpit]:
    """``bot web`` where no daemon runs."""
    words = [*BOT, "web", "--web-port", "0"]
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Cockpit(place, Daemon(process), int(json.loads(process.stdout.readline())["port"]))
        process.terminate()


class Looker:
    """A browser without anybody's cookies that looks at the page; it remembers what went wrong.

    ``errors`` are messages of the console and uncaught exceptions, ``asked`` the addresses asked for.
    """

    def __init__(self, browser: Browser, cockpit: Cockpit, **options: Any) -> None:
        self.cockpit = cockpit
        chosen = {"viewport": DESK, "color_scheme": "dark", "timezone_id": "Europe/Berlin", **options}
        self.context: BrowserContext = browser.new_context(**chosen)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def enter(self) -> "Looker":
        """Open the page, and wait until it shows the account."""
        self.open()
        self.until(lambda: self.figure("Equity") != "–", "an equity")
        return self

    def open(self) -> None:
        """Open the page with the cookie that a link leads to."""
        access = Access(read_token(self.cockpit.state_dir / TOKEN_FILE), time.monotonic)
        self.context.add_cookies(
            [{"name": access.cookie_name, "value": access.cookie, "url": self.cockpit.origin}]
        )
        self.page.goto(f"{self.cockpit.origin}/")

    def figure(self, name: str) -> str:
        """A figure of the head of the page."""
        return (
            self.page.locator("#figures div", has=self.page.get_by_text(name, exact=True))
            .locator("dd")
            .inner_text()
        )

    def text(self, where: str) -> str:
        return self.page.locator(where).inner_text()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        end_s = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < end_s, f"the page never showed {what}"
            self.page.wait_for_timeout(50)

    def until_text(self, where: str, pattern: str) -> str:
        """Wait for a text; returns it."""
        self.until(lambda: re.search(pattern, self.text(where)) is not None, f"{pattern!r} in {where}")
        return self.text(where)

    def foreign(self) -> list[str]:
        """What was asked of anybody but the page's own server."""
        own = urlsplit(self.cockpit.origin).netloc
        return [each for each in self.asked if urlsplit(each).netloc != own]

    def close(self) -> None:
        self.context.close()


def is_wider_than_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def brightness(page: Page) -> float:
    """Of the page's ground, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3
