"""One websocket client with a bounded queue of messages; a client that reads too slowly is disconnected."""

import asyncio
import re
from collections.abc import Callable, Iterator

from aiohttp import WSMsgType, web

from bot.bybit.serve import Stream
from bot.simulator.faults.hooks import FaultHooks

MAX_MESSAGE_BYTES = 256 * 1024
MAX_WAITING_CHARS = 32 << 20
"""A client with more waiting characters than this is disconnected."""
_PING = '{"op":"ping"}'
IDLE_S = 600.0
"""A private or trade connection is closed after this time without a message from either side."""
_IDLE_LEAST_S, _IDLE_MOST_S = 30.0, 600.0
_GONE = (ConnectionError, RuntimeError)
"""Errors of aiohttp when the other side has left while we send."""


class Connection:
    """A websocket of one ``stream`` (public, private, trade). ``send`` never waits.

    Use: ``await open()``, then run ``write`` beside a loop over ``receive``. A client that is silent for
    ``idle_s``, or for its own ``?max_active_time=``, is disconnected; None: never.
    """

    def __init__(
        self,
        request: web.Request,
        stream: Stream,
        conn_id: str,
        faults: FaultHooks,
        queue_max: int,
        idle_s: float | None = None,
    ) -> None:
        self.request = request
        self.stream: Stream = stream
        self.conn_id = conn_id
        self.cut = False
        """True if we closed it: the client is too slow, a fault says so, or the exchange stops."""
        self._faults = faults
        self._waiting_chars = 0
        asked = request.query.get("max_active_time", "")
        self._idle_s = None if idle_s is None else idle_limit_s(asked, idle_s)
        self._spoke_s = 0.0
        """Loop time of the last message of either side."""
        self._queue: asyncio.Queue[str] = asyncio.Queue(queue_max)
        self._socket = web.WebSocketResponse(
            compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=0.5, autoping=False
        )

    async def open(self) -> web.WebSocketResponse:
        """Do the websocket handshake."""
        await self._socket.prepare(self.request)
        self._heard()
        self._faults.opened(self)
        return self._socket

    def send(self, text: str, topic: str = "", *, delay_s: float = 0.0) -> None:
        """Queue a message that leaves after ``delay_s``; faults may change it. A full queue disconnects."""
        if delay_s > 0.0:
            asyncio.get_running_loop().call_later(delay_s, self.send, text, topic)
            return
        plan = self._faults.ws_out(self, topic, text)
        if plan is None:
            self.put(text)
            return
        for wait_s, instead in plan:
            if wait_s > 0.0:
                asyncio.get_running_loop().call_later(wait_s, self.put, instead)
            else:
                self.put(instead)

    def put(self, text: str) -> None:
        """Queue a message without asking the faults."""
        if self.cut:
            return
        try:
            self._queue.put_nowait(text)
        except asyncio.QueueFull:
            self.abort()
            return
        self._waiting_chars += len(text)
        if self._waiting_chars > MAX_WAITING_CHARS:
            self.abort()

    def abort(self) -> None:
        """End the connection at once, without a closing frame."""
        self.cut = True
        if self.request.transport is not None:
            self.request.transport.abort()

    async def close(self, code: int = 1001) -> None:
        """End the connection with a closing frame."""
        self.cut = True
        await self._socket.close(code=code)

    async def write(self) -> None:
        """Send queued messages until the other side is gone."""
        while True:
            text = await self._queue.get()
            self._waiting_chars -= len(text)
            self._faults.leaves(self, text)
            self._heard()
            try:
                await self._socket.send_str(text)
            except _GONE:
                return

    async def talk(self, said: Callable[[str], object]) -> None:
        """Send queued messages and yield the client's messages until it has left."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self.write())
            while (text := await self.receive()) is not None:
                said(text)
            writer.cancel()

    async def receive(self) -> str | None:
        """Return the next text of the client; None when it has left, was silent too long, or sends bytes.

        Websocket pings are answered here, through the faults, so that a mute stream is mute for them too.
        """
        while True:
            try:
                async with asyncio.timeout(self._left_s()):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._left_s() == 0.0:
                    await self.close(1000)
                    self._faults.closed(self)
                    return None
                continue  # a message was sent meanwhile
            self._heard()
            match message.type:
                case WSMsgType.TEXT:
                    text = self._faults.ws_in(self, message.data)
                    if text is not None:
                        return text
                case WSMsgType.PING:
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    pass
                case _:
                    self._faults.closed(self)
                    return None

    async def _pong(self, data: bytes) -> None:
        if self._faults.ws_in(self, _PING) is None or self._faults.ws_out(self, "op:ping", _PING) == []:
            return
        try:
            await self._socket.pong(data)
        except _GONE:
            return  # the next receive says so

    def _heard(self) -> None:
        self._spoke_s = asyncio.get_running_loop().time()

    def _left_s(self) -> float | None:
        """Return the seconds until the idle limit; None: there is no limit."""
        if self._idle_s is None:
            return None
        return max(0.0, self._spoke_s + self._idle_s - asyncio.get_running_loop().time())


def idle_limit_s(text: str, usual_s: float = IDLE_S) -> float:
    """Return the limit of ``?max_active_time=``: 30s to 600s, or minutes such as 1m; else the usual limit."""
    found = re.fullmatch(r"([0-9]{1,4})(s|m)", text)
    if found is None:
        return usual_s
    seconds = int(found[1]) * (60.0 if found[2] == "m" else 1.0)
    return min(max(seconds, _IDLE_LEAST_S), _IDLE_MOST_S)


def connection_ids() -> Iterator[str]:
    """Yield ids of connections in Bybit's form; clients must not parse them."""
    number = 0
    while True:
        number += 1
        yield f"local{number:011d}-{number % 46656:05d}"
