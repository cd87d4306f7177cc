"""``bot data fetch``: candles and funding rates from the exchange into files."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context, pass_context
from bot.cli.output import emit_json, emit_table
from bot.cli.progress import progress_bar
from bot.cli.times import TIME, show_time
from bot.domain.errors import BadUsage, VenueError
from bot.domain.market import DAY_MS, INTERVALS_MS

if TYPE_CHECKING:
    from bot.adapters.files.candles import Candles
    from bot.adapters.net.public_rest import PublicRest
    from bot.bybit.rest import Category, Prices
    from bot.settings import Settings

_PATH = click.Path(path_type=Path)
DEFAULT_DAYS = 30


@click.command()
@click.option("--symbol", "symbols", multiple=True, help="BTCUSDT; repeat for more. Default: feed.symbols.")
@click.option("--all", "every", is_flag=True, help="Every linear USDT perpetual that trades.")
@click.option("--interval", type=click.Choice(list(INTERVALS_MS)), help="Default: feed.interval.")
@click.option("--start", type=TIME, help=f"First bar, UTC: 2025-12-01. Default: {DEFAULT_DAYS} days ago.")
@click.option("--end", type=TIME, help="Bars before this time. Default: now.")
@click.option(
    "--category", type=click.Choice(["linear", "inverse", "spot"]), default="linear", show_default=True
)
@click.option("--network", type=click.Choice(["mainnet", "testnet"]), help="Default: fetch.network.")
@click.option("--mark", is_flag=True, help="Mark prices instead of traded ones (…_mark.parquet).")
@click.option("--funding/--no-funding", default=True, help="Funding rates too (linear and inverse).")
@click.option(
    "--instruments",
    "rules",
    is_flag=True,
    help="Rules and risk tiers too, a file for --instrument.",
)
@click.option("--allow-gaps", is_flag=True, help="Keep bars the exchange lacks as gaps; else exit 4.")
@click.option("--out", type=_PATH, help="Folder. Default: data_dir.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def fetch(
    context: Context,
    symbols: tuple[str, ...],
    every: bool,
    interval: str | None,
    start: int | None,
    end: int | None,
    category: "Category",
    network: str | None,
    mark: bool,
    funding: bool,
    rules: bool,
    allow_gaps: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Download candles from Bybit's public REST; run it again to continue or to bring a file up to date."""
    from bot.adapters.state.clock import WallClock

    if every and symbols:
        raise BadUsage("--all and --symbol contradict each other")
    if (every or rules) and category != "linear":
        raise BadUsage(f"--all and --instruments are for linear contracts, not for {category}")
    settings = context.settings(
        {"fetch.network": network, "feed.symbols": symbols or None, "feed.interval": interval}
    )
    now_ms = WallClock().now_ms()
    end = min(end or now_ms, now_ms)
    start = end - DEFAULT_DAYS * DAY_MS if start is None else start
    if start >= end:
        raise BadUsage(f"--start {show_time(start)} must be before --end {show_time(end)} (and now)")
    job = _Job(settings, start, end, category, "mark-price-kline" if mark else "kline", allow_gaps)
    with_funding = funding and category != "spot" and not mark
    files = asyncio.run(job.run(out or settings.data_dir, every=every, funding=with_funding, rules=rules))
    if as_json:
        emit_json({"files": files})
        return
    header = ("file", "rows", "new", "replaced", "gaps", "first", "last")
    emit_table(header, [tuple(file[key] for key in header) for file in map(_shown, files)])


def _shown(file: dict[str, object]) -> dict[str, object]:
    times = {key: file[f"{key}_ms"] for key in ("first", "last")}
    return {**file, **{key: None if ms is None else show_time(int(str(ms))) for key, ms in times.items()}}


class _Lacking(VenueError):
    """The exchange answered, and has not all the bars: no reason to stop with the other symbols."""


