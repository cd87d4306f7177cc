"""The public streams: subscriptions and pushes; each push is encoded once for all subscribers.

Bybit's rules: one bad topic refuses the whole request; a second subscription to a topic is an error; tickers
and books begin with a snapshot; ``orderbook.1`` sends snapshots only, again after 3 s without a change; ``u``
rises by 1 a message; a candle is confirmed exactly once.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
from aiohttp import web

from bot.bybit.serve import (
    BadClient,
    Ping,
    Stream,
    Subscribe,
    Unsubscribe,
    ack,
    already_subscribed,
    handler_not_found,
    parse_client,
    pong,
    push,
)
from bot.bybit.wire import BookRow, KlineRow, TradeRow
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.market.candle_trades import MarketTrade, PartialCandle, trade_id
from bot.simulator.market.depth import MAX_BOOK
from bot.simulator.market.digits import at_least, shortest
from bot.simulator.market.history import FIXED_MS, INTERVALS, end_of, start_of
from bot.simulator.market.loop import Market
from bot.simulator.market.notices import Maintenance
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.market.tickers import price_limits, ticker
from bot.simulator.ws.connection import Connection

DEPTHS = (1, 50, 200, 1000)
REPEAT_S = 3.0
LIMITS_S = 0.3
"""Minimum seconds of machine time between pushes of a symbol's price limits."""
STATUS = "misc/status"
"""The category of the system's status, which has the one topic ``system.status``."""
CANDLE_S = 0.95
"""Minimum seconds of machine time between pushes of an open candle."""
MAX_ARGS_CHARS = 21_000
MAX_TRADES = 1024
_STREAMS: dict[str, Stream] = {
    "linear": "public",
    "inverse": "public",
    "spot": "spot",
    "option": "option",
    STATUS: "public",
}


def kline_row(candle: PartialCandle, interval: str, confirm: bool, ts_ms: int) -> KlineRow:
    """Return a candle in the form of the stream."""
    return KlineRow(
        start=candle.start_ms,
        end=end_of(interval, candle.start_ms) - 1,
        interval=interval,
        open=shortest(candle.open),
        close=shortest(candle.close),
        high=shortest(candle.high),
        low=shortest(candle.low),
        volume=shortest(candle.volume),
        turnover=shortest(candle.turnover),
        confirm=confirm,
        timestamp=ts_ms,
    )


class Topic:
    """One topic and its subscribers."""

    def __init__(self, name: str, symbol: MarketSymbol) -> None:
        self.name = name
        self.symbol = symbol
        self.listeners: dict[Connection, None] = {}  # in the order in which they came

    def joined(self, connection: Connection, stamp: Callable[[], int], now_ms: int) -> None:
        """Send a new subscriber its first messages: the snapshot, if the topic has one."""

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push what happened from ``after_ms`` to ``now_ms``."""

    def send(self, text: str) -> None:
        """Send a text to all subscribers."""
        for connection in tuple(self.listeners):
            connection.send(text, self.name)


class KlineTopic(Topic):
    """``kline.{interval}.{symbol}``."""

    def __init__(self, name: str, symbol: MarketSymbol, interval: str) -> None:
        super().__init__(name, symbol)
        self.interval = interval
        self._pushed_s = -1e9

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push the open candle, about once a second."""
        if loop_s - self._pushed_s < CANDLE_S:
            return
        candle = self.symbol.history.candle(self.interval, start_of(self.interval, now_ms), now_ms)
        if candle is not None and now_ms < end_of(self.interval, candle.start_ms) - 1:
            self._pushed_s = loop_s
            row = kline_row(candle, self.interval, False, stamp_ms)
            self.send(push(self.name, [row], stamp_ms))

    def close(self, close_ms: int, stamp_ms: int) -> None:
        """Confirm the candle that ends at ``close_ms``, if there is one and it has a trade."""
        start_ms = start_of(self.interval, close_ms - 1)
        if end_of(self.interval, start_ms) != close_ms:
            return
        candle = self.symbol.history.candle(self.interval, start_ms, close_ms)
        if candle is not None:
            self.send(push(self.name, [kline_row(candle, self.interval, True, stamp_ms)], stamp_ms))


