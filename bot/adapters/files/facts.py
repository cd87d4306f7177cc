"""Facts about a candle or funding file, and every problem in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bot.adapters.files.candles import (
    Candles,
    inspect_candles,
    inspect_funding,
    is_funding,
    parse_name,
)
from bot.adapters.files.columns import SUFFIXES, Problem
from bot.domain.errors import BadInput
from bot.domain.market import interval_name

STRESS_LOG_RETURN = 0.2
"""A bar whose close is further than this from the close before it is reported, and a wick that is longer."""


@dataclass(frozen=True)
class FileFacts:
    """Facts about one file. Times are UTC ms; None where a figure has no meaning."""

    path: str
    problems: tuple[Problem, ...]
    kind: str = "candles"
    symbol: str | None = None
    interval: str | None = None
    rows: int | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    gaps: int | None = None
    missing_bars: int | None = None
    longest_gap_bars: int | None = None
    longest_gap_from_ms: int | None = None
    zero_volume_bars: int | None = None
    missing_turnover_bars: int | None = None
    stress_bars: tuple[tuple[int, float], ...] = ()
    """(start_ms, log return) of every bar beyond ``STRESS_LOG_RETURN``."""
    wick_bars: tuple[tuple[int, float], ...] = ()
    """(start_ms, log distance) of every high or low (negative) so far beyond its bar's open and close."""
    unclosed_bars: int = 0
    sha256: str | None = None


def file_facts(path: Path, now_ms: int) -> FileFacts:
    """Read one file and return its facts; a file that cannot be read is one problem at row 0."""
    try:
        return _funding_facts(path) if is_funding(path) else _candle_facts(path, now_ms)
    except BadInput as error:
        return FileFacts(str(path), (Problem(0, str(error).removeprefix(f"{path}: ")),))


def candle_files(folder: Path) -> Iterator[Path]:
    """Yield the candle and funding files of a folder, by name."""
    if folder.is_dir():
        yield from sorted(
            path
            for path in folder.iterdir()
            if path.suffix in SUFFIXES and (parse_name(path) is not None or is_funding(path))
        )


def _candle_facts(path: Path, now_ms: int) -> FileFacts:
    candles, problems = inspect_candles(path)
    unclosed = int((candles.start_ms + candles.interval_ms > now_ms).sum())
    known = FileFacts(
        str(path),
        tuple(problems),
        symbol=candles.symbol,
        interval=interval_name(candles.interval_ms),
        rows=len(candles),
        unclosed_bars=unclosed,
    )
    return known if problems else _with_figures(known, candles)


def _with_figures(known: FileFacts, candles: Candles) -> FileFacts:
    gaps = candles.gaps()
    longest_from_ms, _, longest_bars = max(gaps, key=lambda gap: gap[2], default=(None, None, 0))
    return replace(
        known,
        first_ms=candles.first_ms,
        last_ms=int(candles.start_ms[-1]),
        gaps=len(gaps),
        missing_bars=sum(bars for _, _, bars in gaps),
        longest_gap_bars=longest_bars,
        longest_gap_from_ms=longest_from_ms,
        zero_volume_bars=int((candles.ohlcv[:, 4] == 0.0).sum()),
        missing_turnover_bars=int(np.isnan(candles.turnover).sum()),
        stress_bars=stress_bars(candles),
        wick_bars=wick_bars(candles),
        sha256=candles.sha256,
    )


def stress_bars(candles: Candles) -> tuple[tuple[int, float], ...]:
    """Return stress bars. Only adjacent closes are compared: a move over a gap belongs to no bar."""
    returns = np.diff(np.log(candles.ohlcv[:, 3]))
    adjacent = np.diff(candles.start_ms) == candles.interval_ms
    found = np.flatnonzero(adjacent & (np.abs(returns) > STRESS_LOG_RETURN))
    return tuple((int(candles.start_ms[i + 1]), round(float(returns[i]), 6)) for i in found)


def wick_bars(candles: Candles) -> tuple[tuple[int, float], ...]:
    """Return bars with a long wick: a wrong high or low fills stops and takes that nobody could have had."""
    opened, high, low, close = candles.ohlcv[:, :4].T
    up, down = np.log(high / np.maximum(opened, close)), np.log(low / np.minimum(opened, close))
    longest = np.where(up > -down, up, down)
    found = np.flatnonzero(np.abs(longest) > STRESS_LOG_RETURN)
    return tuple((int(candles.start_ms[i]), round(float(longest[i]), 6)) for i in found)


def _funding_facts(path: Path) -> FileFacts:
    funding, problems = inspect_funding(path)
    return FileFacts(
        str(path),
        tuple(problems),
        kind="funding",
        symbol=funding.symbol,
        rows=len(funding.rate),
        first_ms=int(funding.start_ms[0]),
        last_ms=int(funding.start_ms[-1]),
        sha256=funding.sha256,
    )
