"""How much of the best of many trials is luck. Pure.

Whoever tries many parameters finds a good one, with or without skill. ``judge`` says how much that is worth:
the number of trials and how many of them are really different, the deflated Sharpe ratio of the best one, the
probability that the choice is overfitted (CSCV), a test against buy-and-hold that knows of all trials (SPA),
and how long a record must be before its Sharpe ratio means something.

All take daily returns ``(days, trials)``; trials of one search cover the same days.
"""

import itertools
import math
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.metrics import deflated_sharpe, sharpe

Floats = NDArray[np.float64]

BLOCKS = 16
"""Blocks of days that CSCV combines: 12,870 ways to halve them."""
BLOCK_DAYS = 5
"""A block has at least so many days."""
SPA_DAYS = 60
"""The test against buy-and-hold says nothing about fewer days."""
DRAWS = 2_000
"""Bootstrap samples of the test against buy-and-hold."""
_CHUNK = 1_000


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is worth. None: the trials cannot tell (too few days or trials)."""

    trials: int
    """Trials of this search that ended with a result."""
    earlier_trials: int
    """Other parameters of the same strategy on the same symbols that were tried before."""
    effective_trials: float | None
    """How many independent trials the trials of this search are."""
    days: int
    """Daily returns of each trial."""
    best_sharpe: float | None
    """Annual Sharpe ratio of the best trial."""
    deflated_sharpe: float | None
    """Probability that its true Sharpe ratio is above that of the best of as many trials without skill.

    Earlier trials count, too.
    """
    deflated_sharpe_effective: float | None
    """The same with ``effective_trials``."""
    overfit_probability: float | None
    """How often the best trial of one half of the days is in the worse half in the other; 0.5 is chance."""
    loss_probability: float | None
    """How often they lose money there."""
    spa_p_value: float | None
    """Probability of such a lead over buy-and-hold if no trial is better than it."""
    track_record_days: float | None
    """Days until a Sharpe ratio as the best one's is above 0 with 95 % confidence, for a single trial."""


def judge(returns: Floats, best: int, hold: Floats, *, earlier_trials: int = 0, seed: int = 0) -> Selection:
    """Judge the choice of trial ``best`` among all columns; ``hold`` ``(days,)`` is buy-and-hold."""
    days, trials = returns.shape
    chosen = returns[:, best]
    each = [found / math.sqrt(365) for column in returns.T if (found := sharpe(column)) is not None]
    spread = float(np.var(each, ddof=1)) if len(each) > 1 else None
    effective = effective_trials(returns)
    overfit = probability_of_overfitting(returns)
    return Selection(
        trials=trials,
        earlier_trials=earlier_trials,
        effective_trials=effective,
        days=days,
        best_sharpe=sharpe(chosen),
        deflated_sharpe=deflated_sharpe(chosen, trials + earlier_trials, spread),
        deflated_sharpe_effective=None
        if effective is None
        else deflated_sharpe(chosen, max(1, round(effective)), spread),
        overfit_probability=None if overfit is None else overfit.probability,
        loss_probability=None if overfit is None else overfit.loss_probability,
        spa_p_value=spa_p_value(returns - hold[:, None], seed=seed),
        track_record_days=minimum_track_record(chosen),
    )


def effective_trials(returns: Floats) -> float | None:
    """Return ``ρ̄ + (1 − ρ̄) M``: how many independent trials M correlated ones are.

    ``ρ̄`` is the mean correlation of two different trials, at least 0. Trials that never move count together
    as one. Source: Bailey & López de Prado, "The Deflated Sharpe Ratio" (2014), appendix 3. None below two
    days.
    """
    if len(returns) < 2 or not returns.shape[1]:
        return None
    spread = returns.std(axis=0)
    moves = spread > 0.0
    idle = 0.0 if moves.all() else 1.0
    count = int(moves.sum())
    if count < 2:
        return count + idle
    standard = (returns[:, moves] - returns[:, moves].mean(axis=0)) / spread[moves]
    total = float(np.square(standard.sum(axis=1)).mean())  # the sum of the whole matrix of correlations
    mean = min(1.0, max(0.0, (total - count) / (count * (count - 1))))
    return mean + (1.0 - mean) * count + idle


