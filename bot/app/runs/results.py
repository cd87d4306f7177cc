"""The result of a finished run: figures, warnings, the record for programs, the HTML report."""

import platform
from pathlib import Path

import bot
from bot.adapters.files.candles import Candles, Funding
from bot.app.wiring import RunPlan
from bot.domain.market import interval_name
from bot.engine.state import SymbolState
from bot.risk.breaker import Breaker, Cause
from bot.risk.words import words_of
from bot.service.backtest import Result, Run, measure
from bot.service.moments import minute_words
from bot.web.report import render
from bot.web.run import DataFile, Identity, PriceSeries, ReportData


def conclude(plan: RunPlan, run: Run) -> Result:
    """Measure a finished run of a plan, on the bars it traded."""
    traded = [each.between(plan.start_ms, plan.end_ms) for each in plan.history.candles]
    return measure(
        run,
        traded,
        trained_to_ms=plan.model.trained_to_ms if plan.model is not None else None,
        funding=plan.history.funding,
        warnings=_warnings(plan, run),
    )


def _warnings(plan: RunPlan, run: Run) -> list[str]:
    """Return what a reader must know to judge the figures."""
    told = list(plan.warnings)
    spot = [each.symbol for each in plan.history.candles if each.market == "spot"]
    if spot:
        told.append(
            f"spot: {', '.join(spot)} is never sold short, is bought with the account's own money alone, "
            "and pays no funding; quantity and price steps are those of the perpetual"
        )
    paid = {each.symbol for each in plan.history.funding} | set(spot)
    unfunded = [symbol for symbol in plan.history.symbols if symbol not in paid]
    if unfunded:
        told.append(f"funding: none for {', '.join(unfunded)}; holding cost nothing and earned nothing")
    for rates in plan.history.funding:
        told += [_known(rates) for each in plan.history.candles if not _covers(plan, rates, each)]
    flat = {reason for sym in run.engine.state.symbols.values() for reason in sym.flat_bars}
    if flat == {"cold"} and not run.tape.fills:
        told.append(f"{plan.strategy_name} was warming up in every bar and decided nothing; give more bars")
    told += [
        _below_minimum(sym) for sym in run.engine.state.symbols.values() if sym.flat_bars["below_minimum"]
    ]
    held = [sym.symbol for sym in run.engine.state.symbols.values() if sym.position_base]
    if held:
        told.append(f"stopped with open positions in {', '.join(held)}, valued at the last close")
    on_last = [symbol for symbol, basis in run.venue.liquidation_on.items() if basis == "last"]
    if on_last:
        told.append(f"liquidation looks at last prices, not mark prices, for {', '.join(on_last)}")
    if plan.intrabar == "worst":
        told.append("a stress: inside each bar prices went against open positions first")
    facts = run.venue.facts
    for count, what in (
        (facts.detail_missing_bars, "bars had no complete finer candles and used their own path"),
        (facts.detail_mismatch_bars, "bars disagreed with their finer candles and used their own path"),
        (facts.mark_missing_bars, "bars with a position had no mark candle"),
        (facts.liquidations, "liquidations"),
        (facts.bankruptcies, "liquidations left the wallet below zero"),
    ):
        if count:
            told.append(f"{count} {what}")
    told += _held_back(run)
    last_ms = max(candles.end_ms for candles in plan.history.candles)
    for candles in plan.history.candles:
        told += candles.warnings
        if candles.end_ms + candles.interval_ms < min(last_ms, plan.end_ms or last_ms):
            ended = f"{candles.symbol}: candles end at {minute_words(candles.end_ms)}, before the others'"
            told.append(f"{ended}; what was held then kept its last price to the end")
        holes = candles.gaps()
        if holes:
            longest = max(bars for _, _, bars in holes)
            told.append(f"{candles.symbol}: {len(holes)} holes in the candles, the longest of {longest} bars")
    return told


def _held_back(run: Run) -> list[str]:
    """Return what kept the run from entering at its end, since when, and with which numbers."""
    state = run.engine.state
    breaker = state.breaker
    if breaker.state == "active":
        return []
    causes = breaker.halting if breaker.state == "halted" else breaker.reducing
    since = [minute_words(state.causes_ms[each]) for each in causes if each in state.causes_ms]
    words = "; ".join(_cause_words(each, breaker) for each in causes)
    began = f" from {min(since)} on" if since else ""
    return [f"risk: no entries{began}, to the end of the run ({breaker.state}): {words}"]


def _cause_words(cause: str, breaker: Breaker) -> str:
    """Return a cause in words; of a loss its limit alone, because the equity has moved on since."""
    limits = breaker.limits
    match Cause.of(cause):
        case Cause.DRAWDOWN:
            return f"a drawdown beyond {limits.max_drawdown_frac} (risk.max_drawdown_frac)"
        case Cause.DAILY_LOSS:
            return f"a loss of one day beyond {limits.max_daily_loss_frac} (risk.max_daily_loss_frac)"
        case _:
            return words_of(cause, breaker)


