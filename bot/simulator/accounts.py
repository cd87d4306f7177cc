"""The accounts of the exchange: one per key, each with rules of its own behind the same market.

They follow the market only where they have orders or positions; where they have none, prices are looked
up when an order comes. With ``fills="quotes"`` orders meet prices as they come (``QuoteExchange``), with
``fills="bars"`` they meet closed bars exactly as in a backtest (``BarExchange``).
"""

import asyncio
import uuid
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import assert_never

from aiohttp import web

from bot.adapters.files.shipped import spreads
from bot.domain.market import Bar, Instrument
from bot.domain.messages import BarsClosed
from bot.domain.money import to_decimal
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.bars.queue import PACE_BARS
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.terms import Terms
from bot.simulator.account.access import AccessGate, Grant, Key, Quotas
from bot.simulator.account.account import Account
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.http.private import PrivateRest
from bot.simulator.market.clock import ExchangeClock
from bot.simulator.market.loop import Market
from bot.simulator.market.moves import MarksMoved, Move, Quoted, Traded
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.market.tape import bar_of
from bot.simulator.market.tickers import BAND
from bot.simulator.ws.connection import connection_ids
from bot.simulator.ws.private import PrivateStreams
from bot.simulator.ws.trade import TradeStreams

FIRST_UID = 100_000_001


def uuids(rng: Random) -> Iterator[str]:
    """UUIDs, the same in every run with the same seed."""
    while True:
        yield str(uuid.UUID(int=rng.getrandbits(128), version=4))


def terms_of(config: ExchangeConfig) -> Terms:
    """The configured terms, or the usual ones with each symbol's measured spread."""
    if config.terms is not None:
        return config.terms
    measured = spreads()
    return Terms(half_spread_bps=measured.half_spread_bps, default_half_spread_bps=measured.default_bps)


