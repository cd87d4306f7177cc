"""One run to one HTML page that needs nothing else: no network, no fonts, readable without scripts.

``ReportData`` is what a run hands over, ``render`` the page, ``render_comparison`` several runs side by
side. A section whose data is missing is left out. All text from outside is escaped on its way in.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from bot import metrics
from bot.metrics import Metrics, Trade
from bot.web import charts
from bot.web.charts import Layer, TimeChart
from bot.web.curves import EQUITY_POINTS, curves, prices_with_fills
from bot.web.numbers import METRICS, MISSING, describe, estimate, lasted, price, quantity, show, when
from bot.web.run import DataFile, Identity, ReportData, after_training, in_sample_to, judged

LISTED_TRADES = 40
"""Up to so many trades are listed in full, of more the best, the worst and the last."""


def render(run: ReportData) -> str:
    """The page of one run."""
    sections = [
        _header(run),
        _tiles(run),
        _caution_list(cautions(run)),
        _why_flat(run) if not run.trades else "",
        _section("Equity", curves(run)),
        _section("Price and fills", *prices_with_fills(run)),
        _metric_tables(run),
        _returns(run),
        _costs(run),
        _trades(run),
        _per_symbol(run),
        _forecast(run),
        _folds(run),
        _why_flat(run) if run.trades else "",
        _identity(run.identity),
    ]
    return _page(run.identity.title, sections)


def render_comparison(runs: Sequence[ReportData]) -> str:
    """Several runs on one page: growth of each on one axis, and their figures side by side."""
    names = [run.identity.title for run in runs]
    growths = [
        Layer(
            name, charts.bin_values(run.ts_ms, run.equity / run.equity[0] - 1.0, EQUITY_POINTS), f"run{i % 6}"
        )
        for i, (name, run) in enumerate(zip(names, runs, strict=True))
        if len(run.ts_ms)
    ]
    chart = TimeChart(title="Return", unit="percent", layers=growths, height=300, zero=True)
    spans = [run.ts_ms for run in runs if len(run.ts_ms)]
    drawn = (
        charts.time_chart(chart, min(int(t[0]) for t in spans), max(int(t[-1]) for t in spans))
        if spans
        else ""
    )
    title = "Comparison of " + ", ".join(names)
    sections = [
        f'<header><p><span class="badge">comparison</span></p><h1>{escape(title)}</h1></header>',
        _caution_list([f"{run.identity.title}: {text}" for run in runs for text in cautions(run)]),
        _section("Growth", drawn),
        _section("Figures", _columns(names, [run.metrics for run in runs])),
        *(_identity(run.identity, f"To run it again: {run.identity.title}") for run in runs),
    ]
    return _page(title, sections)


# The page


def _page(title: str, sections: Iterable[str]) -> str:
    """One document with its own styles and script; the policy forbids loading anything."""
    here = files("bot.web")
    style, script = (here.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{charts.marker_shapes()}<main>{''.join(filter(None, sections))}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _section(title: str, body: str, note: str = "") -> str:
    """A titled part of the page; nothing if ``body`` is empty."""
    if not body:
        return ""
    aside = f'<p class="lead">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{aside}{body}</section>"


def _header(run: ReportData) -> str:
    who = run.identity
    badges = [who.mode]
    if in_sample_to(run) is not None:
        badges.append("partly in-sample" if after_training(run).any() else "in-sample")
    symbols = ", ".join(dict.fromkeys([p.symbol for p in run.prices] or [f.symbol for f in who.files]))
    span = f"{when(int(run.ts_ms[0]))} – {when(int(run.ts_ms[-1]))} UTC" if len(run.ts_ms) else "no bars"
    facts = " · ".join(escape(fact) for fact in (who.strategy, symbols, span) if fact)
    tags = "".join(f'<span class="badge">{escape(badge)}</span>' for badge in badges)
    return f"<header><p>{tags}</p><h1>{escape(who.title)}</h1><p>{facts}</p><p>{_verdict(run)}</p></header>"


def _verdict(run: ReportData) -> str:
    """The result in one sentence, with what doing nothing clever would have given."""
    figures, hold = run.metrics, run.hold_metrics.get("total_return")
    if not len(run.equity):
        return "The run saw no bar that it could act on."
    net = show(figures.get("net_pnl"), "money", signed=True)
    share = show(figures.get("total_return"), "percent", signed=True)
    trades = figures.get("trades")
    start = show(float(judged(run)[1][0]), "money")
    text = f"<b>{net}</b> ({share}) on {start} after all costs"
    text += f", in {trades:,} trades." if trades else ", without a trade."
    return text + (f" Buy and hold: {show(hold, 'percent', signed=True)}." if hold is not None else "")


_TILES: tuple[tuple[str, str], ...] = (
    ("total_return", "cagr"),
    ("sharpe", "sortino"),
    ("max_drawdown", "max_drawdown_days"),
    ("trades", "win_rate"),
    ("profit_factor", "expectancy"),
    ("exposure", "turnover"),
)


def _tiles(run: ReportData) -> str:
    """Six headline numbers, each with a second one and the same of buy and hold."""
    tiles = []
    for name, second in _TILES:
        if name not in run.metrics:
            continue
        big, small = describe(name), describe(second)
        lines = f"{small.label} {show(run.metrics.get(second), small.kind)}"
        hold = run.hold_metrics.get(name)
        against = f"<span>hold {show(hold, big.kind)}</span>" if hold is not None else ""
        tiles.append(
            f'<div class="tile"><span>{big.label}</span><b>{show(run.metrics[name], big.kind)}</b>'
            f"<span>{lines}</span>{against}</div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


# Warnings


def cautions(run: ReportData) -> list[str]:
    """Reasons to doubt the result: what the run said itself, then what its numbers say."""
    return [*run.warnings, *_about_data(run), *_about_luck(run)]


def _caution_list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return (
        f'<section class="cautions"><h2>Before you believe it</h2><ul>{items}</ul></section>' if items else ""
    )


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
    if 0 < days < 30:
        out.append(f"Few days: {days}. Annual figures of so short a run are extrapolations.")
    good = [("sharpe", 3.0), ("profit_factor", 3.0), ("win_rate", 0.8)]
    high = [describe(name) for name, limit in good if trades and (figures.get(name) or 0.0) > limit]
    if high:
        names = ", ".join(metric.label for metric in high)
        out.append(f"Too good to be true ({names}): look for a leak or for missing costs first.")
    trials = run.identity.trials
    if trials is not None and trials > 1:
        chance = show(figures.get("deflated_sharpe"), "percent")
        out.append(
            f"Number of trials: {trials:,} settings were tried and this is one of them. "
            f"Chance that its Sharpe ratio is more than the best of {trials:,} lucky ones: {chance}."
        )
    return out


# Tables


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "") -> str:
    """A table of ready-made cells; the first column holds names, the others numbers."""
    return _grouped_table(head, [("", rows)], style=style)


def _grouped_table(
    head: Sequence[str], groups: Iterable[tuple[str, Iterable[Sequence[str]]]], *, style: str
) -> str:
    """A table in parts, each under its name."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    bodies = ""
    for name, rows in groups:
        title = f'<tr><th class="group" colspan="{len(head)}">{name}</th></tr>' if name else ""
        bodies += f"<tbody>{title}{''.join(map(_row, rows))}</tbody>"
    table = f'<table class="{style}"><thead><tr>{heads}</tr></thead>{bodies}</table>'
    return f'<div class="wide">{table}</div>'


