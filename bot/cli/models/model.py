"""``bot model``: the models that there are, and what one was trained on and can do."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from bot.app.context import Context
from bot.cli.models.train import interval_text, show_progress
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.files import data_option
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
from bot.service.moments import second_words

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
_HASH_CHARS = 12
_LABEL_CHARS = 19
_ATTEMPTS_SHOWN = 5


@click.group()
def model() -> None:
    """Models by name: those that ship, and yours in STATE_DIR/models.

    A name stands wherever a model directory is taken: `--model NAME` and the setting model.path.
    """


@model.command("list")
@_JSON
@pass_context
def show_list(context: Context, as_json: bool) -> None:
    """List the models that have a name; * marks the one in use, and the last retrainings say why.

    In use is the model that the settings choose, or the newest that was promoted in its place.
    """
    from bot.app.models.listing import list_models, retrained

    settings = context.settings()
    rows = list_models(settings.state_dir, settings.model.path)
    line = retrained(settings.state_dir, settings.model.path)
    if as_json:
        emit_json({"folder": str(settings.state_dir / "models"), "models": rows, "retrained": line})
        return
    whole = [row for row in rows if row["error"] is None]
    header = ("", "name", "hash", "bars", "symbols", "trained to", "QLIKE", "har_hour", "bytes", "directory")
    emit_table(header, [_cells(row) for row in whole])
    for row in rows:
        if row["error"] is not None:
            click.echo(f"{row['name']} cannot be used: {row['error']}")
    click.echo(
        "QLIKE of rv_60m, or of the variance that is named beside it, on later bars, as the manifest says "
        "(a refitted model: its twin's): lower is better"
    )
    for attempt in line["attempts"][-_ATTEMPTS_SHOWN:]:
        click.echo(_attempt_words(attempt))


@model.command()
@click.argument("name", required=False, type=click.Path(path_type=Path), metavar="[NAME|DIR]")
@_JSON
@pass_context
def show(context: Context, name: Path | None, as_json: bool) -> None:
    """Show one model: data, settings and measured skill. Default: the one that the settings choose."""
    from bot.app.models.listing import show_model

    settings = context.settings()
    told = show_model(settings.model.path if name is None else name, settings.state_dir)
    if as_json:
        emit_json(told)
        return
    for label, text in _lines(told):
        click.echo(f"{label:{_LABEL_CHARS}}{text}")


@model.command()
@partial(data_option, required=False)
@click.option("--until", type=TIME, help="UTC date: no bar after it is used. Default: the end of the data.")
@click.option("--window-days", type=click.IntRange(1), help="Days of bars. Default: retrain.window_days.")
@click.option(
    "--judge-days", type=click.IntRange(2), help="Newest days to judge. Default: retrain.judge_days."
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data. Default: as the model in use.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same candidate."
)
@click.option(
    "--candidate",
    type=click.Path(path_type=Path),
    metavar="NAME|DIR",
    help="Judge this model instead of training one.",
)
@_JSON
@pass_context
def retrain(
    context: Context,
    /,
    data: tuple[Path, ...],
    until: int | None,
    window_days: int | None,
    judge_days: int | None,
    candidate: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit the model in use again on newer bars; promote the result only if it is better beyond noise.

    Candidate and model in use are judged on the newest days, which neither has seen, beside har_hour,
    har_rolling and LightGBM where it is installed. A candidate that is worse, broken, leaky, or for other
    features or bars is refused in one line: exit 1 if it is no better or leaky, 5 if it or the data cannot be
    used. Without --data the files of data_dir are taken. A running daemon takes the new model between bars.
    """
    from bot.app.models.retraining import RetrainJob

    settings = context.settings({"retrain.window_days": window_days, "retrain.judge_days": judge_days})
    given = context.model_dir(candidate)
    job = RetrainJob(settings, data, until_ms=until, candidate=given, **options)
    if job.trouble:
        click.echo(f"the newest promoted model cannot be used: {job.trouble}", err=True)
    with show_progress() as progress:
        done = job.run(progress, lambda line: click.echo(line, err=True))
    if as_json:
        told = {"verdict": "promoted", "hash": done.model.hash, "name": done.path.name}
        emit_json({**told, "reason": done.reason, **done.figures})
        return
    rows = [
        (name, interval_text(figure), interval_text(done.figures["qlike_minus"].get(name)))
        for name, figure in done.figures["qlike"].items()
    ]
    emit_table(("QLIKE of the variance, days to judge", "figure [95 %]", "candidate minus it [95 %]"), rows)
    click.echo(f"promoted {done.path.name}: {done.reason}")


