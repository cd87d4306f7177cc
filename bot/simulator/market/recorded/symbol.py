"""One symbol of a recording at any moment: book, trades, mark and candles as they were recorded.

Frames come from the player ahead of their time, wait, and are applied when it comes. What is applied is
published once (``frames``) and reaches the accounts once (``moves``).

A trade reaches the accounts together with the first book that the exchange made after it: a stop that it
triggers meets this book, never the one from before the trade.
"""

from collections import deque
from decimal import Decimal

import msgspec

from bot.bybit.frames import BookFrame, KeptBook, KeptTicker, TickerFrame
from bot.bybit.public import INTERVALS_MS
from bot.bybit.wire import KlineRow, TradeRow
from bot.domain.market import Bar
from bot.exchange.quotes.depth import NO_DEPTH, Depth
from bot.simulator.market.candle_trades import Contract, InsideCandle, MarketTrade, PartialCandle, Side
from bot.simulator.market.history import CandleHistory
from bot.simulator.market.moves import MarksMoved, Move, Quoted, Traded
from bot.simulator.market.recorded.player import Head, Player
from bot.simulator.market.recorded.tape import RecordedTape
from bot.simulator.market.symbol import BookSides, MarketSymbol

BOOK_WAIT_MS = 1_000
"""A trade without a book for so long reaches the accounts without one."""
_TRADES_KEPT, _MARKS_KEPT = 1_000, 4_096


class _Klines(msgspec.Struct):
    data: list[KlineRow]


class _Trades(msgspec.Struct):
    data: list[TradeRow]


_klines = msgspec.json.Decoder(_Klines)
_trades = msgspec.json.Decoder(_Trades)
_books = msgspec.json.Decoder(BookFrame)
_tickers = msgspec.json.Decoder(TickerFrame)


class _Coming(msgspec.Struct):
    """A frame, or (``text`` None) the loss of topics, that waits for its time."""

    ts_ms: int
    topics: tuple[str, ...]
    text: bytes | None
    made: bool = False


