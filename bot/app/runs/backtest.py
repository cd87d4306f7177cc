"""A backtest: options, settings and files to a plan, and a plan to a result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bot.adapters.files.candles import Candles
from bot.app.context import Context
from bot.app.inputs import (
    check_strategy,
    choose_model,
    choose_strategy,
    detail_bars,
    mark_bars,
    models_on,
    parse_params,
    read_history,
    require_fields,
    rules_of,
)
from bot.app.runs.results import conclude
from bot.app.wiring import Form, Risk, RunPlan, assemble
from bot.domain.errors import TooFewBars
from bot.service.backtest.run import Result, replay
from bot.strategy import SHIPPED, AnyStrategy

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import Part


def make_plan(
    context: Context,
    data: Sequence[Path | Candles],
    strategy: str | type | AnyStrategy | None,
    model: "Path | Checkpoint | Sequence[Part] | None",
    param: Sequence[str] | Mapping[str, object],
    start: int | None,
    end: int | None,
    fee_bps: float | None,
    slippage_bps: float | None,
    equity: float | None,
    instrument: str | None,
    liquidity: Literal["volume", "full"] | None,
    funding: str | None,
    form: Form,
    intrabar: Literal["path", "worst"],
    detail: Sequence[Path | Candles],
    mark: Sequence[Path | Candles],
    seed: int | None,
    risk: Risk = "enforce",
    *,
    limit_fills: Literal["through", "queue"] | None = None,
    further: Mapping[str, object] | None = None,
) -> RunPlan:
    """Make a checked plan from options, settings and files, or from what of these is in memory already.

    ``further`` are settings without an option of their own, by dotted key.
    """
    settings = context.settings(
        {
            "model.path": model if isinstance(model, Path) else None,
            "costs.taker_bps": fee_bps,
            "costs.slippage_bps": slippage_bps,
            "costs.liquidity": liquidity,
            "costs.limit_fills": limit_fills,
            "account.equity_quote": equity,
            "seed": seed,
            **(further or {}),
        }
    )
    history = read_history(data, funding)
    name, cls, prototype = _chosen(strategy, settings.strategy.name)
    # Parameters in the settings belong to the strategy named there.
    own = settings.strategy.params if name == settings.strategy.name else {}
    given = model or models_on(cls) or settings.model.path
    if isinstance(model, Path):
        given = settings.model.path  # by its name, or as a directory
    needs_model = bool(getattr(cls, "needs_forecast", False))
    plan = RunPlan(
        settings=settings,
        history=history,
        instruments=rules_of(history.candles, instrument),
        strategy=cls,
        strategy_name=name,
        params={**own, **(param if isinstance(param, Mapping) else parse_params(param))},
        prototype=prototype,
        model=choose_model(given, history.candles) if needs_model else None,
        form=form,
        start_ms=start,
        end_ms=end,
        intrabar=intrabar,
        detail=detail_bars(detail, history.candles),
        marks=mark_bars(mark, history.candles),
        risk=risk,
    )
    for each in history.candles:
        each.between(plan.start_ms, plan.end_ms)  # refuses a range without bars
    if plan.indicator_bars > 1:
        from bot.app.models.enough import require_indicators  # they load a compiler, too

        require_indicators(history.candles, plan.indicator_bars, start, end, plan.read_from_ms)
    if plan.model is None:
        return plan
    require_fields(plan.model, plan.declaring, name)
    from bot.app.models.enough import require_forecasts  # the model's modules load a compiler

    cold = require_forecasts(history.candles, plan.model, start, end, plan.read_from_ms)
    return replace(plan, warnings=cold)


def _chosen(given: str | type | AnyStrategy | None, default: str) -> tuple[str, type, AnyStrategy | None]:
    """Return name, class and, if an instance was given, that instance."""
    if given is None or isinstance(given, str):
        return given or default, choose_strategy(given or default), None
    cls = given if isinstance(given, type) else type(given)
    check_strategy(cls, cls.__name__)
    shipped = {each: name for name, each in SHIPPED.items()}
    return shipped.get(cls, cls.__name__), cls, None if isinstance(given, type) else given


def bars_to_trade(plan: RunPlan) -> int:
    """Return how many bars of the plan are traded, over all symbols."""
    return sum(len(each.between(plan.start_ms, plan.end_ms)) for each in plan.history.candles)


def run_plan(plan: RunPlan, progress: Callable[[int], None] | None = None) -> Result:
    """Replay the history of a plan to its end and measure it; ``progress`` is called with bars done."""
    run = assemble(plan)
    replay(
        run,
        plan.history,
        from_ms=plan.read_from_ms,
        trade_from_ms=plan.start_ms or 0,
        to_ms=plan.end_ms,
        progress=progress,
    )
    result = conclude(plan, run)
    warm = any(sym.view.warm for sym in run.engine.state.symbols.values())
    if plan.model is not None and not warm and set(result.flat_bars) == {"cold"} and not run.tape.fills:
        raise TooFewBars(
            f"no bar had a forecast: holes in the candles left no {plan.model.warmup_bars:,} bars in a row; "
            "`bot data verify` names the holes"
        )
    return result


def compare_forms(streamed: Result, other: Result) -> dict[str, object]:
    """Count how often another form of the model decided differently from the streaming kernel.

    The forms differ by float rounding only, so a decision differs only if a forecast is that close to it.
    """
    one, two = streamed.run.tape.notional, other.run.tape.notional
    return {
        "fills": len(streamed.run.tape.fills),
        "same_fills": streamed.digest == other.digest,
        "closes": len(one),
        "closes_with_another_position": int(np.count_nonzero(one != two)),
    }
