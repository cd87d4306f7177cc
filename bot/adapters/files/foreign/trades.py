"""What the columns of a table of single trades mean, and when each trade was, to the nanosecond.

Sources: Bybit https://public.bybit.com/trading and https://public.bybit.com/spot, Binance
https://github.com/binance/binance-public-data (trades and aggTrades), OKX https://www.okx.com/historical-data.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bot.adapters.files.foreign.tables import Table
from bot.adapters.files.foreign.values import Numbers, written_time
from bot.domain.errors import BadFile

NS_OF_MS = 1_000_000
TRADE_SYNONYMS: dict[str, frozenset[str]] = {
    "start_ms": frozenset(
        {
            *("timestamp", "time", "ts", "t", "date", "datetime", "transacttime", "createdtime", "tradetime"),
            *("exectime", "timestampms", "timems", "tradets", "unix", "unixtime"),
        }
    ),
    "price": frozenset({"price", "p", "execprice", "tradeprice"}),
    "volume": frozenset(
        {"size", "qty", "quantity", "volume", "vol", "amount", "baseqty", "execqty", "q", "v"}
    ),
    "turnover": frozenset({"foreignnotional", "quoteqty", "quotevolume", "quoteamount"}),
    "id": frozenset({"trdmatchid", "id", "tradeid", "aggtradeid", "execid"}),
    "symbol": frozenset({"symbol", "instrumentname"}),
}
"""Our column → its names in files of trades, in lower case without punctuation and digits."""
NEEDED = ("start_ms", "price", "volume")
_EXACT = r"^0*(?P<whole>[0-9]{1,19})(?:\.(?P<part>[0-9]*))?$"
_UNITS = (
    ("seconds", 10**8, 9 * 10**9, 9),
    ("milliseconds", 10**11, 9 * 10**12, 6),
    ("microseconds", 10**14, 9 * 10**15, 3),
    ("nanoseconds", 10**17, 9 * 10**18, 0),
)
"""Unit, smallest whole part, end, and how many decimal places of the unit a nanosecond is."""


@dataclass(frozen=True)
class TradeDialect:
    """What a table of trades is called, and where it has each of our columns."""

    name: str
    columns: Mapping[str, int]
    theirs: Mapping[str, str]


def plain_names(table: Table) -> list[str]:
    """Return the names of the columns in lower case, letters only; none if the table has no names."""
    return [re.sub(r"[^a-z]", "", name.lower()) for name in table.names or ()]


def holds_trades(table: Table) -> bool:
    """Return True if the names of the columns are those of single trades: a price and a size, but no open."""
    plain = {*plain_names(table)}
    return "open" not in plain and all(plain & TRADE_SYNONYMS[name] for name in ("price", "volume"))


def recognise_trades(table: Table, given: Mapping[str, str]) -> TradeDialect:
    """Return where a table of trades has each column; ``given`` maps ours → theirs where the user says it.

    Raises:
        BadFile: a column that may be two, or is missing.
    """
    names, plain, found = table.names or (), plain_names(table), dict[str, int]()
    for ours, synonyms in TRADE_SYNONYMS.items():
        if ours in given:
            fitting = [i for i, name in enumerate(names) if name == given[ours]]
        else:
            fitting = [i for i, name in enumerate(plain) if name in synonyms]
        if len(fitting) > 1:
            which = " or ".join(repr(names[i]) for i in fitting)
            raise BadFile(f"{table.source}: {ours} may be {which}; say --column {ours}=NAME")
        if fitting:
            found[ours] = fitting[0]
        elif ours in NEEDED or ours in given:
            raise BadFile(
                f"{table.source}: none of the columns of these trades is {given.get(ours, ours)} "
                f"(there: {', '.join(names)}); say --column {ours}=NAME"
            )
    title = "Bybit trades" if {"trdmatchid", "tickdirection"} <= {*plain} else "trades by name"
    return TradeDialect(title, found, {ours: names[i] for ours, i in found.items()})


class TradeTimes:
    """Reads the times of trades; ``units`` counts the rows of each unit that was met."""

    def __init__(self, label: str, naive_is_utc: bool) -> None:
        self._label = label
        self._naive_is_utc = naive_is_utc
        self.units: Counter[str] = Counter()

    def read(self, column: Any, rows: Numbers) -> NDArray[np.int64]:
        """Return a column of times in ns: no digit is lost, so no trade moves over the edge of a bar.

        Raises:
            BadFile: a text that is no time since 1973, or a written time without an offset.
        """
        if not pa.types.is_string(column.type):
            return self._typed(column, rows)
        trimmed = pc.utf8_trim_whitespace(column)
        parts = pc.extract_regex(trimmed, _EXACT)
        if column.null_count or parts.null_count:
            texts = trimmed.to_pylist()
            return np.array([self._one(text or "", row) for text, row in zip(texts, rows, strict=True)])
        whole = _integers(pc.struct_field(parts, "whole"))
        digits = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "part"), 9, "0"), 0, 9)
        fraction = _integers(digits)  # in 1e-9 of the unit
        out = np.full(len(whole), -1, np.int64)
        for unit, low, end, places in _UNITS:
            inside = (whole >= low) & (whole < end)
            if inside.any():
                out[inside] = whole[inside] * 10**places + fraction[inside] // 10 ** (9 - places)
                self.units[unit] += int(inside.sum())
        unknown = np.flatnonzero(out < 0)
        if len(unknown):
            raise self._no_time(column[int(unknown[0])].as_py(), int(rows[unknown[0]]))
        return out

    def _no_time(self, text: str, row: int) -> BadFile:
        return BadFile(f"{self._label}:{row}: {text!r} is no time since 1973 in s, ms, µs, ns or ISO 8601")

    def _one(self, text: str, row: int) -> int:
        """Return a number with an exponent (1.585132581146E9) or a written time in ns."""
        try:
            value = Decimal(text)
        except InvalidOperation:
            self.units["ISO 8601"] += 1
            return written_time(self._label, text, row, naive_is_utc=self._naive_is_utc) * 1000
        for unit, low, end, places in _UNITS:
            if low <= value < end:  # False for NaN
                self.units[unit] += 1
                return int(value * 10**places)
        raise self._no_time(text, row)

    def _typed(self, column: Any, rows: Numbers) -> NDArray[np.int64]:
        if column.null_count:
            raise BadFile(f"{self._label}:{rows[column.is_null().to_pylist().index(True)]}: has no time")
        if getattr(column.type, "tz", None) is None and not self._naive_is_utc:
            raise BadFile(f"{self._label}: its times have no zone; say --utc if they are UTC")
        self.units[str(column.type)] += len(column)
        return np.array(column.cast(pa.timestamp("ns", getattr(column.type, "tz", None))).cast(pa.int64()))


def _integers(texts: Any) -> NDArray[np.int64]:
    """Return texts of digits as whole numbers; −1 for one that 64 bits cannot hold."""
    try:
        return np.asarray(texts.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    except pa.ArrowInvalid:
        values = (int(text) for text in texts.to_pylist())
        return np.array([value if value < 1 << 63 else -1 for value in values], np.int64)
