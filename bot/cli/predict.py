"""``bot predict``: one forecast row a bar, no look-ahead."""

from pathlib import Path

import click

from bot.app.context import Context, pass_context
from bot.domain.errors import BadUsage


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Model directory. Default: the shipped one.")
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
    context: Context, model: Path | None, data: Path, out: Path, form: str, funding: str | None
) -> None:  # fmt: skip
    """Write the forecasts made at the close of every bar.

    Rows are null while cold: before the model's warm-up of unbroken bars, which starts again at a gap.
    """
    from bot.adapters.files import shipped
    from bot.adapters.files.candles import funding_beside, read_candles, read_funding
    from bot.adapters.files.columns import write_columns
    from bot.adapters.model import checkpoint
    from bot.adapters.model.predictor import FORECAST_COLUMNS, forecast_table
    from bot.adapters.state.clock import WallClock

    if out.resolve() == data.resolve():
        raise BadUsage(f"--out {out}: is the candle file itself; name another file")
    loaded = checkpoint.load(model if model is not None else shipped.model_path())
    candles = read_candles(data, now_ms=WallClock().now_ms())
    for warning in candles.warnings:
        click.echo(f"note: {warning}", err=True)
    path = funding_beside(data) if funding is None else Path(funding)
    rates = None if path is None or funding == "none" else read_funding(path)
    table = forecast_table(loaded, candles, rates, form="step" if form == "step" else "bulk")
    columns = dict(zip(FORECAST_COLUMNS, table.T, strict=True))
    write_columns(out, {"start_ms": candles.start_ms, **columns})
    made = int((table[:, 0] == table[:, 0]).sum())
    click.echo(f"{out}: {len(candles)} bars, {made} forecasts, {len(candles) - made} cold rows", err=True)
