"""Builds the engine of a live run, and the venue in this process that it may trade at."""

from collections.abc import Iterable, Mapping

from bot.app.runs.live.plan import LivePlan, stop_frac_of
from bot.app.wiring import (
    make_drift_bounds,
    make_execution,
    make_forecasters,
    make_limits,
    make_terms,
    round_trip_bps,
)
from bot.domain.market import Instrument
from bot.engine.core import Assignment, Engine
from bot.engine.forecasting import Forecaster
from bot.exchange.inner import InnerVenue
from bot.logs import Redactor
from bot.strategy import build
from bot.strategy.portfolio import for_each_symbol


def make_engine(
    plan: LivePlan, instruments: Mapping[str, Instrument], name: str, secrets: Iterable[str] = ()
) -> Engine:
    """Return a fresh engine; ``name`` is the first part of its order ids.

    ``secrets`` are taken out of the words of a strategy that raises, beside those of the plan: a plan that
    comes from a journal has none.
    """
    settings, terms = plan.settings, make_terms(plan.settings)
    is_remote = settings.venue.kind != "paper"
    strategies = for_each_symbol(lambda: build(plan.strategy, plan.params), len(plan.symbols))
    assignments = [
        Assignment(instruments[symbol], plan.interval_ms, strategy, round_trip_bps(terms, symbol))
        for symbol, strategy in zip(plan.symbols, strategies, strict=True)
    ]
    return Engine(
        assignments,
        settings.account.equity_quote,
        make_limits(settings),
        forecasters=_forecasters(plan),
        name=name,
        execution=make_execution(settings),
        protective_stop_frac=stop_frac_of(settings),
        awaits_account=is_remote,
        adopts_positions=settings.venue.foreign_positions == "adopt",
        venue_prices=(settings.feed.kind, settings.venue.kind) == ("mainnet", "testnet"),
        redact=Redactor((*settings.secrets(), *secrets)),
    )


def _forecasters(plan: LivePlan) -> dict[int, Forecaster]:
    if plan.model is None:
        return {}
    bounds = make_drift_bounds(plan.settings) if plan.watches_drift else None
    return make_forecasters(plan.model, plan.symbols, named=plan.names_model, drift=bounds)


def make_inner_venue(
    plan: LivePlan, instruments: Mapping[str, Instrument], speed: float
) -> InnerVenue | None:
    """Return the venue in this process: it fills at live quotes, or by closed bars as a backtest.

    None if orders go to a remote venue. ``speed`` is that of the exchange's clock: quotes come at the
    machine's pace, however fast that clock is.
    """
    from bot.exchange.paper import STALE_MS, PaperVenue
    from bot.exchange.venue import BarVenue

    settings = plan.settings
    if settings.venue.kind != "paper":
        return None
    equity, terms = settings.account.equity_quote, make_terms(settings)
    if settings.venue.fills == "bars":
        return BarVenue(instruments, equity, terms, seed=settings.seed)
    return PaperVenue(instruments, equity, terms, stale_ms=round(STALE_MS * speed))
