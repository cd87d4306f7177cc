"""What a reader must know about a finished run: what limits did, and what makes its figures doubtful."""

from collections.abc import Mapping

from bot.adapters.files.candles import Candles, Funding
from bot.app.wiring import RunPlan
from bot.domain.refusals import dropped_words
from bot.engine.closes import WARM_UP
from bot.engine.state import SymbolState
from bot.exchange.terms import Terms
from bot.risk.breaker import Breaker, Cause
from bot.risk.words import words_of
from bot.service.backtest.run import Result, Run
from bot.service.moments import minute_words
from bot.strategy.edge import missing_edge_words


def limit_fill_words(terms: Terms) -> str:
    """Say by which rule closed bars fill resting limit orders."""
    if terms.limit_fills == "through":
        return "fill once a price goes beyond theirs"
    return (
        f"fill by an estimated queue: {terms.queue_ahead_ms / 1000:g} s of average trading before a new one, "
        f"together at most {terms.participation_frac:.4g} of a bar's volume"
    )


def run_warnings(plan: RunPlan, run: Run) -> list[str]:
    """Return what a reader must know to judge the figures."""
    told = list(plan.warnings)
    told += _about_twin(plan)
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
    told += _about_targets(plan, run)
    told += _row_by_row(run)
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
            many = "1 hole" if len(holes) == 1 else f"{len(holes):,} holes"
            told.append(f"{candles.symbol}: {many} in the candles, the longest of {longest:,} bars")
    return told


def _row_by_row(run: Run) -> list[str]:
    """Say which models of the user's own were asked bar by bar."""
    state = run.engine.state
    named = {name for each in state.indicators.values() for name in each.row_by_row}
    named |= {name for each in state.forecasters.values() for name in each.row_by_row}
    return [
        f"{name}: for many rows at once it fails or answers otherwise than row by row, so it was asked bar "
        "by bar, which is slow"
        for name in sorted(named)
    ]


def _held_back(run: Run) -> list[str]:
    """Return what kept the run from entering at its end, since when; a halt is the first line of a result."""
    state = run.engine.state
    breaker = state.breaker
    if breaker.state != "reducing":
        return []
    causes = breaker.reducing
    since = [minute_words(state.causes_ms[each]) for each in causes if each in state.causes_ms]
    words = "; ".join(_cause_words(each, breaker) for each in causes)
    began = f" from {min(since)} on" if since else ""
    return [f"risk: no entries{began}, to the end of the run: {words}"]


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


def _about_targets(plan: RunPlan, run: Run) -> list[str]:
    """Say which positions the strategy asked for in vain, and if it asked for none because it was cold."""
    told = []
    flat = {reason for sym in run.engine.state.symbols.values() for reason in sym.flat_bars}
    if flat == {"cold"} and not run.tape.fills:
        told.append(f"{plan.strategy_name} was warming up in every bar and decided nothing; give more bars")
    told += [
        _below_minimum(sym) for sym in run.engine.state.symbols.values() if sym.flat_bars["below_minimum"]
    ]
    told += _about_edges(plan, run)
    dropped = run.engine.state.refusals[WARM_UP]
    if dropped and plan.start_ms is not None:
        told.append(
            f"{plan.strategy_name} asked for a position {dropped:,} times in the warm-up before "
            f"{minute_words(plan.start_ms)}; a run trades from its start on, so these targets were dropped"
        )
    return told


def _about_edges(plan: RunPlan, run: Run) -> list[str]:
    """Say for each symbol that was never traded which forecast return would have been needed."""
    traded = {fill.symbol for fill in run.tape.fills}
    as_maker_bps = float(2 * 10_000 * plan.terms.maker_fee_frac)
    missing = {
        sym.symbol: missing_edge_words(sym.strategy, sym.view.round_trip_bps, as_maker_bps)
        for sym in run.engine.state.symbols.values()
        if sym.symbol not in traded
    }
    return [f"{symbol}: flat to the end; {words}" for symbol, words in missing.items() if words]


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
    if result.run.observer is not None:
        noted = [_noted_words(each, _WOULD) for each in result.limits_noted]
        return [f"risk only observed; no limit acted{':' if noted else ', and none would have'}", *noted]
    noted = [_noted_words(each, _DID) for each in result.limits_noted if each["forces"] != "halted"]
    if result.halt is None:
        return noted
    halt, bars, held = result.halt, result.unseen.bars, ", ".join(result.held_at_halt)
    bound = f" ({halt.setting})" if halt.setting is not None else ""
    kept = f"; positions in {held} stayed open with their stops (risk.on_halt)" if held else ""
    return [
        f"halted by risk at {minute_words(halt.ts_ms)}: {halt.words}{bound}",
        f"the figures end there, with {bars:,} bars of {result.bars:,}{kept}; "
        "`bot backtest --risk observe` goes on and says when each limit would have acted",
        *noted,
    ]


def refusal_lines(result: Result) -> list[str]:
    """Return which orders risk refused and which targets came to none, unless a warning says it already."""
    told = result.refusals if result.run.tape.orders else []
    lines = [f"risk: {each['words']}" for each in told]
    counts = result.run.engine.state.refusals
    warned = {WARM_UP, "not_finite"}
    others = sorted(counts.keys() - {str(each["reason"]) for each in result.refusals} - warned)
    if others:
        words = ", ".join(f"{counts[why]:,} {dropped_words(why)} ({why})" for why in others)
        lines.append(f"dropped: {words}")
    return lines


_DID = {"reducing": "stopped entries"}
_WOULD = {
    "halted": "would have halted the run",
    "reducing": "would have stopped entries",
    "refused": "would have refused an entry",
}


def _noted_words(each: Mapping[str, object], does: Mapping[str, str]) -> str:
    """Return one row of ``Result.limits_noted`` in words."""
    bound, count = each["setting"] or each["limit"], each["count"]
    times = "once, at" if count == 1 else f"{count:,} times, first at"
    when = minute_words(int(str(each["first_ms"])))
    return f"{bound} {does[str(each['forces'])]} {times} {when}: {each['words']}"


def _about_twin(plan: RunPlan) -> list[str]:
    """Say which model has not seen the bars, if this one has and its twin has a name here."""
    model, first_ms = plan.model, min(each.first_ms for each in plan.history.candles)
    if model is None:  # nothing of a model is loaded then
        return []
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.app.models.listing import twin_hint

    if not isinstance(model, Checkpoint) or first_ms >= model.trained_to_ms:
        return []
    hint = twin_hint(model, plan.settings.state_dir)
    return [] if hint is None else [f"the model has seen bars to {minute_words(model.trained_to_ms)}; {hint}"]


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
