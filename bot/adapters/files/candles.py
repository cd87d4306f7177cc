"""Candle and funding files: names, reading with every check, writing.

A file is ``VENUE_MARKET_SYMBOL_INTERVAL[_note].parquet`` (or ``.csv``) with columns ``start_ms, open,
high, low, close, volume, turnover``; funding lies beside it as ``VENUE_MARKET_SYMBOL_funding`` with
``start_ms, rate``. Missing bars are allowed (``Candles.gaps``); impossible bars are errors.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bot.adapters.files.columns import (
    SUFFIXES,
    Array,
    ColumnKind,
    Problem,
    check_exists,
    location,
    read_columns,
    to_table,
    write_columns,
    write_table,
)
from bot.domain.errors import BadBar, BadFile, BadUsage
from bot.domain.market import INTERVALS_MS, Bar, Market, interval_name
from bot.domain.symbols import is_inverse, is_symbol
from bot.domain.words import utc_words

if TYPE_CHECKING:  # only who asks for a DataFrame needs pandas
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CANDLE_COLUMNS: dict[str, ColumnKind] = {
    "start_ms": "int",
    "open": "float",
    "high": "float",
    "low": "float",
    "close": "float",
    "volume": "float",
    "turnover": "float or missing",
}
FUNDING_COLUMNS: dict[str, ColumnKind] = {"start_ms": "int", "rate": "float"}

MAX_FUNDING_RATE = 0.05
"""Bybit caps a settlement well below 5 %; more is a unit mistake (percent, basis points)."""
FIRST_SETTLEMENT_MS = 100_000_000_000
"""1973. An earlier settlement time is in seconds instead of milliseconds."""
LAST_START_MS = 4_102_444_800_000
"""2100-01-01. A later start is in micro- or nanoseconds instead of milliseconds."""
BLOCK = 8192
"""Bars converted to Python values at a time; this bounds memory."""

_MARKETS: dict[str, Market | Literal["inverse"]] = {
    "linear": "linear",
    "um": "linear",
    "usdm": "linear",
    "swap": "linear",
    "perp": "linear",
    "futures": "linear",
    "spot": "spot",
    "inverse": "inverse",
    "cm": "inverse",
    "coinm": "inverse",
}
"""MARKET of a file's name → what it is; other tools' words too."""
_NAME = re.compile(
    r"(?P<venue>[a-z0-9]+)_(?P<market>[a-z0-9]+)_(?P<symbol>[^_]+)"
    r"_(?P<interval>[0-9]+[mhd])(?:_(?P<note>[A-Za-z0-9-]+))?"
)

_SAMPLE = 1000
"""Bars that are enough to see in what turnover and volume are counted."""


@dataclass(frozen=True, slots=True)
class FileName:
    """The parts of a candle file's name."""

    venue: str
    market: str
    symbol: str
    interval_ms: int
    note: str = ""

    def __str__(self) -> str:
        parts = (self.venue, self.market, self.symbol, interval_name(self.interval_ms), self.note)
        return "_".join(part for part in parts if part)


def parse_name(path: str | Path) -> FileName | None:
    """Read ``bybit_linear_BTCUSDT_5m_2024.parquet``; None if the name has another form."""
    match = _NAME.fullmatch(Path(path).stem)
    if match is None or match["interval"] not in INTERVALS_MS or not is_symbol(match["symbol"]):
        return None
    interval_ms = INTERVALS_MS[match["interval"]]
    return FileName(match["venue"], match["market"], match["symbol"], interval_ms, match["note"] or "")


