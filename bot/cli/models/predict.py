"""``bot predict``: one forecast row a bar, no look-ahead."""

from pathlib import Path
from typing import Literal

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.domain.words import counted


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Name or directory. Default: the shipped one.")
@click.option("--data", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Candle file.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet or CSV.")
@click.option(
    "--form",
    type=click.Choice(["bulk", "step"]),
    default="bulk",
    show_default=True,
    help="In chunks, or one bar at a time as a live stream; equal to rounding.",
)
@click.option("--funding", help="FILE of settled rates, or none. Default: the file beside the candles.")
@pass_context
def predict(
    context: Context,
    model: Path | None,
    data: Path,
    out: Path,
    form: Literal["bulk", "step"],
    funding: str | None,
) -> None:
    """Write the forecasts made at the close of every bar.

    Rows are null while cold: before the model's warm-up of unbroken bars. A hole in the bars that the model's
    manifest allows is bridged and costs the bars that it says; a longer hole starts the warm-up again.
    """
    from bot.app.models.forecasting import write_forecasts

    warnings, bars, made = write_forecasts(data, out, context.model_dir(model), form, funding)
    for warning in warnings:
        click.echo(f"note: {warning}", err=True)
    click.echo(
        f"{out}: {counted(bars, 'bar')}, {counted(made, 'forecast')}, {counted(bars - made, 'cold row')}",
        err=True,
    )
