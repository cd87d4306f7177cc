"""One run to one HTML page that needs nothing else: no network, no fonts, readable without scripts.

``render`` turns a ``ReportData`` into the page. This file works out what each section shows; the templates
in ``templates/`` lay it out, and Jinja escapes every text on its way in. A section whose data is missing
is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import prod

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bot import metrics
from bot.domain.refusals import flat_words
from bot.metrics import Metrics, Trade
from bot.web import charts
from bot.web.curves import curves, prices_with_fills
from bot.web.numbers import (
    METRICS,
    MISSING,
    Metric,
    describe,
    lasted,
    month_name,
    price,
    quantity,
    show,
    signed_percent,
    when,
)
from bot.web.run import Identity, ReportData, after_training, in_sample_to, judged

LISTED_TRADES = 40
"""Up to so many trades are listed without scripts, of more the best, the worst and the last."""


def render(run: ReportData) -> str:
    """Make the page of one run."""
    prices, prices_note = prices_with_fills(run)
    years, histogram = _returns(run)
    page = templates().get_template("report.html.j2")
    return page.render(
        run=run,
        badges=_badges(run),
        facts=_facts(run),
        start_equity=float(judged(run)[1][0]) if len(run.equity) else None,
        tiles=_tiles(run),
        cautions=cautions(run),
        why_flat=_why_flat(run),
        curves=curves(run),
        prices=prices,
        prices_note=prices_note,
        tables=_tables(run),
        years=years,
        month_names=[month_name(month) for month in range(1, 13)],
        histogram=histogram,
        costs=_costs(run),
        trades=_trades(run),
        trade_columns=TRADE_COLUMNS,
        origin=_origin(run.identity),
    )


@cache
def templates() -> Environment:
    """Make Jinja's environment; the files of this package are the only texts that are not escaped."""
    templates = Environment(
        loader=PackageLoader("bot.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    here = files("bot.web")
    styles = (here.joinpath(name).read_text("utf-8") for name in ("page/look.css", "report.css"))
    scripts = (
        here.joinpath(name).read_text("utf-8") for name in ("table.js", "trades.js", "rows.js", "report.js")
    )
    templates.globals |= {
        "style": Markup("".join(styles)),  # noqa: S704 (ours)
        "script": Markup("".join(scripts)),  # noqa: S704 (ours)
        "marker_shapes": charts.marker_shapes(),
    }
    templates.filters |= {
        "show": show,
        "percent": signed_percent,
        "price": price,
        "quantity": quantity,
        "when": when,
        "lasted": lasted,
        "tint": lambda value: "loss" if value < 0 else "gain",
    }
    return templates


# The head of the page


def _badges(run: ReportData) -> list[str]:
    if in_sample_to(run) is None:
        return [run.identity.mode]
    return [run.identity.mode, "partly in-sample" if after_training(run).any() else "in-sample"]


def _facts(run: ReportData) -> list[str]:
    who = run.identity
    symbols = ", ".join(dict.fromkeys([p.symbol for p in run.prices] or [f.symbol for f in who.files]))
    span = f"{when(int(run.ts_ms[0]))} – {when(int(run.ts_ms[-1]))} UTC" if len(run.ts_ms) else "no bars"
    return [fact for fact in (who.strategy, symbols, span) if fact]


@dataclass(frozen=True, slots=True)
class _Tile:
    """A headline number, a second one below it, and the same of buy and hold."""

    big: Metric
    value: float | None
    small: Metric
    second: float | None
    hold: float | None


_TILES: tuple[tuple[str, str], ...] = (
    ("total_return", "cagr"),
    ("sharpe", "sortino"),
    ("max_drawdown", "max_drawdown_days"),
    ("trades", "win_rate"),
    ("profit_factor", "expectancy"),
    ("exposure", "turnover"),
)


def _tiles(run: ReportData) -> list[_Tile]:
    return [
        _Tile(
            describe(name),
            run.metrics[name],
            describe(second),
            run.metrics.get(second),
            run.hold_metrics.get(name),
        )
        for name, second in _TILES
        if name in run.metrics
    ]


# Warnings


def cautions(run: ReportData) -> list[str]:
    """List reasons to doubt the result: what the run said itself, then what its numbers say."""
    return [*run.warnings, *_about_data(run), *_about_luck(run)]


def _about_data(run: ReportData) -> list[str]:
    out = []
    ruined = np.flatnonzero(run.equity <= 0.0)
    if ruined.size:
        out.append(f"Ruin: the account was empty at {when(int(run.ts_ms[ruined[0]]))} UTC; ratios end there.")
    trained_to = in_sample_to(run)
    if trained_to is not None and after_training(run).any():
        out.append(
            f"In-sample data: the model was trained on data up to {when(trained_to)} UTC. "
            "That part is shaded and kept apart; the figures are of the rest."
        )
    elif trained_to is not None:
        out.append(
            "In-sample data: the model was trained on all of this period. It says nothing about the future."
        )
    if run.fills and run.identity.funding_source == "none":
        out.append("No funding file: what holding a perpetual costs or earns is not in the result.")
    if run.fills and not (run.metrics.get("fees") or run.metrics.get("slippage")):
        out.append("No fees and no slippage: no market is that kind.")
    return out


def _about_luck(run: ReportData) -> list[str]:
    figures = run.metrics
    trades, days = figures.get("trades") or 0, figures.get("days") or 0
    out = []
    if 0 < trades < 30:
        out.append(f"Few trades: {trades}. Below about 30, ratios say little.")
    if figures.get("length_days") and figures.get("cagr", 0.0) is None:
        out.append(f"No yearly rate: {metrics.why_undefined(figures)['cagr']}.")
    if 0 < days < 30:
        out.append(f"Few days: {days} whole ones. Ratios of so short a run are extrapolations.")
    high = metrics.too_good(figures)
    if high is not None and high not in run.warnings:  # a backtest says it itself
        out.append(f"{high}.")
    return out


# Figures


@dataclass(frozen=True, slots=True)
class _Line:
    metric: Metric
    cells: list[str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Metrics side by side, one line for each that a column has."""

    names: list[str]
    lines: list[_Line]


_RISK = (
    "total_return",
    "net_pnl",
    "cagr",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "max_drawdown_days",
    "max_drawdown_intraday",
    "deflated_sharpe",
    "days",
    "length_days",
)


def _tables(run: ReportData) -> list[_Columns]:
    """Collect all figures: risk beside buy and hold, then trades and activity."""
    hold = {"buy and hold": run.hold_metrics} if run.hold_metrics else {}
    seen = {"in-sample part": run.in_sample} if run.in_sample is not None else {}
    return figure_columns({"strategy": run.metrics, **seen}, {"strategy": run.metrics, **hold, **seen})


def figure_columns(own: dict[str, Metrics], with_others: dict[str, Metrics] | None = None) -> list[_Columns]:
    """Return two tables: figures of risk (``with_others``, if given), then trades and activity of ``own``."""
    whole = own if with_others is None else with_others
    rest = [key for column in whole.values() for key in [*METRICS, *column] if key not in _RISK]
    tables = [_columns(whole, _RISK), _columns(own, rest)]
    return [table for table in tables if table.lines]


def _columns(columns: dict[str, Metrics], keys: Iterable[str]) -> _Columns:
    shown = dict.fromkeys(key for key in keys if any(key in column for column in columns.values()))
    return _Columns([*columns], [_line(key, columns.values()) for key in shown])


def _line(key: str, columns: Iterable[Metrics]) -> _Line:
    metric = describe(key)
    return _Line(metric, [show(column[key], metric.kind) if key in column else "" for column in columns])


# Returns


@dataclass(frozen=True, slots=True)
class _Month:
    """A month's return and how strongly its cell is tinted, in percent."""

    value: float
    tint: int


@dataclass(frozen=True, slots=True)
class _Year:
    year: int
    months: list[_Month | None]
    total: float


def _returns(run: ReportData) -> tuple[list[_Year], Markup]:
    """Months and the distribution of days, of the part that figures are made of."""
    ts_ms, equity = judged(run)
    _, daily = metrics.whole_day_returns(ts_ms, equity)
    drawn = Markup()
    if len(daily) >= 5 and np.ptp(daily) > 0.0:
        drawn = charts.histogram(daily, title="Distribution of daily returns")
    return heat(metrics.monthly_returns(ts_ms, equity)), drawn


def heat(returns: Sequence[tuple[int, int, float]]) -> list[_Year]:
    """Years by months, each month tinted by its return; a year compounds its months."""
    largest = max((abs(value) for _, _, value in returns), default=0.0) or 1.0
    years: dict[int, dict[int, float]] = {}
    for year, month, value in sorted(returns):
        years.setdefault(year, {})[month] = value
    return [
        _Year(
            year,
            [_month(months[m], largest) if m in months else None for m in range(1, 13)],
            prod(1.0 + value for value in months.values()) - 1.0,
        )
        for year, months in years.items()
    ]


def _month(value: float, largest: float) -> _Month:
    return _Month(value, round(8 + 62 * abs(value) / largest) if value else 0)


# Costs


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    value: float
    bps: str


@dataclass(frozen=True, slots=True)
class _Costs:
    """The steps from the result before costs to the net result."""

    steps: list[_Step]
    largest: float


def _costs(run: ReportData) -> _Costs | None:
    net, fees, slippage, funding = (run.metrics.get(k) for k in ("net_pnl", "fees", "slippage", "funding"))
    if net is None or fees is None or slippage is None or funding is None or not run.fills:
        return None
    values = {
        "Before costs": net + fees + slippage - funding,
        "Fees": -fees,
        "Slippage": -slippage,
        "Funding": funding,
        "Net result": net,
    }
    traded = run.metrics.get("traded_notional")
    return _Costs(
        [_Step(name, value, _bps(value, traded)) for name, value in values.items()],
        max(abs(value) for value in values.values()) or 1.0,
    )


def _bps(value: float, traded: float | None) -> str:
    return f"{1e4 * value / traded:+.2f}".replace("-", "−") if traded else MISSING


# Trades


TRADE_COLUMNS = (
    *(
        "Entry (UTC)",
        "Symbol",
        "Side",
        "Held",
        "Quantity",
        "Entry price",
        "Exit price",
        "Net, quote",
        "Net, %",
    ),
    *("Worst, %", "Best, %", "Fees", "Funding"),
)
"""Of the table of trades; ``trades.js`` knows their order."""


@dataclass(frozen=True, slots=True)
class _Trades:
    """Trades in named groups, a note below the title, and the JSON of all for ``trades.js``."""

    groups: list[tuple[str, list[list[str]]]]
    note: str
    every: Markup
    is_part: bool


def _trades(run: ReportData) -> _Trades | None:
    """Choose all trades, or of many the best, the worst and the last; with how far each went both ways."""
    trained_to = run.identity.trained_to_ms if after_training(run).any() else None
    trades = [trade for trade in run.trades if trained_to is None or trade.entry_ms >= trained_to]
    if not trades:
        return None
    groups: list[tuple[str, Sequence[Trade]]] = [("", trades)]
    if len(trades) > LISTED_TRADES:
        ranked = sorted(trades, key=lambda trade: trade.pnl_quote)
        last = f"Last 12 of {len(trades):,}"
        groups = [("8 best", ranked[:-9:-1]), ("8 worst", ranked[:8]), (last, trades[-12:])]
    note = "Flat to flat, net of fees, with funding. Worst and best: prices met while open, from the entry."
    if len(trades) < len(run.trades):
        note += f" {len(run.trades) - len(trades):,} in-sample trades are left out."
    return _Trades(
        [(name, [_cells(each) for each in group]) for name, group in groups],
        note,
        Markup(charts.script_json(_columns_of(trades))),  # noqa: S704 (it cannot end its element)
        is_part=len(trades) > LISTED_TRADES,
    )


def _cells(trade: Trade) -> list[str]:
    """Return the texts of one trade, in the order of ``TRADE_COLUMNS``."""
    return [
        when(trade.entry_ms),
        trade.symbol,
        "long" if trade.side == "Buy" else "short",
        lasted(trade.exit_ms - trade.entry_ms),
        quantity(trade.qty),
        price(float(trade.entry_price)),
        price(float(trade.exit_price)),
        show(float(trade.pnl_quote), "money", signed=True),
        show(trade.return_frac, "percent", signed=True),
        show(trade.mae_frac, "percent", signed=True),
        show(trade.mfe_frac, "percent", signed=True),
        show(float(trade.fees_quote), "money"),
        show(float(trade.funding_quote), "money", signed=True),
    ]


def _columns_of(trades: Sequence[Trade]) -> dict[str, object]:
    """Return all trades for ``trades.js``, short: columns of numbers with the digits that are shown.

    Times are seconds: entries since the trade before. Symbols are numbers in ``symbols``.
    """
    symbols = sorted({trade.symbol for trade in trades})
    number = {symbol: at for at, symbol in enumerate(symbols)}
    entries = np.array([trade.entry_ms // 1000 for trade in trades], np.int64)
    return {
        "symbols": symbols,
        "symbol": [number[trade.symbol] for trade in trades],
        "long": [int(trade.side == "Buy") for trade in trades],
        "entry": np.diff(entries, prepend=0).tolist(),
        "held": [(trade.exit_ms - trade.entry_ms) // 1000 for trade in trades],
        "qty": [float(trade.qty) for trade in trades],
        "from": [float(f"{trade.entry_price:.7g}") for trade in trades],
        "to": [float(f"{trade.exit_price:.7g}") for trade in trades],
        "net": [round(float(trade.pnl_quote), 2) for trade in trades],
        "gain": [_percent(trade.return_frac) for trade in trades],
        "worst": [_percent(trade.mae_frac) for trade in trades],
        "best": [_percent(trade.mfe_frac) for trade in trades],
        "fees": [round(float(trade.fees_quote), 2) for trade in trades],
        "funding": [round(float(trade.funding_quote), 2) for trade in trades],
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100.0 * value, 2)


# Bars without a position


@dataclass(frozen=True, slots=True)
class _Reason:
    text: str
    bars: int
    share: float


@dataclass(frozen=True, slots=True)
class _WhyFlat:
    """Bars without a position by reason: for a run without trades, the explanation."""

    title: str
    note: str
    reasons: list[_Reason]
    most: int


def _why_flat(run: ReportData) -> _WhyFlat | None:
    total = sum(run.flat_bars.values())
    if not total:
        return None
    ranked = sorted(run.flat_bars.items(), key=lambda item: -item[1])
    reasons = [_Reason(flat_words(name), n, n / total) for name, n in ranked]
    return _WhyFlat(
        title="Bars without a position" if run.trades else "Why there was no trade",
        note="" if run.trades else f"Most often {reasons[0].text}.",
        reasons=reasons,
        most=reasons[0].bars,
    )


# Identity


def _origin(who: Identity) -> list[tuple[str, object]]:
    """List what it takes to get the same numbers again."""
    facts: list[tuple[str, object]] = [
        ("Strategy", who.strategy or None),
        *((f"Parameter {name}", value) for name, value in who.params.items()),
        ("Model", who.model_hash),
        ("Model drift at the end", who.drift),
        ("Model trained to", f"{when(who.trained_to_ms)} UTC" if who.trained_to_ms is not None else None),
        ("Form", who.form),
        ("Fee", f"{who.fee_bps:g} bps a side" if who.fee_bps is not None else None),
        ("Slippage", f"{who.slippage_bps:g} bps a side" if who.slippage_bps is not None else None),
        ("Funding", who.funding_source),
        ("Path within a bar", who.intrabar),
        ("Limit orders", who.limit_fills),
        ("Liquidation by", who.liquidation_basis),
        ("Seed", who.seed),
        ("Settings", who.settings_hash),
        ("Fills", who.fills_sha256),
        *(("Version of " + name, version) for name, version in who.versions.items()),
    ]
    return [(name, value) for name, value in facts if value is not None]