@dataclass(frozen=True, eq=False, repr=False)
class Candles:
    """A validated series of closed bars: sorted, unique, on the interval's grid; bars may be missing.

    ``start_ms`` int64 ``(T,)``, ``ohlcv`` float64 ``(T, 5)``, ``turnover`` float64 ``(T,)`` with NaN where
    the source has none. ``warnings`` lists what reading left out.
    """

    symbol: str
    interval_ms: int
    start_ms: Ints
    ohlcv: Floats
    turnover: Floats
    path: str = ""
    sha256: str = ""
    """Hash of the columns' values: the same bars in Parquet and CSV have the same hash."""
    warnings: tuple[str, ...] = ()
    market: Market = "linear"

    @classmethod
    def make(
        cls,
        symbol: str,
        interval_ms: int,
        start_ms: Ints,
        ohlcv: Floats,
        turnover: Floats | None = None,
        *,
        path: str = "",
    ) -> "Candles":
        """Make candles from arrays, checked like those of a file; ``turnover`` None if there is none.

        Raises:
            BadFile: ``symbol`` is no symbol.
            BadBar: a row cannot be a bar, or the order is wrong.
        """
        _check_symbol(symbol, path or "candles")
        if turnover is None:
            turnover = np.full(len(start_ms), np.nan)
        problems = find_problems(symbol, interval_ms, start_ms, ohlcv, turnover)
        if problems:
            more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
            raise BadBar(f"{path or symbol}: row {problems[0].row}: {problems[0].what}{more}")
        return _freeze(symbol, interval_ms, start_ms, ohlcv, turnover, path)

    def __len__(self) -> int:
        return len(self.start_ms)

    def __repr__(self) -> str:
        span = f", {_utc(self.first_ms)} to {_utc(self.end_ms)}" if len(self) else ""
        return f"<Candles {self.symbol} {interval_name(self.interval_ms)}: {len(self):,} bars{span}>"

    def to_arrow(self) -> pa.Table:
        """Return the bars as an Arrow table with the columns of a candle file."""
        names = ("open", "high", "low", "close", "volume")
        columns = dict(zip(names, self.ohlcv.T, strict=True))
        return to_table({"start_ms": self.start_ms, **columns, "turnover": self.turnover})

    def to_pandas(self) -> "pd.DataFrame":
        """Return the bars as a pandas DataFrame with the columns of a candle file; pandas must be there."""
        return self.to_arrow().to_pandas()

    @property
    def first_ms(self) -> int:
        """Open time of the first bar."""
        return int(self.start_ms[0])

    @property
    def end_ms(self) -> int:
        """Close time of the last bar."""
        return int(self.start_ms[-1]) + self.interval_ms

    def bars(self, first: int = 0, last: int | None = None) -> Iterator[Bar]:
        """Yield rows ``[first, last)`` as ``Bar`` values."""
        stop = len(self) if last is None else min(last, len(self))
        for begin in range(first, stop, BLOCK):
            end = min(begin + BLOCK, stop)
            open_, high, low, close, volume = self.ohlcv[begin:end].T.tolist()
            yield from map(
                Bar,
                repeat(self.symbol),
                repeat(self.interval_ms),
                self.start_ms[begin:end].tolist(),
                open_,
                high,
                low,
                close,
                volume,
                _none_where_nan(self.turnover[begin:end]),
            )

    def between(self, from_ms: int | None = None, to_ms: int | None = None) -> "Candles":
        """Return the bars that open in ``[from_ms, to_ms)``, without copying; ``sha256`` is that of the part.

        Raises:
            BadUsage: no bar is left, or a time that is no whole number of ms.
        """
        if not all(each is None or isinstance(each, int | np.integer) for each in (from_ms, to_ms)):
            raise BadUsage(f"between: takes ms since 1970, was given {from_ms!r} and {to_ms!r}")
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise BadUsage(f"the start, {_utc(from_ms)}, must be before the end, {_utc(to_ms)}")
        first = 0 if from_ms is None else int(np.searchsorted(self.start_ms, from_ms))
        last = len(self) if to_ms is None else int(np.searchsorted(self.start_ms, to_ms))
        if first >= last:
            raise BadUsage(
                f"{self.path or self.symbol}: no bar opens from {_utc(from_ms, 'its start')} to "
                f"{_utc(to_ms, 'its end')}; the file covers {_utc(self.first_ms)} to {_utc(self.end_ms)}"
            )
        return self if last - first == len(self) else self._part(first, last)

    def head(self, bars: int) -> "Candles":
        """Return the first ``bars`` bars, without copying; ``sha256`` is that of the part."""
        return self._part(0, bars)

    def _part(self, first: int, last: int) -> "Candles":
        part = slice(first, last)
        return replace(
            self,
            start_ms=self.start_ms[part],
            ohlcv=self.ohlcv[part],
            turnover=self.turnover[part],
            sha256=_hash(self.start_ms[part], self.ohlcv[part], self.turnover[part]),
        )

    def gaps(self) -> list[tuple[int, int, int]]:
        """Return gaps as ``(from_ms, to_ms, bars)``: no bar opens in ``[from_ms, to_ms)``."""
        before = np.flatnonzero(np.diff(self.start_ms) != self.interval_ms)
        from_ms = (self.start_ms[before] + self.interval_ms).tolist()
        to_ms = self.start_ms[before + 1].tolist()
        return [(a, b, (b - a) // self.interval_ms) for a, b in zip(from_ms, to_ms, strict=True)]


@dataclass(frozen=True, eq=False)
class Funding:
    """Settled funding rates of a symbol: ``start_ms`` int64 settlement times, ``rate`` float64 fractions."""

    symbol: str
    start_ms: Ints
    rate: Floats
    path: str = ""
    sha256: str = ""


def read_candles(
    path: str | Path, symbol: str | None = None, interval_ms: int | None = None, *, now_ms: int | None = None
) -> Candles:
    """Read a candle file; every row is checked.

    Args:
        path: Parquet, or CSV by its suffix.
        symbol: overrides the one in the file's name.
        interval_ms: overrides the one in the file's name.
        now_ms: bars that close after this moment are left out, with a warning.

    Raises:
        BadFile: missing, truncated, empty, other columns, or symbol and interval unknown.
        BadBar: a row that cannot be a bar, unsorted, repeated or off the grid; names the first such row.
    """
    candles, problems = inspect_candles(path, symbol, interval_ms, now_ms=now_ms)
    if problems:
        raise BadBar(_tell(Path(path), problems))
    return candles


def inspect_candles(
    path: str | Path, symbol: str | None = None, interval_ms: int | None = None, *, now_ms: int | None = None
) -> tuple[Candles, list[Problem]]:
    """Read like ``read_candles``, but return every problem and the rows as they are, unchecked.

    Raises:
        BadFile: nothing can be said about single rows.
    """
    path = Path(path)
    symbol, interval_ms = _identify(path, symbol, interval_ms)
    market, unknown = market_of(path)
    columns, problems = read_columns(path, CANDLE_COLUMNS)
    start_ms, turnover = columns["start_ms"], columns["turnover"]
    ohlcv = np.column_stack([columns[name] for name in ("open", "high", "low", "close", "volume")])
    reported = {problem.row for problem in problems}
    found = find_problems(symbol, interval_ms, start_ms, ohlcv, turnover)
    problems += [problem for problem in found if problem.row not in reported]
    problems.sort(key=lambda problem: problem.row)
    closed, warnings = len(start_ms), tuple[str, ...]()
    if not problems:
        check_spacing(path, start_ms, interval_ms, "does the name say the right interval?")
        factor = turnover_factor(ohlcv[:, 3], ohlcv[:, 4], turnover)
        if factor is not None:
            raise BadFile(
                f"{path}: turnover ÷ volume is {factor:.3g} times the price: an inverse contract, or a "
                "volume in contracts; the bot counts in USDT: give candles of a linear perpetual, or of spot"
            )
        closed, warnings = closed_rows(path, start_ms, interval_ms, now_ms)
    candles = _freeze(symbol, interval_ms, start_ms[:closed], ohlcv[:closed], turnover[:closed], str(path))
    return replace(candles, warnings=(*unknown, *warnings), market=market), problems


def find_problems(
    symbol: str, interval_ms: int, start_ms: Ints, ohlcv: Floats, turnover: Floats
) -> list[Problem]:
    """Return every row that cannot be a bar (by the rules of ``Bar``) or is out of order."""
    open_, high, low, close, volume = ohlcv.T
    with np.errstate(invalid="ignore"):
        good = (
            (low > 0.0) & (low <= open_) & (open_ <= high) & (high < np.inf)
            & (low <= close) & (close <= high)
            & (volume >= 0.0) & (volume < np.inf)
            & (start_ms % interval_ms == 0) & (start_ms >= 0) & (start_ms < LAST_START_MS)
            & (np.isnan(turnover) | ((turnover >= 0.0) & (turnover < np.inf)))
        )  # fmt: skip
    problems = [
        Problem(int(i) + 1, _why_bad(symbol, interval_ms, int(start_ms[i]), ohlcv[i], float(turnover[i])))
        for i in np.flatnonzero(~good)
    ]
    problems += find_disorder(start_ms)
    return sorted(problems, key=lambda problem: problem.row)


def find_disorder(start_ms: Ints) -> list[Problem]:
    """Return the rows that repeat the row before them or are earlier than it."""
    steps = np.diff(start_ms)
    return [
        Problem(
            int(i) + 2,
            f"start_ms {_told(start_ms[i + 1])} repeats the row before it "
            "(repair: `bot data import --repair`)"
            if steps[i] == 0
            else f"start_ms {_told(start_ms[i + 1])} is before the row above it, {utc_words(start_ms[i])} "
            "(not sorted; repair: `bot data import --repair`)",
        )
        for i in np.flatnonzero(steps <= 0)
    ]


def _told(start_ms: int) -> str:
    return f"{start_ms} ({utc_words(start_ms)})"


def write_candles(path: str | Path, candles: Candles) -> None:
    """Write Parquet, or CSV by the suffix, atomically; reading it back gives the same hash."""
    write_table(Path(path), candles.to_arrow())


def read_funding(path: str | Path, symbol: str | None = None) -> Funding:
    """Read a funding file: settlement times sorted and unique, rates finite and at most 5 %.

    Raises:
        BadFile: missing, truncated, empty, or other columns.
        BadBar: a row that cannot be a settlement; names the first.
    """
    funding, problems = inspect_funding(path, symbol)
    if problems:
        raise BadBar(_tell(Path(path), problems))
    return funding


def inspect_funding(path: str | Path, symbol: str | None = None) -> tuple[Funding, list[Problem]]:
    """Read like ``read_funding``, but return every problem and the rows as they are.

    Raises:
        BadFile: nothing can be said about single rows.
    """
    path = Path(path)
    check_exists(path)
    symbol = symbol or _funding_symbol(path)
    columns, problems = read_columns(path, FUNDING_COLUMNS)
    start_ms, rate = columns["start_ms"], columns["rate"]
    reported = {problem.row for problem in problems}
    problems += [p for p in find_funding_problems(start_ms, rate) if p.row not in reported]
    digest = hashlib.sha256(start_ms.tobytes() + rate.tobytes()).hexdigest()
    funding = Funding(symbol, _locked(start_ms), _locked(rate), str(path), digest)
    return funding, sorted(problems, key=lambda problem: problem.row)


def find_funding_problems(start_ms: Ints, rate: Floats) -> list[Problem]:
    """Return every row that cannot be a settlement."""
    good = np.abs(rate) <= MAX_FUNDING_RATE
    good &= (start_ms >= FIRST_SETTLEMENT_MS) & (start_ms < LAST_START_MS)
    problems = [
        Problem(
            int(i) + 1,
            f"settlement {_told(start_ms[i])}: rate must be a fraction within ±{MAX_FUNDING_RATE} and "
            f"start_ms in milliseconds, was {rate[i]}",
        )
        for i in np.flatnonzero(~good)
    ]
    return problems + find_disorder(start_ms)


def write_funding(path: str | Path, funding: Funding) -> None:
    """Write a funding file atomically."""
    write_columns(Path(path), {"start_ms": funding.start_ms, "rate": funding.rate})


def is_funding(path: str | Path) -> bool:
    """True if the name is that of a funding file."""
    return Path(path).stem.split("_")[3:4] == ["funding"]


def funding_beside(candles_path: str | Path) -> Path | None:
    """Return the funding file of a candle file's symbol in the same folder, None if there is none."""
    name = parse_name(candles_path)
    if name is None:
        return None
    stem = Path(candles_path).with_name(f"{name.venue}_{name.market}_{name.symbol}_funding")
    return next((path for path in map(stem.with_suffix, SUFFIXES) if path.is_file()), None)


def _identify(path: Path, symbol: str | None, interval_ms: int | None) -> tuple[str, int]:
    name = parse_name(path)
    if name is not None:
        symbol, interval_ms = symbol or name.symbol, interval_ms or name.interval_ms
    if symbol is None or interval_ms is None:
        check_exists(path)
        if is_funding(path):
            raise BadFile(
                f"{path}: holds funding rates, not candles; leave it out: one beside the candles is found by "
                "itself, any other goes to --funding"
            )
        raise BadFile(
            f"{path}: the name does not say symbol and interval; "
            "rename it to VENUE_MARKET_SYMBOL_INTERVAL, for example bybit_linear_BTCUSDT_5m.parquet; "
            "`bot data import` also reads other columns and times"
        )
    _check_symbol(symbol, str(path))
    interval_name(interval_ms)  # raises for an interval we do not know
    return symbol, interval_ms


def market_of(path: Path) -> tuple[Market, tuple[str, ...]]:
    """Return the market that the file's name says, and a warning if it says an unknown one.

    Raises:
        BadFile: an inverse contract.
    """
    name = parse_name(path)
    if name is None:
        return "linear", ()
    market = _MARKETS.get(name.market)
    if market == "inverse":
        raise BadFile(
            f"{path}: {name.market} in the name says an inverse contract, which counts in its coin; the bot "
            "counts in USDT: give candles of the linear perpetual, or of spot"
        )
    if market != "spot" and is_inverse(name.symbol):
        raise BadFile(
            f"{path}: {name.symbol} is the name of an inverse contract, which counts in its coin; the bot "
            f"counts in USDT: give candles of {name.symbol.partition('USD')[0]}USDT; if they are spot, the "
            "name must say so: VENUE_spot_SYMBOL_INTERVAL (`bot data import --market spot`)"
        )
    if market is None:
        known = "linear, spot or inverse"
        return "linear", (f"{path}: {name.market} in the name is no market ({known}); taken for linear",)
    return market, ()


def _check_symbol(symbol: str, where: str) -> None:
    """Allow only what ``is_symbol`` does: a symbol becomes part of file names and log lines."""
    if not is_symbol(symbol):
        raise BadFile(
            f"{where}: {symbol!r} is no symbol; expected letters in capitals and digits, such as BTCUSDT"
        )


def _funding_symbol(path: Path) -> str:
    parts = path.stem.split("_")
    if len(parts) < 4 or parts[3] != "funding" or not is_symbol(parts[2]):
        raise BadFile(f"{path}: the name does not say the symbol; expected VENUE_MARKET_SYMBOL_funding")
    return parts[2]


def turnover_factor(close: Floats, volume: Floats, turnover: Floats) -> float | None:
    """Return turnover ÷ volume ÷ price (a median) if volume cannot be in the coin, else None.

    Turnover in USDT by volume in the coin is about the price. A sample of the bars is enough.
    """
    every = slice(None, None, -(-len(close) // _SAMPLE) or 1)
    close, volume, turnover = close[every], volume[every], turnover[every]
    traded = (volume > 0.0) & (turnover > 0.0) & (close > 0.0)
    if not traded.any():
        return None
    factor = float(np.median(turnover[traded] / volume[traded] / close[traded]))
    return None if 0.5 <= factor <= 2.0 else factor


def check_spacing(where: Path | str, start_ms: Ints, interval_ms: int, advice: str) -> None:
    """Refuse bars of which no two are adjacent: they are longer than their interval says.

    Raises:
        BadFile: they are; ``advice`` says what to do.
    """
    if len(start_ms) < 10:
        return
    smallest_ms = int(np.diff(start_ms).min())
    if smallest_ms != interval_ms:
        known = next((name for name, ms in INTERVALS_MS.items() if ms == smallest_ms), f"{smallest_ms} ms")
        raise BadFile(
            f"{where}: no two bars are {interval_name(interval_ms)} apart, the smallest step is {known}; "
            f"{advice}"
        )


def closed_rows(
    path: Path | str, start_ms: Ints, interval_ms: int, now_ms: int | None
) -> tuple[int, tuple[str, ...]]:
    """Return how many rows are closed bars at ``now_ms``, and a warning if some are not."""
    if now_ms is None:
        return len(start_ms), ()
    closed = int(np.searchsorted(start_ms + interval_ms, now_ms, side="right"))
    unclosed = len(start_ms) - closed
    if closed == 0:
        raise BadFile(f"{path}: no bar is closed yet at {utc_words(now_ms)}")
    if not unclosed:
        return closed, ()
    return closed, (f"{path}: left out {unclosed} bar(s) that close after {utc_words(now_ms)}",)


def _freeze(
    symbol: str, interval_ms: int, start_ms: Ints, ohlcv: Floats, turnover: Floats, path: str
) -> Candles:
    start_ms = np.ascontiguousarray(start_ms, dtype=np.int64)
    ohlcv = np.ascontiguousarray(ohlcv, dtype=np.float64)
    turnover = np.ascontiguousarray(turnover, dtype=np.float64)
    digest = _hash(start_ms, ohlcv, turnover)
    return Candles(
        symbol, interval_ms, _locked(start_ms), _locked(ohlcv), _locked(turnover), path, digest
    )  # fmt: skip


def _hash(start_ms: Ints, ohlcv: Floats, turnover: Floats) -> str:
    digest = hashlib.sha256(start_ms.astype("<i8", copy=False).tobytes())
    digest.update(ohlcv.astype("<f8", copy=False).tobytes())
    one_nan = np.where(np.isnan(turnover), np.nan, turnover)  # NaNs differ in their bits, not in meaning
    digest.update(one_nan.astype("<f8", copy=False).tobytes())
    return digest.hexdigest()


def _locked(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _utc(ts_ms: int | None, missing: str = "") -> str:
    if ts_ms is None:
        return missing
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _none_where_nan(values: Floats) -> Iterator[float | None]:
    missing = np.isnan(values)
    if missing.all():
        return repeat(None)
    if not missing.any():
        return iter(values.tolist())
    return (None if value != value else value for value in values.tolist())


def _why_bad(symbol: str, interval_ms: int, start_ms: int, ohlcv: Floats, turnover: float) -> str:
    open_, high, low, close, volume = ohlcv.tolist()
    try:
        Bar(
            symbol,
            interval_ms,
            start_ms,
            open_,
            high,
            low,
            close,
            volume,
            None if turnover != turnover else turnover,
        )
    except BadBar as error:
        return str(error)
    return f"start_ms {start_ms} is not a time in milliseconds between 1970 and 2100"


def _tell(path: Path, problems: list[Problem]) -> str:
    more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    first = problems[0]
    return f"{location(path, first.row)}: {first.what}{more}; `bot data verify {path}` lists all"
