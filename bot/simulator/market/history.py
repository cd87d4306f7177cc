"""Candles of any interval at any moment, also the open one: read from the tape, joined or split.

A candle of the tape's own interval is returned unchanged, to the last digit. Longer candles are joined from
those; finer ones are split by ``CandleTrades``. Queries and streams both use this module, so they agree.
"""

from datetime import UTC, datetime
from math import fsum, gcd
from typing import NamedTuple, Protocol

import numpy as np

from bot.bybit.rest import WIRE_INTERVALS
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.simulator.market.candle_trades import InsideCandle, PartialCandle
from bot.simulator.market.tape import WEEK_MS, Floats, Ints, MarketTape

MONDAY_MS = 4 * DAY_MS
"""1970-01-05, the first Monday."""
FIXED_MS: dict[str, int] = {name: ms for ms, name in WIRE_INTERVALS.items()} | {"W": WEEK_MS}
"""Bybit's name of an interval → its length, for intervals of one fixed length."""
INTERVALS = (*FIXED_MS, "M")


def start_of(interval: str, ts_ms: int) -> int:
    """Return when the candle that holds ``ts_ms`` opened: weeks open on Monday, months on the 1st, UTC."""
    if interval == "M":
        return _month(ts_ms, 0)
    length_ms, origin_ms = FIXED_MS[interval], MONDAY_MS if interval == "W" else 0
    return ts_ms - (ts_ms - origin_ms) % length_ms


def end_of(interval: str, start_ms: int) -> int:
    """Return the first instant after the candle that opens at ``start_ms``."""
    return _month(start_ms, 1) if interval == "M" else start_ms + FIXED_MS[interval]


def back(interval: str, start_ms: int, count: int) -> int:
    """Return the start of the candle ``count`` before the one that opens at ``start_ms``."""
    return _month(start_ms, -count) if interval == "M" else start_ms - count * FIXED_MS[interval]


def _month(ts_ms: int, ahead: int) -> int:
    moment = datetime.fromtimestamp(ts_ms / 1000, UTC)
    months = max(moment.year * 12 + moment.month - 1 + ahead, 1970 * 12)
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


class TradesSource(Protocol):
    """Gives what happens inside a base candle."""

    def inside(self, start_ms: int) -> InsideCandle | None:
        """Return the base candle that opens at ``start_ms``; None without such a candle."""


