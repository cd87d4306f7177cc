"""``bot evaluate``: a model's skill against the baselines, with intervals."""

from pathlib import Path
from typing import Any

import click

from bot.app.context import Context
from bot.cli.models.train import interval_text
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.files import data_option
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
from bot.domain.horizons import Horizons


@click.command()
@data_option
@click.option("--model", type=click.Path(path_type=Path), help="Name or directory. Default: the shipped one.")
@click.option("--start", type=TIME, help="First bar, UTC. Default: the model's trained_to.")
@click.option("--end", type=TIME, help="Bars before this time. Default: the end of the data.")
@click.option("--funding", type=click.Choice(["beside", "none"]), default="beside", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--holes", is_flag=True, help="Measure instead what missing bars cost the model's forecasts.")
@click.option("--write", is_flag=True, help="With --holes: write the bridge into the model's manifest.")
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write all of it as a page, with calibration plots.",
)
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
    holes: bool,
    write: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Score the model and every baseline on the same rows, each figure with a 95 % day-bootstrap interval.

    Baselines are fitted on the bars of these files before the model's trained_to; har_rolling is refitted at
    each midnight on the 90 days before. Also told: Diebold-Mariano tests against each baseline, how often an
    hour goes beyond the VaR of the forecast or out of its bands (the quantiles of both move with the hours
    that have ended), how far a volatility target is missed, months, and leak alarms.

    Without --start, bars that a model which ships was fitted on are judged by its twin (such as
    performer-5m-judged), which was trained in the same way on older bars alone.

    With --holes: plant holes into the bars after it, fill them as a live stream does, and measure how far and
    for how long forecasts move. The longest hole that settles in time is the model's bridge.
    """
    from bot.app.models.forecasting import evaluate_model, measure_holes, write_evaluation
    from bot.app.places import check_writable

    if page is not None and holes:
        raise click.UsageError("--report: has no page for --holes; leave one of them out")
    if page is not None:
        check_writable(page, "--report")
    model = context.model_dir(model)
    if holes:
        measured = measure_holes(data, model, start, end, funding=funding == "beside", seed=seed, write=write)
        emit_json(measured) if as_json else _print_holes(measured, written=write)
        return
    if write:
        raise click.UsageError("--write: needs --holes; evaluation alone writes nothing")
    told = evaluate_model(data, model, start, end, funding=funding == "beside", seed=seed)
    if page is not None:
        write_evaluation(page, told)
    if as_json:
        emit_json(told)
        return
    if told["is_twin"]:
        click.echo(
            f"the model has seen these bars; {told['twin']}, its twin that has not, is judged in its place"
        )
    horizons = Horizons.of_minutes(told["horizons_minutes"])
    for one in told["files"]:
        _print(one, horizons)
    for name, reason in told["skipped_baselines"].items():
        click.echo(f"{name} left out: {reason}")
    if told["in_sample"]:
        click.echo("some of these bars were fitted or chosen on: these figures are in-sample")
    if page is not None:
        click.echo(f"report: {page}")


def _print_holes(measured: dict[str, Any], *, written: bool) -> None:
    figures = measured["bridge"]
    tables = figures["by_bars_since"]
    since = next(iter(tables.values()))
    click.echo(
        f"{figures['holes']} holes of each length; change of ln of the variance (rms) by bars since the hole"
    )
    rows = [
        (f"{bars} bars", *(f"{table[at]['rms']:.3f}" for at in since), str(figures["bars_to_settle"][bars]))
        for bars, table in tables.items()
    ]
    emit_table(("hole", *since, f"within {figures['tolerance']} after"), rows)
    for one_in, change in figures["one_bar_missing_in"].items():
        click.echo(
            f"one bar in {one_in} missing at random: {change['rms']:.3f}, QLIKE {change['qlike']:+.4f}"
        )
    if not measured["bridge_bars"]:
        click.echo("no hole is bridged: not even one bar settles in time")
    else:
        click.echo(
            f"holes of up to {measured['bridge_bars']} bars are bridged; bars without a forecast by length: "
            f"{', '.join(map(str, measured['rewarm_bars']))}; one bridged bar counts for "
            f"{measured['repay_bars']} bars. A longer hole costs {measured['warmup_bars']} bars."
        )
    click.echo("written into the model's manifest" if written else "nothing written; --write writes it")


def _print(one: dict[str, Any], horizons: Horizons) -> None:
    click.echo(f"{one['symbol']} {one['interval']}: {one['rows']} rows of {one['file']}")
    named = {"model": one, **one["baselines"]}
    rows = [
        (name, *(interval_text(scores[metric]) for metric in horizons.figures))
        for name, scores in named.items()
    ]
    emit_table(("", *horizons.figures), rows)
    better = [
        name
        for name, difference in one["qlike_minus"].items()
        if difference is not None and difference["high"] is not None and difference["high"] < 0
    ]
    click.echo(f"QLIKE below, with an interval that excludes 0: {', '.join(better) or 'none'}")
    _print_tests(one)
    _print_risk(one, horizons)
    if len(one["months"]) > 1:
        _print_months(one, horizons)
    for leak in one["leak_alarm"]:
        click.echo(f"LEAK ALARM: {leak}")
    click.echo()


def _print_tests(one: dict[str, Any]) -> None:
    rows = [
        (
            name,
            interval_text(one["qlike_minus"][name]),
            *(("-", "-") if test is None else (f"{test['statistic']:+.2f}", _p_text(test["p_value"]))),
        )
        for name, test in one["diebold_mariano"].items()
    ]
    emit_table(("model against", "qlike minus theirs", "Diebold-Mariano", "p"), rows)
    for name, figure in one["ic_beyond_reversal"].items():
        if figure is not None:
            click.echo(f"IC of {name} beyond mean reversion: {interval_text(figure)}")


def _print_risk(one: dict[str, Any], horizons: Horizons) -> None:
    rows = [
        (
            name.replace("_", " ") + " %",
            f"{test['beyond']} of {test['rows']}, expected {test['expected']:.1f}",
            str((one["var_fixed"][name] or {}).get("beyond", "-")),
            _p_text(test["kupiec_p"]),
            _p_text(test["christoffersen_p"]),
        )
        for name, test in one["var"].items()
        if test is not None
    ]
    click.echo(f"quantiles of VaR and PIT: {_tails_words(one['tails'])}")
    emit_table((f"VaR of {horizons.words}", "times beyond", "if fixed", "Kupiec p", "Christoffersen p"), rows)
    if one["followed_minus_fixed"] is not None:
        click.echo(
            "quantile loss of VaR, followed minus fixed: "
            f"{interval_text(one['followed_minus_fixed'], digits=5)} (below 0: following helps)"
        )
    if one["bands"] is not None:
        inside = [
            (f"{name} %", interval_text(each["followed"]), interval_text(each["fixed"]))
            for name, each in one["bands"].items()
        ]
        emit_table(("band of the variance", "held", "held if quantiles stay fixed"), inside)
    missed = [(name, interval_text(figure)) for name, figure in one["vol_target"].items()]
    emit_table(("daily volatility target", "missed by this fraction (rms)"), missed)
    if one["vol_target_whole"] is not None and one["vol_target_chance"] is not None:
        click.echo(
            f"volatility over all days, from the target: {interval_text(one['vol_target_whole'])}; with the "
            f"hours of all days dealt out at random a day would miss it by {one['vol_target_chance']:.3f}"
        )


def _tails_words(tails: dict[str, Any]) -> str:
    if tails["kind"] == "unknown":
        return "unknown, because too few hours before the judged ones are known"
    if tails["kind"] == "student_t":
        begun = f"Student's t, nu {tails['nu']:g}, because too few hours before the judged ones are known"
    else:
        begun = f"of return over forecast volatility in the {tails['hours']:,} hours before the judged ones"
    return f"{begun}; then each moves with the hours that have ended"


def _print_months(one: dict[str, Any], horizons: Horizons) -> None:
    qlike, _, _, ic_long, _ = horizons.figures
    names = list(one["months"][0]["baselines"])
    rows = [
        (
            month["month"],
            f"{month['rows']:,}",
            interval_text(month[qlike]),
            *(f"{month['baselines'].get(name, float('nan')):.4f}" for name in names),
            interval_text(month[ic_long]),
        )
        for month in one["months"]
    ]
    emit_table(("month", "rows", "qlike of the model", *names, ic_long), rows)


def _p_text(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
