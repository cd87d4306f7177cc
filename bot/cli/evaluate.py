"""``bot evaluate``: a model's skill against the baselines, with intervals."""

from pathlib import Path
from typing import Any

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.files import data_option
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
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
    from bot.app.forecasting import evaluate_model

    told = evaluate_model(data, model, start, end, funding=funding == "beside", seed=seed)
    if as_json:
        emit_json(told)
        return
    for one in told["files"]:
        _print(one)
    for name, reason in told["skipped_baselines"].items():
        click.echo(f"{name} left out: {reason}")
    if told["in_sample"]:
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
