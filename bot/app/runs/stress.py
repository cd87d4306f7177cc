"""``bot backtest --stress``: is the result more than luck, and does it survive dearer and slower trading?"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.app.wiring import RunPlan
from bot.domain.errors import BadUsage
from bot.domain.orders import sign
from bot.research.search.robustness import (
    BARS_MIN,
    TRADES_MIN,
    SignalTest,
    TradeLuck,
    judge_signal,
    resample_trades,
)
from bot.service.backtest.run import Result
from bot.strategy import AnyStrategy
from bot.strategy.delayed import delayed

Floats = NDArray[np.float64]
Runner = Callable[[str, RunPlan], Result]
"""Runs a plan; the words say which one, for a progress bar."""

LUCK = 0.05
"""A signal with a larger p-value may be luck."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The headline figures of one run. None: not defined."""

    name: str
    total_return: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: int
    halted: bool


@dataclass(frozen=True)
class Stress:
    """What became of a backtest under stress."""

    variants: tuple[Variant, ...]
    """Costs × 1, × 0 and × 2, and one bar later."""
    signal: SignalTest | None
    luck: TradeLuck | None

    def told(self) -> dict[str, object]:
        """Return everything as JSON holds it."""
        return {
            "variants": [msgspec.to_builtins(each) for each in self.variants],
            "signal": None if self.signal is None else msgspec.to_builtins(self.signal),
            "trades": None if self.luck is None else msgspec.to_builtins(self.luck),
            "words": self.words,
        }

    @property
    def words(self) -> list[str]:
        """Say in plain words what the figures mean."""
        return [*_variant_words(self.variants), _signal_words(self.signal), *_luck_words(self.luck)]


def stress(plan: RunPlan, result: Result, run: Runner) -> Stress:
    """Run the plan with no costs, with double costs, and one bar later; test its signal and its trades.

    Costs are fees, spread and impact; the strategy still weighs the usual ones, so that the same decisions
    are judged. Funding stays. All figures are of the headline part of each run.

    Raises:
        BadUsage: an instance of a strategy whose class cannot be changed.
    """
    variants = [
        _variant("as it is", result),
        _variant("without costs", run("without costs", replace(plan, costs_times=0))),
        _variant("double costs", run("double costs", replace(plan, costs_times=2))),
        _variant("one bar later", run("one bar later", _later(plan))),
    ]
    return Stress(
        tuple(variants),
        judge_signal(*_positions(result)),
        resample_trades(_trade_returns(result), seed=plan.settings.seed),
    )


def _later(plan: RunPlan) -> RunPlan:
    later = delayed(plan.strategy)
    if plan.prototype is None:
        return replace(plan, strategy=later)
    try:
        instance: AnyStrategy = deepcopy(plan.prototype)
        instance.__class__ = later
    except Exception as error:  # the code of a user may raise anything
        raise BadUsage(
            f"--stress: {plan.strategy_name} cannot be delayed ({type(error).__name__}: {error}); give the "
            "class, with its parameters as keywords"
        ) from error
    return replace(plan, strategy=later, prototype=instance)


def _variant(name: str, result: Result) -> Variant:
    figures = result.unseen.metrics
    return Variant(
        name=name,
        total_return=figures["total_return"],
        sharpe=figures["sharpe"],
        max_drawdown=figures["max_drawdown"],
        trades=len(result.unseen.trades),
        halted=result.halt is not None,
    )


def _positions(result: Result) -> tuple[Floats, Floats]:
    """Return positions and returns ``(T, symbols)`` of the bars of the headline part.

    A position is what is held from a bar's open on: executions later in a bar count from the next bar.
    """
    tape, part = result.run.tape, result.unseen
    times = np.unique(np.concatenate([each.start_ms for each in result.candles]))
    times = times[(times >= part.from_ms) & (times < part.to_ms)]
    positions = np.zeros((len(times), len(result.candles)))
    returns = np.zeros_like(positions)
    equity = _equity_at(result, times)
    for column, candles in enumerate(result.candles):
        fills = sorted((f for f in tape.fills if f.symbol == candles.symbol), key=lambda f: f.ts_ms)
        held = np.concatenate(([0.0], np.cumsum([float(sign(f.side) * f.qty) for f in fills])))
        _, rows, bars = np.intersect1d(times, candles.start_ms, return_indices=True)
        opens, closes = candles.ohlcv[bars, 0], candles.ohlcv[bars, 3]
        qty = held[np.searchsorted([f.ts_ms for f in fills], times[rows], side="right")]
        positions[rows, column] = qty * opens / equity[rows]
        returns[rows, column] = closes / opens - 1.0
    return positions, returns


def _trade_returns(result: Result) -> Floats:
    """Return each trade's result after costs over the equity at its entry, in order of the exits."""
    trades = sorted(result.unseen.trades, key=lambda trade: trade.exit_ms)
    equity = _equity_at(result, np.array([trade.entry_ms for trade in trades], np.int64))
    return np.array([float(trade.pnl_quote) for trade in trades]) / equity


def _equity_at(result: Result, ts_ms: NDArray[np.int64]) -> Floats:
    """Return the account's value at the last close until each moment; before the first close that one's."""
    curve, values = result.run.tape.ts_ms, result.run.tape.equity
    if not len(curve):
        return np.full(len(ts_ms), np.nan)
    at = np.maximum(np.searchsorted(curve, ts_ms, side="right") - 1, 0)
    return np.where(values[at] > 0.0, values[at], np.nan)


# Words


def _variant_words(variants: Sequence[Variant]) -> list[str]:
    base, free, dear, late = variants
    if base.total_return is None:
        return []
    told = []
    for each, lost in ((dear, "double costs"), (late, "decisions one bar later")):
        if each.total_return is not None and base.total_return > 0.0 >= each.total_return:
            told.append(f"the profit does not survive {lost}")
    if free.total_return is not None and free.total_return <= 0.0:
        told.append("it loses even without fees, spread and impact: there is no edge that costs eat up")
    if any(each.halted for each in variants):
        told.append(
            "a halted run ends where risk halted it, so these runs cover different spans; "
            "`bot backtest --stress --risk observe` compares whole ones"
        )
    return told


def _signal_words(signal: SignalTest | None) -> str:
    if signal is None:
        return (
            "permutation of the signal: unknown, the position hardly changes or there are fewer than "
            f"{BARS_MIN} bars"
        )
    verdict = "more than luck" if signal.p_value <= LUCK else "may be luck"
    p = "p < 0.001" if signal.p_value < 0.001 else f"p = {signal.p_value:.3f}"
    return (
        f"permutation of the signal: {p}, the share of {signal.shifts:,} shifts of its positions in time "
        f"that earn as much before costs ({verdict}; at most {LUCK} is asked)"
    )


def _luck_words(luck: TradeLuck | None) -> list[str]:
    if luck is None:
        return [f"trades drawn again: unknown, fewer than {TRADES_MIN} trades"]
    total, depth = luck.total_return, luck.max_drawdown
    return [
        f"trades drawn again {luck.draws:,} times: in 9 of 10 histories the result is {total['p5']:+.1%} to "
        f"{total['p95']:+.1%} and the drawdown {depth['p95']:.1%} to {depth['p5']:.1%}; "
        f"{luck.loss_probability:.0%} lose money"
    ]