def _row(cells: Sequence[str]) -> str:
    numbers = "".join(f"<td>{cell}</td>" for cell in cells[1:])
    return f'<tr><th scope="row">{cells[0]}</th>{numbers}</tr>'


def _columns(names: Sequence[str], columns: Sequence[Metrics], keys: Sequence[str] = ()) -> str:
    """Metrics side by side, one row for each that a column has (of ``keys``, or of all)."""
    known = keys or [*METRICS, *(key for column in columns for key in column if key not in METRICS)]
    rows = []
    for key in dict.fromkeys(key for key in known if any(key in column for column in columns)):
        metric = describe(key)
        label = f'<span title="{escape(metric.meaning)}">{escape(metric.label)}</span>'
        rows.append([label, *(show(c[key], metric.kind) if key in c else "" for c in columns)])
    return _table(["", *(escape(name) for name in names)], rows, style="figures") if rows else ""


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
)


def _metric_tables(run: ReportData) -> str:
    """All figures: risk beside buy and hold, then trades and activity."""
    names, columns = ["strategy"], [run.metrics]
    if run.hold_metrics:
        names, columns = [*names, "buy and hold"], [*columns, run.hold_metrics]
    if run.in_sample is not None:
        names, columns = [*names, "in-sample part"], [*columns, run.in_sample]
    own = [(n, c) for n, c in zip(names, columns, strict=True) if n != "buy and hold"]
    rest = [key for column in columns for key in [*METRICS, *column] if key not in _RISK]
    tables = _columns(names, columns, _RISK) + _columns([n for n, _ in own], [c for _, c in own], rest)
    note = "Daily returns, a year of 365 days; money in quote. – means undefined."
    return _section("Figures", f'<div class="pair">{tables}</div>' if tables else "", note)


