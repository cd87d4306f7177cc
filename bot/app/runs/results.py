"""The result of a finished run: figures, warnings, the record for programs, the HTML report."""

import platform
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import bot
from bot.adapters.files.candles import Candles
from bot.adapters.files.whole import write_text
from bot.app.runs.notes import limit_fill_words, refusal_lines, risk_lines, run_warnings
from bot.app.wiring import RunPlan
from bot.domain.market import interval_name
from bot.service.backtest.run import Result, Run, measure
from bot.service.views.status import drift_words
from bot.web.report import render
from bot.web.run import DataFile, Identity, PriceSeries, ReportData, Robustness, StressedRun

if TYPE_CHECKING:
    from bot.app.runs.stress import Stress


_PLAIN = (str, int, float, Decimal, type(None))


def conclude(plan: RunPlan, run: Run) -> Result:
    """Measure a finished run of a plan, on the bars it traded."""
    traded = [each.between(plan.start_ms, plan.end_ms) for each in plan.history.candles]
    return measure(
        run,
        traded,
        trained_to_ms=plan.trained_to_ms,
        funding=plan.history.funding,
        warnings=run_warnings(plan, run),
    )


def identity(plan: RunPlan) -> dict[str, object]:
    """Return what a run was made of, for the JSON record."""
    return {
        "version": bot.__version__,
        "strategy": plan.strategy_name,
        "params": {
            name: value if isinstance(value, _PLAIN) else repr(value) for name, value in plan.params.items()
        },
        "settings_hash": plan.settings.hash,
        "model_hash": plan.model.hash if plan.model is not None else None,
        "trained_to_ms": plan.trained_to_ms,
        "form": plan.form,
        "seed": plan.settings.seed,
        "data": [
            {
                "symbol": each.symbol,
                "interval": interval_name(each.interval_ms),
                "bars": len(each),
                "first_ms": each.first_ms,
                "end_ms": each.end_ms,
                "sha256": each.sha256,
            }
            for each in plan.history.candles
        ],
        "funding_symbols": sorted(each.symbol for each in plan.history.funding),
    }


def record(kind: Literal["backtest", "sweep", "walkforward"], plan: RunPlan) -> dict[str, object]:
    """Return what a result says of itself in its JSON: its kind, what it was made of, and its costs."""
    spreads = {symbol: float(10_000 * plan.terms.half_spread_frac(symbol)) for symbol in plan.history.symbols}
    set_costs = {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in plan.settings.costs.model_dump().items()
    }
    return {
        "kind": kind,
        **identity(plan),
        "costs": {**set_costs, "impact_frac": plan.terms.impact_frac, "half_spread_bps": spreads},
    }


def write_report(
    path: Path, plan: RunPlan, result: Result, mode: str = "backtest", *, stressed: "Stress | None" = None
) -> None:
    """Write one self-contained HTML file; missing folders are made.

    Raises:
        NotWritten: the place cannot be written.
    """
    write_text(path, render(report_data(plan, result, mode, stressed=stressed)))


def _funding_source(plan: RunPlan) -> str:
    if all(each.market == "spot" for each in plan.history.candles):
        return "spot pays none"
    funded = [each.symbol for each in plan.history.funding]
    return f"settled rates of {', '.join(funded)}" if funded else "none"


def report_data(
    plan: RunPlan, result: Result, mode: str = "backtest", *, stressed: "Stress | None" = None
) -> ReportData:
    """Return the data of the report."""
    whole, run = result.whole, result.run
    slippage = plan.settings.costs.slippage_bps
    spreads = [float(10_000 * plan.terms.half_spread_frac(symbol)) for symbol in plan.history.symbols]
    return ReportData(
        identity=Identity(
            title=f"{plan.strategy_name} on {', '.join(plan.history.symbols)}",
            mode=mode,
            strategy=plan.strategy_name,
            params=plan.params,
            settings_hash=plan.settings.hash,
            files=data_files(result.candles),
            seed=plan.settings.seed,
            versions={"bot": bot.__version__, "python": platform.python_version()},
            fee_bps=float(plan.settings.costs.taker_bps),
            slippage_bps=float(slippage) if slippage is not None else sum(spreads) / len(spreads),
            model_hash=plan.model.hash if plan.model is not None else None,
            drift=_drift(run),
            trained_to_ms=plan.trained_to_ms,
            form=plan.form if plan.model is not None else None,
            intrabar=plan.intrabar,
            limit_fills=limit_fill_words(plan.terms),
            liquidation_basis=", ".join(sorted(set(run.venue.liquidation_on.values()))),
            funding_source=_funding_source(plan),
            fills_sha256=result.digest,
        ),
        ts_ms=whole.ts_ms,
        equity=whole.equity,
        metrics=result.unseen.metrics,
        hold_equity=whole.hold,
        hold_metrics=result.unseen.buy_and_hold,
        in_sample=result.in_sample.metrics if result.in_sample is not None else None,
        notional=whole.notional,
        prices=[
            PriceSeries(
                symbol=each.symbol,
                interval_ms=each.interval_ms,
                start_ms=each.start_ms,
                ohlc=each.ohlcv[:, :4],
            )
            for each in result.candles
        ],
        fills=run.tape.fills,
        trades=result.trades,
        flat_bars=result.flat_bars,
        warnings=[*refusal_lines(result), *result.warnings],
        notices=risk_lines(result),
        judged_to_ms=result.unseen.to_ms if result.halt is not None else None,
        robustness=None if stressed is None else _robustness(stressed),
    )


def data_files(candles: Sequence[Candles]) -> list[DataFile]:
    """Return what a page says of the candles that a result is made of."""
    return [
        DataFile(
            path=Path(each.path).name,
            symbol=each.symbol,
            interval=interval_name(each.interval_ms),
            bars=len(each),
            first_ms=each.first_ms,
            last_ms=each.end_ms - each.interval_ms,
            sha256=each.sha256,
        )
        for each in candles
    ]


def _drift(run: Run) -> str | None:
    watches = [each.drift for each in run.engine.state.forecasters.values()]
    return next((drift_words(each) for each in watches if each is not None), None)


def _robustness(stressed: "Stress") -> Robustness:
    runs = [
        StressedRun(each.name, each.total_return, each.sharpe, each.max_drawdown, each.trades, each.halted)
        for each in stressed.variants
    ]
    return Robustness(runs, stressed.words)
