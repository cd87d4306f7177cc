"""The market: all symbols of the exchange, and the one loop that moves them.

``run`` goes through exchange time in order: ticks of each symbol, then at every close T the last trades of
the bar, ``on_bars`` (so that fills of the bar come first), after the confirm delay the confirmed candles,
then funding settled at T. Everything else is a pure function of time (``symbol.py``): queries need no loop,
and a symbol that nobody follows costs nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import gcd
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bot.adapters.files.candles import Candles, Funding, funding_beside, read_candles, read_funding
from bot.adapters.files.shipped import instruments as shipped_instruments
from bot.adapters.files.shipped import read_instruments, spreads
from bot.adapters.state.clock import THIS_MACHINE, MachineTime
from bot.domain.errors import BadInput, BadUsage
from bot.domain.market import MINUTE_MS, Instrument
from bot.domain.messages import BarsClosed
from bot.domain.money import to_decimal
from bot.domain.words import utc_words
from bot.exchange.quotes.depth import Depth
from bot.simulator.config import ExchangeConfig
from bot.simulator.market.candle_trades import Contract, MarketTrade
from bot.simulator.market.clock import ExchangeClock
from bot.simulator.market.digits import StepGrid, shortest
from bot.simulator.market.invented import rules_for, tapes
from bot.simulator.market.moves import Move
from bot.simulator.market.notices import Notices
from bot.simulator.market.recorded.replay import open_replay
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.market.tape import FileTape, MarketTape, choose_shift

SLOTS = 20
"""Symbols trade in this many groups, one after the other, and not all at the same instant."""
BOOK_LEVELS = 50
"""Levels of the depth that listeners get."""
WARMUP_MS = 4_595 * 5 * MINUTE_MS
"""Warm-up of the shipped model; files are shifted so that this much lies before the present."""
_CONFIRM_SHARE = 0.1


SymbolMaker = Callable[[MarketTape, Contract, int], MarketSymbol | None]
"""Makes the symbol of a tape with its number; None: the usual one."""


class Listener(Protocol):
    """Follows the market (the accounts do). The market's loop calls it in time order."""

    def follows(self, symbol: str) -> bool:
        """True if quotes, trades and marks of ``symbol`` matter now (there is a position or an order)."""

    def on_trade(self, symbol: str, ts_ms: int, price: Decimal, qty: Decimal, depth: Depth) -> None:
        """Others traded; ``depth`` is the book after it."""

    def on_mark(self, symbol: str, ts_ms: int, mark: Decimal, index: Decimal) -> None:
        """New mark and index prices."""

    def on_move(self, symbol: str, move: Move) -> None:
        """A recorded trade, book or mark; called once for each."""

    def on_funding(self, symbol: str, ts_ms: int, rate: Decimal) -> None:
        """A funding rate settled; called for every symbol, with the time of the settlement."""

    def on_delisted(self, symbol: str, ts_ms: int) -> None:
        """A contract has reached its delivery time."""

    def on_bars(self, closed: BarsClosed) -> None:
        """All base candles of one length closed; called for every symbol, before they are confirmed."""

    def on_instrument(self, instrument: Instrument) -> None:
        """New rules or a new status."""


class Publisher(Protocol):
    """Publishes the market to clients (the public streams do)."""

    def tick(self, symbol: MarketSymbol, after_ms: int, ts_ms: int) -> None:
        """``symbol`` has moved from ``after_ms`` to ``ts_ms``."""

    def close(self, close_ms: int) -> None:
        """Candles that end at ``close_ms`` are final."""


