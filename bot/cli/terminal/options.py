"""Command-line options that say what a run is made of; ``backtest`` and ``run`` share them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.app.places import check_table, check_writable
from bot.cli.terminal.files import data_option
from bot.cli.terminal.times import DURATION, TIME
from bot.cli.terminal.words import FILLS, Words

if TYPE_CHECKING:
    from bot.app.runs.live.plan import LivePlan

_FILE = click.Path(path_type=Path, dir_okay=False)
_Command = Callable[..., None]


_EQUITY = click.option("--equity", type=float, help="USDT at the start. Default 10000.")

risk_option = click.option(
    "--risk",
    type=click.Choice(["enforce", "observe"]),
    default="enforce",
    show_default=True,
    help="observe: no limit acts; the result says when each would have.",
)
"""Of runs whose limits may be left out: backtests, and the trials of a search."""


def run_options(
    command: _Command,
    *,
    data_required: bool = True,
    equity: Callable[[_Command], _Command] = _EQUITY,
) -> _Command:
    """Options that say what a run is made of, shared by ``backtest`` and the paced replay of ``run``."""
    options: list[Callable[[_Command], _Command]] = [
        partial(data_option, required=data_required),
        click.option("--strategy", help="Name, or package.module:Class of your own. Default: performer."),
        click.option(
            "--model", type=click.Path(path_type=Path), help="Name or directory. Default: the shipped one."
        ),
        click.option("--param", multiple=True, metavar="K=V", help="Strategy parameter; repeat."),
        click.option(
            "--start",
            type=TIME,
            help="First bar, UTC: 2025-12-01 or 2025-12-01T08:00. Earlier bars warm up.",
        ),
        click.option("--end", type=TIME, help="Bars before this time."),
        click.option("--fee-bps", type=float, help="Taker fee, bps. Default 5.5."),
        click.option(
            "--slippage-bps",
            type=float,
            help="Half-spread, bps; 0 = none, and no impact. Default: the symbol's measured one.",
        ),
        equity,
        click.option(
            "--instrument", help="FILE of rules, or exact for none. Default: the symbol's shipped rules."
        ),
        click.option("--liquidity", type=click.Choice(["volume", "full"]), help="full: fills ignore volume."),
        click.option(
            "--limit-fills",
            type=click.Choice(["through", "queue"]),
            help="queue: limit orders wait in an estimated queue; bot help fills. Default: a price must go "
            "through theirs.",
        ),
        click.option(
            "--funding", help="FILE of settled rates, or none. Default: the file beside the candles."
        ),
        click.option(
            "--form",
            type=click.Choice(["step", "bulk", "torch"]),
            default="step",
            show_default=True,
            help="How forecasts are made: streamed on the kernel, in bulk, or streamed on torch.",
        ),
        click.option(
            "--intrabar",
            type=Words(["path", "worst"], {"random": "path"}),
            default="path",
            show_default=True,
            help="worst: a stress in which prices go against us first inside each bar.",
        ),
        click.option(
            "--detail", type=_FILE, multiple=True, help="Finer candles that resolve the bars; repeat."
        ),
        click.option("--mark", type=_FILE, multiple=True, help="Mark-price candles for liquidation; repeat."),
        click.option("--seed", type=int, help="Of the paths inside bars. Default 0."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def live_options(command: _Command) -> _Command:
    """Options of a run on a live feed."""
    options: list[Callable[[_Command], _Command]] = [
        click.option(
            "--symbol",
            multiple=True,
            metavar="S",
            help="live: a perpetual to trade; repeat. Default: settings.",
        ),
        click.option("--interval", help="live: bar length, such as 5m. Default: the settings'."),
        click.option("--exchange", metavar="URL", help="live: where `bot exchange` listens."),
        click.option(
            "--fills",
            type=FILLS,
            help="live, paper: at the live bid and ask, or from closed bars as a backtest.",
        ),
        click.option("--duration", type=DURATION, help="live: stop cleanly after 60s, 30m, 2h."),
        click.option("--bars", type=click.IntRange(min=1), help="live: stop cleanly after so many closes."),
        click.option(
            "--warm-from",
            type=TIME,
            help="live: first candle of the warm-up. Default: enough.",
        ),
        click.option(
            "--fresh",
            is_flag=True,
            help="live: begin a new account; the old one's journal stays. Asks first.",
        ),
        click.option("--yes", is_flag=True, help="live: do not ask."),
        click.option(
            "--retrain",
            metavar="SCHEDULE",
            help="live: retrain the model: daily@03:00, 'weekly@sun 03:00', 12h, 7d (UTC); bot help models.",
        ),
        *web_options("live: "),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def web_options(where: str = "") -> list[Callable[[_Command], _Command]]:
    """Options of the page; ``where`` begins each help line."""
    return [
        click.option(
            "--web-port",
            type=click.IntRange(0, 65_535),
            help=f"{where}serve the page on this port; 0: any free one.",
        ),
        click.option(
            "--web-host", metavar="ADDRESS", help=f"{where}where the page listens. Default 127.0.0.1."
        ),
        click.option(
            "--web-insecure",
            is_flag=True,
            help=f"{where}let other machines reach the page without TLS: tokens travel in clear.",
        ),
    ]


def make_live(
    context: Context,
    *,
    feed: str | None,
    venue: str | None,
    symbol: tuple[str, ...],
    interval: str | None,
    exchange: str | None,
    fills: str | None,
    duration: float | None,
    bars: int | None,
    warm_from: int | None,
    strategy: str | None,
    model: Path | None,
    param: tuple[str, ...],
    fee_bps: float | None,
    slippage_bps: float | None,
    limit_fills: str | None,
    equity: float | None,
    seed: int | None,
    web_port: int | None,
    web_host: str | None,
    web_insecure: bool,
    retrain: str | None = None,
    fresh: bool = False,
    **settings: object,
) -> "LivePlan":
    """Make a checked plan of a live run from options; ``settings`` are further settings by dotted key."""
    from bot.app.inputs import parse_params
    from bot.app.runs.live.plan import make_live_plan

    return make_live_plan(
        context.settings(
            {
                "feed.kind": feed,
                "feed.symbols": symbol or None,
                "feed.interval": interval,
                "local.url": exchange,
                "venue.kind": venue,
                "venue.fills": fills,
                "model.path": model,
                "costs.taker_bps": fee_bps,
                "costs.slippage_bps": slippage_bps,
                "costs.limit_fills": limit_fills,
                "account.equity_quote": equity,
                "seed": seed,
                "web.port": web_port,
                "web.host": web_host,
                "retrain.schedule": retrain,
                **settings,
            }
        ),
        strategy=strategy,
        params=parse_params(param),
        from_ms=warm_from,
        duration_s=duration,
        bars_max=bars,
        fresh=fresh,
        web_insecure=web_insecure,
    )


def outputs(command: _Command) -> _Command:
    """Add the options for results: ``--report`` (checked before the run) and ``--json``."""
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
    return report_option(as_json(command))


def report_option(command: _Command) -> _Command:
    """Add ``--report``, which is checked before the run."""
    return click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_check_report,
        metavar="OUT.html",
        help="Write a self-contained HTML report.",
    )(command)


def _check_report(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a path that cannot be written, before the run and not after it."""
    if path is not None:
        check_writable(path, "--report")
    return path