class TickerTopic(Topic):
    """``tickers.{symbol}``: a snapshot, then what changed."""

    def __init__(self, name: str, symbol: MarketSymbol) -> None:
        super().__init__(name, symbol)
        self._known: dict[str, str] = {}

    def joined(self, connection: Connection, stamp: Callable[[], int], now_ms: int) -> None:
        """Send the snapshot to which the next delta applies."""
        if len(self.listeners) <= 1 or not self._known:
            self._known = ticker(self.symbol, now_ms)
        connection.send(push(self.name, self._known, stamp(), cs=now_ms), self.name)

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push the fields that changed."""
        fresh, known = ticker(self.symbol, now_ms), self._known
        changed = {field: text for field, text in fresh.items() if known.get(field) != text}
        if not changed:
            return
        self._known = fresh
        self.send(push(self.name, {"symbol": self.symbol.name} | changed, stamp_ms, kind="delta", cs=now_ms))


class BookTopic(Topic):
    """``orderbook.{depth}.{symbol}``."""

    def __init__(self, name: str, symbol: MarketSymbol, depth: int) -> None:
        super().__init__(name, symbol)
        self._levels = min(depth, MAX_BOOK)
        self._snapshots_only = depth == 1
        self._sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._u = 0
        self._seq = 0
        self._pushed_s = 0.0

    def joined(self, connection: Connection, stamp: Callable[[], int], now_ms: int) -> None:
        """Send the book to which the next delta applies; before its launch a contract has no book."""
        if self.symbol.instrument.status == "PreLaunch":
            return
        if len(self.listeners) <= 1 or not self._u:
            self._sides = self._book(now_ms)
            first = 1 if self.symbol.restarted else now_ms // 1000
            self._u = self._u + 1 if self._u else first
            self._seq = now_ms
        connection.send(self._message(self._sides, stamp(), "snapshot"), self.name)

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push what changed; an unchanged first level is sent again after 3 s."""
        if self.symbol.instrument.status == "PreLaunch":
            return
        fresh, known = self._book(now_ms), self._sides
        same = fresh == known
        if same and not (self._snapshots_only and loop_s - self._pushed_s >= REPEAT_S):
            return
        if not same:
            self._sides, self._seq, self._u = fresh, now_ms, self._u + 1
        self._pushed_s = loop_s
        if self._snapshots_only:
            self.send(self._message(fresh, stamp_ms, "snapshot"))
        else:
            changes = (_changes(known[0], fresh[0]), _changes(known[1], fresh[1]))
            self.send(self._message(changes, stamp_ms, "delta"))

    def _book(self, now_ms: int) -> tuple[dict[str, str], dict[str, str]]:
        bids, asks = self.symbol.book(now_ms, self._levels)
        return dict(bids), dict(asks)

    def _message(
        self,
        sides: tuple[dict[str, str], dict[str, str]],
        stamp_ms: int,
        kind: Literal["snapshot", "delta"],
    ) -> str:
        row = BookRow(self.symbol.name, list(sides[0].items()), list(sides[1].items()), self._u, self._seq)
        return push(self.name, row, stamp_ms, kind=kind, cts_ms=stamp_ms - 1)


def _changes(known: dict[str, str], fresh: dict[str, str]) -> dict[str, str]:
    changed = {price: "0" for price in known if price not in fresh}
    changed.update((price, size) for price, size in fresh.items() if known.get(price) != size)
    return changed


class RecordedTopic(Topic):
    """A topic whose frames were recorded: ``Streams.tick`` passes them on, to the last letter."""

    def joined(self, connection: Connection, stamp: Callable[[], int], now_ms: int) -> None:
        """Send the state that the frames so far add up to, to which the next frame applies."""
        snapshot = self.symbol.snapshot(self.name)
        if snapshot is not None:
            connection.send(snapshot, self.name)