class Market:
    """The symbols, their clock, the listeners and the publisher.

    Args:
        made: one tape a symbol.
        clock: the exchange's clock.
        config: pace and delays.
        log: called with the name of a fact and its keys.
        make: makes the symbol of a tape; by default one whose trades and book are invented.
    """

    def __init__(
        self,
        made: Sequence[MarketTape],
        clock: ExchangeClock,
        config: ExchangeConfig,
        log: Callable[..., Any] | None = None,
        make: SymbolMaker | None = None,
    ) -> None:
        self.clock = clock
        self.config = config
        self._log = log
        every_ms, slots = _pace(config, len(made))
        self._slot_ms = every_ms // slots
        self.symbols: dict[str, MarketSymbol] = {}
        self._turns: list[list[MarketSymbol]] = [[] for _ in range(slots)]
        half = spreads()
        for i, tape in enumerate(sorted(made, key=lambda each: each.symbol)):
            contract = _contract(tape.instrument, every_ms, i % slots * self._slot_ms, config.seed)
            bps = half.half_spread_bps.get(tape.symbol, half.default_bps)
            symbol = make(tape, contract, i + 1) if make is not None else None
            if symbol is None:
                symbol = MarketSymbol(tape, contract, bps, i + 1, settles=config.funding)
            self.symbols[tape.symbol] = symbol
            self._turns[i % slots].append(symbol)
        self._base_ms = sorted({each.tape.interval_ms for each in self.symbols.values()})
        self.end_ms = max(each.tape.end_ms for each in self.symbols.values())
        self._listeners: list[Listener] = []
        self._settled_ms = 0
        """Settlements up to here have been told to the listeners."""
        self.publisher: Publisher | None = None
        self.thin: Decimal | None = None
        """Largest size that accounts meet at a price of the book, if a fault sets it; base."""
        self.notices = Notices()
        """Maintenance that was announced."""
        self.finer_ms: Callable[[], int] | None = None
        """Returns the shortest subscribed candle, if it is finer than the tape's."""

    # -- what the accounts and the queries ask ---------------------------------------------------------------

    def subscribe(self, listener: Listener) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def now_ms(self) -> int:
        """Return the time of the market; never past the end of its tapes."""
        return min(self.clock.market_ms(), self.end_ms)

    @property
    def frozen(self) -> bool:
        """True if the tapes have ended."""
        return self.clock.market_ms() >= self.end_ms

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol.

        Raises:
            KeyError: it is not traded here.
        """
        return self.symbols[symbol].instrument

    def instruments(self) -> dict[str, Instrument]:
        """The rules of all symbols."""
        return {name: each.instrument for name, each in self.symbols.items()}

    def depth(self, symbol: str, levels: int = BOOK_LEVELS) -> Depth:
        """The book now."""
        return self.thinned(self.symbols[symbol].depth(self.now_ms(), levels))

    def depth_after(self, symbol: MarketSymbol, trade: MarketTrade) -> Depth:
        """The book after a trade, as accounts meet it."""
        return self.thinned(symbol.depth_after(trade, BOOK_LEVELS))

    def thinned(self, depth: Depth) -> Depth:
        """Return the book for accounts: under a fault only the best level, and at most ``thin`` of it."""
        if self.thin is None:
            return depth
        bids, asks = (
            [(price, min(qty, self.thin)) for price, qty in side[:1]] for side in (depth.bids, depth.asks)
        )
        return Depth(bids, asks)

    def last(self, symbol: str) -> Decimal:
        """The last price now."""
        return to_decimal(self.symbols[symbol].last(self.now_ms()).price)

    def mark(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Mark and index price now."""
        each = self.symbols[symbol]
        now_ms = self.now_ms()
        return to_decimal(each.mark(now_ms)), to_decimal(each.index_at(now_ms))

    def set_instrument(self, instrument: Instrument) -> None:
        """Change the rules or the status of a symbol.

        Raises:
            BadInput: it is not traded here.
        """
        if instrument.symbol not in self.symbols:
            raise BadInput(f"{instrument.symbol} is not traded here")
        self.symbols[instrument.symbol].set_rules(instrument, self.now_ms())
        for listener in self._listeners:
            listener.on_instrument(instrument)

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Move the market until cancelled; a market that has ended stays as it is."""
        now_ms = self.clock.market_ms()
        for symbol in self.symbols.values():
            symbol.done_ms = symbol.shown_ms = now_ms
        self._settled_ms = now_ms
        tick_ms = _after(now_ms, self._slot_ms)
        done_ms, ended = now_ms, False
        while True:
            # Read each time: a subscription to finer candles makes closes come earlier.
            close_ms = _after(done_ms, self._grid_ms())
            if close_ms <= tick_ms:
                await self.clock.sleep_until(close_ms)
                if close_ms <= self.end_ms:
                    await self._close(close_ms)
                ended = self._announce(close_ms, ended)
                done_ms = close_ms
            else:
                await self.clock.sleep_until(tick_ms)
                self._tick(tick_ms)
                done_ms = max(done_ms, tick_ms)
                late_ms = min(self.clock.market_ms(), close_ms) - self._slot_ms * len(self._turns)
                tick_ms = _after(max(tick_ms, late_ms), self._slot_ms)

    def _grid_ms(self) -> int:
        """Return a step that meets every close and, while candles are long, every settlement."""
        finer = self.finer_ms() if self.finer_ms is not None else self._base_ms[0]
        funding_ms = (symbol.instrument.funding_interval_ms for symbol in self.symbols.values())
        return gcd(min(finer, self._base_ms[0]), *funding_ms)

    def _announce(self, close_ms: int, ended: bool) -> bool:
        if close_ms >= self.end_ms and not ended and self._log is not None:
            self._log("market_ended", ts_ms=self.end_ms, then="no more candles; the exchange stays up")
        return ended or close_ms >= self.end_ms

    def _tick(self, ts_ms: int) -> None:
        for symbol in self._turns[ts_ms // self._slot_ms % len(self._turns)]:
            self._move(symbol, ts_ms)
            self._show(symbol, ts_ms)

    def _show(self, symbol: MarketSymbol, ts_ms: int) -> None:
        if self.publisher is not None and ts_ms > symbol.shown_ms:
            self.publisher.tick(symbol, symbol.shown_ms, ts_ms)
            symbol.shown_ms = ts_ms

    def show(self, symbol: MarketSymbol) -> None:
        """Publish what has happened to a symbol up to now, before its turn."""
        self._show(symbol, self.now_ms())

    def _move(self, symbol: MarketSymbol, ts_ms: int) -> None:
        """Emit to the listeners what happened to one symbol since the last call."""
        after_ms = symbol.done_ms
        if ts_ms <= after_ms:
            return
        symbol.done_ms = ts_ms
        following = [each for each in self._listeners if each.follows(symbol.name)]
        symbol.followed = bool(following)
        if following and ts_ms <= self.end_ms:
            self._tell(symbol, following, after_ms, ts_ms)

    def _tell(self, symbol: MarketSymbol, following: list[Listener], after_ms: int, ts_ms: int) -> None:
        if symbol.recorded:
            for move in symbol.moves(ts_ms):
                for each in following:
                    each.on_move(symbol.name, move)
            return
        for trade in symbol.trades(after_ms, ts_ms):
            price, qty = to_decimal(trade.price), to_decimal(trade.qty)
            depth = self.depth_after(symbol, trade)
            index = to_decimal(symbol.index(trade.price))
            for each in following:
                each.on_trade(symbol.name, trade.ts_ms, price, qty, depth)
                each.on_mark(symbol.name, trade.ts_ms, price, index)

    async def _close(self, close_ms: int) -> None:
        bases = [base_ms for base_ms in self._base_ms if close_ms % base_ms == 0]
        for symbol in self.symbols.values():
            if symbol.tape.interval_ms in bases:
                self._move(symbol, close_ms - 1)
        if self._listeners:
            for base_ms in bases:
                self._tell_bars(close_ms, base_ms)
        share_s = self._grid_ms() * _CONFIRM_SHARE / self.clock.speed / 1000.0
        await asyncio.sleep(min(self.config.confirm_delay_ms / 1000.0, share_s))
        if self.publisher is not None:
            self.publisher.close(close_ms)
        self._settle(close_ms)
        self._delist(close_ms)

    def _delist(self, close_ms: int) -> None:
        """Close the contracts whose delivery time has come."""
        for symbol in self.symbols.values():
            rules = symbol.instrument
            if not 0 < rules.delivery_ms <= close_ms or rules.status == "Closed":
                continue
            for listener in self._listeners:
                listener.on_delisted(symbol.name, rules.delivery_ms)
            self.set_instrument(msgspec.structs.replace(rules, status="Closed"))

    def _tell_bars(self, close_ms: int, base_ms: int) -> None:
        of_symbols = (
            symbol.closed_bar(close_ms - base_ms)
            for symbol in self.symbols.values()
            if symbol.tape.interval_ms == base_ms
        )
        bars = tuple(bar for bar in of_symbols if bar is not None)
        if bars:
            closed = BarsClosed(close_ms, base_ms, bars)
            for listener in self._listeners:
                listener.on_bars(closed)

    def _settle(self, close_ms: int) -> None:
        """Settle what has become due, each rate at its own time."""
        after_ms, self._settled_ms = self._settled_ms, close_ms
        for symbol in self.symbols.values() if self._listeners else ():
            for ts_ms in sorted(symbol.settlements(after_ms, close_ms)):
                rate = symbol.rate(ts_ms)
                for listener in self._listeners:
                    listener.on_funding(symbol.name, ts_ms, rate)


def open_market(
    config: ExchangeConfig, log: Callable[..., Any] | None = None, machine: MachineTime = THIS_MACHINE
) -> Market:
    """Read or invent the tapes and set the clock.

    Raises:
        BotError: files that cannot be read, do not go together, or hold no such moment.
    """
    if config.recording is not None:
        return _replayed_market(config, config.recording, log, machine)
    clock = ExchangeClock(config.start_ms, config.speed, machine)
    if config.data:
        made: list[MarketTape] = list(_file_tapes(config, clock.market_ms()))
    else:
        made = list(tapes(config.symbols, config.interval_ms, config.seed, clock.market_ms()))
    return Market(made, clock, config, log)


def _replayed_market(
    config: ExchangeConfig, folder: Path, log: Callable[..., Any] | None, machine: MachineTime
) -> Market:
    """Open a recording, with candle files for what was before it. Its clock begins where it begins."""
    replay = open_replay(folder, config.instruments, settles=config.funding)
    start_ms = replay.begin_at(config.start_ms)
    config = msgspec.structs.replace(config, start_ms=start_ms)
    files = list(_file_tapes(config, start_ms)) if config.data else []
    made = replay.tapes({each.symbol: each for each in files})
    made += [each for each in files if each.symbol not in replay.symbols]
    clock = ExchangeClock(start_ms, config.speed, machine)
    market = Market(made, clock, config, log, replay.make)
    replay.begin(start_ms)
    return market


def _file_tapes(config: ExchangeConfig, now_ms: int) -> list[FileTape]:
    files = [read_candles(path) for path in config.data]
    names = [each.symbol for each in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadUsage(f"--data: more than one candle file for {', '.join(twice)}; give one file a symbol")
    known = read_instruments(config.instruments) if config.instruments else shipped_instruments()
    longest_ms = max(each.interval_ms for each in files)
    if config.start_ms is None:
        shift_ms = choose_shift(files, now_ms, max(config.history_bars * longest_ms, WARMUP_MS))
    else:
        shift_ms = 0
        _check_start(files, now_ms, before=config.recording is not None)
    return [
        FileTape(each, known.get(each.symbol) or _derived(each), shift_ms, _funding(each, config.funding))
        for each in files
    ]


def _check_start(files: Sequence[Candles], start_ms: int, *, before: bool) -> None:
    """Refuse a start outside the files; those ``before`` a recording may end where it begins."""
    for each in files:
        if not each.first_ms <= start_ms < each.end_ms and not (before and each.end_ms <= start_ms):
            raise BadUsage(
                f"--start {utc_words(start_ms)}: {each.path} covers {utc_words(each.first_ms)} to "
                f"{utc_words(each.end_ms)}; choose a time in it"
            )


def _funding(candles: Candles, wanted: bool) -> Funding | None:
    path = funding_beside(candles.path) if wanted else None
    return None if path is None else read_funding(path)


def _derived(candles: Candles) -> Instrument:
    """Return rules for a symbol without rules: a tick that fits its prices, sizes worth BTCUSDT's."""
    sample = candles.ohlcv[:2000, :4].ravel().tolist()
    places = max(len(shortest(price).partition(".")[2]) for price in sample)
    return rules_for(candles.symbol, sample[0], Decimal(1).scaleb(-min(places, 8)))


def _contract(instrument: Instrument, every_ms: int, phase_ms: int, seed: int) -> Contract:
    tick, lot = StepGrid(instrument.tick_size), StepGrid(instrument.qty_step)
    written = instrument.tick_size.as_tuple().exponent
    places = max(tick.places, -written if isinstance(written, int) else 0)
    return Contract(instrument, tick, lot, every_ms, phase_ms, seed, places)


def _pace(config: ExchangeConfig, symbols: int) -> tuple[int, int]:
    """Return the exchange time between two trades of a symbol, and the number of groups in it."""
    slots = min(SLOTS, max(1, symbols))
    every_ms = max(1.0, 1000.0 * config.speed / config.ticks)
    return max(1, round(every_ms / slots)) * slots, slots


def _after(ts_ms: int, step_ms: int) -> int:
    return ts_ms - ts_ms % step_ms + step_ms