def tables(command: _Command) -> _Command:
    """Add the options for tables of a result: ``--trades`` (checked before the run) and ``--include``."""
    include = click.option(
        "--include",
        type=click.Choice(["trades", "fills", "orders", "equity", "funding"]),
        multiple=True,
        help="With --json: put this table under `tables`, one object a row; repeat.",
    )
    trades = click.option(
        "--trades",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_check_table,
        metavar="FILE",
        help="Write the closed trades, .csv or .parquet.",
    )
    return trades(include(command))


def _check_table(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a table's file that cannot be written, before the run and not after it."""
    if path is not None:
        check_table(path, parameter.opts[0])
    return path


class _UsdtOrFile(click.ParamType[float | Path]):
    """A number of USDT, or a file that ends in .csv or .parquet."""

    name = "USDT|FILE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Path:
        """Return the number, or the path."""
        try:
            return float(str(value))
        except ValueError:
            if Path(str(value)).suffix in (".csv", ".parquet"):
                return Path(str(value))
            self.fail(f"{str(value)!r} is neither a number of USDT nor a file .csv or .parquet", param, ctx)


def _split_equity(
    context: click.Context, parameter: click.Parameter, given: tuple[float | Path, ...]
) -> float | None:
    """Return the number of USDT; the file becomes the argument ``equity_file``."""
    numbers = [each for each in given if isinstance(each, float)]
    files = [each for each in given if isinstance(each, Path)]
    if len(numbers) > 1 or len(files) > 1:
        raise click.UsageError("--equity: give one number of USDT and one file at most")
    context.params["equity_file"] = _check_table(context, parameter, files[0] if files else None)
    return numbers[0] if numbers else None


EQUITY_OR_FILE = click.option(
    "--equity",
    type=_UsdtOrFile(),
    multiple=True,
    callback=_split_equity,
    help="USDT at the start, default 10000; or a FILE, .csv or .parquet, for the account's value at each "
    "close; repeat for both.",
)
"""``--equity`` of a command that also writes the curve."""