class _Job:
    """One call of ``bot data fetch``: the rules, each symbol's candles and its funding."""

    def __init__(
        self,
        settings: "Settings",
        from_ms: int,
        to_ms: int,
        category: "Category",
        prices: "Prices",
        allow_gaps: bool,
    ) -> None:
        self._settings = settings
        self._from_ms = from_ms
        self._to_ms = to_ms
        self._category: Category = category
        self._prices: Prices = prices
        self._allow_gaps = allow_gaps
        self._now_ms = to_ms
        self._done: dict[str, int] = {}
        self._update: Callable[[int], None] | None = None

    async def run(self, folder: Path, *, every: bool, funding: bool, rules: bool) -> list[dict[str, object]]:
        """Fetch everything, several symbols at a time; returns one row of facts per file.

        Raises:
            VenueError: the exchange lacks bars (after all other symbols are done), or cannot be asked.
        """
        from bot.adapters.feed.requests import each
        from bot.adapters.net.public_rest import Pace, public_rest
        from bot.adapters.state.clock import WallClock
        from bot.bybit.hosts import PUBLIC_REST

        chosen = self._settings.fetch
        pace = Pace(
            requests_per_second=chosen.requests_per_second,
            max_retries=chosen.max_retries,
            timeout_ms=chosen.timeout_ms,
        )
        base_url = chosen.base_url or PUBLIC_REST[chosen.network]
        files: dict[str, list[dict[str, object]]] = {}
        lacking: list[_Lacking] = []
        async with public_rest(base_url, WallClock(), pace, random.Random(self._settings.seed)) as rest:  # noqa: S311
            symbols = self._settings.feed.symbols
            others: list[dict[str, object]] = []
            if every or rules:
                symbols, others = await self._rules(rest, folder, every=every, write=rules)

            async def one(symbol: str) -> None:
                rows: list[dict[str, object]] = []
                try:
                    rows.append(await self._candles(rest, folder, symbol))
                except _Lacking as error:
                    lacking.append(error)
                if funding:
                    rows += await self._funding(rest, folder, symbol)
                files[symbol] = rows

            bars = (self._to_ms - self._from_ms) // INTERVALS_MS[self._settings.feed.interval]
            what = symbols[0] if len(symbols) == 1 else f"{len(symbols)} symbols"
            label = f"{what} {self._settings.feed.interval}"
            with progress_bar(label, bars * len(symbols), "bars") as self._update:
                await each(symbols, one)
        if lacking:
            more = f" (and {len(lacking) - 1} more symbols lack bars)" if len(lacking) > 1 else ""
            raise VenueError(f"{lacking[0]}{more}")
        return others + [row for symbol in symbols for row in files[symbol]]

    async def _rules(
        self, rest: "PublicRest", folder: Path, *, every: bool, write: bool
    ) -> tuple[tuple[str, ...], list[dict[str, object]]]:
        """The symbols, and the file of their rules if it is wanted."""
        from bot.adapters.feed.instruments import fetch_instruments, write_instruments

        wanted = None if every else self._settings.feed.symbols
        found = await fetch_instruments(rest, wanted, tiers=write)
        if not write:
            return tuple(found), []
        path = folder / f"{self._venue()}_{self._category}_instruments.json"
        source = f"{rest.base_url}, {show_time(self._now_ms)} UTC"
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

    async def _candles(self, rest: "PublicRest", folder: Path, symbol: str) -> dict[str, object]:
        from bot.adapters.files.candles import FileName, read_candles, write_candles
        from bot.adapters.net.public_rest import CandleDownload

        interval_ms = INTERVALS_MS[self._settings.feed.interval]
        note = "mark" if self._prices == "mark-price-kline" else ""
        name = FileName(self._venue(), self._category, symbol, interval_ms, note)
        path = folder / f"{name}.parquet"
        have = read_candles(path) if path.exists() else None
        download = CandleDownload(
            rest, symbol, interval_ms, have=have, category=self._category, prices=self._prices
        )
        try:
            await download.fill(self._from_ms, self._to_ms, lambda bars: self._progressed(symbol, bars))
        finally:
            # Also after a failure or Ctrl-C: what came is kept, and the next call continues there.
            candles = download.candles()
            if candles is not None and (download.fetched or download.replaced):
                write_candles(path, candles)
        return self._candle_row(path, candles, download.fetched, download.replaced)

    def _candle_row(
        self, path: Path, candles: "Candles | None", new: int, replaced: int
    ) -> dict[str, object]:
        if candles is None:
            raise _Lacking(
                f"{path.stem}: the exchange has no closed bar between {show_time(self._from_ms)} and "
                f"{show_time(self._to_ms)}"
            )
        gaps = [gap for gap in candles.gaps() if gap[0] < self._to_ms and gap[1] > self._from_ms]
        if gaps and not self._allow_gaps:
            missing = sum(bars for _, _, bars in gaps)
            raise _Lacking(
                f"{path}: the exchange lacks {missing} bars in {len(gaps)} gaps, the first at "
                f"{show_time(gaps[0][0])}; what came is kept, --allow-gaps accepts them"
            )
        return {
            "file": str(path),
            "rows": len(candles),
            "new": new,
            "replaced": replaced,
            "gaps": len(gaps),
            "first_ms": candles.first_ms,
            "last_ms": int(candles.start_ms[-1]),
            "sha256": candles.sha256,
        }

    async def _funding(self, rest: "PublicRest", folder: Path, symbol: str) -> list[dict[str, object]]:
        from bot.adapters.files.candles import read_funding, write_funding
        from bot.adapters.net.public_rest import fetch_funding, merge_funding

        path = folder / f"{self._venue()}_{self._category}_{symbol}_funding.parquet"
        have = read_funding(path) if path.exists() else None
        rates = await fetch_funding(rest, symbol, self._from_ms, self._to_ms, category=self._category)
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
        return "bybit" if self._settings.fetch.network == "mainnet" else "bybittestnet"