class PriceLimitTopic(Topic):
    """``priceLimit.{symbol}``: how far limit prices may lie from the mark; pushed when it changes."""

    def __init__(self, name: str, symbol: MarketSymbol) -> None:
        super().__init__(name, symbol)
        self._known: dict[str, str] = {}
        self._pushed_s = -1e9

    def joined(self, connection: Connection, stamp: Callable[[], int], now_ms: int) -> None:
        """Send the present limits."""
        connection.send(_limits_push(self.name, price_limits(self.symbol, now_ms), stamp()), self.name)

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push the limits at most every 300 ms."""
        if loop_s - self._pushed_s < LIMITS_S:
            return
        fresh = price_limits(self.symbol, now_ms)
        if fresh != self._known:
            self._known, self._pushed_s = fresh, loop_s
            self.send(_limits_push(self.name, fresh, stamp_ms))


def _limits_push(topic: str, limits: dict[str, str], stamp_ms: int) -> str:
    """Return a push without a type, as Bybit sends it on this topic."""
    return json.dumps({"topic": topic, "data": limits, "ts": stamp_ms}, separators=(",", ":"))


class TradeTopic(Topic):
    """``publicTrade.{symbol}``."""

    def tick(self, after_ms: int, now_ms: int, stamp_ms: int, loop_s: float) -> None:
        """Push the trades since the last push, oldest first."""
        skew_ms = stamp_ms - now_ms
        rows = [self._row(trade, skew_ms) for trade in self.symbol.trades(after_ms, now_ms)]
        for first in range(0, len(rows), MAX_TRADES):
            self.send(push(self.name, rows[first : first + MAX_TRADES], stamp_ms))

    def _row(self, trade: MarketTrade, skew_ms: int) -> TradeRow:
        return TradeRow(
            T=trade.ts_ms + skew_ms,
            s=self.symbol.name,
            S=trade.side,
            v=shortest(trade.qty),
            p=at_least(trade.price, self.symbol.contract.price_places),
            L=trade.direction,
            i=trade.exec_id or trade_id(self.symbol.name, trade.ts_ms),
            seq=trade.ts_ms,
        )


class Streams:
    """All topics and all public connections."""

    def __init__(self, market: Market, faults: FaultHooks, ids: Iterator[str]) -> None:
        self._market = market
        self._faults = faults
        self._ids = ids
        self._topics: dict[str, dict[str, Topic]] = {name: {} for name in market.symbols}
        self._lengths: Counter[int] = Counter()
        self._connections: dict[Connection, None] = {}
        self._followers: dict[Connection, None] = {}
        """Connections that follow the status of the system."""
        market.publisher = self
        market.notices.listen = self._notice
        market.finer_ms = self._finest_ms

    # -- from the market -------------------------------------------------------------------------------------

    def tick(self, symbol: MarketSymbol, after_ms: int, ts_ms: int) -> None:
        """Push what is new of ``symbol`` to its subscribers."""
        topics = self._topics[symbol.name]
        for name, text in symbol.frames(ts_ms):
            if name in topics:
                topics[name].send(text)
        if not topics:
            return
        loop_s = asyncio.get_running_loop().time()
        now_ms = min(ts_ms, self._market.end_ms)
        stamp_ms = ts_ms + self._market.clock.skew_ms
        for topic in tuple(topics.values()):
            topic.tick(after_ms, now_ms, stamp_ms, loop_s)

    def _notice(self, notice: Maintenance) -> None:
        stamp_ms = self._market.clock.now_ms()
        text = json.dumps(
            {"topic": "system.status", "ts": stamp_ms, "data": [msgspec.to_builtins(notice)]},
            separators=(",", ":"),
        )
        for connection in tuple(self._followers):
            connection.send(text, "system.status")

    def close(self, close_ms: int) -> None:
        """Confirm the candles that end at ``close_ms``."""
        stamp_ms = self._market.clock.now_ms()
        for topics in self._topics.values():
            for topic in tuple(topics.values()):
                if isinstance(topic, KlineTopic):
                    topic.close(close_ms, stamp_ms)

    def _finest_ms(self) -> int:
        """Return the shortest subscribed candle; a month counts as a long one."""
        return min(self._lengths, default=1 << 60)

    def _count(self, topic: Topic, change: int) -> None:
        """Count a topic of this length of candle: one more or one less."""
        if isinstance(topic, KlineTopic):
            length_ms = FIXED_MS.get(topic.interval, 1 << 60)
            self._lengths[length_ms] += change
            if not self._lengths[length_ms]:
                del self._lengths[length_ms]

    # -- from clients ----------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one public websocket until it closes."""
        category = request.match_info["category"]
        connection = Connection(
            request, _STREAMS[category], next(self._ids), self._faults, self._market.config.queue_max
        )
        response = await connection.open()
        self._connections[connection] = None
        try:
            # Requests are handled after the delay, in the order they came: no push leaves before its ack.
            later = asyncio.get_running_loop().call_later
            await connection.talk(lambda text: later(self._delay_s, self._said, connection, category, text))
        finally:
            self._connections.pop(connection, None)
            self._leave(connection)
        return response

    async def close_all(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def _said(self, connection: Connection, category: str, text: str) -> None:
        if connection not in self._connections:
            return  # left meanwhile
        now_ms = self._market.clock.now_ms()
        match parse_client(text):
            case Ping(req_id):
                self._answer(connection, "ping", pong(connection.stream, req_id, connection.conn_id, now_ms))
            case Subscribe(topics, req_id):
                self._subscribe(connection, category, topics, req_id)
            case Unsubscribe(topics, req_id):
                for name in topics:
                    self._drop(connection, name)
                reply = ack(connection.stream, "unsubscribe", True, "", req_id, connection.conn_id)
                self._answer(connection, "unsubscribe", reply)
            case BadClient(reason, op, req_id):
                known: Literal["subscribe", "unsubscribe"] = (
                    "unsubscribe" if op == "unsubscribe" else "subscribe"
                )
                message = f"error:{reason}"[:200]
                reply = ack(connection.stream, known, False, message, req_id, connection.conn_id)
                self._answer(connection, "error", reply)
            case request:
                message = f"error:no such op on this stream: {type(request).__name__.lower()}"
                reply = ack(connection.stream, "subscribe", False, message, None, connection.conn_id)
                self._answer(connection, "error", reply)

    @property
    def _delay_s(self) -> float:
        return self._market.config.ack_delay_ms / 1000.0

    def _answer(self, connection: Connection, op: str, text: str) -> None:
        connection.send(text, f"op:{op}")

    def _subscribe(
        self, connection: Connection, category: str, names: tuple[str, ...], req_id: str | None
    ) -> None:
        wrong = self._wrong(connection, category, names)
        reply = ack(
            connection.stream, "subscribe", not wrong, wrong, req_id, connection.conn_id, topics=names
        )
        connection.send(reply, "op:subscribe")
        if wrong:
            return
        if category == STATUS:
            self._followers[connection] = None
            return
        now_ms = self._market.now_ms()
        for name in names:
            topic = self._topic(name)
            if isinstance(topic, RecordedTopic):  # a snapshot is of now: what came before it leaves first
                self._market.show(topic.symbol)
            topic.listeners[connection] = None
            topic.joined(connection, self._market.clock.now_ms, now_ms)

    def _wrong(self, connection: Connection, category: str, names: tuple[str, ...]) -> str:
        """Return why a whole request is refused; "" if it is not."""
        if sum(map(len, names)) > MAX_ARGS_CHARS:
            return f"error:args too long, at most {MAX_ARGS_CHARS} characters"
        if category == STATUS:
            return next((handler_not_found(name) for name in names if name != "system.status"), "")
        seen: set[str] = set()
        for name in names:
            if category != "linear" or make_topic(name, self._market) is None:
                return handler_not_found(name)
            topic = self._topics[name.rsplit(".", 1)[1]].get(name)
            if name in seen or (topic is not None and connection in topic.listeners):
                return already_subscribed(name)
            seen.add(name)
        return ""

    def _topic(self, name: str) -> Topic:
        topics = self._topics[name.rsplit(".", 1)[1]]
        if name not in topics:
            made = make_topic(name, self._market)
            assert made is not None, "checked before"
            topics[name] = made
            self._count(made, 1)
        return topics[name]

    def _drop(self, connection: Connection, name: str) -> None:
        topics = self._topics.get(name.rpartition(".")[2], {})
        topic = topics.get(name)
        if topic is not None and connection in topic.listeners:
            topic.listeners.pop(connection, None)
            if not topic.listeners:
                del topics[name]
                self._count(topic, -1)

    def _leave(self, connection: Connection) -> None:
        self._followers.pop(connection, None)
        for topics in self._topics.values():
            for name in tuple(topics):
                self._drop(connection, name)


def make_topic(name: str, market: Market) -> Topic | None:
    """Return the topic of that name, None if there is none."""
    of_name = market.symbols.get(name.rpartition(".")[2])
    if of_name is not None and name in of_name.recorded:
        return RecordedTopic(name, of_name)
    match name.split("."):
        case ["kline", interval, symbol] if interval in INTERVALS and symbol in market.symbols:
            return KlineTopic(name, market.symbols[symbol], interval)
        case ["tickers", symbol] if symbol in market.symbols:
            return TickerTopic(name, market.symbols[symbol])
        case ["orderbook", depth, symbol] if depth in map(str, DEPTHS) and symbol in market.symbols:
            return BookTopic(name, market.symbols[symbol], int(depth))
        case ["publicTrade", symbol] if symbol in market.symbols:
            return TradeTopic(name, market.symbols[symbol])
        case ["priceLimit", symbol] if symbol in market.symbols:
            return PriceLimitTopic(name, market.symbols[symbol])
        case ["allLiquidation", symbol] if symbol in market.symbols:
            return Topic(name, market.symbols[symbol])  # only our own clients can be liquidated here
        case _:
            return None
