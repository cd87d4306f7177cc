"""What the name of a foreign file says: symbol, interval and market, in the ways of known publishers."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.adapters.files.candles import parse_name
from bot.adapters.files.foreign.sources import TableSource
from bot.domain.errors import BadFile
from bot.domain.market import DAY_MS, INTERVALS_MS, MINUTE_MS
from bot.domain.symbols import is_inverse


@dataclass(frozen=True)
class Said:
    """What a name says; None where it says nothing."""

    symbol: str | None = None
    interval_ms: int | None = None
    market: str | None = None
    venue: str | None = None


_COIN = r"[^\W_a-z]+"
"""Letters of every script, except small Latin ones, and digits."""
_DAY = r"\d{4}-\d\d-\d\d"
_BINANCE = re.compile(rf"(?P<symbol>{_COIN}(?:_{_COIN})?)-(?P<word>\d+[mhd])-\d{{4}}-\d\d(?:-\d\d)?")
_FREQTRADE = re.compile(
    rf"(?P<base>{_COIN})_(?P<quote>{_COIN})(?P<settled>_{_COIN})?-(?P<word>\d+[mhd])(?:-(?P<kind>\w+))?"
)
_PATTERNS = (
    _BINANCE,
    re.compile(rf"(?P<symbol>{_COIN})_(?P<minutes>\d+)_{_DAY}_{_DAY}"),  # Bybit's MetaTrader files
    re.compile(rf"(?P<symbol>{_COIN})_(?P<minutes>\d+)"),  # Kraken
    re.compile(
        rf"[A-Za-z]+_(?P<symbol>{_COIN})(?:_\d{{4}})?_(?P<word>minute|hour|1m|1h|d)"
    ),  # CryptoDataDownload
    re.compile(rf"[A-Z]+_(?P<symbol>{_COIN})(?:\.P)?, (?P<minutes>\d+)(?:_\w+)?"),  # TradingView
    re.compile(rf"(?P<symbol>{_COIN}-{_COIN})(?:-SWAP)?-candlesticks?-{_DAY}"),  # OKX
)
_TRADES: tuple[tuple[re.Pattern[str], str | None], ...] = (
    (re.compile(rf"(?P<symbol>{_COIN}?)(?P<day>{_DAY})"), None),  # Bybit's trades of contracts
    (re.compile(rf"(?P<symbol>{_COIN})_(?P<day>{_DAY})"), "spot"),  # Bybit's trades of spot
    (re.compile(rf"(?P<symbol>{_COIN})-(?P<day>\d{{4}}-\d\d)"), "spot"),
    (re.compile(rf"(?P<symbol>{_COIN})-(?:aggT|t)rades-(?P<day>{_DAY}|\d{{4}}-\d\d)"), None),  # Binance
    (re.compile(rf"(?P<symbol>{_COIN}-{_COIN})-trades-(?P<day>{_DAY})"), None),  # OKX
)
"""Names of files of single trades, and the market that they are of."""
_WORDS = {"minute": "1m", "hour": "1h", "d": "1d"}


def said_by(source: TableSource) -> Said:
    """Return what the name of a table says.

    Raises:
        BadFile: it says that the table holds no traded prices, or those of an inverse contract.
    """
    own = parse_name(source.stem + ".csv")
    if own is not None:
        return Said(own.symbol, own.interval_ms, own.market, own.venue)
    for pattern in _PATTERNS:
        match = pattern.fullmatch(source.stem)
        if match is None:
            continue
        parts = match.groupdict()
        word = parts.get("word") or ""
        interval_ms = (
            int(parts["minutes"]) * MINUTE_MS
            if parts.get("minutes")
            else INTERVALS_MS.get(_WORDS.get(word, word))
        )
        symbol, underscore, _ = parts["symbol"].partition("_")
        if underscore and is_inverse(symbol):
            raise BadFile(f"{source}: an inverse contract by its name; only linear and spot candles fit")
        return Said(parts["symbol"].replace("-", "").replace("_", "-"), interval_ms)
    return _trades(source) or _freqtrade(source)


def _trades(source: TableSource) -> Said | None:
    for pattern, market in _TRADES:
        match = pattern.fullmatch(source.stem)
        if match is None:
            continue
        symbol = match["symbol"].replace("-", "")
        if is_inverse(symbol):
            raise BadFile(f"{source}: an inverse contract by its name; only linear and spot fit")
        return Said(symbol, market=market)
    return None


def covered_by(source: TableSource) -> tuple[int, int] | None:
    """Return the day or the month of UTC that a file of trades covers by its name, in ms; None: it says none.

    Archives write a file when its time is over, so that it holds all trades of it.
    """
    match = next((found for pattern, _ in _TRADES if (found := pattern.fullmatch(source.stem))), None)
    if match is None:
        return None
    parts = [int(part) for part in match["day"].split("-")]
    try:
        begin = datetime(parts[0], parts[1], parts[2] if len(parts) > 2 else 1, tzinfo=UTC)
    except ValueError:
        return None
    from_ms = int(begin.timestamp()) * 1000
    if len(parts) > 2:
        return from_ms, from_ms + DAY_MS
    end = datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=UTC)
    return from_ms, int(end.timestamp()) * 1000


def _freqtrade(source: TableSource) -> Said:
    match = _FREQTRADE.fullmatch(source.stem)
    if match is None:
        return Said()
    if match["kind"] not in (None, "spot", "futures"):
        raise BadFile(f"{source}: holds {match['kind']} by its name, not traded candles")
    market = "linear" if match["kind"] == "futures" else "spot"
    return Said(match["base"] + match["quote"], INTERVALS_MS.get(match["word"]), market)


def agreed(sources: list[TableSource]) -> Said:
    """Return what the names say together.

    Raises:
        BadFile: two names contradict each other.
    """
    together: dict[str, tuple[object, TableSource]] = {}
    for source in sources:
        said = said_by(source)
        for part in ("symbol", "interval_ms", "market", "venue"):
            value = getattr(said, part)
            if value is None:
                continue
            first, where = together.setdefault(part, (value, source))
            if first != value and part != "venue":
                raise BadFile(
                    f"{where} and {source} differ in {part.removesuffix('_ms')} by their names "
                    f"({first}, {value}); one import makes one series"
                )
    return Said(**{part: value for part, (value, _) in together.items()})  # type: ignore[arg-type]
