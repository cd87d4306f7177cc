"""Downloads candles, funding rates and instrument rules from the exchange's public REST into files."""

import contextlib
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.feed.download import CandleDownload, fetch_funding, merge_funding
from bot.adapters.feed.instruments import fetch_instruments, listed_symbols, write_instruments
from bot.adapters.feed.requests import for_each
from bot.adapters.files.candles import (
    Candles,
    FileName,
    read_candles,
    read_funding,
    write_candles,
    write_funding,
)
from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.state.clock import WallClock
from bot.bybit.codes import Forbidden
from bot.bybit.hosts import PUBLIC_REST
from bot.bybit.rest import Category, Prices, get_launch, parse_launch
from bot.domain.errors import BadUsage, Rejected, VenueError
from bot.domain.market import DAY_MS, INTERVALS_MS
from bot.domain.symbols import no_such_symbol
from bot.domain.words import counted
from bot.service.moments import minute_words
from bot.settings import Settings

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None] | None]]
DEFAULT_DAYS = 30
"""Days that are fetched if no start is given and the exchange does not tell when a symbol was listed."""


def span(start_ms: int | None, end_ms: int | None) -> tuple[int | None, int]:
    """Return the span ``[start, end)`` to fetch: up to now; None: from the listing of each symbol.

    Raises:
        BadUsage: the span is empty.
    """
    now_ms = WallClock().now_ms()
    end_ms = min(end_ms or now_ms, now_ms)
    if start_ms is not None and start_ms >= end_ms:
        raise BadUsage(
            f"--start {minute_words(start_ms)} must be before --end {minute_words(end_ms)} (and now)"
        )
    return start_ms, end_ms


_NAMED = 3
"""Symbols that a note names; it counts the others."""


def _joined(told: Sequence[str], between: str) -> str:
    more = f"{between}and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return between.join(told[:_NAMED]) + more


class _Lacking(VenueError):
    """The exchange answered and lacks bars."""


@dataclass(frozen=True)
class Downloaded:
    """Facts about each file that was written, and for each symbol that failed its error in words.

    ``notes`` say which symbols begin at their listing, and when that was.
    """

    files: list[dict[str, object]]
    errors: dict[str, str]
    notes: list[str]