def _returns(run: ReportData) -> str:
    """Months and the distribution of days, of the part that figures are made of."""
    ts_ms, equity = judged(run)
    months = metrics.monthly_returns(ts_ms, equity)
    daily = metrics.simple_returns(metrics.daily_equity(ts_ms, equity)[1])
    body = f'<div class="wide">{charts.heat_table(months)}</div>' if months else ""
    if len(daily) >= 5 and np.ptp(daily) > 0.0:
        body += charts.histogram(daily, title="Distribution of daily returns")
    return _section("Returns", body, "Monthly, in percent, by UTC month.")


def _costs(run: ReportData) -> str:
    """From the result before costs to the net result, each step with a bar."""
    net, fees, slippage, funding = (run.metrics.get(k) for k in ("net_pnl", "fees", "slippage", "funding"))
    if net is None or fees is None or slippage is None or funding is None or not run.fills:
        return ""
    steps = [
        ("Before costs", net + fees + slippage - funding),
        ("Fees", -fees),
        ("Slippage", -slippage),
        ("Funding", funding),
        ("Net result", net),
    ]
    largest = max(abs(value) for _, value in steps) or 1.0
    traded = run.metrics.get("traded_notional")
    rows = [
        [name, show(value, "money", signed=True), _bps(value, traded), _bar(value, largest)]
        for name, value in steps
    ]
    note = "Slippage is half-spread and impact, already within the fill prices. bps are of the value traded."
    return _section("Costs", _table(["", "quote", "bps", ""], rows, style="bars"), note)


def _bps(value: float, traded: float | None) -> str:
    return f"{1e4 * value / traded:+.2f}".replace("-", "−") if traded else MISSING


def _bar(value: float, largest: float) -> str:
    share = 100.0 * abs(value) / largest
    return f'<i class="bar {"loss" if value < 0 else "gain"}" style="width:{share:.1f}%"></i>'


_TRADE_HEAD = (
    "Entry (UTC)",
    "Symbol",
    "Side",
    "Held",
    "Quantity",
    "Entry price",
    "Exit price",
    "Net, quote",
    "Net, %",
    "Worst, %",
    "Best, %",
    "Fees",
    "Funding",
)


def _trades(run: ReportData) -> str:
    """All trades, or of many the best, the worst and the last; with how far each went both ways."""
    trained_to = run.identity.trained_to_ms if after_training(run).any() else None
    trades = [trade for trade in run.trades if trained_to is None or trade.entry_ms >= trained_to]
    if not trades:
        return ""
    groups = [("", trades)]
    if len(trades) > LISTED_TRADES:
        ranked = sorted(trades, key=lambda trade: trade.pnl_quote)
        last = f"Last 12 of {len(trades):,}"
        groups = [("8 best", ranked[:-9:-1]), ("8 worst", ranked[:8]), (last, trades[-12:])]
    rows = [(name, map(_trade_row, group)) for name, group in groups]
    body = _grouped_table(_TRADE_HEAD, rows, style="trades")
    note = "Flat to flat, net of fees, with funding. Worst and best: prices met while open, from the entry."
    if len(trades) < len(run.trades):
        note += f" {len(run.trades) - len(trades):,} in-sample trades are left out."
    return _section("Trades", body, note)


def _trade_row(trade: Trade) -> list[str]:
    tint = "loss" if trade.pnl_quote < 0 else "gain"
    return [
        when(trade.entry_ms),
        escape(trade.symbol),
        "long" if trade.side == "Buy" else "short",
        lasted(trade.exit_ms - trade.entry_ms),
        quantity(trade.qty),
        price(float(trade.entry_price)),
        price(float(trade.exit_price)),
        f'<b class="{tint}">{show(float(trade.pnl_quote), "money", signed=True)}</b>',
        show(trade.return_frac, "percent", signed=True),
        show(trade.mae_frac, "percent", signed=True),
        show(trade.mfe_frac, "percent", signed=True),
        show(float(trade.fees_quote), "money"),
        show(float(trade.funding_quote), "money", signed=True),
    ]