class CandleHistory:
    """The candles of one symbol, of any interval, at any moment."""

    def __init__(self, tape: MarketTape, source: TradesSource) -> None:
        self._tape = tape
        self._source = source

    def latest(
        self, interval: str, now_ms: int, limit: int, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[PartialCandle]:
        """Return the answer to a kline query, oldest first (rules of ``GET /v5/market/kline``).

        The candles that hold ``start_ms`` and ``end_ms`` are included. With ``start_ms`` alone: the first
        ``limit`` from there; else the newest ``limit`` up to ``end_ms``, the open candle included.
        """
        last = start_of(interval, now_ms if end_ms is None else min(end_ms, now_ms))
        first = start_of(interval, self._tape.first_ms)
        if start_ms is not None:
            first = max(first, start_of(interval, start_ms))
        if first > last or limit < 1:
            return []
        if start_ms is not None and end_ms is None:
            return self._forward(interval, first, last, limit, now_ms)
        return self._backward(interval, first, last, limit, now_ms)

    def _forward(self, interval: str, first: int, last: int, limit: int, now_ms: int) -> list[PartialCandle]:
        reach = limit
        while True:
            to = min(last, back(interval, first, 1 - reach))
            found = self.between(interval, first, to, now_ms)
            if len(found) >= limit or to >= last:
                return found[:limit]
            reach *= 4

    def _backward(self, interval: str, first: int, last: int, limit: int, now_ms: int) -> list[PartialCandle]:
        reach = limit
        while True:
            since = max(first, back(interval, last, reach - 1))
            found = self.between(interval, since, last, now_ms)
            if len(found) >= limit or since <= first:
                return found[-limit:]
            reach *= 4

    def candle(self, interval: str, start_ms: int, now_ms: int) -> PartialCandle | None:
        """Return the candle that opens at ``start_ms`` as it is at ``now_ms``; None if nothing traded."""
        if FIXED_MS.get(interval) == self._tape.interval_ms:
            inside = self._source.inside(start_ms)
            return inside.candle(now_ms) if inside is not None and now_ms >= start_ms else None
        found = self.between(interval, start_ms, start_ms, now_ms)
        return found[0] if found else None

    def between(self, interval: str, first: int, last: int, now_ms: int) -> list[PartialCandle]:
        """Return the candles that open in ``[first, last]`` (both are starts), as they are at ``now_ms``."""
        to_ms = end_of(interval, last)
        length_ms = FIXED_MS.get(interval, DAY_MS)
        base_ms = self._tape.interval_ms
        if interval != "M" and length_ms == base_ms:
            return self._base(first, to_ms, now_ms)
        unit_ms = gcd(length_ms, base_ms)
        if unit_ms < base_ms:
            parts = self._split(first, to_ms, now_ms, unit_ms)
            return parts if length_ms == unit_ms and interval != "M" else _joined(interval, _columns(parts))
        rows = self._tape.rows(first, min(to_ms, now_ms - now_ms % base_ms))
        columns = Columns(*rows, rows.start_ms + (base_ms - 1))
        still_open = self._open(first, to_ms, now_ms)
        return _joined(interval, _appended(columns, _columns(still_open)) if still_open else columns)

    def _base(self, from_ms: int, to_ms: int, now_ms: int) -> list[PartialCandle]:
        base_ms = self._tape.interval_ms
        rows = self._tape.rows(from_ms, min(to_ms, now_ms - now_ms % base_ms))
        columns = (rows.start_ms, *rows.ohlcv.T, rows.turnover, rows.start_ms + (base_ms - 1))
        found = [PartialCandle(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]
        return found + self._open(from_ms, to_ms, now_ms)

    def _open(self, from_ms: int, to_ms: int, now_ms: int) -> list[PartialCandle]:
        """Return the open base candle if it opens in ``[from_ms, to_ms)``."""
        open_ms = now_ms - now_ms % self._tape.interval_ms
        inside = self._source.inside(open_ms) if from_ms <= open_ms < to_ms else None
        return [] if inside is None else [inside.candle(now_ms)]

    def _split(self, from_ms: int, to_ms: int, now_ms: int, unit_ms: int) -> list[PartialCandle]:
        base_ms = self._tape.interval_ms
        found = []
        for start_ms in range(from_ms - from_ms % base_ms, min(to_ms, now_ms + 1), base_ms):
            inside = self._source.inside(start_ms)
            if inside is None:
                continue
            found += [
                inside.piece(at, at + unit_ms, now_ms)
                for at in range(start_ms, start_ms + base_ms, unit_ms)
                if from_ms <= at < to_ms and at <= now_ms
            ]
        return found


class Columns(NamedTuple):
    """Candles as columns: ``start_ms`` (T,), ``ohlcv`` (T, 5), ``turnover`` (T,), ``traded_ms`` (T,)."""

    start_ms: Ints
    ohlcv: Floats
    turnover: Floats
    traded_ms: Ints


def _columns(candles: list[PartialCandle]) -> Columns:
    return Columns(
        np.array([each.start_ms for each in candles], dtype=np.int64),
        np.array([each[1:6] for each in candles], dtype=np.float64).reshape(-1, 5),
        np.array([each.turnover for each in candles], dtype=np.float64),
        np.array([each.traded_ms for each in candles], dtype=np.int64),
    )


def _appended(a: Columns, b: Columns) -> Columns:
    return Columns(
        np.concatenate((a.start_ms, b.start_ms)),
        np.concatenate((a.ohlcv, b.ohlcv)),
        np.concatenate((a.turnover, b.turnover)),
        np.concatenate((a.traded_ms, b.traded_ms)),
    )


def _joined(interval: str, parts: Columns) -> list[PartialCandle]:
    """Join candles to longer ones; sums are rounded once, so the grouping does not matter."""
    if not len(parts.start_ms):
        return []
    keys = _keys(interval, parts.start_ms)
    first = np.concatenate(([0], np.flatnonzero(np.diff(keys)) + 1))
    last = np.concatenate((first[1:], [len(keys)])) - 1
    prices = np.column_stack(
        (
            parts.ohlcv[first, 0],
            np.maximum.reduceat(parts.ohlcv[:, 1], first),
            np.minimum.reduceat(parts.ohlcv[:, 2], first),
            parts.ohlcv[last, 3],
        )
    ).tolist()
    volume, turnover = parts.ohlcv[:, 4].tolist(), parts.turnover.tolist()
    starts, traded = parts.start_ms[first].tolist(), parts.traded_ms[last].tolist()
    spans = zip(first.tolist(), (last + 1).tolist(), strict=True)
    return [
        PartialCandle(
            start_of(interval, start_ms),
            open_,
            high,
            low,
            close,
            round(fsum(volume[a:b]), 8),
            round(fsum(turnover[a:b]), 8),
            traded_ms,
        )
        for start_ms, (open_, high, low, close), traded_ms, (a, b) in zip(
            starts, prices, traded, spans, strict=True
        )
    ]


def _keys(interval: str, start_ms: Ints) -> Ints:
    """Return a rising key that is equal for all candles of one longer candle."""
    if interval == "M":
        return start_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    origin_ms = MONDAY_MS if interval == "W" else 0
    return (start_ms - origin_ms) // FIXED_MS[interval]


class Window:
    """The 24 hours before the open candle, computed once per base candle."""

    __slots__ = ("high", "low", "open_ms", "prev_1h", "prev_24h", "turnover", "volume")

    def __init__(self, tape: MarketTape, open_ms: int) -> None:
        self.open_ms = open_ms
        rows = tape.rows(open_ms - DAY_MS, open_ms)
        hour = tape.rows(open_ms - max(60 * MINUTE_MS, tape.interval_ms), open_ms)
        some = len(rows.start_ms) > 0
        self.prev_24h = float(rows.ohlcv[0, 0]) if some else 0.0
        self.prev_1h = float(hour.ohlcv[0, 0]) if len(hour.start_ms) else self.prev_24h
        self.high = float(np.max(rows.ohlcv[:, 1])) if some else 0.0
        self.low = float(np.min(rows.ohlcv[:, 2])) if some else float("inf")
        self.volume = float(np.sum(rows.ohlcv[:, 4]))
        self.turnover = float(np.sum(rows.turnover))
