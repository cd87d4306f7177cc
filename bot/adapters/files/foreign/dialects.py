"""What the columns of a foreign table mean. A shape is known, a name says it, or it is an error.

Sources: Binance https://github.com/binance/binance-public-data, Bybit https://public.bybit.com,
OKX https://www.okx.com/historical-data, Kraken's downloadable OHLCVT,
https://www.cryptodatadownload.com, freqtrade's and ccxt's OHLCV lists, MetaTrader 4 and 5.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.adapters.files.candles import CANDLE_COLUMNS
from bot.adapters.files.foreign.tables import NUMBER, Table
from bot.domain.errors import BadFile
from bot.domain.market import MINUTE_MS, interval_name

SYNONYMS: dict[str, frozenset[str]] = {
    "start_ms": frozenset(
        {
            *("startms", "start", "starttime", "startat", "opentime", "openat", "timestamp", "time", "date"),
            *("datetime", "ts", "unix", "t", "unixtime", "unixtimestamp", "epoch", "times", "timems"),
            *("timestampms", "timestamps", "opentimestamp", "starttimestamp", "opentimems", "starttimems"),
            *(
                "candlebegintime",
                "candletime",
                "timeperiodstart",
                "periodstart",
                "gmttime",
                "utctime",
                "timestampstart",
            ),
            *("timeutc", "dateutc", "datetimeutc", "utc", "seconds", "sec", "epochseconds", "unixseconds"),
        }
    ),
    "open": frozenset({"open", "openprice", "priceopen", "o"}),
    "high": frozenset({"high", "highprice", "pricehigh", "h"}),
    "low": frozenset({"low", "lowprice", "pricelow", "l"}),
    "close": frozenset({"close", "closeprice", "priceclose", "c"}),
    "volume": frozenset(
        {"volume", "vol", "basevolume", "basevol", "volumetraded", "v", "tickvol", "volumebase"}
    ),
    "turnover": frozenset({"turnover", "quotevolume", "quoteassetvolume", "quotevol", "quoteturnover"}),
}
"""Our column → its names in other files, in lower case without punctuation and digits."""
SYMBOL_NAMES = frozenset({"symbol", "instrumentname", "instrument", "pair", "ticker"})
"""Names of a column with the symbol of each row, spelled in the same way."""
ZONED = frozenset({"gmttime", "utctime", "timeutc", "dateutc", "datetimeutc", "utc"})
"""Names of times that say themselves that they are UTC."""

BINANCE_COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"),
    *("count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
"""Of Binance's public klines; some files have no header, and its REST gives the same rows."""
_OHLCV = ("open", "high", "low", "close", "volume")
_WRAPPED: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {
    ("list", 7): ("Bybit REST klines", ("start", *_OHLCV, "turnover")),
    ("data", 9): ("OKX REST candles", ("ts", *_OHLCV[:4], "contracts", "volume", "turnover", "confirm")),
    ("", 12): ("Binance REST klines", BINANCE_COLUMNS),
    ("", 6): ("ccxt or freqtrade list", ("time", *_OHLCV)),
    ("result", 8): ("Kraken REST candles", ("time", *_OHLCV[:4], "vwap", "volume", "trades")),
}
"""JSON lists: the key around them and their width → what they are, and their columns."""
_POINTED_DATE = r"\d{4}\.\d\d\.\d\d"
_DATE = re.compile(r"\d{4}[.-]\d\d[.-]\d\d")
_INDEX = re.compile(r"__index_level_\d+__")
_MOMENT = re.compile(r"\d{4}[-./]\d|\d\d?[./]\d\d?[./]\d{4}|\d{9,}")
"""How a time begins; the numbers of rows do not."""
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?")
_TRADES = frozenset({"side", "tickdirection", "aggtradeid", "isbuyermaker", "trdmatchid", "tradeid"})


@dataclass(frozen=True)
class Dialect:
    """What a table is called, and where it has each of our columns."""

    name: str
    columns: Mapping[str, int]
    theirs: Mapping[str, str]
    """Our column → the name of theirs."""
    clock: int | None = None
    """The column with the time of day, where ``start_ms`` holds only the date."""
    symbol: int | None = None
    says_utc: bool = False
    ours: bool = False
    """It is a candle file of this bot already."""


