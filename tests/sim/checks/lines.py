"""How the bot treats its connections: silence it must notice, bars it must fetch, pauses it must keep."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim.checks.wire import Line, Said

DEAF_S = 31.0
"""A connection that says nothing for longer must have been replaced."""
FETCH_S = 6.5
"""A bar that was not confirmed is asked for over REST within 5 s of its close, and a little."""
DIALS_MAX = 12
"""Failed attempts to connect to one place in five minutes."""
WINDOW_S = 300.0
FORBIDDEN_S = 600.0

Broke = Callable[[int, str], None]


@dataclass
class _Open:
    """A connection of the bot, as this check follows it."""

    line: Line
    began_s: float
    path: str = ""
    heard_s: float = 0.0
    upgraded: bool = False


@dataclass
class Lines:
    """The checks of connections (17, 18). ``broke`` notes what does not hold, ``now_s`` is the story's time.

    Attributes:
        excused_until_s: a standstill or a dead process until then is no fault of the bot's.
    """

    broke: Broke
    now_s: Callable[[], float]
    excused_until_s: float = 0.0
    forbidden_s: float = -FORBIDDEN_S
    _open: dict[int, _Open] = field(default_factory=dict)
    _failed: dict[str, deque[float]] = field(default_factory=dict)
    _confirmed_ms: dict[str, int] = field(default_factory=dict)
    _fetched_s: dict[str, float] = field(default_factory=dict)

    def restarted(self) -> None:
        """A new process knows nothing of the pauses of the one before it."""
        self.forbidden_s = -FORBIDDEN_S
        self._open.clear()
        self._failed.clear()
        self._fetched_s.clear()

    def said(self, number: int, said: Said) -> None:
        """The bot says something on connection ``number``."""
        now_s = self.now_s()
        if said.what.startswith("GET /v5/") and not _is_socket(said.what[4:]):
            if self.forbidden_s < now_s - 1.0 < self.forbidden_s + FORBIDDEN_S - 2.0:
                self.broke(18, f"{said.what} leaves {now_s - self.forbidden_s:.1f} s after HTTP 403")
            if said.what.endswith("/kline"):
                fields = dict(part.partition("=")[::2] for part in str(said.body).split("&"))
                self._fetched_s[fields.get("symbol", "")] = now_s
        elif said.what.startswith("GET /v5/"):
            self._open[number] = _Open(Line(is_client=False), now_s, said.what[4:], now_s)

    def heard(self, number: int, data: bytes, rest: Line) -> None:
        """The bot is given bytes of connection ``number``; ``rest`` reads an HTTP answer."""
        now_s, stream = self.now_s(), self._open.get(number)
        if stream is None:
            for _ in rest.feed(data):
                if rest.status == 403:
                    self.forbidden_s = now_s
            return
        self._deaf(stream)
        stream.heard_s = now_s
        for said in stream.line.feed(data):
            if said.what == "answer" and not stream.line.upgraded:
                if said.body == 403:
                    self.forbidden_s = now_s
            elif said.what.startswith("kline.") and isinstance(said.body, dict):
                self._kline(said.body)

    def _kline(self, body: dict[str, Any]) -> None:
        symbol = str(body["topic"]).rpartition(".")[2]
        for row in body["data"]:
            if row.get("confirm"):
                self._confirmed_ms[symbol] = max(self._confirmed_ms.get(symbol, 0), int(row["end"]) + 1)

    def closed(self, number: int) -> None:
        """Connection ``number`` of the bot has ended."""
        stream = self._open.pop(number, None)
        if stream is None:
            return
        self._deaf(stream)
        if not stream.line.upgraded:
            failed = self._failed.setdefault(stream.path, deque())
            failed.append(self.now_s())
            while failed[0] < self.now_s() - WINDOW_S:
                failed.popleft()
            if len(failed) > DIALS_MAX:
                self.broke(18, f"{len(failed)} failed attempts at {stream.path} in five minutes")

    def _deaf(self, stream: _Open) -> None:
        now_s = self.now_s()
        since_s = max(stream.heard_s, self.excused_until_s)
        if now_s - since_s > DEAF_S:
            self.broke(17, f"{stream.path} was silent for {now_s - since_s:.1f} s and was not replaced")

    def beat(self) -> None:
        """Look for connections that are silent now."""
        for number, stream in list(self._open.items()):
            self._deaf(stream)
            if self.now_s() - max(stream.heard_s, self.excused_until_s) > DEAF_S:
                del self._open[number]

    def closed_bar(self, symbol: str, close_ms: int) -> None:
        """``FETCH_S`` have passed since a close, and the bot could have asked."""
        fetched_s = self._fetched_s.get(symbol, -1e9)
        if self._confirmed_ms.get(symbol, 0) < close_ms and self.now_s() - fetched_s > FETCH_S:
            self.broke(
                17, f"{symbol}: the bar of {close_ms} was not confirmed, and REST was not asked for it"
            )


def _is_socket(path: str) -> bool:
    return path.startswith(("/v5/public/", "/v5/private", "/v5/trade"))
