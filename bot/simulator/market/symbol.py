"""One symbol at any moment: last trade, touch, book, mark, funding, open candle, the last 24 hours.

Everything is computed from the tape on request; stored values are only a cache.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from zlib import crc32

import numpy as np

from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS, Bar, Instrument
from bot.domain.money import ZERO, to_decimal
from bot.exchange.bars.path import uniform
from bot.exchange.quotes.depth import Depth
from bot.simulator.market.candle_trades import (
    CandleTrades,
    Contract,
    InsideCandle,
    MarketTrade,
    PartialCandle,
)
from bot.simulator.market.depth import Ladder
from bot.simulator.market.history import CandleHistory, Window
from bot.simulator.market.moves import Move
from bot.simulator.market.tape import MarketTape, bar_of

BookSides = tuple[list[tuple[str, str]], list[tuple[str, str]]]
"""Bids and asks as texts of price and size, best first."""
FUNDING_CAP = "0.00375"
_CANDLES_KEPT = 8
_LEVEL_SHARE = 0.03
"""Mean size of a book level, as a part of the volume of a typical minute."""


class MarketSymbol:
    """One symbol of the exchange."""

    def __init__(
        self,
        tape: MarketTape,
        contract: Contract,
        half_spread_bps: float,
        number: int = 1,
        *,
        settles: bool = True,
    ) -> None:
        self.name = tape.symbol
        self.number = number
        """Bybit's ``symbolId``."""
        self.tape = tape
        self.contract = contract
        self.instrument: Instrument = tape.instrument
        self.history = CandleHistory(tape, self)
        self.done_ms = 0
        """Trades up to here have been emitted to listeners."""
        self.shown_ms = 0
        """Trades up to here have been published; at a close the candles are published first."""
        self.restarted = False
        """True after a restart of the venue: new books are numbered from 1."""
        self._settles = settles
        self._funding_rules: list[tuple[int, int]] = [(-1, tape.instrument.funding_interval_ms)]
        """(since, interval), oldest first: settlements after ``since`` follow this interval."""
        self._candle_trades: OrderedDict[int, CandleTrades | None] = OrderedDict()
        self._window: Window | None = None
        self._last: tuple[int, MarketTrade] | None = None
        """The latest answer of ``last``: a tick asks for it several times."""
        self.minute_volume, price = _typical(tape)
        spread = price * 2.0 * half_spread_bps / 1e4
        lots = self.minute_volume * _LEVEL_SHARE / contract.lot.value(1)
        key = crc32(self.name.encode()) ^ contract.seed
        self.ladder = Ladder(contract.tick, contract.lot, max(1, contract.tick.nearest(spread)), lots, key)
        self._premium_frac = 4e-4 * (uniform(contract.seed, 0, self.name + "/index") - 0.5)

    # -- inside the candle -----------------------------------------------------------------------------------

    def inside(self, start_ms: int) -> InsideCandle | None:
        """Return the base candle that opens at ``start_ms``, open or closed; None without such a candle."""
        return self.candle_trades(start_ms)

    def closed_bar(self, start_ms: int) -> Bar | None:
        """Return the base candle that opens at ``start_ms`` and is closed; None without such a candle."""
        trades = self.candle_trades(start_ms)
        return None if trades is None else trades.bar

    def candle_trades(self, start_ms: int) -> CandleTrades | None:
        """Return the trades of the base candle that opens at ``start_ms``; None without such a candle."""
        if start_ms in self._candle_trades:
            return self._candle_trades[start_ms]
        bar = bar_of(self.tape, start_ms)
        candle_trades = (
            None if bar is None else CandleTrades(bar, self._close_before(start_ms, bar), self.contract)
        )
        self._candle_trades[start_ms] = candle_trades
        while len(self._candle_trades) > _CANDLES_KEPT:
            self._candle_trades.popitem(last=False)
        return candle_trades

    def _close_before(self, start_ms: int, bar: Bar) -> float:
        known = self._candle_trades.get(start_ms - self.tape.interval_ms)
        if known is not None:
            return known.bar.close
        rows = self.tape.rows(start_ms - self.tape.interval_ms, start_ms)
        return float(rows.ohlcv[-1, 3]) if len(rows.start_ms) else bar.open

    def base_start(self, ts_ms: int) -> int:
        """Return when the base candle that holds ``ts_ms`` opens."""
        return ts_ms - ts_ms % self.tape.interval_ms

    def last(self, ts_ms: int) -> MarketTrade:
        """Return the latest trade at ``ts_ms`` (with quantity 0); in a gap the close before it."""
        if self._last is None or self._last[0] != ts_ms:
            self._last = ts_ms, self._last_at(ts_ms)
        return self._last[1]

    def _last_at(self, ts_ms: int) -> MarketTrade:
        candle_trades = self.candle_trades(self.base_start(ts_ms))
        if candle_trades is None:
            at_ms, price = self._last_close(ts_ms)
            return MarketTrade(at_ms, price, 0.0, "Buy", "ZeroPlusTick")
        at_ms = candle_trades.latest_trade(ts_ms)
        price = candle_trades.price(at_ms)
        side, direction = candle_trades.taker(at_ms, price, candle_trades.price_before(at_ms))
        return MarketTrade(at_ms, price, 0.0, side, direction)

    def _last_close(self, ts_ms: int) -> tuple[int, float]:
        reach_ms = 16 * self.tape.interval_ms
        while True:
            rows = self.tape.rows(ts_ms - reach_ms, self.base_start(ts_ms))
            if len(rows.start_ms):
                return int(rows.start_ms[-1]) + self.tape.interval_ms - 1, float(rows.ohlcv[-1, 3])
            if ts_ms - reach_ms < self.tape.first_ms:
                first = self.tape.rows(self.tape.first_ms, self.tape.first_ms + 1)
                return self.tape.first_ms, float(first.ohlcv[0, 0])
            reach_ms *= 8

    def trades(self, after_ms: int, to_ms: int) -> list[MarketTrade]:
        """All trades in ``(after_ms, to_ms]``."""
        found: list[MarketTrade] = []
        interval_ms = self.tape.interval_ms
        for start_ms in range(self.base_start(after_ms + 1), to_ms + 1, interval_ms):
            candle_trades = self.candle_trades(start_ms)
            if candle_trades is not None:
                found += candle_trades.trades(after_ms, to_ms)
        return found

    def recent_trades(self, ts_ms: int, limit: int) -> list[MarketTrade]:
        """The last ``limit`` trades up to ``ts_ms``, oldest first; within the last day."""
        reach_ms = max(limit * self.contract.every_ms, 2 * self.tape.interval_ms)
        while True:
            found = self.trades(ts_ms - reach_ms, ts_ms)
            if len(found) >= limit or reach_ms >= DAY_MS:
                return found[-limit:]
            reach_ms *= 2

    # -- prices ----------------------------------------------------------------------------------------------

    def touch(self, ts_ms: int) -> tuple[int, int]:
        """Return best bid and ask in ticks: the last trade was at the price opposite to its taker."""
        return self.touch_of(self.last(ts_ms))

    def touch_of(self, last: MarketTrade) -> tuple[int, int]:
        """Best bid and ask in ticks after that trade."""
        ticks, spread = self.contract.tick.nearest(last.price), self.ladder.spread_ticks
        return (ticks - spread, ticks) if last.side == "Buy" else (ticks, ticks + spread)

    def depth(self, ts_ms: int, levels: int = 50) -> Depth:
        """Return the book in ``Decimal``."""
        bid, ask = self.touch(ts_ms)
        return self.ladder.depth(bid, ask, levels, ts_ms)

    def depth_after(self, trade: MarketTrade, levels: int) -> Depth:
        """Return the book after a trade in ``Decimal``."""
        bid, ask = self.touch_of(trade)
        return self.ladder.depth(bid, ask, levels, trade.ts_ms)

    def book(self, ts_ms: int, levels: int) -> BookSides:
        """Return the book as texts: bids and asks, best first."""
        ladder = self.ladder
        bid, ask = self.touch(ts_ms)
        bids = ladder.texts(ladder.side(bid, -1, levels, ts_ms))
        return bids, ladder.texts(ladder.side(ask, 1, levels, ts_ms))

    def book_numbers(self, ts_ms: int) -> tuple[int, int]:
        """Return ``u`` and ``seq`` of the book in a query."""
        return ts_ms // 100, ts_ms

    def mark(self, ts_ms: int) -> float:
        """Return the mark price: the last price, as in a backtest."""
        return self.last(ts_ms).price

    @property
    def premium_frac(self) -> float:
        """Return how far the perpetual is above its index, as a constant fraction."""
        return round(self._premium_frac, 6)

    def index(self, price: float) -> float:
        """The index price when the perpetual trades at ``price``."""
        places = self.contract.price_places + 1
        return round(price / (1.0 + self.premium_frac), places)

    def index_at(self, ts_ms: int) -> float:
        """Return the index price."""
        return self.index(self.mark(ts_ms))

    def told_fields(self, ts_ms: int) -> Mapping[str, str]:
        """Return the fields of the ticker that a recording has; they come before those that are computed."""
        return {}

    # -- a recording -----------------------------------------------------------------------------------------

    recorded: frozenset[str] = frozenset()
    """Topics whose frames are replayed as they were recorded."""
    followed = False
    """True while an account has an order or a position here, so that ``moves`` matter."""

    def frames(self, to_ms: int) -> Sequence[tuple[str, str]]:
        """Take the recorded frames up to ``to_ms``, each once: topic and text."""
        return ()

    def moves(self, to_ms: int) -> Sequence[Move]:
        """Take the recorded moves up to ``to_ms``, each once; here trades move the market (``trades``)."""
        return ()

    def snapshot(self, topic: str) -> str | None:
        """Return the state that the frames taken so far add up to; None if the topic has none."""
        return None

    # -- funding ---------------------------------------------------------------------------------------------

    def set_rules(self, instrument: Instrument, now_ms: int) -> None:
        """Take new rules; a new funding interval holds for the settlements after ``now_ms``."""
        self.instrument = instrument
        if instrument.funding_interval_ms != self._funding_rules[-1][1]:
            self._funding_rules.append((now_ms, instrument.funding_interval_ms))

    def next_funding_ms(self, ts_ms: int) -> int:
        """The next settlement after ``ts_ms``, by the present interval."""
        every_ms = self.instrument.funding_interval_ms
        return ts_ms - ts_ms % every_ms + every_ms

    def settlements(self, after_ms: int, to_ms: int) -> Iterator[int]:
        """Times of the settlements in ``(after_ms, to_ms]``, newest first, by the interval of their time."""
        until_ms = to_ms
        for since_ms, every_ms in reversed(self._funding_rules):
            from_ms = max(since_ms, after_ms)
            yield from range(until_ms - until_ms % every_ms, from_ms, -every_ms)
            until_ms = min(until_ms, since_ms)
            if since_ms <= after_ms:
                return

    def rate(self, ts_ms: int) -> Decimal:
        """The rate settled at ``ts_ms``, as a fraction."""
        return to_decimal(self.tape.rate(ts_ms)) if self._settles else ZERO

    # -- figures of the day ----------------------------------------------------------------------------------

    def window(self, ts_ms: int) -> Window:
        """The day before the open candle."""
        open_ms = self.base_start(ts_ms)
        if self._window is None or self._window.open_ms != open_ms:
            self._window = Window(self.tape, open_ms)
        return self._window

    def base_candle(self, ts_ms: int) -> PartialCandle | None:
        """The open base candle."""
        candle_trades = self.candle_trades(self.base_start(ts_ms))
        return None if candle_trades is None else candle_trades.candle(ts_ms)

    def open_interest(self, ts_ms: int) -> float:
        """Return the open interest in base coin; it moves a little every five minutes."""
        chance = uniform(self.contract.seed, ts_ms - ts_ms % (5 * MINUTE_MS), self.name + "/oi")
        lot = self.contract.lot
        return lot.value(lot.nearest(self.minute_volume * 700.0 * (0.98 + 0.04 * chance)))


def _typical(tape: MarketTape) -> tuple[float, float]:
    """Return the median volume of a minute and the median price in the first week of a tape."""
    rows = tape.rows(tape.first_ms, tape.first_ms + 7 * 24 * HOUR_MS)
    if not len(rows.start_ms):
        return 1.0, 1.0
    traded = rows.ohlcv[rows.ohlcv[:, 4] > 0.0]
    if not len(traded):
        return 1.0, float(np.median(rows.ohlcv[:, 3]))
    return float(np.median(traded[:, 4])) * MINUTE_MS / tape.interval_ms, float(np.median(traded[:, 3]))
