"""``bot check``: proofs on your own data and settings; exit 0, or a list of what differs or is wrong."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bot.app.context import Context
from bot.cli.causal import lookahead, warmup
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.numbers import counts
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
from bot.cli.terminal.words import FILLS, SYMBOL
from bot.domain.errors import BadSettings, BotError
from bot.domain.words import counted

if TYPE_CHECKING:
    from bot.app.runs.comparison import Comparison, Fills
    from bot.app.wiring import RunPlan


class Differs(BotError):
    """Two runs differ that should be equal."""


@click.group()
def check() -> None:
    """Proofs on your own data and settings: exit 0, or a list of what differs or is wrong."""


check.add_command(lookahead)
check.add_command(warmup)


@check.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def config(context: Context, as_json: bool) -> None:
    """Check every setting, without a run or a network; list all that is wrong, where, and what to do.

    Settings of all places: file, environment, `.env`. Exit: 0 a run would take them, 3 something is wrong.
    """
    from bot.app.doctor import examine_settings

    findings = examine_settings(context)
    wrong = [each for each in findings if each.level == "wrong"]
    if as_json:
        listed = [{"name": f.name, "level": f.level, "text": context.redactor(f.text)} for f in findings]
        emit_json({"ok": not wrong, "findings": listed})
    else:
        for each in findings:
            click.echo(f"{each.level:5}  {each.name:9}  {context.redactor(each.text)}")
    if wrong:
        raise BadSettings(f"{counted(len(wrong), 'setting')} wrong, listed above")


@check.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Candle file; repeat. Default: an invented market.",
)
@click.option("--start", type=TIME, help="First bar, UTC. Default: as soon as the candles allow.")
@click.option(
    "--bars", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Closes to compare."
)
@click.option(
    "--speed", type=click.FloatRange(1, 1e6), help="Of the exchange's clock. Default: 4 bars a second."
)
@click.option("--strategy", default="vol_target", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), help="Name or directory. Default: the shipped one.")
@click.option("--param", multiple=True, metavar="K=V", help="Strategy parameter; repeat.")
@click.option(
    "--venue", type=click.Choice(["paper", "local"]), multiple=True, help="Which to compare. Default: both."
)
@click.option(
    "--fills",
    type=FILLS,
    default="bars",
    show_default=True,
    help="bars: must be equal to the bit. quotes: latency, spread and impact, and what they cost.",
)
@click.option("--seed", type=int, help="Of the paths inside bars. Default 0.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def parity(
    context: Context,
    data: tuple[Path, ...],
    start: int | None,
    bars: int,
    speed: float | None,
    strategy: str,
    model: Path | None,
    param: tuple[str, ...],
    venue: tuple[Literal["paper", "local"], ...],
    fills: "Fills",
    seed: int | None,
    as_json: bool,
) -> None:
    """Run the same bars three times: backtest, daemon on paper, daemon at a local exchange; compare.

    Bars, forecasts, intents and fills must be equal to the bit, over real sockets and a fast clock.
    """
    from bot.app.runs.comparison import numbers
    from bot.app.runs.parity import compare_live, own_context, parity_plan, parity_start

    settings = context.settings({"model.path": model, "seed": seed, "feed.kind": "local"})
    with tempfile.TemporaryDirectory(prefix="bot-parity-") as folder:
        quiet = own_context(context)
        plan = parity_plan(settings, data, strategy, param, Path(folder), bars)
        start_ms = parity_start(plan, start, bars)
        compared = [
            compare_live(quiet, plan, start_ms, bars, kind, Path(folder), fills=fills, speed=speed)
            for kind in (venue or ("paper", "local"))
        ]
        told = [numbers(each, fills) for each in compared]
    if as_json:
        emit_json({"equal": all(each.equal for each in compared), "fills": fills, "runs": told})
    else:
        _print(plan, compared, told, fills)
    if not all(_holds(each, fills) for each in compared):
        raise Differs("what should be equal differs; the list above says where it begins")


@check.command()
@click.option(
    "--venue",
    type=click.Choice(["testnet", "demo", "local"]),
    help="Which venue. Default: the settings' venue.kind.",
)
@click.option("--symbol", type=SYMBOL, help="Contract to trade in. Default: the first of feed.symbols.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the record goes. Default: check-venue-VENUE.json in the state directory.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def venue(
    context: Context, venue: str | None, symbol: str | None, record: Path | None, as_json: bool
) -> None:
    """Do once what the bot needs at a venue, with the smallest sizes; compare with the local exchange.

    Reads the account, places, amends and cancels an order, opens and closes a position with its stop, and
    uses every socket. It trades only while the account is flat in the symbol, and leaves it flat. The record
    holds codes and shapes of the answers, no values: attach it to a bug report.

    Exit: 0 all answers are as expected, 1 some differ, 4 the venue does not answer or refuses.
    """
    from bot.app.venue_check.run import check_venue

    settings = context.settings({"venue.kind": venue, "feed.kind": "local" if venue == "local" else None})
    symbol = symbol or sorted(set(settings.feed.symbols))[0]
    record = record or settings.state_dir / f"check-venue-{settings.venue.kind}.json"
    report = check_venue(
        settings, symbol, context.redactor, record, lambda part: context.log.info("check_venue", at=part)
    )
    told = {**report.told(), "record": str(record)}
    if as_json:
        emit_json(told)
    else:
        click.echo(f"{report.venue} ({report.host}), {symbol}: {counts(told, 'step')}, the account is flat")
        for line in report.differences:
            click.echo(f"  {context.redactor(line)}")
        click.echo(f"record: {record}")
    if report.differences:
        many = len(report.differences)
        raise Differs(
            f"{counted(many, 'answer')} {'differs' if many == 1 else 'differ'} from what this bot expects; "
            "listed above"
        )


def _holds(compared: "Comparison", fills: "Fills") -> bool:
    """Return True if all that must be equal is equal: with a book only bars and forecasts."""
    must = ("bars", "forecasts") if fills == "quotes" else tuple(compared.differences)
    return not any(compared.differences[name] for name in must)


def _print(
    plan: "RunPlan", compared: Sequence["Comparison"], told: Sequence[dict[str, object]], fills: "Fills"
) -> None:
    click.echo(f"{plan.strategy_name} on {', '.join(plan.history.symbols)}, fills from {fills}")
    rows: list[tuple[object, ...]] = []
    for each, facts in zip(compared, told, strict=True):
        for what in ("bars", "forecasts", "intents", "fills"):
            found = each.differences[what]
            verdict = (
                f"{len(found):,} {'differs' if len(found) == 1 else 'differ'}"
                if found
                else "equal to the bit"
            )
            rows.append((facts["venue"], what, facts[what], verdict))
        hashes = [str(facts[name])[:16] for name in ("fills_sha256", "backtest_fills_sha256")]
        rows.append((facts["venue"], "fills hash", None, " and ".join(dict.fromkeys(hashes))))
    emit_table(("daemon", "what", "count", "beside the backtest"), rows)
    for facts in told:
        differences = facts["differences"]
        assert isinstance(differences, list)
        for line in differences:
            click.echo(f"  {facts['venue']}: {line}")
        if "explained" in facts:
            explained = facts["explained"]
            assert isinstance(explained, dict)
            click.echo(
                f"  {facts['venue']}: " + ", ".join(f"{name} {value}" for name, value in explained.items())
            )
