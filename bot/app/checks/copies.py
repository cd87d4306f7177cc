"""Copies of candle files with their funding: unchanged, ended early, with another future, begun later."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import (
    Candles,
    FileName,
    Funding,
    funding_beside,
    parse_name,
    read_candles,
    read_funding,
    write_candles,
    write_funding,
)
from bot.adapters.files.joining import refuse_twice
from bot.adapters.state.clock import WallClock
from bot.domain.errors import TooFewBars
from bot.domain.words import counted

_JUMP = 3.0
"""How far, as a factor, prices and volumes of another future lie from the true ones."""


@dataclass(frozen=True)
class Original:
    """Candles and the funding file beside them; ``path`` is None for candles that are in no single file."""

    path: Path | None
    candles: Candles
    funding_path: Path | None
    funding: Funding | None

    @property
    def name(self) -> str:
        """The name of a copy: that of the file, if it says what the candles are."""
        ours, suffix = self.candles, ".parquet"
        if self.path is not None:
            known, suffix = parse_name(self.path), self.path.suffix
            if known and (known.symbol, known.interval_ms) == (ours.symbol, ours.interval_ms):
                return self.path.name
        return f"{FileName('bybit', ours.market, ours.symbol, ours.interval_ms)}{suffix}"


@dataclass(frozen=True)
class Files:
    """Copies in a folder of their own; ``replaced`` has the copy of each original, by its resolved path."""

    folder: Path
    data: tuple[Path, ...]
    replaced: Mapping[str, Path]


Change = Callable[[Original], Original | None]
"""Makes another source of one; None leaves the file out."""


def read_sources(data: Sequence[Path | Candles], bars: int) -> list[Original]:
    """Read candle files, or take candles, of which the closes of the last ``bars`` bars are kept.

    Raises:
        BadFile, BadBar: a file that is not as documented.
        BadUsage: the same candles twice.
    """
    now_ms = WallClock().now_ms()
    sources = []
    for given in data:
        candles = given if isinstance(given, Candles) else read_candles(given, now_ms=now_ms)
        place = Path(candles.path) if isinstance(given, Candles) else given
        beside = funding_beside(place)
        funding = None if beside is None else read_funding(beside)
        sources.append(Original(place if place.is_file() else None, candles, beside, funding))
    refuse_twice([each.candles for each in sources])
    times = np.unique(np.concatenate([each.candles.start_ms for each in sources]))
    from_ms = int(times[max(0, len(times) - bars)])
    return [kept for kept in map(begun(from_ms), sources) if kept is not None]


def closes(sources: Sequence[Original]) -> NDArray[np.int64]:
    """Return the moments at which bars close, in order.

    Raises:
        TooFewBars: there are too few to cut anywhere.
    """
    found = np.unique(np.concatenate([each.candles.start_ms + each.candles.interval_ms for each in sources]))
    if len(found) < _LEAST:
        raise TooFewBars(f"--data: {counted(len(found), 'bar')}; a check needs {_LEAST} at least")
    return found


_LEAST = 60


@contextmanager
def copied(sources: Sequence[Original], change: Change) -> Iterator[Files]:
    """Write what ``change`` makes of each source to a folder that goes when the block ends."""
    with TemporaryDirectory(prefix="bot-check-") as root:
        data, replaced = [], {}
        for index, source in enumerate(sources):
            made = change(source)
            if made is None:
                continue
            folder = Path(root) / str(index)
            folder.mkdir()
            copy = folder / source.name
            write_candles(copy, made.candles)
            data.append(copy)
            if source.path is not None:
                replaced[str(source.path.resolve())] = copy
            if made.funding is not None and made.funding_path is not None and len(made.funding.start_ms):
                rates = folder / made.funding_path.name
                write_funding(rates, made.funding)
                replaced[str(made.funding_path.resolve())] = rates
        yield Files(Path(root), tuple(data), replaced)


def unchanged(source: Original) -> Original:
    """Leave everything as it is."""
    return source


def ended(at_ms: int) -> Change:
    """Leave out every bar and rate after the close at ``at_ms``."""

    def change(source: Original) -> Original | None:
        keep = source.candles.start_ms + source.candles.interval_ms <= at_ms
        return _part(source, keep, lambda rates: rates <= at_ms)

    return change


def begun(from_ms: int) -> Change:
    """Leave out every bar that opens before ``from_ms``; the last rate before it stays."""

    def change(source: Original) -> Original | None:
        def late(rates: NDArray[np.int64]) -> NDArray[np.bool_]:
            before = rates[rates < from_ms]
            return np.asarray(rates >= (before[-1] if len(before) else from_ms))

        return _part(source, source.candles.start_ms >= from_ms, late)

    return change


def bent(at_ms: int, *, up: bool, seed: int) -> Change:
    """Change every bar and rate after the close at ``at_ms``: prices go up or down threefold, with noise."""
    factor = _JUMP if up else 1.0 / _JUMP

    def change(source: Original) -> Original:
        candles = source.candles
        later = candles.start_ms + candles.interval_ms > at_ms
        times = candles.start_ms[later]
        prices = factor * np.exp(0.005 * _noise(times, seed))
        volumes = factor * np.exp(_noise(times, seed + 1))
        ohlcv, turnover = candles.ohlcv.copy(), candles.turnover.copy()
        ohlcv[later, :4] *= prices[:, None]
        ohlcv[later, 4] *= volumes
        turnover[later] *= prices * volumes
        made = _made(candles, candles.start_ms, ohlcv, turnover)
        return replace(source, candles=made, funding=_turned(source, at_ms))

    return change


def _noise(times_ms: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return numbers in [-1, 1) of time and seed only: files that share a bar still agree on it."""
    mixed = (times_ms // 1_000).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    return np.asarray(mixed / 2.0**63 - 1.0)


def _turned(source: Original, at_ms: int) -> Funding | None:
    if source.funding is None:
        return None
    later = source.funding.start_ms > at_ms
    return replace(
        source.funding, rate=np.where(later, -source.funding.rate / 2.0 + 1e-5, source.funding.rate)
    )


def _part(
    source: Original,
    keep: NDArray[np.bool_],
    settled: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
) -> Original | None:
    if not keep.any():
        return None
    candles, funding = source.candles, source.funding
    if funding is not None:
        kept = settled(funding.start_ms)
        funding = replace(funding, start_ms=funding.start_ms[kept], rate=funding.rate[kept])
    part = _made(candles, candles.start_ms[keep], candles.ohlcv[keep], candles.turnover[keep])
    return replace(source, candles=part, funding=funding)


def _made(
    like: Candles, start_ms: NDArray[np.int64], ohlcv: NDArray[np.float64], turnover: NDArray[np.float64]
) -> Candles:
    return Candles.make(like.symbol, like.interval_ms, start_ms, ohlcv, turnover, path=like.path)
