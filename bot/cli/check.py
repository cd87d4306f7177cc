"""``bot check``: proofs on your own data and settings; exit 0, or a list of what differs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bot.app.context import Context, pass_context
from bot.cli.output import emit_json, emit_table
from bot.cli.times import TIME, show_time
from bot.domain.errors import BadUsage, BotError
from bot.domain.market import MINUTE_MS

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.app.parity import Comparison
    from bot.app.wiring import Plan
    from bot.service.history import History
    from bot.settings import Settings

_INVENTED_BARS = 400
_INVENTED = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
_INVENTED_FROM_MS = 1_767_225_600_000

Fills = Literal["bars", "book"]


class Differs(BotError):
    """Two runs that should be equal are not."""


@click.group()
def check() -> None:
    """Proofs on your own data and settings: exit 0, or a list of what differs."""


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
@click.option("--model", type=click.Path(path_type=Path), help="Model directory. Default: the shipped one.")
@click.option("--param", multiple=True, metavar="K=V", help="Strategy parameter; repeat.")
@click.option(
    "--venue", type=click.Choice(["paper", "local"]), multiple=True, help="Which to compare. Default: both."
)
@click.option(
    "--fills",
    type=click.Choice(["bars", "book"]),
    default="bars",
    show_default=True,
    help="bars: must be equal to the bit. book: latency, spread and impact, and what they cost.",
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
    fills: Fills,
    seed: int | None,
    as_json: bool,
) -> None:
    """Live the same bars three times: backtest, daemon on paper, daemon at a local exchange; compare.

    Bars, forecasts, intents and fills must be equal to the bit, over real sockets and a fast clock.
    """
    from bot.app import parity as work

    settings = context.settings({"model.path": model, "seed": seed, "feed.kind": "local"})
    with tempfile.TemporaryDirectory(prefix="bot-parity-") as folder:
        quiet = work.apart(context)
        plan = _plan(settings, data, strategy, param, Path(folder), bars)
        start_ms = _start(plan, start, bars)
        compared = [
            work.beside(quiet, plan, start_ms, bars, kind, Path(folder), fills=fills, speed=speed)
            for kind in (venue or ("paper", "local"))
        ]
        told = [work.numbers(each, fills) for each in compared]
    if as_json:
        emit_json({"equal": all(each.equal for each in compared), "fills": fills, "runs": told})
    else:
        _print(plan, compared, told, fills)
    if not all(_holds(each, fills) for each in compared):
        raise Differs("what should be equal differs; the list above says where it begins")


def _holds(compared: "Comparison", fills: Fills) -> bool:
    """With a book only what comes before the fills can be equal: bars and forecasts."""
    must = ("bars", "forecasts") if fills == "book" else tuple(compared.differences)
    return not any(compared.differences[name] for name in must)


def _plan(
    settings: "Settings",
    data: Sequence[Path],
    strategy: str,
    param: tuple[str, ...],
    folder: Path,
    bars: int,
) -> "Plan":
    from bot.app.wiring import (
        Plan,
        choose_instruments,
        choose_strategy,
        load_model,
        parse_params,
        read_history,
    )

    cls = choose_strategy(strategy)
    needs_model = bool(getattr(cls, "needs_forecast", False))
    model = load_model(settings.model.path, ()) if needs_model else None
    history = read_history(data, None) if data else _invent(folder, model, bars)
    if model is not None:
        load_model(settings.model.path, history.candles)
    return Plan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=cls,
        strategy_name=strategy,
        params=parse_params(param),
        model=model,
    )


def _invent(folder: Path, model: "Checkpoint | None", bars: int) -> "History":
    """Two symbols of a made-up market, long enough for the warm-up and the bars, with funding."""
    import msgspec

    from bot.app.wiring import WARMUP_BARS, read_history
    from bot.cli.data import write_series
    from bot.synth import Recipe, market

    interval_ms = model.interval_ms if model is not None else 5 * MINUTE_MS
    warmup = max(WARMUP_BARS, model.warmup_bars if model is not None else 0)
    recipe = Recipe(interval_ms=interval_ms, bars=warmup + bars + _INVENTED_BARS, start_ms=_INVENTED_FROM_MS)
    paths = []
    for symbol, price in _INVENTED.items():
        series = market(msgspec.structs.replace(recipe, price=price), _INVENTED, 1)[symbol]
        paths.append(Path(str(write_series(folder, series, 1)["file"])))
    return read_history(paths, None)


def _start(plan: "Plan", start: int | None, bars: int) -> int:
    """Where the exchange's clock begins: after the warm-up, with candles left to live through."""
    from bot.app.wiring import WARMUP_BARS

    candles = plan.history.candles
    if len({each.interval_ms for each in candles}) > 1:
        raise BadUsage("--data: the daemon trades one interval; give files of one")
    interval_ms = candles[0].interval_ms
    warmup = max(WARMUP_BARS, plan.warmup_bars)
    earliest = max(each.first_ms for each in candles) + warmup * interval_ms
    last = min(each.end_ms for each in candles) - (bars + 2) * interval_ms
    chosen = earliest if start is None else start
    if not earliest <= chosen <= last:
        raise BadUsage(
            f"--start {show_time(chosen)}: {warmup} bars of warm-up and {bars} to compare fit only between "
            f"{show_time(earliest)} and {show_time(last)}; give longer files, another start or fewer --bars"
        )
    return chosen


def _print(
    plan: "Plan", compared: Sequence["Comparison"], told: Sequence[dict[str, object]], fills: Fills
) -> None:
    click.echo(f"{plan.strategy_name} on {', '.join(plan.history.symbols)}, fills from {fills}")
    rows: list[tuple[object, ...]] = []
    for each, facts in zip(compared, told, strict=True):
        for what in ("bars", "forecasts", "intents", "fills"):
            found = each.differences[what]
            verdict = f"{len(found)} differ" if found else "equal to the bit"
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
