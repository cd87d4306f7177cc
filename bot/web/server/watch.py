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
from bot.web.server.history import JournalHistory, News
from bot.web.server.line import DaemonLine
from bot.web.server.steering import actions

EVERY_S = 0.25
BEAT_S = 1.0
MORE_S = 0.02
"""Pause before the next question if the daemon has more rows to tell."""
LOOKERS_MAX = 32
_WAITING_MAX = 512
"""Messages that may wait for one looker; a slower one is cut off, and its browser connects anew."""
_encode = msgspec.json.encode
_ALWAYS_NEW = frozenset({"seen_ms", "now_ms", "process", "inbox_lag_ms", "loop_lag_max_ms", "actions"})
"""Parts of the status whose change alone is not told."""

Message = bytes
"""One server-sent event, ready to be written."""
Waiting = asyncio.Queue[Message | None]


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
        trouble: why the journal could not be read lately; "" if it could, None before the first reading.
    """

    def __init__(self, line: DaemonLine, history: JournalHistory, wall_ms: Callable[[], int]) -> None:
        self.status: dict[str, Any] = {}
        self.symbols: dict[str, dict[str, Any]] = {}
        self.trouble: str | None = None
        self._line = line
        self._history = history
        self._wall_ms = wall_ms
        self._lookers: list[Waiting] = []
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._seq = 0
        self._head: object = None
        self._told: object = None
        self._looked_s = self._status_s = self._read_s = float("-inf")

    # For the routes

    @property
    def account(self) -> str | None:
        """The daemon's account; None if no daemon has told it."""
        account = self.status.get("account")
        return account if isinstance(account, str) else None

    @property
    def lookers(self) -> int:
        """How many pages are open."""
        return len(self._lookers)

    async def fresh(self, within_s: float = BEAT_S) -> None:
        """Return once the picture is at most ``within_s`` old."""
        now_s = asyncio.get_running_loop().time()
        if now_s - min(self._looked_s, self._status_s) > within_s:
            await self.look(status_within_s=within_s)

    async def fresh_status(self) -> None:
        """Return once the status is at most a second old; asks for nothing else, so a scrape stays cheap."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if loop.time() - self._status_s > BEAT_S:
                await self._look_at_status()

    def whole_status(self) -> dict[str, Any]:
        """Return the last status with what this process knows of the daemon."""
        line = self._line
        return {
            **self.status,
            "daemon": line.daemon,
            "seen_ms": line.seen_ms,
            "journal_trouble": self.trouble or None,
            "actions": actions(self.status),
        }

    @contextmanager
    def looking(self) -> Iterator[Waiting]:
        """Be told of everything that changes; None in the queue means that the looker was too slow.

        Raises:
            TooMany: there are as many lookers as there may be.
        """
        if len(self._lookers) >= LOOKERS_MAX:
            raise TooMany(f"{LOOKERS_MAX} pages are open already; close one")
        waiting: Waiting = asyncio.Queue(_WAITING_MAX)
        self._lookers.append(waiting)
        self._wanted.set()
        try:
            yield waiting
        finally:
            with contextlib.suppress(ValueError):
                self._lookers.remove(waiting)
            if not self._lookers:
                self._wanted.clear()

    def beginning(self) -> list[Message]:
        """Return what a new looker is told first: everything."""
        rows = list(self.symbols.values())
        return [message("status", self.whole_status()), message("symbols", rows), self._beat()]

    # The loops

    async def run(self) -> None:
        """Follow the daemon while somebody looks, without end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_on())
            group.create_task(self._beats())

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            began_s = loop.time()
            more = await self.look(status_within_s=BEAT_S)
            await asyncio.sleep(MORE_S if more else max(MORE_S, began_s + EVERY_S - loop.time()))

    async def _beats(self) -> None:
        while True:
            await self._wanted.wait()
            self._tell(self._beat())
            await asyncio.sleep(BEAT_S)

    async def look(self, *, status_within_s: float) -> bool:
        """Ask the daemon once; return True if it has more rows to tell."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            answer = await self._line.ask("live", f"since={self._seq}")
            self._looked_s = loop.time()
            head = answer["head"] if answer is not None else self._line.daemon
            moved, self._head = head != self._head, head
            if answer is None:  # one question that nobody answers is enough
                self._tell_status()
            elif moved or loop.time() - self._status_s >= status_within_s:
                await self._look_at_status()
            if moved or loop.time() - self._read_s >= BEAT_S:
                self._look_at_journal()
            if answer is None:
                return False
            self._take(answer)
            return bool(answer["more"])

    def _take(self, answer: Mapping[str, Any]) -> None:
        self._seq = answer["seq"]
        rows = [self._row(row) for row in answer["rows"]]
        self.symbols |= {row["symbol"]: row for row in rows}
        if rows:
            self._tell(message("symbols", rows))

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Add to a row what the daemon does not know."""
        symbol = row["symbol"]
        if row["since_ms"] is None and row["entry_price"] is not None:
            row["since_ms"] = self._history.opened_ms(symbol)
        row["change_frac"] = self._history.change_frac(symbol, row["price"])
        row["next_close_ms"] = self.status.get("next_close_ms")
        return row

    async def _look_at_status(self) -> None:
        status = await self._line.ask("status")
        self._status_s = asyncio.get_running_loop().time()
        if status is not None:
            if status.get("run") != self.status.get("run") or status.get("account") != self.account:
                self._seq = 0  # another process: it tells all rows anew
            self.status = status
        self._tell_status()

    def _tell_status(self) -> None:
        whole = self.whole_status()
        told = {key: value for key, value in whole.items() if key not in _ALWAYS_NEW}
        if told != self._told:
            self._told = told
            self._tell(message("status", whole))

    def _look_at_journal(self) -> None:
        """Read what is new in the journal, beside the questions: the first reading may take minutes."""
        if self._reading is not None:
            if not self._reading.done():
                return
            self._reading.result()  # an error of ours ends the process; it is started again
        self._read_s = asyncio.get_running_loop().time()
        self._reading = asyncio.ensure_future(self._read_news())

    async def _read_news(self) -> None:
        try:
            news = await self._history.news(self.account)
        except BotError as error:
            self.trouble = str(error)
            return
        if self.trouble is None:
            self._seq = 0  # the rows told so far lack what only the journal knows
        self.trouble = ""
        self._tell_news(news)

    def _tell_news(self, news: News) -> None:
        for kind, rows in (("order", news.orders), ("fill", news.fills), ("event", news.events)):
            for row in rows:
                self._tell(message(kind, row))

    def _beat(self) -> Message:
        line = self._line
        return message("beat", {"daemon": line.daemon, "seen_ms": line.seen_ms, "now_ms": self._wall_ms()})

    def _tell(self, said: Message) -> None:
        for waiting in list(self._lookers):
            try:
                waiting.put_nowait(said)
            except asyncio.QueueFull:
                self._lookers.remove(waiting)
                waiting.get_nowait()
                waiting.put_nowait(None)


def message(event: str, value: object) -> Message:
    """Return one server-sent event; JSON has no line ends of its own."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _encode(value))
