"""What happens now: asks the daemon while somebody looks, and tells every looker what changed.

One loop serves all. It asks at most four times a second, and not at all while nobody looks. What is new in
the journal is read when the daemon's counts say that there is something, and once a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from bot.domain.errors import BotError
from bot.web.server.history import History, News
from bot.web.server.line import DaemonLine
from bot.web.server.steering import actions

EVERY_S = 0.25
BEAT_S = 1.0
LOOKERS_MAX = 32
_WAITING_MAX = 512
"""Messages that may wait for one looker; a slower one is cut off, and its browser connects anew."""
_encode = msgspec.json.encode

Message = bytes
"""One server-sent event, ready to be written."""


class TooMany(BotError):
    """As many lookers as there may be are connected."""


class Watch:
    """The picture of now.

    Args:
        line: to the daemon.
        history: the journal.
        wall_ms: this machine's clock.

    Attributes:
        status: the daemon's last status, empty before the first.
        symbols: the last row of each symbol.
    """

    def __init__(self, line: DaemonLine, history: History, wall_ms: Callable[[], int]) -> None:
        self.status: dict[str, Any] = {}
        self.symbols: dict[str, dict[str, Any]] = {}
        self._line = line
        self._history = history
        self._wall_ms = wall_ms
        self._lookers: list[asyncio.Queue[Message | None]] = []
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seq = 0
        self._head: object = None
        self._told: object = None
        self._asked_s = self._status_s = self._read_s = -1e9

    # For the routes

    async def fresh(self, within_s: float = EVERY_S) -> None:
        """Return once the picture is at most ``within_s`` old."""
        if asyncio.get_running_loop().time() - self._asked_s > within_s:
            await self._look(status_within_s=within_s)

    def whole_status(self) -> dict[str, Any]:
        """Return the last status with what this process knows of the daemon."""
        line = self._line
        return {
            **self.status,
            "daemon": line.daemon,
            "seen_ms": line.seen_ms,
            "actions": actions(self.status),
        }

    @contextmanager
    def looking(self) -> Iterator[asyncio.Queue[Message | None]]:
        """Be told of everything that changes; None in the queue means that the looker was too slow.

        Raises:
            TooMany: there are as many lookers as there may be.
        """
        if len(self._lookers) >= LOOKERS_MAX:
            raise TooMany(f"{LOOKERS_MAX} pages are open already; close one")
        queue: asyncio.Queue[Message | None] = asyncio.Queue(_WAITING_MAX)
        self._lookers.append(queue)
        self._wanted.set()
        try:
            yield queue
        finally:
            with contextlib.suppress(ValueError):
                self._lookers.remove(queue)
            if not self._lookers:
                self._wanted.clear()

    def beginning(self) -> list[Message]:
        """Return what a new looker is told first: everything."""
        return [
            self._beat(),
            message("status", self.whole_status()),
            message("symbols", list(self.symbols.values())),
        ]

    # The loop

    async def run(self) -> None:
        """Look while somebody does, without end."""
        loop = asyncio.get_running_loop()
        beat_s = 0.0
        while True:
            await self._wanted.wait()
            began_s = loop.time()
            more = await self._look(status_within_s=1.0)
            if loop.time() >= beat_s:
                beat_s = loop.time() + BEAT_S
                self._tell(self._beat())
            await asyncio.sleep(0.02 if more else max(0.02, began_s + EVERY_S - loop.time()))

    async def _look(self, *, status_within_s: float) -> bool:
        """Ask the daemon once; return True if it has more rows to tell."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            answer = await self._line.ask("live", f"since={self._seq}")
            self._asked_s = loop.time()
            moved = answer is None
            if answer is not None:
                self._take(answer)
                moved = answer["head"] != self._head
                self._head = answer["head"]
            if moved or loop.time() - self._status_s >= status_within_s:
                await self._ask_status()
            if moved or loop.time() - self._read_s >= BEAT_S:
                self._read_s = loop.time()
                self._tell_news(await self._history.news(self._account()))
            return bool(answer and answer["more"])

    def _take(self, answer: Mapping[str, Any]) -> None:
        self._seq = answer["seq"]
        rows = [self._merged(row) for row in answer["rows"]]
        if rows:
            self._tell(message("symbols", rows))

    def _merged(self, row: dict[str, Any]) -> dict[str, Any]:
        close_ms = row.pop("close_ms")
        opened = self._history.opened_ms(row["symbol"]) if row["qty"] != "0" else None
        row["since_ms"] = opened
        row["change_frac"] = self._history.change_frac(row["symbol"], row["price"])
        row["next_close_ms"] = self.status.get("next_close_ms")
        row["close_ms"] = close_ms
        self.symbols[row["symbol"]] = row
        return row

    async def _ask_status(self) -> None:
        status = await self._line.ask("status") if self._line.daemon == "up" else None
        if status is not None:
            self.status = status
            self._status_s = asyncio.get_running_loop().time()
        whole = self.whole_status()
        told = {key: value for key, value in whole.items() if key not in _ALWAYS_NEW}
        if told != self._told:
            self._told = told
            self._tell(message("status", whole))

    def _account(self) -> str | None:
        account = self.status.get("account")
        return account if isinstance(account, str) else None

    def _tell_news(self, news: News) -> None:
        for row in news.orders:
            self._tell(message("order", row))
        for row in news.fills:
            self._tell(message("fill", row))
        for row in news.events:
            self._tell(message("event", row))

    def _beat(self) -> Message:
        beat = {"daemon": self._line.daemon, "seen_ms": self._line.seen_ms, "now_ms": self._wall_ms()}
        return message("beat", beat)

    def _tell(self, said: Message) -> None:
        for queue in list(self._lookers):
            try:
                queue.put_nowait(said)
            except asyncio.QueueFull:
                self._lookers.remove(queue)
                queue.get_nowait()
                queue.put_nowait(None)


_ALWAYS_NEW = frozenset({"seen_ms", "now_ms", "process", "inbox_lag_ms", "loop_lag_max_ms"})


def message(event: str, value: object) -> Message:
    """Return one server-sent event; JSON has no line ends of its own."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _encode(value))
