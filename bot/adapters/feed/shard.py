"""One websocket of a feed and its share of the symbols: waits for acknowledged topics, notices silence."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from bot.adapters.feed.config import FeedConfig, FeedMetrics
from bot.adapters.net.link import REFUSALS_MAX, DialGate, Link, LinkPolicy
from bot.bybit.public import Kline, PublicMessage, PublicSession, Subscribed, SubscribeFailed
from bot.bybit.rest import WIRE_INTERVALS
from bot.bybit.session import MAX_ARGS_CHARACTERS, Patience
from bot.domain.errors import Rejected

OnMessage = Callable[[PublicMessage, float], None]


class Shard:
    """Some symbols on one connection.

    Args:
        symbols: whose candles (and tickers) it carries.
        on_message: called with each message and the loop's time in seconds at which it arrived.
        on_ready: called when every topic of a new connection is acknowledged.
        on_lost: called with the reason when a connection, or an attempt to connect, ends.
        on_refused: called with a symbol whose topic the venue refuses, connection after connection, and
            with the error that this is unless the contract has ended.

    Attributes:
        ready: True while connected with every topic acknowledged.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        config: FeedConfig,
        metrics: FeedMetrics,
        rng: random.Random,
        ids: Iterator[str],
        gate: DialGate,
        *,
        on_message: OnMessage,
        on_ready: Callable[["Shard"], None],
        on_lost: Callable[["Shard", str], None],
        on_refused: Callable[["Shard", str, Rejected], None],
    ) -> None:
        self.symbols = tuple(symbols)
        self.ready = False
        self._topics = [topic for symbol in symbols for topic in topics_of(symbol, config)]
        self._config = config
        self._metrics = metrics
        self._ids = ids
        self._on_message = on_message
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._waiting: set[str] = set()
        self._refused: dict[str, int] = {}
        self._heard_s: dict[str, float] = {}
        self._renewed: set[str] = set()  # silent topics that were renewed and are still silent
        self._given_up: set[str] = set()  # and that a new connection did not cure either
        self._link: Link[PublicMessage] = Link(
            config.ws_url,
            self._start,
            on_value=self._value,
            on_up=self._up,
            on_down=self._down,
            rng=rng,
            policy=link_policy(config),
            gate=gate,
        )

    @property
    def dials(self) -> int:
        """Number of attempts to connect."""
        return self._link.dials

    @property
    def why_down(self) -> str:
        """Why the last connection or attempt ended."""
        return self._link.down_reason

    async def run(self) -> NoReturn:
        """Keep the connection until cancelled."""
        await self._link.run()

    def drop(self, symbol: str) -> None:
        """Subscribe no more to a symbol whose contract has ended."""
        self.symbols = tuple(each for each in self.symbols if each != symbol)
        gone = topics_of(symbol, self._config)
        self._topics = [topic for topic in self._topics if topic not in gone]
        self._waiting.difference_update(gone)
        self._heard_s.pop(symbol, None)
        self._renewed.discard(symbol)
        self._given_up.discard(symbol)

    def reconnect(self, reason: str) -> None:
        """Close the connection and dial again."""
        self._link.reconnect(reason)

    def watch_silence(self, now_s: float) -> int:
        """Subscribe silent topics again, then dial again if they stay silent; return how many are silent.

        Bybit pushes a candle at least every 60 s, so a longer silence means a fault and not a quiet market.
        """
        if not self.ready:
            return 0
        limit_s = self._config.silence_ms / 1000.0
        silent = [symbol for symbol, heard_s in self._heard_s.items() if now_s - heard_s > limit_s]
        if not silent:
            return 0
        if len(silent) == len(self.symbols):
            self.reconnect(f"no candle of any symbol for {limit_s:g} s")
            return len(silent)
        fresh = [symbol for symbol in silent if symbol not in self._renewed]
        stubborn = [s for s in silent if s in self._renewed and s not in self._given_up]
        if stubborn:
            self._given_up.update(stubborn)
            self.reconnect(f"{', '.join(stubborn[:3])}: silent though subscribed anew")
        elif fresh and self._link.session is not None:
            self._renewed.update(fresh)
            self._metrics.renewals += len(fresh)
            session = self._session
            session.renew([kline_topic(symbol, self._config) for symbol in fresh], now_s * 1000.0)
            self._link.flush()
            for symbol in fresh:
                self._heard_s[symbol] = now_s
        return len(silent)

    def _start(self, now_ms: float) -> tuple[PublicSession, list[str]]:
        config = self._config
        self._session = PublicSession(
            self._topics,
            ids=self._ids,
            patience=Patience(config.ping_ms, config.pong_timeout_ms, config.connect_timeout_ms),
        )
        self._waiting = set(self._topics)
        return self._session, self._session.opened(now_ms)

    def _up(self) -> None:
        self._metrics.reconnects += self._link.ups > 1
        self._heard_s = dict.fromkeys(self.symbols, asyncio.get_running_loop().time())

    def _down(self, reason: str) -> None:
        self.ready = False
        self._on_lost(self, reason)

    def _value(self, value: PublicMessage, arrived_s: float) -> None:
        if type(value) is Kline:
            self._heard_s[value.symbol] = arrived_s
            if self._renewed:
                self._renewed.discard(value.symbol)
                self._given_up.discard(value.symbol)
        elif type(value) is Subscribed:
            self._acknowledged(value.topics)
            return
        elif type(value) is SubscribeFailed:
            self._refuse(value)
            return
        self._on_message(value, arrived_s)

    def _acknowledged(self, topics: Sequence[str]) -> None:
        self._waiting.difference_update(topics)
        for topic in topics:
            self._refused.pop(topic, None)
        if not self._waiting and not self.ready:
            self.ready = True
            self._on_ready(self)

    def _refuse(self, failed: SubscribeFailed) -> None:
        for topic in failed.topics:
            self._metrics.refusals += 1
            self._refused[topic] = self._refused.get(topic, 0) + 1
            if self._refused[topic] >= REFUSALS_MAX:
                self._refused[topic] = 0
                why = f"{self._config.ws_url}: {topic} is refused again and again: {failed.reason}"
                self._on_refused(self, topic.rpartition(".")[2], Rejected(why))
                return
        self.reconnect(f"{failed.topics[0]}: {failed.reason}")


def link_policy(config: FeedConfig) -> LinkPolicy:
    """Return the patience of the feed's links."""
    return LinkPolicy(
        connect_timeout_ms=config.connect_timeout_ms,
        backoff_ms=config.backoff_ms,
        max_backoff_ms=config.max_backoff_ms,
        healthy_ms=config.healthy_ms,
    )


def kline_topic(symbol: str, config: FeedConfig) -> str:
    """Return the candle topic of a symbol."""
    return f"kline.{WIRE_INTERVALS[config.interval_ms]}.{symbol}"


def topics_of(symbol: str, config: FeedConfig) -> list[str]:
    """Return the topics of a symbol."""
    return [kline_topic(symbol, config)] + ([f"tickers.{symbol}"] if config.tickers else [])


def shares(config: FeedConfig) -> list[list[str]]:
    """Spread the symbols over as few connections as the venue's limit on topics allows."""
    found: list[list[str]] = []
    characters = MAX_ARGS_CHARACTERS
    for symbol in config.symbols:
        needed = sum(len(topic) + 3 for topic in topics_of(symbol, config))
        full = characters + needed > MAX_ARGS_CHARACTERS
        if full or len(found[-1]) >= config.symbols_per_connection:
            found.append([])
            characters = 0
        found[-1].append(symbol)
        characters += needed
    return found
