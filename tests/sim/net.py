"""The network: ordered byte streams with a seeded latency, and what can happen to them."""

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.sim.loop import CURRENT, Process, SimLoop

Address = Any
"""``(host, port)``, or the path of a socket file."""


class Server(asyncio.AbstractServer):
    """A listening address. ``sockets`` is empty: nothing here has a file descriptor."""

    sockets: tuple[()] = ()

    def __init__(self, net: "Network", address: Address, real: Any) -> None:
        self._net = net
        self._address = address
        self._real = real

    def close(self) -> None:
        """Stop listening."""
        self._net.listeners.pop(self._address, None)
        if self._real is not None:
            self._real.close()

    def is_serving(self) -> bool:
        return self._address in self._net.listeners

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._net.loop

    async def start_serving(self) -> None:
        return None

    async def wait_closed(self) -> None:
        return None


class Network:
    """All connections between the simulated processes.

    Attributes:
        cut_until_s: nothing passes before; what is sent arrives after it, as TCP sends it again.
        sent: called with the connection and the bytes that a process writes, before they can be lost.
        heard: called with the connection and the bytes that a process is given.
        dialled: called with an address that a process dials.
        closed: called with a connection that ends on the side of a process.
        fails: asked about each write of a process; True: the connection breaks in it.
        takes_broken: whether the other side still gets the bytes in which a connection breaks.
    """

    def __init__(self, loop: SimLoop, seed: str) -> None:
        self.loop = loop
        self.listeners: dict[Address, tuple[Callable[[], Any], contextvars.Context, Process | None, Any]] = {}
        self.live: dict[Stream, None] = {}
        self.cut_until_s = 0.0
        self.least_s, self.most_s = 0.002, 0.03
        self.sent: Callable[[Stream, bytes], None] = lambda stream, data: None
        self.heard: Callable[[Stream, bytes], None] = lambda stream, data: None
        self.closed: Callable[[Stream], None] = lambda stream: None
        self.dialled: Callable[[Address], None] = lambda address: None
        self.fails: Callable[[Stream, bytes], bool] = lambda stream, data: False
        self.takes_broken = False
        self._seed = seed
        self._numbers = 0

    def listen(self, factory: Callable[[], Any], address: Address, real: Any = None) -> Server:
        """Take connections at ``address`` from now on."""
        self.listeners[address] = (factory, contextvars.copy_context(), CURRENT.get(), real)
        return Server(self, address, real)

    async def connect(self, factory: Callable[[], Any], address: Address) -> tuple["Stream", Any]:
        """Dial.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        if CURRENT.get() is not None:
            self.dialled(address)
        held_s = max(0.0, self.cut_until_s - self.loop.now_s) if isinstance(address, tuple) else 0.0
        self._numbers += 1
        number = self._numbers
        chance = random.Random(f"{self._seed}:{number}")
        await asyncio.sleep(held_s + chance.uniform(self.least_s, self.most_s))
        if address not in self.listeners:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        serve, context, process, _ = self.listeners[address]
        near = Stream(self, address, number, chance, contextvars.copy_context(), CURRENT.get())
        far = Stream(self, None, number, random.Random(f"{self._seed}:{number}:far"), context.copy(), process)
        near.peer, far.peer = far, near
        protocol = factory()
        far.attach(context.run(serve))
        near.attach(protocol)
        self.live[near] = None
        await asyncio.sleep(0)  # as a real loop: return after connection_made ran
        return near, protocol

    def end(self, process: Process, *, silent: bool) -> None:
        """Close what an ended process had open; ``silent``: the other side hears nothing (the power went)."""
        for address in [a for a, entry in self.listeners.items() if entry[2] is process]:
            real = self.listeners.pop(address)[3]
            if real is not None:
                real.close()
        for near in list(self.live):
            for each in (near, near.peer):
                if each.process is process and not each.gone:
                    each.gone = True
                    self.live.pop(near, None)
                    if not silent:
                        self.loop.at(each.arrival_s(), each.peer.lost, ConnectionResetError("process ended"))

    def forget(self) -> None:
        """Let go of everything, at the very end."""
        self.listeners.clear()
        self.live.clear()
        self.sent = self.heard = lambda stream, data: None
        self.fails = lambda stream, data: False
        self.closed = self.dialled = lambda what: None

    def reset(self) -> None:
        """Cut every connection between machines."""
        for near in list(self.live):
            if isinstance(near.address, tuple):
                near.lost(ConnectionResetError("reset"))
                near.peer.lost(ConnectionResetError("reset"))


class Stream(asyncio.Transport):
    """One end of a connection. Bytes keep their order, as TCP's do."""

    peer: "Stream"

    def __init__(
        self,
        net: Network,
        address: Address,
        number: int,
        chance: random.Random,
        context: contextvars.Context,
        process: Process | None,
    ) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.net = net
        self.address = address
        self.number = number
        self.process = process
        self.gone = False
        self._chance = chance  # of its own: what happens to others does not move its draws
        self.notes: dict[str, Any] = {}
        """What a tap remembers of this connection."""
        self._context = context
        self._protocol: Any = None
        self._closing = self._paused = self._ended = False
        self._waiting: deque[bytes | None] = deque()
        self._waiting_bytes = 0
        self._last_s = 0.0

    def attach(self, protocol: Any) -> None:
        """Give it its protocol."""
        self._protocol = protocol
        self.net.loop.call_soon(protocol.connection_made, self, context=self._context)

    # What asyncio asks of a transport

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing or self.gone

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        while self._waiting and not self._paused and not self.gone:
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data or b"")
            self._feed(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.peer._waiting_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 65_536

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        if self._dead or self._closing or not data:
            return
        data = bytes(data)
        fails = False
        if self.process is not None:
            self.net.sent(self, data)
            fails = self.net.fails(self, data)
        if not fails or self.net.takes_broken:
            self._deliver(self.peer.received, data)
        if fails:
            error = ConnectionResetError("the write failed")
            self._deliver(self.peer.lost, error)
            self.lost(error)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not (self._dead or self._ended):
            self._ended = True
            self._deliver(self.peer.received, None)

    def close(self) -> None:
        if self._closing or self._dead:
            return
        self.write_eof()
        self._closing = True
        self.net.loop.call_soon(self.lost, None, context=self._context)

    def abort(self) -> None:
        if self._dead:
            return
        self._deliver(self.peer.lost, ConnectionResetError("peer aborted"))
        self.lost(None)

    # The way to the other side

    @property
    def _dead(self) -> bool:
        return self.gone or (self.process is not None and not self.process.alive)

    def arrival_s(self) -> float:
        """Return when what leaves now arrives: after all that left before."""
        net = self.net
        leaves_s = net.loop.now_s
        if isinstance(self.address or self.peer.address, tuple):
            leaves_s = max(leaves_s, net.cut_until_s)
        self._last_s = max(
            self._last_s + 1e-6, leaves_s + self._chance.uniform(net.least_s, net.most_s)
        )  # equal timers keep no order
        return self._last_s

    def _deliver(self, take: Callable[[Any], None], what: Any) -> None:
        peer = self.peer
        at_s = self.arrival_s()
        if peer.process is not None:
            at_s = max(at_s, peer.process.frozen_until_s)
        self.net.loop.at(at_s, take, what, context=peer._context)

    def received(self, data: bytes | None) -> None:
        """Take bytes of the other side, None for its end."""
        if self._dead:
            return
        frozen_s = self.process.frozen_until_s if self.process is not None else 0.0
        if frozen_s > self.net.loop.now_s:  # it fell asleep while they were on their way
            self.net.loop.at(frozen_s, self.received, data, context=self._context)
        elif self._paused:
            self._waiting.append(data)
            self._waiting_bytes += len(data or b"")
        else:
            self._feed(data)

    def _feed(self, data: bytes | None) -> None:
        protocol = self._protocol
        if data and self.process is not None:
            self.net.heard(self, data)
        if data is None:
            if not protocol.eof_received():
                self.close()
        elif isinstance(protocol, asyncio.BufferedProtocol):
            while data:
                room = protocol.get_buffer(len(data))
                taken = min(len(room), len(data))
                room[:taken] = data[:taken]
                protocol.buffer_updated(taken)
                data = data[taken:]
        else:
            protocol.data_received(data)

    def lost(self, error: Exception | None) -> None:
        """End this side."""
        if self._dead:
            return
        self.gone = self._closing = True
        if self.process is not None:
            self.net.closed(self)
        self.net.live.pop(self, None)
        self.net.live.pop(self.peer, None)
        self.net.loop.call_soon(self._protocol.connection_lost, error, context=self._context)
