"""``bot data fetch``: candles and funding rates from the exchange into files."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.progress import progress_bar
from bot.cli.terminal.times import TIME
from bot.domain.errors import BadUsage, VenueError
from bot.domain.market import INTERVALS_MS
from bot.service.moments import in_zone, minute_cell

if TYPE_CHECKING:
    from bot.bybit.rest import Category, Prices

_PATH = click.Path(path_type=Path)
_TIMES = ("first", "last")


@click.command()
@click.option("--symbol", "symbols", multiple=True, help="BTCUSDT; repeat for more. Default: feed.symbols.")
@click.option("--all", "every", is_flag=True, help="Every linear USDT perpetual that trades.")
@click.option("--interval", type=click.Choice(list(INTERVALS_MS)), help="Default: feed.interval.")
@click.option("--start", type=TIME, help="First bar, UTC: 2025-12-01. Default: the listing.")
@click.option("--end", type=TIME, help="Bars before this time. Default: now.")
@click.option(
    "--category",
    type=click.Choice(["linear", "spot", "inverse"]),
    default="linear",
    show_default=True,
    help="inverse is refused: such contracts count in their coin.",
)
@click.option(
    "--network",
    type=click.Choice(["mainnet", "testnet", "local"]),
    help="local: `bot exchange`, into files of their own (local_…). Default: fetch.network.",
)
@click.option("--exchange", metavar="URL", help="Where `bot exchange` listens; means --network local.")
@click.option("--mark", is_flag=True, help="Mark prices instead of traded ones (…_mark.parquet).")
@click.option("--funding/--no-funding", default=True, help="Funding rates too (linear).")
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
    exchange: str | None,
    mark: bool,
    funding: bool,
    rules: bool,
    allow_gaps: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Download candles from Bybit's public REST; run it again to continue or to bring a file up to date.

    A symbol begins at its listing if no --start is given, or an earlier one.
    """
    from bot.app.candles.download import DownloadJob, span

    if category == "inverse":
        raise BadUsage(
            "--category inverse: an inverse contract counts in its coin, and the bot reads only linear and "
            "spot candles; fetch the USDT contract"
        )
    if every and symbols:
        raise BadUsage("--all and --symbol contradict each other")
    if (every or rules) and category != "linear":
        raise BadUsage(f"--all and --instruments are for linear contracts, not for {category}")
    if exchange is not None and network not in (None, "local"):
        raise BadUsage(f"--exchange is the address of a local exchange, and --network says {network}")
    settings = context.settings(
        {
            "fetch.network": "local" if exchange is not None else network,
            "local.url": exchange,
            "feed.symbols": symbols or None,
            "feed.interval": interval,
        }
    )
    from_ms, to_ms = span(start, end)
    prices: Prices = "mark-price-kline" if mark else "kline"
    job = DownloadJob(settings, from_ms, to_ms, category, prices, allow_gaps, progress_bar)
    with_funding = funding and category != "spot" and not mark
    done = asyncio.run(job.run(out or settings.data_dir, every=every, funding=with_funding, rules=rules))
    if as_json:
        emit_json({"files": done.files, "errors": done.errors, "notes": done.notes})
    elif done.files:
        header = ("file", "rows", "new", "replaced", "gaps", "first", "last")
        named = [in_zone(key) if key in _TIMES else key for key in header]
        emit_table(named, [tuple(file[key] for key in header) for file in map(_shown, done.files)])
        for note in done.notes:
            click.echo(note)
    if done.errors:
        words = list(done.errors.values())
        raise VenueError("; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else ""))


def _shown(file: dict[str, object]) -> dict[str, object]:
    times = {key: file[f"{key}_ms"] for key in _TIMES}
    return {**file, **{key: None if ms is None else minute_cell(int(str(ms))) for key, ms in times.items()}}