class DownloadJob:
    """Downloads rules, candles and funding rates of several symbols into files.

    A symbol begins at its listing if ``from_ms`` is None or earlier.
    ``progress(label, total, unit)`` is a context that gives ``update(done)``, or None.
    """

    def __init__(
        self,
        settings: Settings,
        from_ms: int | None,
        to_ms: int,
        category: Category,
        prices: Prices,
        allow_gaps: bool,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._from_ms = from_ms
        self._to_ms = to_ms
        self._begins: dict[str, int] = {}
        """When each symbol's span begins, ms."""
        self._listed: dict[str, int] = {}
        """When the symbols were listed whose spans begin there, ms."""
        self._category: Category = category
        self._prices: Prices = prices
        self._allow_gaps = allow_gaps
        self._progress = progress
        self._now_ms = to_ms
        self._done: dict[str, int] = {}
        self._update: Callable[[int], None] | None = None

    async def run(self, folder: Path, *, every: bool, funding: bool, rules: bool) -> Downloaded:
        """Fetch everything, several symbols at a time. A symbol that is refused or lacks bars ends no other.

        Raises:
            VenueError: the exchange cannot be asked.
        """
        chosen = self._settings.fetch
        pace = RequestPace(
            requests_per_second=chosen.requests_per_second,
            max_retries=chosen.max_retries,
            timeout_ms=chosen.timeout_ms,
        )
        base_url = _address(self._settings)
        files: dict[str, list[dict[str, object]]] = {}
        failed: dict[str, VenueError] = {}
        async with public_rest(base_url, WallClock(), pace, random.Random(self._settings.seed)) as rest:  # noqa: S311
            symbols = self._settings.feed.symbols
            others: list[dict[str, object]] = []
            if every or rules:
                symbols, others = await self._rules(rest, folder, every=every, write=rules)

            async def one(symbol: str) -> None:
                files[symbol] = []
                try:
                    files[symbol].append(await self._candles(rest, folder, symbol))
                except Forbidden:
                    raise
                except (_Lacking, Rejected) as error:
                    failed[symbol] = error
                if funding and not isinstance(failed.get(symbol), Rejected):
                    files[symbol] += await self._funding(rest, folder, symbol)

            await for_each(symbols, lambda symbol: self._begin(rest, symbol))
            spans = (max(0, self._to_ms - begin_ms) for begin_ms in self._begins.values())
            what = symbols[0] if len(symbols) == 1 else f"{len(symbols)} symbols"
            label = f"{what} {self._settings.feed.interval}"
            bars = sum(spans) // INTERVALS_MS[self._settings.feed.interval]
            with self._progress(label, bars, "bars") as self._update:
                await for_each(symbols, one)
            errors = await self._in_words(rest, {each: failed[each] for each in symbols if each in failed})
        notes = self._notes([symbol for symbol in symbols if files[symbol]])
        rows = others + [row for symbol in symbols for row in files[symbol]]
        return Downloaded(rows, errors, notes)

    async def _begin(self, rest: PublicRest, symbol: str) -> None:
        """Set where a symbol's span begins. Its candles are refused if the symbol is."""
        begin_ms = self._to_ms - DEFAULT_DAYS * DAY_MS if self._from_ms is None else self._from_ms
        self._begins[symbol] = begin_ms
        request = get_launch(symbol, category=self._category)
        try:
            launch_ms = await rest.get(request, lambda body: parse_launch(body, symbol))
        except Forbidden:
            raise
        except Rejected:
            return
        if launch_ms is not None and (self._from_ms is None or begin_ms < launch_ms):
            self._begins[symbol] = self._listed[symbol] = launch_ms

    def _notes(self, written: Collection[str]) -> list[str]:
        """Say of the symbols with candles where they begin, if that is not the begin that was asked for."""
        listed = [
            f"{symbol} begins at its listing, {minute_words(listed_ms)}"
            for symbol, listed_ms in sorted(self._listed.items())
            if symbol in written
        ]
        unknown = [symbol for symbol in written if symbol not in self._listed and self._from_ms is None]
        rest = f"the last {DEFAULT_DAYS} days, because the exchange tells no listing; give --start for more"
        lines = (_joined(listed, "; "), f"{_joined(unknown, ', ')}: {rest}" if unknown else "")
        return [line for line in lines if line]

    async def _in_words(self, rest: PublicRest, failed: dict[str, VenueError]) -> dict[str, str]:
        """Return each error with its symbol, and with the name that was meant if there is no such symbol."""
        listed: set[str] = set()
        if self._category == "linear" and any(isinstance(error, Rejected) for error in failed.values()):
            with contextlib.suppress(VenueError):
                listed = await listed_symbols(rest)
        return {
            symbol: no_such_symbol(symbol, listed)
            if isinstance(error, Rejected) and listed and symbol not in listed
            else str(error)
            if symbol in str(error)
            else f"{symbol}: {error}"
            for symbol, error in failed.items()
        }

    async def _rules(
        self, rest: PublicRest, folder: Path, *, every: bool, write: bool
    ) -> tuple[tuple[str, ...], list[dict[str, object]]]:
        """Return the symbols, and facts about the file of their rules if it is wanted."""
        wanted = None if every else self._settings.feed.symbols
        found = await fetch_instruments(rest, wanted, tiers=write)
        if not write:
            return tuple(found), []
        path = folder / f"{self._venue()}_{self._category}_instruments.json"
        source = f"{rest.base_url}, {minute_words(self._now_ms)}"
        refused = write_instruments(path, found, source)
        row: dict[str, object] = {
            **dict.fromkeys(("new", "replaced", "gaps", "first_ms", "last_ms")),
            "file": str(path),
            "rows": len(found) - len(refused),
        }
        return tuple(found), [row]

    def _progressed(self, symbol: str, bars: int) -> None:
        self._done[symbol] = bars
        if self._update is not None:
            self._update(sum(self._done.values()))

    async def _candles(self, rest: PublicRest, folder: Path, symbol: str) -> dict[str, object]:
        interval_ms = INTERVALS_MS[self._settings.feed.interval]
        note = "mark" if self._prices == "mark-price-kline" else ""
        name = FileName(self._venue(), self._category, symbol, interval_ms, note)
        path, from_ms = folder / f"{name}.parquet", self._begins[symbol]
        if from_ms >= self._to_ms:
            raise _Lacking(f"{name}: {symbol} is listed from {minute_words(from_ms)} on; give a later --end")
        have = read_candles(path) if path.exists() else None
        download = CandleDownload(
            rest, symbol, interval_ms, have=have, category=self._category, prices=self._prices
        )
        try:
            await download.fill(
                self._begins[symbol], self._to_ms, lambda bars: self._progressed(symbol, bars)
            )
        finally:
            # Also after a failure or Ctrl-C: what came is kept, and the next call continues there.
            candles = download.candles()
            if candles is not None and (download.fetched or download.replaced):
                write_candles(path, candles)
        if candles is None:
            raise _Lacking(
                f"{name}: the exchange has no closed bar between {minute_words(from_ms)} and "
                f"{minute_words(self._to_ms)}"
            )
        gaps = [gap for gap in candles.gaps() if gap[0] < self._to_ms and gap[1] > from_ms]
        return self._candle_row(path, candles, gaps, download)

    def _candle_row(
        self, path: Path, candles: Candles, gaps: list[tuple[int, int, int]], download: CandleDownload
    ) -> dict[str, object]:
        if gaps and not self._allow_gaps:
            missing = sum(bars for _, _, bars in gaps)
            raise _Lacking(
                f"{path}: the exchange lacks {counted(missing, 'bar')} in {counted(len(gaps), 'gap')}, the "
                f"first at {minute_words(gaps[0][0])}; what came is kept, --allow-gaps accepts them"
            )
        return {
            "file": str(path),
            "rows": len(candles),
            "new": download.fetched,
            "replaced": download.replaced,
            "gaps": len(gaps),
            "first_ms": candles.first_ms,
            "last_ms": int(candles.start_ms[-1]),
            "sha256": candles.sha256,
        }

    async def _funding(self, rest: PublicRest, folder: Path, symbol: str) -> list[dict[str, object]]:
        path = folder / f"{self._venue()}_{self._category}_{symbol}_funding.parquet"
        have = read_funding(path) if path.exists() else None
        rates = await fetch_funding(rest, symbol, self._begins[symbol], self._to_ms, category=self._category)
        if rates is None:
            return []
        merged = merge_funding(have, rates)
        write_funding(path, merged)
        return [
            {
                "file": str(path),
                "rows": len(merged.rate),
                "new": len(merged.rate) - (0 if have is None else len(have.rate)),
                "replaced": None,
                "gaps": None,
                "first_ms": int(merged.start_ms[0]),
                "last_ms": int(merged.start_ms[-1]),
            }
        ]

    def _venue(self) -> str:
        return venue_of(self._settings)


def venue_of(settings: Settings) -> str:
    """Return the venue in the names of files that are fetched with these settings.

    Bars of a local exchange are no market: they never go into a file of Bybit's.
    """
    return {"mainnet": "bybit", "testnet": "bybittestnet", "local": "local"}[settings.fetch.network]


def _address(settings: Settings) -> str:
    chosen = settings.fetch
    if chosen.network == "local":
        return settings.local.url
    return chosen.base_url or PUBLIC_REST[chosen.network]