def recognise(table: Table, interval_ms: int, given: Mapping[str, str]) -> Dialect:
    """Return what a table is; ``given`` maps ours → theirs where the user says it.

    Raises:
        BadFile: a column that may be two, or is missing.
    """
    title, names = ("", table.names) if table.names else _by_shape(table, interval_ms)
    plain = [_plain(name) for name in names]
    _refuse_trades(table, plain)
    clock = _clock(plain, table.cells)
    known = "" if title else _title(table, plain)
    meant = dict(given)
    for ours, theirs in _special(known, names, plain, table.cells).items():
        meant.setdefault(ours, theirs)
    found = _match(table, names, plain, meant, clock)
    return Dialect(
        title or known or "columns by name",
        found,
        {ours: names[i] for ours, i in found.items()},
        clock,
        next((i for i, name in enumerate(plain) if name in SYMBOL_NAMES), None),
        plain[found["start_ms"]] in ZONED or known == "CryptoDataDownload",
        set(names) == set(CANDLE_COLUMNS),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _by_shape(table: Table, interval_ms: int) -> tuple[str, tuple[str, ...]]:
    """Return name and columns of a table without column names, if its shape is known."""
    cells, source = table.cells, table.source
    if source.kind == "json":
        if (table.wrapper, len(cells)) in _WRAPPED:
            return _WRAPPED[table.wrapper, len(cells)]
        raise BadFile(
            f"{source}:1: a list of {len(cells)} values is no candle of a known exchange: {cells}"[:200]
        )
    for title, names, fits in _SHAPES:
        if len(cells) == len(names) and fits(table, interval_ms):
            return title, names
    raise BadFile(
        f"{source}:{table.skip + 1}: starts with numbers{_length_of_binance(cells, interval_ms)}; "
        "put a line of column names above them"
    )


def _is_binance(table: Table, interval_ms: int) -> bool:
    return _binance_length_ms(table.cells) == interval_ms


def _binance_length_ms(cells: tuple[str, ...]) -> int | None:
    """The seventh column is a close time exactly if it is the bar's last unit of time, whatever the unit."""
    if len(cells) != len(BINANCE_COLUMNS) or not all(NUMBER.fullmatch(cell) for cell in cells):
        return None
    opened, closed = cells[0], cells[6]
    if not (opened.isdigit() and closed.isdigit()) or len(opened) not in (13, 16):
        return None
    length, rest = divmod(int(closed) - int(opened) + 1, 1000 if len(opened) == 16 else 1)
    return length if length > 0 and rest == 0 else None


def _length_of_binance(cells: tuple[str, ...], interval_ms: int) -> str:
    length_ms = _binance_length_ms(cells)
    if length_ms is None or length_ms % MINUTE_MS:
        return ""
    return f" like Binance's klines, but of {length_ms // MINUTE_MS} min, not of {interval_name(interval_ms)}"


def _is_kraken(table: Table, interval_ms: int) -> bool:
    """Kraken's OHLCVT have no header; only the file's name, PAIR_MINUTES, says what they are."""
    name = re.fullmatch(r"[^\W_a-z]+_(\d+)", table.source.stem)
    return (
        name is not None
        and int(name[1]) * MINUTE_MS == interval_ms
        and re.fullmatch(r"\d{9,10}", table.cells[0]) is not None
        and table.cells[6].isdigit()
    )


def _starts_with(*patterns: str) -> Callable[[Table, int], bool]:
    return lambda table, _: all(
        re.fullmatch(one, cell) for one, cell in zip(patterns, table.cells, strict=False)
    )


_Shape = tuple[str, tuple[str, ...], Callable[[Table, int], bool]]
_SHAPES: tuple[_Shape, ...] = (
    ("Binance klines without header", BINANCE_COLUMNS, _is_binance),
    ("Bybit MetaTrader 4 klines", ("date", *_OHLCV), _starts_with(_POINTED_DATE + r" \d\d:\d\d(:\d\d)?")),
    ("MetaTrader 4", ("date", "time", *_OHLCV), _starts_with(_POINTED_DATE, r"\d\d:\d\d(:\d\d)?")),
    ("Kraken OHLCVT", ("time", *_OHLCV, "trades"), _is_kraken),
)


def _refuse_trades(table: Table, plain: list[str]) -> None:
    if _TRADES & set(plain) and "open" not in plain:
        raise BadFile(
            f"{table.source}: holds single trades (there: {', '.join(table.names or ())}); they are imported "
            "apart from candles, and need columns of time, price and size"
        )


def _clock(plain: list[str], cells: tuple[str, ...]) -> int | None:
    """Return the column with the time of day if date and time stand in two columns."""
    if not {"date", "time"} <= set(plain):
        return None
    date, clock = plain.index("date"), plain.index("time")
    both = _DATE.fullmatch(cells[date]) and _CLOCK.fullmatch(cells[clock])
    return clock if both else None


def _title(table: Table, plain: list[str]) -> str:
    names = set(plain)
    if {"unix", "date", "symbol"} <= names:
        return "CryptoDataDownload"
    if {"volccy", "volquote"} <= names or {"volccy", "volccyquote"} <= names:
        return "OKX candles"
    if {"opentime", "closetime"} <= names and any(name.startswith("takerbuy") for name in names):
        return "Binance klines"
    if {"tickvol", "spread"} <= names:
        return "MetaTrader 5"
    if table.source.kind == "feather" and names == {"date", *_OHLCV}:
        return "freqtrade feather"
    if table.names is not None and set(table.names) == set(CANDLE_COLUMNS):
        return "this bot's columns"
    return ""


def _special(title: str, names: tuple[str, ...], plain: list[str], cells: tuple[str, ...]) -> dict[str, str]:
    """Return ours → theirs where a known dialect gives a name another meaning."""
    if title == "OKX candles":  # vol is in contracts
        turnover = "volquote" if "volquote" in plain else "volccyquote"
        return {"volume": names[plain.index("volccy")], "turnover": names[plain.index(turnover)]}
    if title != "CryptoDataDownload":
        return {}
    found = {"start_ms": names[plain.index("unix")]}
    symbol = re.sub(r"[\W_]", "", cells[plain.index("symbol")].upper())
    for name in names:
        coin = re.fullmatch(r"(?i)volume ([a-z0-9]+)", name)
        if coin and symbol.startswith(coin[1].upper()):
            found["volume"] = name
        elif coin and symbol.endswith(coin[1].upper()):
            found["turnover"] = name
    return found


def _index(names: tuple[str, ...], cells: tuple[str, ...]) -> list[int]:
    """Return where pandas wrote an index of times that has no name."""
    return [
        i
        for i, name in enumerate(names)
        if ((not name and i == 0) or _INDEX.fullmatch(name)) and _MOMENT.match(cells[i])
    ]


def _match(
    table: Table, names: tuple[str, ...], plain: list[str], meant: Mapping[str, str], clock: int | None
) -> dict[str, int]:
    """Return our column → the index of theirs; each of ours must be found exactly once."""
    found: dict[str, int] = {}
    for ours, synonyms in SYNONYMS.items():
        if ours in meant:
            fitting = [i for i, name in enumerate(names) if name == meant[ours]]
        else:
            fitting = [i for i, name in enumerate(plain) if name in synonyms and i != clock]
            if ours == "start_ms":
                fitting = fitting or _index(names, table.cells)
        if len(fitting) > 1:
            which = " or ".join(repr(names[i]) for i in fitting)
            raise BadFile(f"{table.source}: {ours} may be {which}; say --column {ours}=NAME")
        if fitting:
            found[ours] = fitting[0]
        elif ours != "turnover" or ours in meant:
            wanted = f"no column {meant[ours]!r}" if ours in meant else f"none of the columns is {ours}"
            raise BadFile(f"{table.source}: {wanted} (there: {', '.join(names)}); say --column {ours}=NAME")
    return found