class Accounts:
    """All accounts, and the doors to them. Listens to ``market``."""

    def __init__(
        self,
        market: Market,
        clock: ExchangeClock,
        config: ExchangeConfig,
        faults: FaultHooks | None = None,
        ids: Iterator[str] | None = None,
    ) -> None:
        self._market = market
        self._clock = clock
        self._config = config
        faults = self._faults = faults if faults is not None else FaultHooks()
        ids = ids if ids is not None else connection_ids()
        self.keys = {config.key: Key(config.key, config.secret, FIRST_UID)}
        """By name."""
        self.keys |= {
            key: Key(key, secret, FIRST_UID + n)
            for n, (key, secret) in enumerate(config.more_keys.items(), 1)
        }
        self._gate = AccessGate(self.keys, config.rules)
        self._quotas = Quotas(config.rules)
        self.private = PrivateStreams(self._gate, clock, config, faults, ids)
        self.by_key: dict[str, Account] = {}
        """By key."""
        self._told_ms: dict[str, int] = {}
        self._instruments: dict[str, Instrument] = dict(market.instruments())
        for key in self.keys.values():
            self.by_key[key.key] = self._open(key)
        rng = Random(f"{config.seed} traces")  # noqa: S311 (names, not secrets)
        self.trade = TradeStreams(
            self._gate, clock, config, faults, ids, rng, self._account_of, self._granted
        )
        self._rest = PrivateRest(self._gate, clock, self._account_of, self._granted)
        market.subscribe(self)

    def _open(self, key: Key) -> Account:
        seed, terms = self._config.seed, terms_of(self._config)
        rng = Random(f"{seed} {key.uid}")  # noqa: S311 (names, not secrets)
        engine: BarExchange | QuoteExchange
        if self._config.fills == "bars":
            engine = BarExchange(
                self._instruments, self._config.wallet_quote, terms, seed=seed, ids=uuids(rng)
            )
            # An order acts no earlier than the exchange began, inside the bar then open.
            engine.start(self._market.now_ms())
            engine.look_back(self._past_bars())
        else:
            bands = dict.fromkeys(self._instruments, BAND)
            engine = QuoteExchange(
                self._instruments, self._config.wallet_quote, terms, bands=bands, ids=uuids(rng)
            )
        return Account(
            key,
            engine,
            self._config.rules,
            fees=(terms.taker_fee_frac, terms.maker_fee_frac),
            now_ms=self._market.clock.market_ms,
            prices=self.refresh,
            instruments=self._instruments,
            rng=rng,
            emit=lambda messages: self.private.emit(key.uid, messages),
            refuses=self._faults.order_action,
        )

    def _past_bars(self) -> Iterator[Bar]:
        """Yield the last closed bars of each symbol, oldest first."""
        now_ms = self._market.now_ms()
        for symbol in self._market.symbols.values():
            open_ms, length_ms = symbol.base_start(now_ms), symbol.tape.interval_ms
            for start_ms in range(open_ms - PACE_BARS * length_ms, open_ms, length_ms):
                bar = bar_of(symbol.tape, start_ms)
                if bar is not None:
                    yield bar

    # -- doors -----------------------------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """The signed REST paths."""
        return self._rest.routes()

    async def ws_private(self, request: web.Request) -> web.StreamResponse:
        """``/v5/private``."""
        return await self.private.handle(request)

    async def ws_trade(self, request: web.Request) -> web.StreamResponse:
        """``/v5/trade``; demo trading has none."""
        if any(account.rules.demo for account in self.by_key.values()):
            return web.Response(status=404, text="no trade stream in demo trading")
        return await self.trade.handle(request)

    async def close_all(self) -> None:
        """Close all connections."""
        await self.private.close_all()
        await self.trade.close_all()

    def _account_of(self, key: Key) -> Account:
        return self.by_key[key.key]

    def _granted(self, key: Key, group: str, cost: int) -> Grant:
        wall_s = asyncio.get_running_loop().time()
        return self._quotas.take(
            key.uid, group, cost, wall_s=wall_s, now_ms=self._clock.now_ms(), speed=self._clock.speed
        )

    # -- the market ------------------------------------------------------------------------------------------

    def refresh(self, symbol: str) -> None:
        """Bring every account's prices of ``symbol`` up to now: first what traded since, then the book."""
        if symbol not in self._instruments:
            return
        if self._config.fills == "bars":
            for account in self.by_key.values():
                if isinstance(account.engine, BarExchange):
                    account.engine.expect(symbol, self._market.last(symbol))
            return
        now_ms = self._market.now_ms()
        each = self._market.symbols[symbol]
        if each.recorded:
            self._take_moves(each, now_ms)
            return
        told_ms = self._told_ms.get(symbol, now_ms)
        if self.follows(symbol) and told_ms < now_ms:
            for trade in each.trades(told_ms, now_ms):
                depth = self._market.depth_after(each, trade)
                self._traded(symbol, trade.ts_ms, to_decimal(trade.price), to_decimal(trade.qty), depth)
        self._told_ms[symbol] = now_ms
        self._set_prices(symbol, now_ms)

    def _set_prices(self, symbol: str, now_ms: int) -> None:
        """Give every account the last price, the book and the mark of now."""
        depth, last = self._market.depth(symbol), self._market.last(symbol)
        mark, index = self._market.mark(symbol)
        for engine in self._live():
            engine.trade(symbol, now_ms, last, Decimal(0), depth, mark=mark, index=index)
            engine.mark(symbol, now_ms, mark, index)
        self._settle()

    def _take_moves(self, symbol: MarketSymbol, now_ms: int) -> None:
        """Bring accounts up to now by what was recorded.

        Who follows gets every move, and nothing else: the last trade fires a stop only with its own book.
        """
        if symbol.followed:
            for move in symbol.moves(now_ms):
                self.on_move(symbol.name, move)
            return
        symbol.moves(now_ms)
        self._set_prices(symbol.name, now_ms)
        symbol.followed = True  # an order is about to come

    def _live(self) -> Iterator[QuoteExchange]:
        for account in self.by_key.values():
            if isinstance(account.engine, QuoteExchange):
                yield account.engine

    def _settle(self) -> None:
        for account in self.by_key.values():
            account.settle()

    def follows(self, symbol: str) -> bool:
        """Whether an account has an order or a position there."""
        return any(
            engine.open_orders(symbol) or any(p.book.symbol == symbol for p in engine.account.held.values())
            for engine in self._live()
        )

    def on_trade(self, symbol: str, ts_ms: int, price: Decimal, qty: Decimal, depth: Depth) -> None:
        """Others traded; a trade that ``refresh`` has already passed on is not passed on again."""
        if ts_ms > self._told_ms.get(symbol, 0):
            self._traded(symbol, ts_ms, price, qty, depth)

    def _traded(self, symbol: str, ts_ms: int, price: Decimal, qty: Decimal, depth: Depth) -> None:
        """Pass a trade on; here the mark is the last price, so it moves with the trade."""
        index = to_decimal(self._market.symbols[symbol].index(float(price)))
        for engine in self._live():
            engine.trade(symbol, ts_ms, price, qty, depth, mark=price, index=index)

    def on_mark(self, symbol: str, ts_ms: int, mark: Decimal, index: Decimal) -> None:
        """Take mark and index. The mark ends a moment, so the events of this moment are emitted now."""
        if ts_ms > self._told_ms.get(symbol, 0):
            self._told_ms[symbol] = ts_ms
            for engine in self._live():
                engine.mark(symbol, ts_ms, mark, index)
            self._settle()

    def on_move(self, symbol: str, move: Move) -> None:
        """Take a recorded trade, book or mark; each ends a moment, so its events are emitted now."""
        for engine in self._live():
            match move:
                case Traded(ts_ms, price, qty, depth):
                    engine.trade(
                        symbol, ts_ms, price, qty, None if depth is None else self._market.thinned(depth)
                    )
                case Quoted(ts_ms, depth):
                    engine.quote(symbol, ts_ms, self._market.thinned(depth))
                case MarksMoved(ts_ms, mark, index):
                    engine.mark(symbol, ts_ms, mark, index)
                case _:
                    assert_never(move)
        self._settle()

    def on_funding(self, symbol: str, ts_ms: int, rate: Decimal) -> None:
        """A rate settled at ``ts_ms``: pay it at the last mark before that time."""
        mark = to_decimal(self._market.symbols[symbol].mark(ts_ms - 1))
        for account in self.by_key.values():
            account.engine.settle_funding(symbol, ts_ms, rate, mark)
            account.settle()

    def on_delisted(self, symbol: str, ts_ms: int) -> None:
        """A contract has left the list: orders are cancelled, positions closed at the mark."""
        for account in self.by_key.values():
            account.engine.deliver(symbol, ts_ms)
            account.settle()

    def on_bars(self, closed: BarsClosed) -> None:
        """Bars closed: their fills leave at once, before the candles are confirmed."""
        if self._config.fills != "bars":
            return
        for account in self.by_key.values():
            if isinstance(account.engine, BarExchange):
                account.engine.close(closed)
                account.settle()
        self.private.flush()

    def on_instrument(self, instrument: Instrument) -> None:
        """New rules or a new status."""
        self._instruments[instrument.symbol] = instrument
        for account in self.by_key.values():
            account.engine.change(instrument, self._market.now_ms())
            account.settle()
