"""Bybit's candles as events: warm-up over REST, then the stream, and a backfill of every missing bar.

A bar is confirmed on the stream (``shard``) or fetched (``backfill``), put in order
(``bot.feed.sequencer``), and put into the inbox. A bar reaches the engine only after all earlier ones.

Timers of the network use the loop's time. Everything about bars uses the clock that is passed in: with a
``FollowedClock`` the feed keeps up with an exchange that runs fast, and it knows when a close is late even if
the clock of this machine is wrong.
"""

import asyncio
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

import msgspec

from bot.adapters.feed.backfill import Backfill
from bot.adapters.feed.config import FeedConfig, FeedMetrics
from bot.adapters.feed.instruments import fetch_instruments, refresh_instruments
from bot.adapters.feed.shard import Shard, link_policy, shares
from bot.adapters.feed.warmup import warm_up
from bot.adapters.net.inbox import Inbox
from bot.adapters.net.link import DialGate
from bot.adapters.net.public_rest import PublicRest
from bot.adapters.net.stopwatch import Stopwatch
from bot.bybit.instruments import NOT_TRADED_MS, any_not_traded
from bot.bybit.public import BadMessage, Kline, PublicMessage, TickerUpdate
from bot.domain.errors import BadBar, BadSettings, Rejected, VenueError
from bot.domain.market import HOUR_MS, Instrument
from bot.domain.messages import Candle, Gap, InstrumentChanged, Line, LinkDown, LinkUp, MarkPrice, Quote
from bot.ports import Clock

OnProgress = Callable[[int, int], None]
"""Called with the number of warm-up bars that are here, and of all."""
OnNote = Callable[[str, dict[str, object]], None]
"""Called with the name and the facts of an event that a person may want to know."""


