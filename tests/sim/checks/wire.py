"""What the bot says to the venue, read from the bytes that it writes: requests of REST and of websockets."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Said:
    """One message of the bot: ``what`` is an operation (``order.create``) or ``GET /path``."""

    what: str
    body: Any
    text: str


@dataclass
class Line:
    """The decoder of one side of one connection. Feed it bytes in order."""

    is_client: bool
    path: str = ""
    upgraded: bool = False
    status: int = 0
    """Status of the latest HTTP answer, if this is the server's side."""
    _bytes: bytearray = field(default_factory=bytearray)
    _parts: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Said]:
        """Yield each whole message."""
        self._bytes += data
        while True:
            said = self._frame() if self.upgraded else self._http()
            if said is None:
                return
            if said.what:
                yield said

    def _http(self) -> Said | None:
        head, separator, rest = bytes(self._bytes).partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        length = int(fields.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._bytes = bytearray(rest[length:])
        if fields.get("upgrade") == "websocket":
            self.upgraded = self.is_client or first.split(" ")[1] == "101"
        if not self.is_client:
            self.status = int(first.split(" ")[1])
            return Said("answer", self.status, "")
        method, target, _ = first.split(" ", 2)
        self.path = target.partition("?")[0]
        text = rest[:length].decode()
        body = json.loads(text) if text else target.partition("?")[2]
        return Said(f"{method} {self.path}", body, f"{target} {text}")

    def _frame(self) -> Said | None:
        raw = self._bytes
        if len(raw) < 2:
            return None
        length, at = raw[1] & 127, 2
        if length >= 126:
            wide = 2 if length == 126 else 8
            length, at = int.from_bytes(raw[2 : 2 + wide]), 2 + wide
        masked = 4 if raw[1] & 128 else 0
        if len(raw) < at + masked + length:
            return None
        payload = bytes(raw[at + masked : at + masked + length])
        if masked:
            mask = bytes(raw[at : at + 4]) * (length // 4 + 1)
            payload = (int.from_bytes(payload) ^ int.from_bytes(mask[:length])).to_bytes(length)
        final, kind = raw[0] & 128, raw[0] & 15
        del raw[: at + masked + length]
        if kind > 2:
            return Said("", None, "")
        self._parts += payload
        if not final:
            return Said("", None, "")
        text, self._parts = bytes(self._parts).decode(errors="replace"), bytearray()
        return _message(text)


def _message(text: str) -> Said:
    try:
        body = json.loads(text)
    except ValueError:  # a fault cut it
        return Said("broken", None, text)
    if not isinstance(body, dict):
        return Said("broken", None, text)
    return Said(str(body.get("op") or body.get("topic") or "message"), body, text)
