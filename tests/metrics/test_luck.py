import numpy as np
import pytest
import scipy.stats

from bot import metrics


def test_deflated_sharpe_gives_the_papers_example():
    # Bailey & López de Prado 2014, "A numerical example": SR 2.5 a year of 250 days, 5 years, V = 1/2.
    probability = metrics.deflated_probability(
        2.5 / 250**0.5, days=1250, skew=-3, kurtosis=10, trials=100, trial_variance=0.5 / 250
    )
    assert probability == pytest.approx(0.9004, abs=5e-5)


def test_more_trials_make_the_same_result_less_credible():
    returns = np.random.default_rng(1).normal(0.002, 0.01, 200)
    chances = [metrics.deflated_sharpe(returns, n) for n in (1, 2, 10, 1000)]
    assert chances[0] > 0.95 > chances[1] > chances[2] > chances[3]


def test_deflated_sharpe_uses_the_moments_of_the_returns():
    returns = np.random.default_rng(2).gamma(2.0, 0.01, 300) - 0.018
    assert metrics.deflated_sharpe(returns, 7, 0.01) == pytest.approx(
        metrics.deflated_probability(
            float(np.mean(returns) / np.std(returns, ddof=1)),
            days=300,
            skew=float(scipy.stats.skew(returns)),
            kurtosis=float(scipy.stats.kurtosis(returns, fisher=False)),
            trials=7,
            trial_variance=0.01,
        )
    )


def test_day_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        estimate = metrics.day_bootstrap(rng.normal(1.0, 1.0, 60), seed=seed, n=200)
        hits += estimate.low <= 1.0 <= estimate.high
    assert 88 <= hits <= 99


def test_day_bootstrap_is_reproducible_and_takes_any_statistic_of_days():
    sums = np.array([[2.0, 1], [8.0, 2], [3.0, 3]])
    pooled = metrics.day_bootstrap(sums, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), seed=3)
    again = metrics.day_bootstrap(sums, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), seed=3)
    assert pooled == again
    assert pooled.value == pytest.approx(13 / 6)
    assert (pooled.low, pooled.high) == (1.0, 4.0)


def test_nothing_is_told_of_one_day_or_of_equal_days():
    assert metrics.deflated_sharpe(np.zeros(5), 5) is None
    assert metrics.day_bootstrap(np.array([1.0]), seed=0) is None
    assert metrics.day_bootstrap(np.ones(5), lambda rows: np.nan, seed=0) is None


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"sharpe": 6.0, "win_rate": 0.9}, "Too good to be true (Sharpe, Win rate): look for a leak"),
        ({"profit_factor": 3.5}, "Too good to be true (Profit factor)"),
        ({"sharpe": 2.9, "win_rate": 0.8, "profit_factor": None}, None),
        ({"sharpe": 6.0, "trades": 29}, None),
        ({"sharpe": 6.0, "days": 29}, None),
    ],
)
def test_figures_too_good_to_be_true_are_named(figures: metrics.Metrics, words: str | None) -> None:
    told = metrics.too_good({"trades": 30, "days": 30, **figures})
    assert told is None if words is None else words in (told or "")