class BybitFeed:
    """A ``Source`` of market events for the daemon.

    Args:
        config: which candles, and how patient the feed is.
        rest: public REST. It uses the wall clock, whatever ``clock`` follows.
        clock: the time of the data.
        rng: for jitter.
        ids: names of requests on the stream; each is used once.
        on_progress, on_note: called with what people may want to know.
        stopwatch: notes when confirmed candles arrive.

    Attributes:
        instruments: the venue's rules, once ``prepare`` has run.
        metrics: counts of what happened.
    """

    def __init__(
        self,
        config: FeedConfig,
        rest: PublicRest,
        clock: Clock,
        rng: random.Random,
        ids: Iterator[str],
        *,
        on_progress: OnProgress | None = None,
        on_note: OnNote | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.config = config
        self.instruments: dict[str, Instrument] = {}
        self.metrics = FeedMetrics()
        self.up = False
        """True while the stream is connected and no past bar is missing."""
        self._rest = rest
        self._clock = clock
        self._rng = rng
        self._ids = ids
        self._on_progress = on_progress
        self._on_note = on_note or (lambda event, facts: None)
        self._stopwatch = stopwatch or Stopwatch()
        self._catching: dict[str, int] = {}  # symbol → the close it must have reached
        self._quotes: dict[str, tuple[float, float]] = {}
        self._marks: dict[str, float] = {}
        self._funding: dict[str, tuple[int, int | None]] = {}  # next settlement and interval, as announced
        self._shards: list[Shard] = []

    async def prepare(self) -> dict[str, Instrument]:
        """Read the rules of the symbols. ``run`` does it if nobody did it before.

        A contract that was traded here before and has ended meanwhile stays among the rules as ``Closed``,
        and is not read or subscribed any more.

        Raises:
            BadSettings: a symbol the venue does not trade.
            VenueError: no answer.
        """
        if not self.instruments:
            config = self.config
            self.instruments = await fetch_instruments(
                self._rest, config.symbols, tiers=config.risk_tiers, ended=config.traded_before
            )
            listed = tuple(s for s in config.symbols if self.instruments[s].status != "Closed")
            for symbol in set(config.symbols) - set(listed):
                self._on_note("symbol_stopped", {"symbol": symbol, "reason": "its contract has ended"})
            self.config = replace(config, symbols=listed)
        return self.instruments

    async def run(self, inbox: Inbox) -> None:
        """Warm up, then emit market events until cancelled.

        Raises:
            BadSettings: a symbol the venue does not trade.
            VenueError: the venue refuses something the feed needs, or does not answer at the start.
        """
        self._inbox = inbox
        inbox.put(LinkDown(self._clock.now_ms(), Line.FEED))
        await self.prepare()
        self._sequencer = await warm_up(
            inbox, self._rest, self._clock, self.config, self.instruments, self._on_progress
        )
        self._backfill = Backfill(
            self._sequencer,
            self._rest,
            self._clock,
            self.config,
            self.metrics,
            self._rng,
            on_round=self._caught_up,
            on_gap=self._on_gap,
        )
        gate = DialGate(link_policy(self.config), self._rng, address=self._rest.address)
        self._shards = [
            Shard(
                symbols,
                self.config,
                self.metrics,
                self._rng,
                self._ids,
                gate,
                on_message=self._on_message,
                on_ready=self._on_ready,
                on_lost=self._on_lost,
                on_refused=self._on_refused,
            )
            for symbols in shares(self.config)
        ]
        async with asyncio.TaskGroup() as group:
            self._group = group
            for shard in self._shards:
                group.create_task(shard.run())
            group.create_task(self._backfill.run())
            group.create_task(self._each_close(0.0, self._at_close))
            group.create_task(self._each_close(self.config.barrier_ms, self._at_barrier))
            group.create_task(self._each_close(self.config.close_deadline_ms, self._at_deadline))
            group.create_task(self._watch_silence())
            if self.config.refresh_ms:
                group.create_task(self._refresh())

    def facts(self) -> dict[str, float | str | bool]:
        """Return the metrics, whether the feed is up, and if not, why."""
        counted = self._take_counts().facts()
        down = "" if self.up else next((shard.why_down for shard in self._shards if not shard.ready), "")
        return {**counted, "up": self.up, "why_down": down}

    # The stream

    def _on_message(self, message: PublicMessage, arrived_s: float) -> None:
        if type(message) is Kline:
            if message.confirm:
                self._on_confirmed(message, arrived_s)
            else:
                self._on_open(message)
        elif type(message) is TickerUpdate:
            self._on_ticker(message)
        elif type(message) is BadMessage:
            self.metrics.bad_messages += 1
            # The 1st, 2nd, 4th, 8th and so on: a bad stream fills no log.
            if self.metrics.bad_messages.bit_count() == 1:
                self._on_note(
                    "feed_bad_message", {"reason": message.reason, "so_far": self.metrics.bad_messages}
                )

    def _on_confirmed(self, candle: Kline, arrived_s: float) -> None:
        try:
            bar = candle.bar()
        except BadBar as error:
            self.metrics.bad_bars += 1  # the deadline fetches it
            self._on_note("feed_bad_bar", {"reason": str(error)})
            return
        self._stopwatch.arrived(bar.close_ms, arrived_s)
        now_ms = self._clock.now_ms()
        self.metrics.lag_ms = lag_ms = float(now_ms - bar.close_ms)
        self.metrics.lag_max_ms = max(self.metrics.lag_max_ms, lag_ms)
        self._sequencer.confirmed(bar, candle.ts_ms)
        if self._catching:
            self._caught_up()
        self._sequencer.flush(now_ms)
        if self._sequencer.disputed:
            self._backfill.want(())

    def _stamp(self, ts_ms: int) -> int:
        """Return the time of a message, but never a future time: it would make all other data look old."""
        return min(ts_ms, self._clock.now_ms())

    def _on_open(self, candle: Kline) -> None:
        low, high = candle.low, candle.high
        sane = 0.0 < low <= candle.open <= high < math.inf and low <= candle.close <= high
        if not sane or candle.start_ms < self._sequencer.next_ms(candle.symbol):
            self.metrics.bad_bars += not sane
            return
        self._inbox.put(
            Candle(
                self._stamp(candle.ts_ms),
                candle.symbol,
                candle.interval_ms,
                candle.start_ms,
                candle.open,
                high,
                low,
                candle.close,
                candle.volume,
            )
        )

    def _on_ticker(self, ticker: TickerUpdate) -> None:
        bid, ask, mark = ticker.bid, ticker.ask, ticker.mark
        known = self._quotes.get(ticker.symbol)
        if bid is not None and ask is not None and 0.0 < bid <= ask < math.inf and known != (bid, ask):
            self._quotes[ticker.symbol] = (bid, ask)
            self._inbox.put(Quote(self._stamp(ticker.ts_ms), ticker.symbol, bid, ask))
        if mark is not None and 0.0 < mark < math.inf and self._marks.get(ticker.symbol) != mark:
            self._marks[ticker.symbol] = mark
            self._inbox.put(MarkPrice(self._stamp(ticker.ts_ms), ticker.symbol, mark))
        if ticker.next_funding_ms is not None:
            self._on_funding(ticker.symbol, ticker.ts_ms, ticker.next_funding_ms, ticker.funding_interval_ms)

    def _on_funding(self, symbol: str, said_ms: int, next_ms: int, interval_ms: int | None) -> None:
        """Follow the venue's settlements: Bybit changes their interval at any moment."""
        if self._funding.get(symbol) == (next_ms, interval_ms):
            return
        self._funding[symbol] = (next_ms, interval_ms)
        self._sequencer.announced(symbol, next_ms, said_ms, interval_ms)
        if self._sequencer.rates_due(said_ms):  # bars longer than the interval have no close then
            self._backfill.want([symbol])
        rules = self.instruments[symbol]
        if interval_ms is not None and interval_ms != rules.funding_interval_ms:
            self._on_note("feed_funding_interval", {"symbol": symbol, "hours": interval_ms / HOUR_MS})
            self._take_rules(msgspec.structs.replace(rules, funding_interval_ms=interval_ms))

    def _take_rules(self, rules: Instrument) -> None:
        """Keep new rules of a symbol and emit them."""
        self.instruments[rules.symbol] = rules
        self._inbox.put(InstrumentChanged(self._clock.now_ms(), rules))

    # Up and down

    def _on_ready(self, shard: Shard) -> None:
        """Ask for every bar that closed while the stream was away."""
        step = self.config.interval_ms
        last_ms = self._clock.now_ms() // step * step
        for symbol in shard.symbols:
            self._catching[symbol] = last_ms
        self._backfill.want(shard.symbols, last_ms)
        self._caught_up()

    def _on_lost(self, shard: Shard, reason: str) -> None:
        self._on_note("feed_link_lost", {"symbols": len(shard.symbols), "reason": reason})
        for symbol in shard.symbols:
            self._catching.pop(symbol, None)
        if self.up:
            self.up = False
            self._inbox.put(LinkDown(self._clock.now_ms(), Line.FEED))

    def _on_refused(self, shard: Shard, symbol: str, error: Rejected) -> None:
        self._group.create_task(self._judge_refusal(shard, symbol, error))

    async def _judge_refusal(self, shard: Shard, symbol: str, error: Rejected) -> None:
        """Stop a symbol whose topic is refused because its contract has ended.

        Raises:
            Rejected: the contract trades, or it is the last one.
        """
        try:
            known = {symbol: self.instruments[symbol]}
            fresh = await refresh_instruments(self._rest, known, tiers=self.config.risk_tiers)
        except (VenueError, BadSettings):
            self.metrics.rest_failures += 1
            shard.reconnect(str(error))
            return
        if fresh[symbol].status == "Trading" or not self._take_rules_and_stop(fresh[symbol]):
            raise error
        shard.reconnect(f"{symbol} has ended")

    def _take_rules_and_stop(self, instrument: Instrument) -> bool:
        """Emit new rules, and stop a symbol that has ended unless it is the last one; True if it stopped."""
        symbol = instrument.symbol
        if instrument != self.instruments[symbol]:
            self._take_rules(instrument)
        left = tuple(each for each in self.config.symbols if each != symbol)
        if instrument.status != "Closed" or not left or symbol not in self.config.symbols:
            return False
        self._on_note("symbol_stopped", {"symbol": symbol, "reason": "its contract has ended"})
        self.config = replace(self.config, symbols=left)
        self._catching.pop(symbol, None)
        self._sequencer.drop(symbol)
        for shard in self._shards:
            shard.drop(symbol)
        self._sequencer.flush(self._clock.now_ms())
        self._caught_up()
        return True

    def _caught_up(self) -> None:
        """Emit ``LinkUp`` once every connection is ready and no past bar is missing.

        Late bars leave before ``LinkUp``. A close that is in time leaves after it and may be traded on.
        """
        self._catching = {
            symbol: target_ms
            for symbol, target_ms in self._catching.items()
            if self._sequencer.next_ms(symbol) < target_ms
        }
        if self.up or self._catching or not all(shard.ready for shard in self._shards if shard.symbols):
            return
        self._sequencer.emit_late()
        self.up = True
        self._inbox.put(LinkUp(self._clock.now_ms(), Line.FEED))
        symbols = [symbol for shard in self._shards for symbol in shard.symbols]
        self._sequencer.doubt(symbols)  # the venue may have settled more often than expected meanwhile
        self._backfill.want(symbols)

    def _on_gap(self, gap: Gap) -> None:
        self._on_note("feed_gap", {"symbol": gap.symbol, "from_ms": gap.from_ms, "to_ms": gap.to_ms})
        self._inbox.put(gap)

    # Time

    async def _each_close(self, after_ms: float, act: Callable[[int], None]) -> NoReturn:
        """Call ``act`` for every close, ``after_ms`` of the machine's time after it."""
        step = self.config.interval_ms
        close_ms = self._clock.now_ms() // step * step
        while True:
            while (left_s := self._clock.wall_s_until(close_ms) + after_ms / 1000.0) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(max(left_s, 0.0005), 1.0))
            act(close_ms)
            close_ms += step
            await asyncio.sleep(0)

    def _at_close(self, close_ms: int) -> None:
        due = set(self._sequencer.rates_due(close_ms))
        if close_ms % HOUR_MS < self.config.interval_ms:  # an hour is over: whom does no ticker tell of it?
            live = [symbol for shard in self._shards for symbol in shard.symbols]
            unannounced = [symbol for symbol in live if symbol not in self._funding]
            self._sequencer.doubt(unannounced)
            due.update(unannounced)
        if due:
            self._backfill.want(sorted(due))

    def _at_barrier(self, close_ms: int) -> None:
        self._sequencer.decide(close_ms, self._clock.now_ms())

    def _at_deadline(self, close_ms: int) -> None:
        missing = self._sequencer.missing(close_ms)
        if not missing:
            return
        self._backfill.want(missing, close_ms)
        silent = set(missing)
        for shard in self._shards:
            if shard.ready and silent.issuperset(shard.symbols) and not self._catching:
                shard.reconnect(f"no confirmed candle {self.config.close_deadline_ms} ms after the close")

    async def _watch_silence(self) -> NoReturn:
        while True:
            await asyncio.sleep(min(self.config.silence_ms / 4000.0, 5.0))
            now_s = asyncio.get_running_loop().time()
            self.metrics.stale = sum(shard.watch_silence(now_s) for shard in self._shards)

    async def _refresh(self) -> NoReturn:
        """Read the rules on a timer and emit changes; every minute while a contract is not traded."""
        while True:
            left_ms = self.config.refresh_ms
            while left_ms > 0:
                await asyncio.sleep(min(left_ms, NOT_TRADED_MS) / 1000.0)
                left_ms -= NOT_TRADED_MS
                if any_not_traded(self.instruments.values()):
                    break
            try:
                fresh = await refresh_instruments(self._rest, self.instruments, tiers=self.config.risk_tiers)
            except (VenueError, BadSettings):  # the latter: delisted between two questions
                self.metrics.rest_failures += 1
                continue
            for symbol, instrument in fresh.items():
                told_ms = self._funding.get(symbol, (0, None))[1]  # the stream is newer than the list
                funding_ms = told_ms or instrument.funding_interval_ms
                self._sequencer.set_interval(symbol, funding_ms)
                self._take_rules_and_stop(msgspec.structs.replace(instrument, funding_interval_ms=funding_ms))

    def _take_counts(self) -> FeedMetrics:
        """Return the metrics with the counts of the sequencer."""
        metrics, sequencer = self.metrics, getattr(self, "_sequencer", None)
        if sequencer is not None:
            counts = sequencer.counts()
            metrics.repeats, metrics.conflicts = counts.repeats, counts.conflicts
            metrics.bars = sequencer.bars_live + sequencer.bars_late
            metrics.bars_late = sequencer.bars_late
            metrics.closes_live = sequencer.closes_live
            metrics.rates = sequencer.rates_emitted
        return metrics
