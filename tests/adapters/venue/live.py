"""A venue adapter at the real local exchange, in one process, with faults to order."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from bot.adapters.net.inbox import Inbox
from bot.adapters.net.link import LinkPolicy
from bot.adapters.net.signed_rest import Credentials, SignedRest, signed_rest
from bot.adapters.state.clock import WallClock
from bot.adapters.venue.bybit import BybitVenue
from bot.adapters.venue.config import VenueConfig
from bot.bybit.hosts import local_urls
from bot.bybit.rate_limits import QUOTAS, RateLimiter
from bot.domain.account import KnownAccount
from bot.domain.messages import Event, Filled, LinkUp, PlaceOrder
from bot.domain.orders import Approved, Intent, Order
from bot.simulator.account.account import Account
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import ExchangeServer, running
from bot.simulator.ws.connection import Connection

QUICK = LinkPolicy(connect_timeout_ms=1_000, backoff_ms=40, max_backoff_ms=100, healthy_ms=200)
FAST_QUOTAS = {**QUOTAS, "create": 60, "cancel": 60}
"""Of the exchange in tests; the adapter's own default is that of an ordinary user."""
E = TypeVar("E", bound=Event)


class Mischief(FaultHooks):
    """Faults that a test switches on: hooks as attributes, connections to cut."""

    def __init__(self) -> None:
        self.on_rest: Callable[[web.Request], FaultAction | None] = lambda request: None
        self.on_answered: Callable[[web.Request, bytes], bytes | FaultAction] = lambda request, body: body
        self.on_out: Callable[[Any, str, str], list[tuple[float, str]] | None] = lambda c, t, s: None
        self.on_in: Callable[[Any, str], str | None] = lambda connection, text: text
        self.barred: set[str] = set()
        self.connections: set[Connection] = set()
        self.requests: list[tuple[str, str]] = []

    def rest(self, request: web.Request) -> FaultAction | None:
        self.requests.append((request.method, request.path_qs))
        return self.on_rest(request)

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        return self.on_answered(request, body)

    def ws_connect(self, kind: str) -> FaultAction | None:
        return FaultAction(status=503, body=b"no") if kind in self.barred else None

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        return self.on_out(connection, topic, text)

    def ws_in(self, connection: object, text: str) -> str | None:
        return self.on_in(connection, text)

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def cut(self, *kinds: str) -> None:
        """Reset every connection of these kinds and let none in."""
        self.barred |= set(kinds)
        for connection in list(self.connections):
            if connection.stream in kinds:
                connection.abort()

    def mend(self) -> None:
        self.barred.clear()


class _Kept(msgspec.Struct):
    orders: dict[str, Order]
    seen_ms: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.orders, self.seen_ms))


class Memory:
    """What a dead process left to the next one in the same directory: its orders and executions."""

    def __init__(self, place: Path) -> None:
        self._path = place / "memory.json"
        kept = self._path.read_bytes() if self._path.exists() else b'{"orders":{},"seen_ms":0}'
        self._orders, self._seen_ms = msgspec.json.decode(kept, type=_Kept)

    def sent(self, order: Order) -> None:
        self._orders[order.order_id] = order

    def saw_execution(self, ts_ms: int) -> None:
        self._seen_ms = max(self._seen_ms, ts_ms)

    def orders(self) -> dict[str, Order]:
        return self._orders

    def executions_seen_ms(self) -> int:
        return self._seen_ms

    def keep(self) -> None:
        self._path.write_bytes(msgspec.json.encode(_Kept(self._orders, self._seen_ms)))


