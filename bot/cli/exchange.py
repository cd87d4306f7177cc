"""``bot exchange``: the local Bybit v5 exchange, on loopback."""

from pathlib import Path
from typing import Literal

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.cli.terminal.times import TIME
from bot.cli.terminal.words import FILLS

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8650, show_default=True, help="0: any free one."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Candle file (repeat), or the folder of a recording. Default: an invented market.",
)
@click.option("--symbols", type=click.IntRange(1, 1000), help="Size of the invented market. Default 3.")
@click.option("--instrument", type=_FILE, help="FILE of rules. Default: the shipped ones.")
@click.option("--speed", type=click.FloatRange(0.001, 1e6), default=1.0, show_default=True)
@click.option(
    "--start",
    type=TIME,
    help="The exchange's clock, UTC. Default: candle files are moved to the present, a recording begins.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Of prices inside bars. Default: the settings' seed."
)
@click.option("--faults", type=_FILE, help="Plan of what goes wrong.")
@click.option("--control", type=_FILE, help="Unix socket to post faults to while it runs.")
@click.option(
    "--fills",
    type=FILLS,
    default="quotes",
    show_default=True,
    help="quotes: orders meet the order book as it is. bars: closed bars, exactly as in a backtest.",
)
@click.option("--ticks-per-s", type=click.FloatRange(0.01, 100), help="Trades of a symbol a second.")
@click.option("--confirm-delay-ms", type=click.FloatRange(0, 10_000), default=20.0, show_default=True)
@click.option("--ack-delay-ms", type=click.FloatRange(0, 10_000), default=2.0, show_default=True)
@click.option("--no-funding", is_flag=True, help="All funding rates are 0.")
@click.option(
    "--order-quota",
    type=click.IntRange(1, 1000),
    default=60,
    show_default=True,
    help="Order requests a second: Bybit gives an ordinary user 10, VIP 1 to 3 20, 40, 60.",
)
@click.option("--ip-limit", is_flag=True, help="403 beyond 600 requests in 5 s.")
@click.option(
    "--wallet",
    type=click.FloatRange(min=0, min_open=True),
    default=10_000.0,
    show_default=True,
    help="USDT at the start. The default limits let one position have at most 50,000 (`bot help limits`).",
)
@pass_context
def exchange(
    context: Context,
    port: int,
    data: tuple[Path, ...],
    symbols: int | None,
    instrument: Path | None,
    speed: float,
    start: int | None,
    seed: int | None,
    faults: Path | None,
    control: Path | None,
    fills: Literal["quotes", "bars"],
    ticks_per_s: float | None,
    confirm_delay_ms: float,
    ack_delay_ms: float,
    no_funding: bool,
    order_quota: int,
    ip_limit: bool,
    wallet: float,
) -> None:
    """A Bybit v5 exchange on 127.0.0.1 with toy money; its first line says where, and the key."""
    from bot.app.exchange import exchange_config, run_exchange

    settings = context.settings({"seed": seed})
    config = exchange_config(
        settings,
        data=data,
        symbols=symbols,
        fills=fills,
        wallet=wallet,
        order_quota=order_quota,
        port=port,
        instruments=instrument,
        speed=speed,
        start_ms=start,
        faults=faults,
        control=control,
        ticks_per_s=ticks_per_s or 0.0,
        confirm_delay_ms=confirm_delay_ms,
        ack_delay_ms=ack_delay_ms,
        funding=not no_funding,
        ip_limit=ip_limit,
    )
    run_exchange(config, context.log, emit_json)