class RecordedSymbol(MarketSymbol):
    """A symbol of a recording.

    Args:
        tape: its candles, which grow.
        topics: its recorded topics, in Bybit's names.
        player: hands out the frames.
        price: a first price, until there is another.
    """

    def __init__(
        self,
        tape: RecordedTape,
        contract: Contract,
        number: int,
        topics: tuple[str, ...],
        player: Player,
        price: float,
        *,
        settles: bool = True,
    ) -> None:
        super().__init__(tape, contract, 0.0, number, settles=settles)
        self.recorded = frozenset(topics)
        self.history = _RecordedHistory(tape, self)
        self._own = tape
        self._player = player
        self._price = price
        self._book_topic = max(
            (topic for topic in topics if topic.startswith("orderbook.")),
            key=lambda topic: int(topic.split(".")[1]),
        )
        self._kline_topic = next((topic for topic in topics if self._is_base(topic)), "")
        self._coming: deque[_Coming] = deque()
        self._frames: list[tuple[str, str]] = []
        self._moves: list[Move] = []
        self._waiting: list[Traded] = []
        """Trades whose book has not come yet."""
        self._books: dict[str, KeptBook] = {}
        self._ticker = KeptTicker()
        self._trades: deque[MarketTrade] = deque(maxlen=_TRADES_KEPT)
        self._marks: deque[tuple[int, float, float]] = deque(maxlen=_MARKS_KEPT)
        """(time, mark, index)."""
        self._open: PartialCandle | None = None
        """The open candle as it was last pushed."""
        self._ahead: PartialCandle | None = None
        """Candle of the trades that were heard, where no candles were recorded."""
        self._traded: PartialCandle | None = None
        """Candle of the trades that were applied."""

    def _is_base(self, topic: str) -> bool:
        kind, _, rest = topic.partition(".")
        return kind == "kline" and INTERVALS_MS.get(rest.partition(".")[0]) == self.tape.interval_ms

    # -- from the player, ahead of time ----------------------------------------------------------------------

    def hear(self, head: Head, text: bytes, *, made: bool) -> None:
        """Take a frame ahead of its time."""
        self._coming.append(_Coming(head.ts, (head.topic,), text, made))
        if head.topic == self._kline_topic:
            for row in _klines.decode(text).data:
                if row.confirm:
                    self._own.add(_candle(row))
        elif not self._kline_topic:
            self._close_ahead(head.ts)
            if head.topic.startswith("publicTrade."):
                for trade in _trades.decode(text).data:
                    self._close_ahead(trade.T)
                    self._ahead = self._joined(self._ahead, trade)

    def lose(self, ts_ms: int, topics: tuple[str, ...]) -> None:
        """Nothing is known of these topics from ``ts_ms`` on, until their next snapshot."""
        self._coming.append(_Coming(ts_ms, topics, None))

    def _close_ahead(self, ts_ms: int) -> None:
        """Put the candle of trades on the tape once a later moment is heard of."""
        if self._ahead is not None and ts_ms >= self._ahead.start_ms + self.tape.interval_ms:
            self._own.add(self._ahead)
            self._ahead = None

    # -- at its time -----------------------------------------------------------------------------------------

    def advance(self, to_ms: int) -> None:
        """Apply what was recorded up to ``to_ms``."""
        self._player.play(to_ms)
        while self._coming and self._coming[0].ts_ms <= to_ms:
            self._apply(self._coming.popleft())
        if self._waiting and self._waiting[0].ts_ms < to_ms - BOOK_WAIT_MS:
            self._meet(to_ms - BOOK_WAIT_MS, to_ms, None)

    def frames(self, to_ms: int) -> list[tuple[str, str]]:
        """Take the recorded frames up to ``to_ms``, each once: topic and text."""
        self.advance(to_ms)
        taken, self._frames = self._frames, []
        return taken

    def moves(self, to_ms: int) -> list[Move]:
        """Take the recorded moves up to ``to_ms``, each once."""
        self.advance(to_ms)
        taken, self._moves = self._moves, []
        return taken

    def snapshot(self, topic: str) -> str | None:
        """Return the state that the frames applied so far add up to; None if the topic has none."""
        if topic.startswith("tickers."):
            return self._ticker.snapshot()
        book = self._books.get(topic)
        return None if book is None else book.snapshot()

    def _apply(self, it: _Coming) -> None:
        if it.text is None:
            self._forget(it)
            return
        (topic,) = it.topics
        if not it.made:
            self._frames.append((topic, it.text.decode()))
        match topic.partition(".")[0]:
            case "orderbook":
                self._on_book(topic, _books.decode(it.text), made=it.made)
            case "tickers":
                self._on_ticker(_tickers.decode(it.text), made=it.made)
            case "publicTrade":
                self._on_trades(_trades.decode(it.text).data)
            case "kline" if topic == self._kline_topic:
                self._open = _candle(_klines.decode(it.text).data[-1])
            case _:
                pass

    def _forget(self, it: _Coming) -> None:
        for topic in it.topics:
            if topic in self._books:
                self._books[topic].forget()
        if any(topic.startswith("tickers.") for topic in it.topics):
            self._ticker.forget()
        if self._book_topic in it.topics and self.followed:
            self._meet(it.ts_ms, it.ts_ms, None)
            self._moves.append(Quoted(it.ts_ms, NO_DEPTH))

    def _on_book(self, topic: str, frame: BookFrame, *, made: bool) -> None:
        book = self._books.setdefault(topic, KeptBook())
        if made and book.known:
            return  # it is what the frames before add up to
        book.apply(frame)
        if topic != self._book_topic:
            return
        if not self.followed:
            self._waiting.clear()
            return
        depth = self.depth_now()
        self._meet(frame.cts or frame.ts, frame.ts, depth)
        self._moves.append(Quoted(frame.ts, depth))

    def _meet(self, until_ms: int, now_ms: int, depth: Depth | None) -> None:
        """Hand on the waiting trades up to ``until_ms``, with the book that has come after them."""
        while self._waiting and self._waiting[0].ts_ms <= until_ms:
            trade = self._waiting.pop(0)
            self._moves.append(msgspec.structs.replace(trade, ts_ms=now_ms, depth=depth))

    def _on_ticker(self, frame: TickerFrame, *, made: bool) -> None:
        ticker = self._ticker
        if made and ticker.known:
            return
        ticker.apply(frame)
        if not ticker.known:
            return
        if "markPrice" in frame.data or "indexPrice" in frame.data:
            mark = _number(ticker.fields, "markPrice")
            index = _number(ticker.fields, "indexPrice") or mark
            if mark:
                self._marks.append((frame.ts, mark, index))
                if self.followed:
                    self._moves.append(MarksMoved(frame.ts, Decimal(repr(mark)), Decimal(repr(index))))
        if {"fundingRate", "nextFundingTime"} & frame.data.keys():
            settles_ms = int(_number(ticker.fields, "nextFundingTime"))
            if settles_ms > frame.ts and ticker.fields.get("fundingRate"):
                self._own.note_rate(settles_ms, _number(ticker.fields, "fundingRate"))

    def _on_trades(self, rows: list[TradeRow]) -> None:
        for row in rows:
            side: Side = "Buy" if row.S == "Buy" else "Sell"
            self._trades.append(MarketTrade(row.T, float(row.p), float(row.v), side, row.L, row.i))
            self._traded = self._joined(self._traded, row)
            if self.followed:
                self._waiting.append(Traded(row.T, Decimal(row.p), Decimal(row.v), None))

    def _joined(self, candle: PartialCandle | None, row: TradeRow) -> PartialCandle:
        """Return the candle of trades with one more trade."""
        start_ms, price, qty = self.base_start(row.T), float(row.p), float(row.v)
        if candle is None or candle.start_ms != start_ms:
            return PartialCandle(start_ms, price, price, price, price, qty, price * qty, row.T)
        return PartialCandle(
            start_ms,
            candle.open,
            max(candle.high, price),
            min(candle.low, price),
            price,
            round(candle.volume + qty, 8),
            round(candle.turnover + price * qty, 8),
            row.T,
        )

    # -- what is asked ---------------------------------------------------------------------------------------

    def inside(self, start_ms: int) -> InsideCandle | None:
        """Return the base candle that opens at ``start_ms``; None if nothing is known of it."""
        known = self._own.closed(start_ms) is not None or any(
            each is not None and each.start_ms == start_ms for each in (self._open, self._traded)
        )
        return _RecordedCandle(self, start_ms) if known else None

    def candle_at(self, start_ms: int, ts_ms: int) -> PartialCandle:
        """Return a base candle of which ``inside`` knows something, as it is at ``ts_ms``."""
        closed = self._own.closed(start_ms)
        if closed is not None and ts_ms >= start_ms + self.tape.interval_ms - 1:
            return closed
        for candle in (self._open, self._traded, closed):
            if candle is not None and candle.start_ms == start_ms:
                return candle
        raise AssertionError("inside knows it")

    def base_candle(self, ts_ms: int) -> PartialCandle | None:
        """The open base candle."""
        self.advance(ts_ms)
        inside = self.inside(self.base_start(ts_ms))
        return None if inside is None else inside.candle(ts_ms)

    def closed_bar(self, start_ms: int) -> Bar | None:
        """Return None: fills from closed bars go with candle files."""
        return None

    def _last_at(self, ts_ms: int) -> MarketTrade:
        self.advance(ts_ms)
        for trade in reversed(self._trades):
            if trade.ts_ms <= ts_ms:
                return trade._replace(qty=0.0)
        price = _number(self._ticker.fields, "lastPrice") or self._price
        return MarketTrade(ts_ms, price, 0.0, "Buy", "ZeroPlusTick")

    def trades(self, after_ms: int, to_ms: int) -> list[MarketTrade]:
        """The trades in ``(after_ms, to_ms]``, as far as they are kept."""
        self.advance(to_ms)
        return [trade for trade in self._trades if after_ms < trade.ts_ms <= to_ms]

    def recent_trades(self, ts_ms: int, limit: int) -> list[MarketTrade]:
        """The last ``limit`` trades up to ``ts_ms``, oldest first."""
        return self.trades(-1, ts_ms)[-limit:]

    def touch(self, ts_ms: int) -> tuple[int, int]:
        """Return best bid and ask in ticks; where a side is not known, the last price."""
        tick, last = self.contract.tick, self.last(ts_ms).price
        bids, asks = self.book(ts_ms, 1)
        bid, ask = (float(side[0][0]) if side else last for side in (bids, asks))
        return tick.nearest(bid), tick.nearest(ask)

    def touch_of(self, last: MarketTrade) -> tuple[int, int]:
        """Best bid and ask in ticks: those of the book, which were recorded too."""
        return self.touch(last.ts_ms)

    def depth(self, ts_ms: int, levels: int = 50) -> Depth:
        """Return the book; empty while it is not known."""
        self.advance(ts_ms)
        return self.depth_now(levels)

    def depth_now(self, levels: int | None = None) -> Depth:
        """Return the book as applied."""
        book = self._books.get(self._book_topic)
        if book is None or not book.known:
            return NO_DEPTH
        bids, asks = book.levels()
        return Depth(
            [(Decimal(price), Decimal(size)) for price, size in bids[:levels]],
            [(Decimal(price), Decimal(size)) for price, size in asks[:levels]],
        )

    def depth_after(self, trade: MarketTrade, levels: int) -> Depth:
        """Return the book as applied; what comes after a trade is in ``moves``."""
        return self.depth_now(levels)

    def book(self, ts_ms: int, levels: int) -> BookSides:
        """Return the book as texts: bids and asks, best first; empty while it is not known."""
        self.advance(ts_ms)
        book = self._books.get(self._book_topic)
        if book is None or not book.known:
            return [], []
        bids, asks = book.levels()
        return bids[:levels], asks[:levels]

    def book_numbers(self, ts_ms: int) -> tuple[int, int]:
        """Return ``u`` and ``seq`` of the book in a query."""
        book = self._books.get(self._book_topic)
        last = None if book is None else book.last
        return (0, 0) if last is None else (last.data.u, last.data.seq)

    def mark(self, ts_ms: int) -> float:
        """Return the mark price, the last price where none is known."""
        found = self._mark_at(ts_ms)
        return self.last(ts_ms).price if found is None else found[0]

    def index_at(self, ts_ms: int) -> float:
        """Return the index price."""
        found = self._mark_at(ts_ms)
        return self.index(self.mark(ts_ms)) if found is None else found[1]

    def _mark_at(self, ts_ms: int) -> tuple[float, float] | None:
        self.advance(ts_ms)
        return next(((mark, index) for at, mark, index in reversed(self._marks) if at <= ts_ms), None)

    @property
    def premium_frac(self) -> float:
        """Return how far the mark is above the index now, as a fraction."""
        if not self._marks:
            return 0.0
        _, mark, index = self._marks[-1]
        return round(mark / index - 1.0, 6)

    def told_fields(self, ts_ms: int) -> dict[str, str]:
        """Return the ticker as it was recorded."""
        self.advance(ts_ms)
        return {name: str(value) for name, value in self._ticker.fields.items()} if self._ticker.known else {}

    def open_interest(self, ts_ms: int) -> float:
        """Return the open interest in base coin."""
        return _number(self._ticker.fields, "openInterest") or super().open_interest(ts_ms)

    def next_funding_ms(self, ts_ms: int) -> int:
        """The next settlement after ``ts_ms``, as announced, else by the interval."""
        announced_ms = int(_number(self._ticker.fields, "nextFundingTime"))
        return announced_ms if announced_ms > ts_ms else super().next_funding_ms(ts_ms)