class Overfit(msgspec.Struct, frozen=True):
    """What CSCV found over ``splits`` ways to halve the days."""

    probability: float
    loss_probability: float
    splits: int


def probability_of_overfitting(returns: Floats, blocks: int = BLOCKS) -> Overfit | None:
    """Return how often the best trial of one half of the days is in the worse half of trials in the other.

    About 0.5 is what trials without skill give; 0 is a choice that holds. None where ``choices_of_halves``
    is None.
    """
    found = choices_of_halves(returns, blocks)
    if found is None:
        return None
    return Overfit(float(found.is_worse.mean()), float(found.is_loss.mean()), len(found.inside))


class Choices(NamedTuple):
    """The trial that each half of the days chose; one value for each way to halve them."""

    inside: Floats
    """Its annual Sharpe ratio in the half that chose it; NaN if each day earned the same."""
    outside: Floats
    """The same in the other half."""
    is_worse: NDArray[np.bool_]
    """There it is in the worse half of the trials."""
    is_loss: NDArray[np.bool_]
    """There it lost money."""


def choices_of_halves(returns: Floats, blocks: int = BLOCKS) -> Choices | None:
    """Halve the days in many ways, let each half choose the trial with the best Sharpe ratio.

    Combinatorially symmetric cross-validation: days are cut into ``blocks`` blocks (days left over at the
    start are not used); each half of the blocks chooses, the other half ranks the choice. A rank at the
    median or below is in the worse half; equal trials share their rank. Source: Bailey, Borwein, López de
    Prado & Zhu, "The Probability of Backtest Overfitting" (2017).

    None for fewer than two trials, or fewer than ``4 × BLOCK_DAYS`` days. Few days make fewer blocks.
    """
    days, trials = returns.shape
    blocks = min(blocks, days // BLOCK_DAYS) // 2 * 2
    if trials < 2 or blocks < 4:
        return None
    length = days // blocks
    cut = returns[days - blocks * length :].reshape(blocks, length, trials)
    sums, squares = cut.sum(axis=1), np.square(cut).sum(axis=1)
    halves = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    found = [
        _chosen(halves[begin : begin + _CHUNK], sums, squares, blocks // 2 * length)
        for begin in range(0, len(halves), _CHUNK)
    ]
    return Choices(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _chosen(halves: NDArray[np.int64], sums: Floats, squares: Floats, days: int) -> Choices:
    """Return the choice of each half: ``halves`` are numbers of blocks, ``days`` is the length of one."""
    inside = np.zeros((len(halves), len(sums)))
    np.put_along_axis(inside, halves, 1.0, axis=1)
    here = _ratios(inside @ sums, inside @ squares)
    there = _ratios((1.0 - inside) @ sums, (1.0 - inside) @ squares)
    rows, chosen = np.arange(len(halves)), np.argmax(here, axis=1)
    picked = there[rows, chosen]
    below = (there < picked[:, None]).sum(axis=1)
    rank = below + ((there == picked[:, None]).sum(axis=1) + 1) / 2.0
    return Choices(
        _annual(here[rows, chosen], days),
        _annual(picked, days),
        rank <= (sums.shape[1] + 1) / 2.0,
        picked < 0.0,
    )


def _annual(ratios: Floats, days: int) -> Floats:
    """Return the annual Sharpe ratios of ``Σr / √Σr²`` over ``days``; NaN if every day earned the same."""
    share = ratios / math.sqrt(days)  # mean by root mean square
    spread = np.sqrt(np.maximum(0.0, 1.0 - np.square(share)) * days / (days - 1))
    return math.sqrt(365) * np.divide(share, spread, out=np.full_like(share, np.nan), where=spread > 1e-6)


def _ratios(sums: Floats, squares: Floats) -> Floats:
    """Return numbers in the order of the Sharpe ratios of as many days each; 0 where nothing moves.

    ``Σr / √Σr²`` grows with the ratio of mean and deviation and needs no difference of large numbers.
    """
    return np.divide(sums, np.sqrt(squares), out=np.zeros_like(sums), where=squares > 0.0)


def spa_p_value(
    excess: Floats,
    *,
    seed: int,
    draws: int = DRAWS,
    studentised: bool = True,
    block_days: float | None = None,
) -> float | None:
    """Return the p-value of "no trial is better than the benchmark" (Hansen's SPA, consistent).

    ``excess`` ``(days, trials)`` is each trial's return minus the benchmark's. The statistic is the largest
    ``√n d̄ / ω`` of all trials; its distribution comes from the stationary bootstrap with blocks of
    ``block_days`` on average (None: ``∛n``). Trials that are far worse than the benchmark do not count.
    ``studentised=False`` compares ``√n d̄`` itself, as White's reality check does; then the trial with the
    largest swings decides alone. Source: Hansen, "A Test for Superior Predictive Ability" (2005); Politis &
    Romano, "The Stationary Bootstrap" (1994).

    It is a little too ready to see skill: of searches without any, 15 in 100 have a p-value below 0.1 on 150
    days, and 12 in 100 on 400 days (ten trials;
    measured). None below ``SPA_DAYS``, or if no trial differs from the benchmark.
    """
    days = len(excess)
    if days < SPA_DAYS:
        return None
    excess = excess[:, excess.std(axis=0) > 0.0]
    if not excess.shape[1]:
        return None
    length, root = block_days or days ** (1 / 3), math.sqrt(days)
    mean = excess.mean(axis=0)
    deviation = np.sqrt(_long_run_variance(excess - mean, 1.0 / length))
    is_near = root * mean / deviation >= -math.sqrt(2.0 * math.log(math.log(days)))
    centre = np.where(is_near, mean, 0.0)
    scale = deviation if studentised else np.ones_like(deviation)
    statistic = max(0.0, float((root * mean / scale).max()))
    rng, reached = np.random.default_rng(seed), 0
    for begin in range(0, draws, _CHUNK):
        weights = _stationary_weights(rng, min(_CHUNK, draws - begin), days, length)
        drawn = (root * (weights @ excess - centre) / scale).max(axis=1)
        reached += int((np.maximum(0.0, drawn) >= statistic).sum())
    return reached / draws


def _long_run_variance(centred: Floats, end_chance: float) -> Floats:
    """Return the variance of ``√n d̄`` under the stationary bootstrap (Politis & Romano 1994, lemma 1).

    At least the plain variance: on few days the sum over lags can be far too small, and luck look like skill.
    """
    days = len(centred)
    plain = np.square(centred).mean(axis=0)
    total = plain.copy()
    for lag in range(1, days):
        weight = (days - lag) / days * (1.0 - end_chance) ** lag
        weight += lag / days * (1.0 - end_chance) ** (days - lag)
        total += 2.0 * weight * (centred[:-lag] * centred[lag:]).sum(axis=0) / days
    least: Floats = np.maximum(total, plain)
    return least


def _stationary_weights(rng: np.random.Generator, draws: int, days: int, length: float) -> Floats:
    """Return how often, as a share, each day is in each sample: blocks of random length, around the end."""
    begins = rng.random((draws, days)) < 1.0 / length
    begins[:, 0] = True
    starts = rng.integers(0, days, (draws, days))
    position = np.broadcast_to(np.arange(days), (draws, days))
    since = np.maximum.accumulate(np.where(begins, position, 0), axis=1)
    chosen = (np.take_along_axis(starts, since, axis=1) + position - since) % days
    flat = (chosen + days * np.arange(draws)[:, None]).ravel()
    counts: Floats = np.bincount(flat, minlength=draws * days) / days
    return counts.reshape(draws, days)


def minimum_track_record(returns: Floats, level: float = 0.95) -> float | None:
    """Return ``1 + (1 − γ₃ SR + (γ₄ − 1)/4 SR²) (Φ⁻¹(level) / SR)²``: days until SR > 0 can be believed.

    SR is the daily Sharpe ratio, γ₃ skewness, γ₄ kurtosis (3 for a normal distribution). Source: Bailey &
    López de Prado, "The Sharpe Ratio Efficient Frontier" (2012). None if the ratio is not above 0.
    """
    annual = sharpe(returns)
    if annual is None or annual <= 0.0:
        return None
    daily = annual / math.sqrt(365)
    standard = (returns - returns.mean()) / returns.std()
    shape = 1.0 - float(np.mean(standard**3)) * daily + (float(np.mean(standard**4)) - 1.0) / 4.0 * daily**2
    return 1.0 + shape * (NormalDist().inv_cdf(level) / daily) ** 2 if shape > 0.0 else None
