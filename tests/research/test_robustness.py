"""The permutation test of a signal and the bootstrap of trades: noise looks like noise, skill does not."""

import numpy as np
import pytest

from bot.research.search.robustness import judge_signal, resample_trades


def noise(seed: int, bars: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Positions held for a while, and returns with quiet and wild times, that know nothing of each other."""
    rng = np.random.default_rng(seed)
    positions = np.repeat(rng.choice([-1.0, 0.0, 1.0], bars // 8), 8)[:, None]
    wild = np.exp(np.convolve(rng.normal(size=bars), np.ones(40) / 40, "same") * 3)
    return positions, (rng.normal(0.0005, 0.003, bars) * wild)[:, None]


def test_one_in_twenty_noise_strategies_looks_skilled_at_five_percent() -> None:
    found = [judge_signal(*noise(seed)) for seed in range(1_000)]
    p = np.array([each.p_value for each in found if each is not None])
    assert len(p) == 1_000
    # Binomial with n = 1,000 and 0.05: 50 expected, deviation 6.9; four deviations each way.
    assert 22 <= (p <= 0.05).sum() <= 78
    assert 0.44 <= np.median(p) <= 0.56


def test_a_signal_that_knows_a_little_of_the_next_bar_is_found() -> None:
    for seed in range(20):
        _, returns = noise(seed)
        rng = np.random.default_rng([seed, 1])
        known = np.where(rng.random(len(returns)) < 0.7, np.sign(returns[:, 0]), -np.sign(returns[:, 0]))
        found = judge_signal(known[:, None], returns)
        assert found is not None
        assert found.p_value < 0.01
        assert found.earned > found.expected


def test_the_share_of_shifts_is_counted_as_a_loop_counts_it() -> None:
    positions, returns = noise(3, 120)
    both = np.hstack([positions, -0.5 * positions[::-1]])
    moves = np.hstack([returns, returns**2])
    earned = [float((both * np.roll(moves, -shift, axis=0)).sum()) for shift in range(120)]
    found = judge_signal(both, moves)
    assert found is not None
    assert found.earned == pytest.approx(earned[0])
    assert found.expected == pytest.approx(np.mean(earned))
    assert found.p_value == sum(each >= earned[0] - 1e-12 for each in earned) / 120


def test_the_drift_of_the_market_is_no_skill() -> None:
    held = np.ones((500, 1))
    rising = np.random.default_rng(0).normal(0.01, 0.001, (500, 1))
    assert judge_signal(held, rising) is None
    held[:200] = 0.0  # a late entry into a rise that never stops
    found = judge_signal(held, rising)
    assert found is not None
    assert found.p_value > 0.05


def test_trades_drawn_again_have_the_mean_and_the_spread_of_the_trades() -> None:
    returns = np.random.default_rng(5).normal(0.002, 0.01, 400)
    found = resample_trades(returns, seed=1)
    assert found is not None
    # ln of the result is about normal, with n × mean and sqrt(n) × deviation of ln(1 + r).
    logs = np.log1p(returns)
    low, high = logs.sum() + np.array([-1.645, 1.645]) * np.sqrt(400) * logs.std()
    assert np.log1p(found.total_return["p5"]) == pytest.approx(low, abs=0.03)
    assert np.log1p(found.total_return["p95"]) == pytest.approx(high, abs=0.03)
    assert found.max_drawdown["p5"] < found.max_drawdown["p50"] < found.max_drawdown["p95"] < 0.0
    assert found == resample_trades(returns, seed=1)
    assert found != resample_trades(returns, seed=2)


def test_wins_alone_never_lose_and_few_trades_say_nothing() -> None:
    found = resample_trades(np.full(10, 0.01), seed=0)
    assert found is not None
    assert (found.loss_probability, found.deeper_probability, found.max_drawdown["p5"]) == (0.0, 0.0, 0.0)
    assert found.total_return["p50"] == pytest.approx(1.01**10 - 1.0)
    assert resample_trades(np.full(9, 0.01), seed=0) is None


def test_a_trade_that_loses_everything_ends_a_history() -> None:
    found = resample_trades(np.array([-1.5] + [0.01] * 11), seed=0, draws=200)
    assert found is not None
    assert found.total_return["p5"] == -1.0
    assert found.max_drawdown["p5"] == -1.0