class _RecordedCandle:
    """A base candle of a recording."""

    def __init__(self, symbol: RecordedSymbol, start_ms: int) -> None:
        self._symbol = symbol
        self._start_ms = start_ms

    def candle(self, ts_ms: int) -> PartialCandle:
        return self._symbol.candle_at(self._start_ms, ts_ms)

    def piece(self, start_ms: int, end_ms: int, ts_ms: int) -> PartialCandle:
        raise AssertionError("candles finer than the recorded ones are not offered")


class _RecordedHistory(CandleHistory):
    """Candles finer than the recorded ones do not exist."""

    def __init__(self, tape: RecordedTape, symbol: RecordedSymbol) -> None:
        super().__init__(tape, symbol)
        self._symbol = symbol

    def candle(self, interval: str, start_ms: int, now_ms: int) -> PartialCandle | None:
        self._symbol.advance(now_ms)
        return super().candle(interval, start_ms, now_ms)

    def between(self, interval: str, first: int, last: int, now_ms: int) -> list[PartialCandle]:
        self._symbol.advance(now_ms)
        return super().between(interval, first, last, now_ms)

    def _split(self, from_ms: int, to_ms: int, now_ms: int, unit_ms: int) -> list[PartialCandle]:
        return []


def _candle(row: KlineRow) -> PartialCandle:
    prices = (float(text) for text in (row.open, row.high, row.low, row.close))
    open_, high, low, close = prices
    return PartialCandle(
        row.start, open_, high, low, close, float(row.volume), float(row.turnover or 0.0), row.timestamp
    )


def _number(fields: dict[str, object], name: str) -> float:
    """Return a field of a ticker as a number; 0 if it is missing or empty, which no price and no time is."""
    text = str(fields.get(name) or "")
    try:
        return float(text) if text else 0.0
    except ValueError:
        return 0.0
