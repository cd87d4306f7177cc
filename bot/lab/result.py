"""The result of a backtest, and how a notebook shows it."""

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.app.places import check_writable
from bot.app.runs.notes import refusal_lines, risk_lines
from bot.app.runs.results import record, report_data, write_report
from bot.app.runs.stress import Stress
from bot.app.state.tables import Kept, of_backtest, to_arrow
from bot.app.wiring import RunPlan
from bot.lab.calling import one_line, path_of
from bot.metrics import Metrics
from bot.service.backtest.run import Result
from bot.service.moments import minute_cell, minute_words
from bot.web.figure import Figure, figure_of
from bot.web.numbers import describe, show

if TYPE_CHECKING:
    import pyarrow as pa

_HEADLINES = ("total_return", "cagr", "sharpe", "sortino", "max_drawdown", "exposure")


class BacktestResult:
    """What a backtest came to. Tables are Arrow; ``.to_pandas()`` of each gives a DataFrame.

    Money columns are ``decimal256(58, 18)``: exact, but average prices are rounded to 18 decimals; pandas
    shows them as ``Decimal``. Times are ms since 1970, UTC.
    """

    def __init__(self, plan: RunPlan, result: Result, stress: Stress | None = None) -> None:
        self._plan = plan
        self._result = result
        self._stress = stress

    @property
    def metrics(self) -> Metrics:
        """Figures of the run, with a model of unseen bars only; fractions, not percent; None: undefined."""
        return self._result.unseen.metrics

    @property
    def buy_and_hold(self) -> Metrics:
        """The same figures of buy and hold."""
        return self._result.unseen.buy_and_hold

    @property
    def in_sample(self) -> Metrics | None:
        """Figures of the part that the model was trained on; None if there is none."""
        part = self._result.in_sample
        return None if part is None else part.metrics

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know to judge the figures: a halt, what limits did and refused, and doubts."""
        found = self._result
        return (*risk_lines(found), *refusal_lines(found), *found.warnings)

    @property
    def fills_sha256(self) -> str:
        """Hash of the ordered fills: the same decisions have the same hash, here and on the command line."""
        return self._result.digest

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Everything that ``bot backtest --json`` prints, by the same names."""
        told = {**self._result.numbers(), **record("backtest", self._plan)}
        return told if self._stress is None else told | {"stress": self._stress.told()}

    @property
    def stress(self) -> Stress | None:
        """The runs under stress and the tests of luck, of ``backtest(…, stress=True)``."""
        return self._stress

    @cached_property
    def table(self) -> "pa.Table":
        """One row a figure of ``metrics``: its name, its value, and that of buy and hold; null: undefined."""
        import pyarrow as pa

        own = self.metrics
        both = {"strategy": own, "buy_and_hold": self.buy_and_hold}
        columns: dict[str, Any] = {"figure": list(own)}
        for who, values in both.items():
            columns[who] = pa.array([values.get(name) for name in own], pa.float64())
        return pa.table(columns)

    @cached_property
    def trades(self) -> "pa.Table":
        """Closed trades, flat to flat: prices, result, costs, reasons, best and worst price."""
        return self._table("trades")

    @cached_property
    def fills(self) -> "pa.Table":
        """Every execution."""
        return self._table("fills")

    @cached_property
    def orders(self) -> "pa.Table":
        """Every order that was sent, what was filled of it, and how it ended."""
        return self._table("orders")

    @cached_property
    def equity(self) -> "pa.Table":
        """At each close: the account's value, the net value held, and the value of buy and hold, in USDT."""
        return self._table("equity")

    @cached_property
    def funding(self) -> "pa.Table":
        """Every settlement: received > 0, paid < 0."""
        return self._table("funding")

    def report(self, path: str | Path) -> Path:
        """Write the HTML report, one file that needs no network, and return its path.

        Raises:
            BadUsage: the file cannot be written.
        """
        return _write(self, path)

    def plot(self) -> Figure:
        """Return equity beside buy and hold, drawdown, and price with fills: a drawing that a notebook shows.

        ``result.plot().save("run.svg")`` writes it.
        """
        return figure_of(report_data(self._plan, self._result))

    def _table(self, what: Kept) -> "pa.Table":
        return to_arrow(of_backtest(self._result, what))

    # How a terminal and a notebook show it

    def __repr__(self) -> str:
        rows = [("", "strategy", "buy and hold"), *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{name:{widths[0]}}  {own:>{widths[1]}}  {hold:>{widths[2]}}" for name, own, hold in rows]
        notes = [f"note: {warning}" for warning in self.warnings]
        return "\n".join([self._head(), *lines, self._costs(), *notes])

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align:left;font-weight:normal">{escape(name)}</th>'
            f'<td style="text-align:right"><b>{escape(own)}</b></td>'
            f'<td style="text-align:right">{escape(hold)}</td></tr>'
            for name, own, hold in self._rows()
        )
        notes = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        return (
            f'<div style="max-width:900px"><p><b>{escape(self._head())}</b></p>'
            f"<table><thead><tr><th></th><th>strategy</th><th>buy and hold</th></tr></thead>"
            f"<tbody>{cells}</tbody></table><p>{escape(self._costs())}</p>"
            + (f"<ul>{notes}</ul>" if notes else "")
            + f"{self.plot()._repr_html_()}</div>"
        )

    def _head(self) -> str:
        numbers, plan = self.numbers, self._plan
        symbols = ", ".join(plan.history.symbols)
        span = f"{minute_cell(numbers['first_ms'])} to {minute_words(numbers['last_ms'])}"
        unseen = "; figures of unseen bars only" if self._result.in_sample is not None else ""
        return f"{plan.strategy_name} on {symbols}: {numbers['bars']:,} bars, {span}{unseen}"

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            (
                describe(name).label,
                show(self.metrics.get(name), describe(name).kind),
                show(self.buy_and_hold[name], describe(name).kind) if name in self.buy_and_hold else "",
            )
            for name in _HEADLINES
        ]

    def _costs(self) -> str:
        told = self.numbers
        return (
            f"{told['trades']:,} trades, net {told['net_pnl']:,.2f}, fees {told['fees']:,.2f}, slippage "
            f"{told['slippage']:,.2f}, funding {told['funding']:,.2f} USDT; fills {self.fills_sha256[:12]}"
        )


@one_line
def _write(result: BacktestResult, path: str | Path) -> Path:
    path = path_of(path, "path")
    check_writable(path, "report")
    write_report(path, result._plan, result._result, stressed=result._stress)
    return path
