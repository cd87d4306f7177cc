"""One websocket client: messages wait in a bounded queue; who reads too slowly is cut."""

import asyncio
import re
from collections.abc import Callable, Iterator

from aiohttp import WSMsgType, web

from bot.bybit.serve import Stream
from bot.simulator.faults.hooks import FaultHooks

MAX_MESSAGE_BYTES = 256 * 1024
MAX_WAITING_CHARS = 32 << 20
"""What may wait for one client, all messages together, before it is cut."""
_PING = '{"op":"ping"}'
IDLE_S = 600.0
"""After so long without a word from either side a private or trade connection is cut."""
_IDLE_LEAST_S, _IDLE_MOST_S = 30.0, 600.0
_GONE = (ConnectionError, RuntimeError)
"""What aiohttp raises when the other side has left while we send."""


class Connection:
    """A websocket of ``stream``'s dialect. ``send`` never waits; ``texts`` are what the client says.

    Use: ``await open()``, then run ``write`` beside a loop over ``receive``.
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
        """Whether we ended it: too slow, a fault, or the exchange stops."""
        self._faults = faults
        self._waiting_chars = 0
        self._idle_s = idle_s
        self._spoke_s = 0.0
        """When either side last said something, loop time."""
        self._queue: asyncio.Queue[str] = asyncio.Queue(queue_max)
        self._socket = web.WebSocketResponse(
            compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=0.5, autoping=False
        )

    async def open(self) -> web.WebSocketResponse:
        """Shake hands."""
        await self._socket.prepare(self.request)
        self._heard()
        self._faults.opened(self)
        return self._socket

    def send(self, text: str, topic: str = "", *, delay_s: float = 0.0) -> None:
        """Queue a message, ``delay_s`` from now; faults may change it. Too much waiting cuts the client."""
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
        """Queue a message past the faults."""
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
        """Send what is queued until the other side is gone."""
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
        """Send what is queued and hand over what the client says, until it has left."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self.write())
            while (text := await self.receive()) is not None:
                said(text)
            writer.cancel()

    async def receive(self) -> str | None:
        """The next text of the client, None when it has left, has said nothing for too long, or sends bytes.

        Protocol pings are answered here, through the faults, so that a mute stream is mute for them too.
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
                continue  # it was told something meanwhile
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
        """Until it has been idle for too long; None: never."""
        if self._idle_s is None:
            return None
        return max(0.0, self._spoke_s + self._idle_s - asyncio.get_running_loop().time())


def idle_limit_s(wish: str, usual_s: float = IDLE_S) -> float:
    """What ``?max_active_time=`` asks for: 30s to 600s, or in minutes such as 1m; else the usual limit."""
    found = re.fullmatch(r"([0-9]{1,4})(s|m)", wish)
    if found is None:
        return usual_s
    seconds = int(found[1]) * (60.0 if found[2] == "m" else 1.0)
    return min(max(seconds, _IDLE_LEAST_S), _IDLE_MOST_S)


def connection_ids() -> Iterator[str]:
    """Names of connections as Bybit gives them; not to be parsed."""
    number = 0
    while True:
        number += 1
        yield f"local{number:011d}-{number % 46656:05d}"
