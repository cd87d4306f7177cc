"""``bot evaluate``: a model's skill against the baselines, with intervals."""

from pathlib import Path
from typing import Any

import click

from bot.app.context import Context, pass_context
from bot.cli.files import data_option
from bot.cli.output import emit_json, emit_table
from bot.cli.times import TIME
from bot.cli.train import interval_text

METRICS = ("qlike_rv_60m", "r2_log_rv_60m", "ic_ret_15m", "ic_ret_60m", "direction_ret_15m")


@click.command()
@data_option
@click.option("--model", type=click.Path(path_type=Path), help="Model directory. Default: the shipped one.")
@click.option("--start", type=TIME, help="First bar, UTC. Default: the model's trained_to.")
@click.option("--end", type=TIME, help="Bars before this time. Default: the end of the data.")
@click.option("--funding", type=click.Choice(["beside", "none"]), default="beside", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def evaluate(
    context: Context,
    data: tuple[Path, ...],
    model: Path | None,
    start: int | None,
    end: int | None,
    funding: str,
    seed: int,
    as_json: bool,
) -> None:
    """Score the model and every baseline on the same rows, each figure with a 95 % day-bootstrap interval.

    Baselines are fitted on the bars of these files before the model's trained_to.
    """
    from bot.adapters.files import shipped
    from bot.adapters.model import checkpoint
    from bot.adapters.model.predictor import settled_forecasts
    from bot.adapters.state.clock import WallClock
    from bot.research.dataset import read_rows
    from bot.research.evaluate import forecast_all, report

    loaded = checkpoint.load(model if model is not None else shipped.model_path())
    rates = None if funding == "none" else "beside"
    now_ms = WallClock().now_ms()
    files = [read_rows(path, loaded.feature_set, rates, now_ms=now_ms) for path in data]
    start_ms = start or loaded.trained_to_ms
    end_ms = end or max(int(rows.close_ms[-1]) for rows in files)
    forecasts, skipped = forecast_all(
        files,
        lambda rows: settled_forecasts(loaded, rows.start_ms, rows.features)[:, [0, 2, 3]],
        loaded.trained_to_ms,
        start_ms,
        end_ms,
    )
    reports = [report(one, seed) for one in forecasts]
    if as_json:
        emit_json(
            {
                "model_hash": loaded.hash,
                "trained_to_ms": loaded.trained_to_ms,
                "in_sample": start_ms < loaded.trained_to_ms,
                "skipped_baselines": skipped,
                "files": reports,
            }
        )
        return
    for one in reports:
        _print(one)
    for name, reason in skipped.items():
        click.echo(f"{name} left out: {reason}")
    if start_ms < loaded.trained_to_ms:
        click.echo("some of these bars were fitted or chosen on: these figures are in-sample")


def _print(one: dict[str, Any]) -> None:
    click.echo(f"{one['symbol']} {one['interval']}: {one['rows']} rows of {one['file']}")
    named = {"model": one, **one["baselines"]}
    rows = [(name, *(interval_text(scores[metric]) for metric in METRICS)) for name, scores in named.items()]
    emit_table(("", *METRICS), rows)
    better = [
        name
        for name, difference in one["qlike_minus"].items()
        if difference is not None and difference["high"] is not None and difference["high"] < 0
    ]
    click.echo(f"QLIKE below, with an interval that excludes 0: {', '.join(better) or 'none'}")
    for leak in one["leak_alarm"]:
        click.echo(f"LEAK ALARM: {leak} is too good to be true on unseen data; look for a leak")
    click.echo()
