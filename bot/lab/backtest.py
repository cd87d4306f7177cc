"""``backtest``: ``bot backtest`` as a function."""

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bot.app.runs.backtest import make_plan, run_plan
from bot.app.runs.stress import stress as run_stress
from bot.domain.errors import BadUsage
from bot.lab.calling import Time, context_of, one_line
from bot.lab.candles import Source
from bot.lab.model import Model
from bot.lab.options import Files, RunOptions, plan_options, refuse_unfitted
from bot.lab.result import BacktestResult
from bot.strategy import AnyStrategy

if TYPE_CHECKING:
    from bot.features.fitted import Fitted


@one_line
def backtest(
    candles: Source | Sequence[Source],
    strategy: str | type | AnyStrategy | None = None,
    *,
    params: Mapping[str, object] | None = None,
    model: "Model | str | Path | Fitted | Sequence[Fitted] | None" = None,
    start: Time | None = None,
    end: Time | None = None,
    fee_bps: float | None = None,
    slippage_bps: float | None = None,
    equity: float | None = None,
    instrument: str | Path | None = None,
    liquidity: Literal["volume", "full"] | None = None,
    limit_fills: Literal["through", "queue"] | None = None,
    funding: str | Path | None = None,
    form: Literal["step", "bulk", "torch"] = "step",
    intrabar: Literal["path", "worst"] = "path",
    detail: Files = (),
    mark: Files = (),
    seed: int | None = None,
    limits: Mapping[str, object] | None = None,
    risk: Literal["enforce", "observe"] = "enforce",
    stress: bool = False,
    config: str | Path | None = None,
    **parameters: object,
) -> BacktestResult:
    """Run a strategy over candles through the engine that trades live, and return what came of it.

    ``bot.backtest(candles, Breakout, bars=36)``

    Decisions at a bar's close are filled from the next bar's open on, after fees, spread and impact. Every
    keyword has the meaning and the default of the option of ``bot backtest``, and the same fills follow.

    Args:
        candles: of ``read_candles``, or files; a list trades several symbols on one account.
        strategy: a class or an instance with ``on_bar(view)``, the name of a shipped one, or
            ``module:Class`` or ``path/file.py:Class``. Each symbol trades with its own copy; with
            ``on_close(view)``, one trades them all. Default: that of the settings, ``performer``.
        params: arguments of the strategy's constructor, for names that this function has itself.
        model: for a strategy that needs forecasts: a model, its directory, or what ``bot.fit`` returns for a
            target of a forecast; a list of several. Default: the shipped one.
        start: first bar, UTC. Earlier bars warm up.
        end: bars that open before this time.
        fee_bps: taker fee, bps. Default 5.5.
        slippage_bps: half-spread, bps; 0: none, and no impact. Default: the symbol's measured one.
        equity: USDT at the start. Default 10000.
        instrument: a file of rules, or ``exact`` for no steps and minima. Default: the shipped rules.
        liquidity: ``full``: fills ignore the bars' volume. Default ``volume``.
        limit_fills: ``queue``: limit orders wait in an estimated queue. Default ``through``: they fill once a
            price goes beyond theirs.
        funding: a file of settled rates, or ``none``. Default: the file beside the candles' file.
        form: how forecasts are made: streamed on the kernel, in bulk, or streamed on torch.
        intrabar: ``worst``: a stress in which prices go against us first inside each bar.
        detail: finer candle files that resolve the bars.
        mark: mark-price candle files for liquidation.
        seed: of the paths inside bars. Default 0.
        limits: settings of ``risk`` by name, such as ``{"max_leverage": 2}``.
        risk: ``observe``: no limit acts; the result says when each would have.
        stress: three more runs (no costs, double costs, one bar later), and tests of signal and trades:
            ``result.stress``.
        config: a settings file, as ``bot -c FILE``.
        parameters: arguments of the strategy's constructor.

    Raises:
        BadUsage: arguments that name nothing or contradict each other.
        BadSettings: a value out of its bounds, or a limit that does not exist.
        BadFile, BadBar, BadModel: files that are not as documented.
        StrategyFailed: the strategy raised; says file, line, symbol and bar.
    """
    given = {**(params or {}), **parameters}
    if given and strategy is not None and not isinstance(strategy, str | type):
        raise BadUsage(
            f"{type(strategy).__name__}: an instance has its parameters already, got {', '.join(given)}; "
            "give the class"
        )
    _refuse_misspelt(parameters, strategy)
    refuse_unfitted(given, model)
    options = RunOptions(
        model=model,
        start=start,
        end=end,
        fee_bps=fee_bps,
        slippage_bps=slippage_bps,
        equity=equity,
        instrument=instrument,
        liquidity=liquidity,
        limit_fills=limit_fills,
        funding=funding,
        form=form,
        intrabar=intrabar,
        detail=detail,
        mark=mark,
        seed=seed,
        limits=limits,
        risk=risk,
    )
    arguments = plan_options(candles, strategy, given, options)
    plan = make_plan(context_of(config), **arguments)  # type: ignore[arg-type]  # checked there
    result = run_plan(plan)
    stressed = run_stress(plan, result, lambda words, other: run_plan(other)) if stress else None
    return BacktestResult(plan, result, stressed)


def _refuse_misspelt(parameters: Mapping[str, object], strategy: object) -> None:
    """Refuse a keyword that a strategy does not take and that is nearly one of ``backtest``.

    Raises:
        BadUsage: with the keyword that was probably meant.
    """
    taken = inspect.signature(strategy).parameters if isinstance(strategy, type) else {}
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return
    for name in parameters:
        near = get_close_matches(name, [*RunOptions.__annotations__, "stress", "config", "params"], 1, 0.8)
        if near and name not in taken and not get_close_matches(name, taken, 1):
            raise BadUsage(f"{name}: no such argument; did you mean {near[0]}?")