def _per_symbol(run: ReportData) -> str:
    """One row a symbol, one column a figure."""
    if len(run.per_symbol) < 2 or not run.trades:
        return ""
    keys = list(dict.fromkeys(key for figures in run.per_symbol.values() for key in figures))
    metric = {key: describe(key) for key in keys}
    rows = [
        [escape(symbol), *(show(figures.get(key), metric[key].kind) for key in keys)]
        for symbol, figures in run.per_symbol.items()
    ]
    return _section("Per symbol", _table(["", *(escape(metric[key].label) for key in keys)], rows))


def _forecast(run: ReportData) -> str:
    """Skill beside the baselines, and whether a forecast of so much is followed by so much."""
    keys = list(dict.fromkeys(key for figures in run.forecast.values() for key in figures))
    rows = [
        [escape(model), *(estimate(figures.get(key)) for key in keys)]
        for model, figures in run.forecast.items()
    ]
    body = _table(["", *map(escape, keys)], rows) if rows else ""
    pairs = [(f, r) for f, r in run.calibration if f > 0.0 and r > 0.0]
    if len(pairs) > 1:
        note = "realised (up) over forecast (across), means of bins; the diagonal is perfect"
        body += charts.calibration(pairs, title="Calibration of the volatility forecast", note=note)
    return _section("Forecast quality", body, "Brackets: 95 % interval from a bootstrap over days.")


def _folds(run: ReportData) -> str:
    keys = list(dict.fromkeys(key for fold in run.folds for key in fold))
    rows = [[str(i + 1), *(_plain(fold.get(key)) for key in keys)] for i, fold in enumerate(run.folds)]
    return _section("Walk-forward folds", _table(["", *map(escape, keys)], rows) if rows else "")


def _plain(value: object) -> str:
    return show(value, "number") if isinstance(value, float) else escape(str(value))


FLAT_REASONS = {
    "cost": "the expected gain was below the cost of a round trip",
    "no_signal": "the strategy had no signal",
    "warmup": "features or model were still warming up",
    "gap": "bars were missing",
    "risk": "risk refused the order",
    "halted": "the breaker had stopped trading",
    "no_forecast": "there was no forecast",
}
"""What a reason of ``flat_bars`` means; others are shown as they are."""


def _why_flat(run: ReportData) -> str:
    """Bars without a position by reason: for a run without trades, the explanation."""
    total = sum(run.flat_bars.values())
    if not total:
        return ""
    ranked = sorted(run.flat_bars.items(), key=lambda item: -item[1])
    rows = [
        [
            escape(FLAT_REASONS.get(name, name)),
            f"{n:,}",
            show(n / total, "percent"),
            _bar(float(n), float(ranked[0][1])),
        ]
        for name, n in ranked
    ]
    title = "Bars without a position" if run.trades else "Why there was no trade"
    note = "" if run.trades else f"Most often {FLAT_REASONS.get(ranked[0][0], ranked[0][0])}."
    return _section(title, _table(["", "bars", "share", ""], rows, style="bars"), note)


# Identity


def _identity(who: Identity, title: str = "To run it again") -> str:
    """What it takes to get the same numbers again."""
    facts: list[tuple[str, object]] = [
        ("Strategy", who.strategy or None),
        *((f"Parameter {name}", value) for name, value in who.params.items()),
        ("Model", who.model_hash),
        ("Model trained to", f"{when(who.trained_to_ms)} UTC" if who.trained_to_ms is not None else None),
        ("Form", who.form),
        ("Fee", f"{who.fee_bps:g} bps a side" if who.fee_bps is not None else None),
        ("Slippage", f"{who.slippage_bps:g} bps a side" if who.slippage_bps is not None else None),
        ("Funding", who.funding_source),
        ("Path within a bar", who.intrabar),
        ("Liquidation by", who.liquidation_basis),
        ("Seed", who.seed),
        ("Trials", who.trials),
        ("Settings", who.settings_hash),
        ("Fills", who.fills_sha256),
        *(("Version of " + name, version) for name, version in who.versions.items()),
    ]
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts if value is not None
    )
    return _section(title, f"<dl>{rows}</dl>{_files(who.files)}")


def _files(data: Sequence[DataFile]) -> str:
    rows = [
        [
            escape(file.path),
            escape(file.symbol),
            escape(file.interval),
            f"{file.bars:,}",
            when(file.first_ms),
            when(file.last_ms),
            f"<code>{escape(file.sha256)}</code>",
        ]
        for file in data
    ]
    head = ["Data", "Symbol", "Bar", "Bars", "First (UTC)", "Last (UTC)", "SHA-256"]
    return _table(head, rows, style="files") if rows else ""