def _below_minimum(sym: SymbolState) -> str:
    """Say how often a wanted position was too small to be ordered, and what the least order is."""
    rules, bars = sym.instrument, sym.flat_bars["below_minimum"]
    worth = float(rules.min_qty) * sym.view.bar.close
    return (
        f"{sym.symbol}: in {bars:,} bars the position wanted was below the contract's minimum, "
        f"{rules.min_qty.normalize():f} ({worth:,.2f} USDT at the last close) and "
        f"{rules.min_notional_quote.normalize():f} USDT; ask for more, or give more equity"
    )


def risk_lines(result: Result) -> list[str]:
    """Return what limits did to the run, or would have done, in words: the first lines of every result."""
    noted = [_noted_words(each) for each in result.limits_noted if each["forces"] != "halted"]
    if result.run.observer is not None:
        would = [_noted_words(each) for each in result.limits_noted]
        return [f"risk only observed; no limit acted{':' if would else ', and none would have'}", *would]
    if result.halt is None:
        return noted
    halt, bars = result.halt, result.unseen.bars
    bound = f" ({halt.setting})" if halt.setting is not None else ""
    held = ", ".join(sym for sym in result.held_at_halt)
    kept = f"; positions in {held} stayed open with their stops (risk.on_halt)" if held else ""
    return [
        f"halted by risk at {minute_words(halt.ts_ms)}: {halt.words}{bound}",
        f"the figures end there, with {bars:,} bars of {result.bars:,}{kept}; "
        "`bot backtest --risk observe` goes on and says when each limit would have acted",
        *noted,
    ]


def _noted_words(each: dict[str, object]) -> str:
    """Return one row of ``Result.limits_noted`` in words."""
    does = {"halted": "halts", "reducing": "stops entries", "refused": "refuses the entry"}[
        str(each["forces"])
    ]
    bound = each["setting"] or each["limit"]
    return (
        f"{bound} {does}: {each['count']:,} times, first {minute_words(int(str(each['first_ms'])))}: "
        f"{each['words']}"
    )


def _covers(plan: RunPlan, rates: Funding, candles: Candles) -> bool:
    """True if the known rates cover every settlement of these candles."""
    if candles.symbol != rates.symbol:
        return True
    traded = candles.between(plan.start_ms, plan.end_ms)
    period_ms = plan.instruments[rates.symbol].funding_interval_ms
    first_ms, last_ms = int(rates.start_ms[0]), int(rates.start_ms[-1])
    return first_ms <= traded.first_ms + period_ms and traded.end_ms <= last_ms + period_ms


def _known(rates: Funding) -> str:
    begin, end = minute_words(int(rates.start_ms[0])), minute_words(int(rates.start_ms[-1]))
    return f"funding: {rates.symbol} has rates from {begin} to {end} only; outside, holding cost nothing"


def identity(plan: RunPlan) -> dict[str, object]:
    """Return what a run was made of, for the JSON record."""
    return {
        "version": bot.__version__,
        "strategy": plan.strategy_name,
        "params": dict(plan.params),
        "settings_hash": plan.settings.hash,
        "model_hash": plan.model.hash if plan.model is not None else None,
        "trained_to_ms": plan.model.trained_to_ms if plan.model is not None else None,
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


def write_report(path: Path, plan: RunPlan, result: Result, mode: str = "backtest") -> None:
    """Write one self-contained HTML file; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(report_data(plan, result, mode)), encoding="utf-8")


def _funding_source(plan: RunPlan) -> str:
    if all(each.market == "spot" for each in plan.history.candles):
        return "spot pays none"
    funded = [each.symbol for each in plan.history.funding]
    return f"settled rates of {', '.join(funded)}" if funded else "none"


def report_data(plan: RunPlan, result: Result, mode: str = "backtest") -> ReportData:
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
            files=[
                DataFile(
                    path=Path(each.path).name,
                    symbol=each.symbol,
                    interval=interval_name(each.interval_ms),
                    bars=len(each),
                    first_ms=each.first_ms,
                    last_ms=each.end_ms - each.interval_ms,
                    sha256=each.sha256,
                )
                for each in result.candles
            ],
            seed=plan.settings.seed,
            versions={"bot": bot.__version__, "python": platform.python_version()},
            fee_bps=float(plan.settings.costs.taker_bps),
            slippage_bps=float(slippage) if slippage is not None else sum(spreads) / len(spreads),
            model_hash=plan.model.hash if plan.model is not None else None,
            trained_to_ms=plan.model.trained_to_ms if plan.model is not None else None,
            form=plan.form if plan.model is not None else None,
            intrabar=plan.intrabar,
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
        warnings=result.warnings,
        notices=risk_lines(result),
        judged_to_ms=result.unseen.to_ms if result.halt is not None else None,
    )
