"""``backtest``: ``bot backtest`` as a function."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from bot.app.runs.backtest import make_plan, run_plan
from bot.app.runs.stress import stress as run_stress
from bot.domain.errors import BadUsage
from bot.lab.calling import Time, context_of, one_line, one_of, utc_ms
from bot.lab.candles import Source, candles_or_files
from bot.lab.model import Model, model_of
from bot.lab.result import BacktestResult
from bot.settings import RiskSettings
from bot.strategy import AnyStrategy

_FILES = str | Path | Sequence[str | Path]


@one_line
def backtest(
    candles: Source | Sequence[Source],
    strategy: str | type | AnyStrategy | None = None,
    *,
    params: Mapping[str, object] | None = None,
    model: Model | str | Path | None = None,
    start: Time | None = None,
    end: Time | None = None,
    fee_bps: float | None = None,
    slippage_bps: float | None = None,
    equity: float | None = None,
    instrument: str | Path | None = None,
    liquidity: Literal["volume", "full"] | None = None,
    funding: str | Path | None = None,
    form: Literal["step", "bulk", "torch"] = "step",
    intrabar: Literal["path", "worst"] = "path",
    detail: _FILES = (),
    mark: _FILES = (),
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
        model: a model or its directory, for a strategy that needs forecasts. Default: the shipped one.
        start: first bar, UTC. Earlier bars warm up.
        end: bars that open before this time.
        fee_bps: taker fee, bps. Default 5.5.
        slippage_bps: half-spread, bps; 0: no slippage. Default: the symbol's measured one.
        equity: USDT at the start. Default 10000.
        instrument: a file of rules, or ``exact`` for no steps and minima. Default: the shipped rules.
        liquidity: ``full``: fills ignore the bars' volume. Default ``volume``.
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
    one_of(form, ("step", "bulk", "torch"), "form")
    one_of(intrabar, ("path", "worst"), "intrabar")
    one_of(risk, ("enforce", "observe"), "risk")
    for limit in limits or {}:
        one_of(limit, tuple(RiskSettings.model_fields), "limits")
    given = {**(params or {}), **parameters}
    if given and strategy is not None and not isinstance(strategy, str | type):
        raise BadUsage(
            f"{type(strategy).__name__}: an instance has its parameters already, got {', '.join(given)}; "
            "give the class"
        )
    plan = make_plan(
        context_of(config),
        data=candles_or_files(candles),
        strategy=strategy,
        model=model_of(model),
        param=given,
        start=utc_ms(start, "start"),
        end=utc_ms(end, "end"),
        fee_bps=fee_bps,
        slippage_bps=slippage_bps,
        equity=equity,
        instrument=None if instrument is None else str(instrument),
        liquidity=liquidity,
        funding=None if funding is None else str(funding),
        form=form,
        intrabar=intrabar,
        detail=_paths(detail),
        mark=_paths(mark),
        seed=seed,
        risk=risk,
        further={f"risk.{name}": value for name, value in (limits or {}).items()},
    )
    result = run_plan(plan)
    stressed = run_stress(plan, result, lambda words, other: run_plan(other)) if stress else None
    return BacktestResult(plan, result, stressed)


def _paths(given: _FILES) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]