@model.command()
@_JSON
@pass_context
def rollback(context: Context, as_json: bool) -> None:
    """Go back to the model before the current one. A running daemon takes it between bars."""
    from bot.app.models.retraining import roll_back

    before, after = roll_back(context.settings())
    if as_json:
        emit_json({"before": before, "current": after})
        return
    click.echo(f"model {before[:_HASH_CHARS]} is given up; {after[:_HASH_CHARS]} is current again")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        "*" if row["current"] else "",
        row["name"],
        row["hash"][:_HASH_CHARS],
        row["interval"],
        len(row["symbols"]),
        row["trained_to"],
        _qlike(row),
        _figure(row["qlike_har_hour"]),
        row["bytes"],
        "(ships)" if row["ships"] else row["directory"],
    )


def _twin_lines(twin: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the line that says whose figures these are, if they are not the model's own."""
    if twin is None:
        return []
    name = "" if twin["name"] is None else f"{twin['name']}, "
    said = f"{name}hash {twin['hash'][:_HASH_CHARS]}, trained to {twin['trained_to']} in the same way"
    return [("figures are of", said)]


def _definition_lines(definition: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return what a definition of the user's keeps and drops of the default set, and each formula."""
    if definition is None:
        return []
    kept, dropped = (", ".join(definition[key]) for key in ("keep", "drop"))
    return [
        ("of the default", f"{kept}{f' without {dropped}' if dropped else ''}"),
        *((f"+ {name}", formula) for name, formula in definition["add"].items()),
    ]


def _qlike(row: dict[str, Any]) -> str:
    variance = row["targets"][0]
    figure = _figure(row[f"qlike_{variance}"])
    return figure if variance == "rv_60m" else f"{figure} {variance}"


def _returns(told: dict[str, Any]) -> list[str]:
    return [f"ic_{name}" for name in told["targets"][1:]]


def _attempt_words(attempt: dict[str, Any]) -> str:
    """Return one line about a retraining: when, what became of it, and why."""
    return f"{second_words(attempt['ts_ms'])}  {attempt['verdict']}: {attempt['reason']}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    skill = told["skill"]
    figures = skill.get("qlike", {})
    return [
        ("name", told["name"] or "none (a model in STATE_DIR/models has one)"),
        ("directory", told["directory"]),
        ("hash", told["hash"]),
        ("bars", f"{told['interval']}, warm after {told['warmup_bars']:,}, bridges {told['bridge_bars']}"),
        ("symbols", f"{len(told['symbols'])}: {', '.join(told['symbols'])}"),
        ("trained to", f"{told['trained_to']}; earlier bars are in-sample"),
        *(("promoted", told["promoted"]) for _ in [0] if told["promoted"]),
        *_twin_lines(told["twin"]),
        ("judged to", told["validated_to"]),
        ("forecasts", ", ".join(told["targets"])),
        ("features", f"{told['features']} of {told['feature_set']}"),
        *_definition_lines(told["definition"]),
        ("size", f"{told['parameters']:,} parameters, {told['bytes']:,} bytes"),
        ("made with", f"seed {told['seed']}, {told['trials']} trials, version {told['code_version']}"),
        *((f"QLIKE {name}", interval_text(figure)) for name, figure in figures.items()),
        *((name, interval_text(skill[name])) for name in _returns(told) if name in skill),
    ]
