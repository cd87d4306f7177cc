"""Joins candles of one symbol: several files to one series, and short bars to longer ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bot.adapters.files.candles import Candles
from bot.domain.errors import BadBar, BadUsage
from bot.domain.market import interval_name
from bot.domain.words import utc_words


def join_candles(parts: Sequence[Candles]) -> Candles:
    """Return one series of all bars, whatever the order of the parts. A bar that two parts share counts once.

    Its ``path`` is that of the earliest part, then `` + N more``, so the funding file beside it is found.

    Raises:
        BadUsage: parts of two symbols or of two intervals.
        BadBar: two parts that differ about a bar.
    """
    ordered = sorted(parts, key=lambda part: part.first_ms)
    first = ordered[0]
    if len(ordered) == 1:
        return first
    for part in ordered[1:]:
        if (part.symbol, part.interval_ms, part.market) != (first.symbol, first.interval_ms, first.market):
            raise BadUsage(
                f"{_name(part)}: {part.market} {part.symbol} {interval_name(part.interval_ms)} cannot be "
                f"joined with {first.market} {first.symbol} {interval_name(first.interval_ms)} of "
                f"{_name(first)}; join files of one symbol, market and interval"
            )
    start_ms = np.concatenate([part.start_ms for part in ordered])
    rows = np.concatenate([np.column_stack([part.ohlcv, part.turnover]) for part in ordered])
    source = np.repeat(np.arange(len(ordered)), [len(part) for part in ordered])
    order = np.argsort(start_ms, kind="stable")
    start_ms, rows, source = start_ms[order], rows[order], source[order]
    again = np.append(False, np.diff(start_ms) == 0)
    for at in np.flatnonzero(again):
        if not np.array_equal(rows[at], rows[at - 1], equal_nan=True):
            one, other = ordered[source[at - 1]], ordered[source[at]]
            raise BadBar(
                f"{_name(one)} and {_name(other)} differ about the bar that opens at "
                f"{utc_words(start_ms[at])}; decide which is right and take the other one out"
            )
    kept = rows[~again]
    path = f"{first.path} + {len(ordered) - 1} more" if first.path else ""
    joined = Candles.make(
        first.symbol, first.interval_ms, start_ms[~again], kept[:, :5], kept[:, 5], path=path
    )
    return replace(
        first,
        start_ms=joined.start_ms,
        ohlcv=joined.ohlcv,
        turnover=joined.turnover,
        path=path,
        sha256=joined.sha256,
        warnings=tuple(word for part in ordered for word in part.warnings),
    )


def refuse_twice(given: Sequence[Candles]) -> None:
    """Refuse candles that are given twice: a run on them has one symbol less than it seems to have.

    Raises:
        BadUsage: names the symbol and the files.
    """
    known: dict[tuple[object, ...], Candles] = {}
    for each in given:
        same = (each.symbol, each.interval_ms, each.market, each.sha256)
        if same in known:
            places = dict.fromkeys(path for path in (known[same].path, each.path) if path)
            where = f" ({' and '.join(places)})" if places else ""
            raise BadUsage(f"candles: the same bars of {each.symbol} are given twice{where}; give them once")
        known[same] = each


def coarser(candles: Candles, interval_ms: int) -> Candles:
    """Return the longer bars that are made of these, each of all its parts; one with a part missing is none.

    A longer bar closes with its last part, so it holds nothing that was not known at its close. ``path``
    stays, so the funding file beside it is found. Its turnover is unknown if that of one part is.

    Raises:
        BadUsage: bars of this length cannot be made of these, or not one of them is complete.
    """
    if interval_ms == candles.interval_ms:
        return candles
    parts, rest = divmod(interval_ms, candles.interval_ms)
    if rest or not parts:
        raise BadUsage(
            f"{_name(candles)}: bars of {interval_name(interval_ms)} cannot be made of bars of "
            f"{interval_name(candles.interval_ms)}; give shorter bars that fit into them"
        )
    first = np.flatnonzero(candles.start_ms % interval_ms == 0)
    first = first[first + parts <= len(candles)]
    last_ms = candles.start_ms[first] + interval_ms - candles.interval_ms
    first = first[candles.start_ms[first + parts - 1] == last_ms]
    if not len(first):
        raise BadUsage(
            f"{_name(candles)}: has no {parts} bars in a row that make one of {interval_name(interval_ms)}"
        )
    inside = first[:, None] + np.arange(parts)
    open_, high, low, close, volume = candles.ohlcv.T
    bars = np.column_stack(
        (
            open_[first],
            high[inside].max(axis=1),
            low[inside].min(axis=1),
            close[first + parts - 1],
            volume[inside].sum(axis=1),
        )
    )
    made = Candles.make(
        candles.symbol, interval_ms, candles.start_ms[first], bars, candles.turnover[inside].sum(axis=1)
    )
    return replace(made, path=candles.path, warnings=candles.warnings, market=candles.market)


def _name(part: Candles) -> str:
    return part.path or f"candles of {part.symbol}"
