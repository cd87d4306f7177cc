"""How much of the best of many is luck: against plain loops, a kept library's figures, and noise."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bot.metrics import deflated_probability, sharpe
from bot.research.search.selection import (
    choices_of_halves,
    effective_trials,
    judge,
    minimum_track_record,
    probability_of_overfitting,
    spa_p_value,
)

Floats = NDArray[np.float64]


def noise(trials: int, days: int = 400, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).standard_normal((days, trials)) * 0.01


def ratio(returns: Floats) -> float:
    return float(returns.mean() / returns.std()) if returns.std() > 0 else 0.0


@pytest.mark.parametrize("trials", [2, 5])
def test_overfitting_equals_a_plain_count_over_all_halves(trials: int) -> None:
    returns = noise(trials, days=43, seed=trials)
    blocks = np.split(returns[3:], 8)  # 40 days, in blocks of 5
    low = losses = total = 0
    pairs = []
    for half in itertools.combinations(range(8), 4):
        inside = np.concatenate([blocks[i] for i in half])
        outside = np.concatenate([blocks[i] for i in range(8) if i not in half])
        best = max(range(trials), key=lambda n: ratio(inside[:, n]))
        scores = [ratio(outside[:, n]) for n in range(trials)]
        rank = 1 + sum(score < scores[best] for score in scores)
        low += rank / (trials + 1) <= 0.5
        losses += scores[best] < 0
        total += 1
        pairs.append((sharpe(inside[:, best]), sharpe(outside[:, best])))
    choices = choices_of_halves(returns)
    assert choices is not None
    assert np.column_stack([choices.inside, choices.outside]) == pytest.approx(np.array(pairs), rel=1e-9)
    found = probability_of_overfitting(returns)
    assert found is not None
    assert (found.splits, found.probability, found.loss_probability) == (total, low / total, losses / total)


def test_a_trial_with_skill_is_chosen_again_and_noise_is_not() -> None:
    returns = noise(20)
    plain = probability_of_overfitting(returns)
    returns[:, 3] += 0.003
    skilled = probability_of_overfitting(returns)
    assert plain is not None
    assert skilled is not None
    assert plain.splits == skilled.splits == 12_870
    assert skilled.probability < 0.01 < 0.3 < plain.probability


def test_overfitting_on_average_over_noise_is_a_half() -> None:
    found = [probability_of_overfitting(noise(10, days=100, seed=seed)) for seed in range(30)]
    assert np.mean([each.probability for each in found if each]) == pytest.approx(0.5, abs=0.1)


def test_too_few_days_or_trials_say_nothing() -> None:
    assert probability_of_overfitting(noise(5, days=19)) is None
    assert probability_of_overfitting(noise(1)) is None
    still = choices_of_halves(np.full((40, 2), 0.01))
    assert still is not None
    assert np.isnan(still.inside).all()
    assert spa_p_value(noise(5, days=59), seed=0) is None
    assert spa_p_value(np.zeros((50, 3)), seed=0) is None
    assert effective_trials(noise(5, days=1)) is None


@pytest.mark.parametrize(
    ("skill", "trials", "days", "p_value"),
    # arch 8.0.0, SPA(-benchmark, -models, reps=4000, seed=1), consistent p-value; it compares plain means
    [(0.0, 20, 400, 0.933), (0.12, 20, 400, 0.536), (0.06, 50, 300, 0.705)],
)
def test_the_reality_check_gives_the_figures_of_a_kept_library(
    skill: float, trials: int, days: int, p_value: float
) -> None:
    rng = np.random.default_rng(7)
    models = rng.standard_normal((days, trials)) * 0.01
    models[:, 3] += skill * 0.01
    benchmark = rng.standard_normal(days) * 0.01 * 0.5
    excess = models - benchmark[:, None]
    told = spa_p_value(excess, seed=1, draws=4_000, studentised=False, block_days=int(math.sqrt(days)))
    assert told == pytest.approx(p_value, abs=0.02)


def test_spa_finds_skill_among_trials_of_larger_swings_and_keeps_its_size_without_any() -> None:
    excess = noise(30)
    excess[:, :20] *= 5.0  # their luck is larger than the skill of the quiet one
    assert (spa_p_value(excess, seed=1) or 0) > 0.1
    excess[:, 25] += 0.0025
    assert (spa_p_value(excess, seed=1) or 0) < 0.01
    assert (spa_p_value(excess, seed=1, studentised=False) or 0) > 0.1
    small = [spa_p_value(noise(10, days=150, seed=seed), seed=0, draws=300) for seed in range(60)]
    assert sum((each or 0) < 0.1 for each in small) <= 12  # 6 are expected


def test_a_trial_far_below_the_benchmark_does_not_hide_another() -> None:
    excess = noise(1)
    excess[:, 0] += 0.0012
    alone = spa_p_value(excess, seed=1)
    beside = np.column_stack([excess, noise(40, seed=8) - 0.02])
    assert spa_p_value(beside, seed=1) == pytest.approx(alone, abs=0.02)


def test_equal_trials_are_one_and_independent_ones_are_all() -> None:
    one = noise(1)
    assert effective_trials(np.repeat(one, 50, axis=1)) == pytest.approx(1.0)
    assert effective_trials(noise(50, days=2_000)) == pytest.approx(50, rel=0.03)
    idle = np.column_stack([noise(4, days=2_000), np.zeros((2_000, 30))])
    assert effective_trials(idle) == pytest.approx(5, rel=0.05)


def test_the_published_example_of_a_deflated_sharpe_ratio() -> None:
    # Bailey & López de Prado 2014: annual 2.5 over 5 years of 250 days; 100 trials of variance 1/2
    told = deflated_probability(
        2.5 / math.sqrt(250), days=1_250, skew=-3, kurtosis=10, trials=100, trial_variance=0.5 / 250
    )
    assert told == pytest.approx(0.9004, abs=5e-5)


def test_at_the_minimum_track_record_the_sharpe_ratio_is_just_believed() -> None:
    returns = np.asarray(noise(1, seed=1)[:, 0] + 0.001)
    days = minimum_track_record(returns)
    assert days is not None
    standard: Any = (returns - returns.mean()) / returns.std()
    believed = deflated_probability(
        (sharpe(returns) or 0) / math.sqrt(365),
        days=days,  # type: ignore[arg-type]  # a fraction of a day
        skew=float((standard**3).mean()),
        kurtosis=float((standard**4).mean()),
        trials=1,
        trial_variance=0.0,
    )
    assert believed == pytest.approx(0.95)
    assert minimum_track_record(-returns) is None


def test_the_best_of_fifty_noise_strategies_looks_like_noise() -> None:
    returns, hold = noise(50), noise(1, seed=9)[:, 0]
    best = int(np.argmax([sharpe(column) for column in returns.T]))
    told = judge(returns, best, hold)
    assert (told.best_sharpe or 0) > 1.5  # it looks good
    assert (told.deflated_sharpe or 0) < 0.9
    assert (told.overfit_probability or 0) > 0.3
    assert (told.spa_p_value or 0) > 0.1
    more = judge(returns, best, hold, earlier_trials=1_000)
    assert (more.deflated_sharpe or 0) < (told.deflated_sharpe or 0)