@dataclass
class Trader:
    """A venue that runs, and everything it told."""

    venue: BybitVenue
    rest: SignedRest
    exchange: ExchangeServer
    store: Memory
    events: list[Event] = field(default_factory=list)
    names: Any = field(default_factory=lambda: count(1))
    run: str = "bot1"
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    """What the venue wants a person to know."""

    @property
    def desk(self) -> Account:
        return self.exchange.accounts.by_key["test-key"]

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def of(self, order_id: str) -> list[str]:
        """What was told of an order, by the events' names."""
        ids = ((event, getattr(event, "order_id", None)) for event in self.events)
        return [
            type(event).__name__
            for event, name in ids
            if order_id in (name, event.fill.order_id if isinstance(event, Filled) else None)
        ]

    def filled(self, order_id: str | None = None) -> Decimal:
        """Σ executions told, of one order or of all."""
        fills = [event.fill for event in self.told(Filled)]
        return sum((f.qty for f in fills if order_id in (None, f.order_id)), Decimal(0))

    def held(self, symbol: str = "BTCUSDT") -> Decimal:
        """The exchange's position, signed."""
        position = self.desk.engine.position(symbol, 0)
        return -position.size if position.side == "Sell" else position.size

    def price(self, symbol: str = "BTCUSDT") -> Decimal:
        return Decimal(str(self.exchange.market.last(symbol)))

    def intent(self, qty: str = "0.01", **changes: Any) -> Intent:
        fields: dict[str, Any] = {
            "symbol": "BTCUSDT",
            "side": "Buy",
            "decided_ms": 0,
            "ref_price": Decimal(100),
            "stop_loss": None,
        }
        fields |= changes
        return Intent(qty=Decimal(qty), **fields)

    def limit(self, qty: str = "0.01", frac: str = "0.99", **changes: Any) -> Intent:
        """A limit order at a fraction of the last price."""
        symbol = changes.get("symbol", "BTCUSDT")
        price = (self.price(symbol) * Decimal(frac)).quantize(Decimal("0.1"))
        fields: dict[str, Any] = {"order_type": "Limit", "price": price, "time_in_force": "GTC"}
        return self.intent(qty, **(fields | changes))

    def place(self, intent: Intent, *, leave_by_ms: int | None = None, max_slippage_bps: int = 0) -> str:
        order_id = f"{self.run}-{next(self.names)}-0"
        self.store.sent(Order(order_id, intent))
        self.venue.submit(PlaceOrder(order_id, Approved(intent, leave_by_ms, max_slippage_bps)))
        return order_id

    def trade_through(self, price: Decimal, symbol: str = "BTCUSDT") -> None:
        """Somebody else trades at ``price``, a lot: resting orders at better prices fill."""
        desk, now_ms = self.desk, self.exchange.market.now_ms()
        desk.engine.trade(symbol, now_ms, price, Decimal(1_000))  # type: ignore[union-attr]
        desk.settle()

    async def until(self, done: Callable[[], object], within_s: float = 3.0) -> float:
        """Wait until something is so; returns the seconds it took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with asyncio.timeout(within_s):
            while not done():  # noqa: ASYNC110 (anything may be waited for)
                await asyncio.sleep(0.002)
        return loop.time() - began_s


def config_for(exchange: ExchangeServer, **changes: Any) -> VenueConfig:
    config = VenueConfig(
        kind="local",
        urls=local_urls(exchange.http_url),
        symbols=("BTCUSDT", "ETHUSDT"),
        recv_window_ms=2_000,
        order_timeout_ms=400,
        ping_ms=200,
        pong_timeout_ms=400,
        link=QUICK,
        confirm_ms=150,
        absent_grace_ms=100,
        absent_spacing_ms=60,
        protect_ms=200,
    )
    return replace(config, **changes)


@asynccontextmanager
async def exchange_with(faults: FaultHooks | None = None, **changes: Any) -> AsyncIterator[ExchangeServer]:
    config = ExchangeConfig(port=0, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"), ticks_per_s=2.0, **changes)
    async with running(config, faults) as exchange:
        yield exchange


@asynccontextmanager
async def venue_at(
    exchange: ExchangeServer,
    state: Path,
    *,
    key: str = "test-key",
    secret: str = "test-secret",
    clock: Any = None,
    wait: bool = True,
    run: str = "bot1",
    known: Callable[[], KnownAccount | None] = lambda: None,
    **changes: Any,
) -> AsyncIterator[Trader]:
    """A running venue adapter; its death is the block's. ``wait`` until it has the account."""
    config = config_for(exchange, **changes)
    clock = clock or WallClock()
    state.mkdir(exist_ok=True)  # noqa: ASYNC240 (nobody waits for it)
    store = Memory(state)
    ids = (f"r{n}" for n in count(1))
    budget = RateLimiter(FAST_QUOTAS)
    try:
        async with signed_rest(
            config.urls.rest,
            Credentials(key, secret),
            clock,
            random.Random(5),
            budget=budget,
            policy=config.rest,
        ) as rest:
            notes: list[tuple[str, dict[str, object]]] = []
            venue = BybitVenue(
                config,
                rest,
                clock,
                random.Random(6),
                ids,
                store,
                known=known,
                on_note=lambda event, facts: notes.append((event, facts)),
            )
            trader = Trader(venue, rest, exchange, store, run=run, notes=notes)
            inbox = Inbox()
            tasks = [
                asyncio.create_task(venue.run(inbox)),
                asyncio.create_task(_collect(inbox, trader.events)),
            ]
            try:
                if wait:
                    await _up(tasks[0], trader)
                yield trader
                if tasks[0].done():
                    tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError):
                        await task
    finally:
        store.keep()


async def _up(task: "asyncio.Task[None]", trader: Trader) -> None:
    while not trader.told(LinkUp):
        if task.done():
            task.result()
        await asyncio.sleep(0.005)


async def _collect(inbox: Inbox, events: list[Event]) -> None:
    while True:
        events.append(await inbox.get())


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
