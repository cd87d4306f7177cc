import numpy as np
import pytest

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS
from bot.synth import MarketRecipe, funding, market
from tests.helpers import T0

RECIPE = MarketRecipe(interval_ms=300_000, bars=20_000, start_ms=T0)


def returns(ohlcv: np.ndarray) -> np.ndarray:
    return np.diff(np.log(ohlcv[:, 3]))


def test_the_same_seed_makes_the_same_bits_and_another_does_not() -> None:
    first, again, other = (market(RECIPE, ["A"], seed)["A"].ohlcv for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_symbol_does_not_depend_on_its_company() -> None:
    alone, together = market(RECIPE, ["B"], 1)["B"], market(RECIPE, ["A", "B"], 1)["B"]
    assert alone.ohlcv.tobytes() == together.ohlcv.tobytes()


@pytest.mark.parametrize("tick", [0.0, 0.01, 0.5])
def test_bars_are_valid_and_open_where_the_last_one_closed(tick: float) -> None:
    recipe = MarketRecipe(
        interval_ms=60_000, bars=3_000, start_ms=T0, tick=tick, daily_vol=0.1, jumps_per_day=50
    )
    series = market(recipe, ["A"], 5)["A"]
    bars = list(series.bars())  # each is checked where it is made
    assert len(bars) == 3_000
    np.testing.assert_array_equal(series.ohlcv[1:, 0], series.ohlcv[:-1, 3])
    np.testing.assert_array_equal(np.diff(series.start_ms), 60_000)
    assert (series.ohlcv[:, 4] > 0).all()
    vwap = series.turnover / series.ohlcv[:, 4]
    assert ((vwap >= series.ohlcv[:, 2] - 1e-3) & (vwap <= series.ohlcv[:, 1] + 1e-3)).all()


def test_prices_are_on_the_tick_grid() -> None:
    prices = market(MarketRecipe(interval_ms=60_000, bars=2_000, tick=0.05), ["A"], 1)["A"].ohlcv[:, :4]
    np.testing.assert_allclose(prices / 0.05, np.round(prices / 0.05), atol=1e-9)
    assert all(len(repr(price)) <= 7 for price in prices.ravel().tolist())


def test_volatility_is_as_asked_clusters_and_moves_volume() -> None:
    series = market(MarketRecipe(interval_ms=300_000, bars=100_000, jumps_per_day=0.0), ["A"], 3)["A"]
    moves = returns(series.ohlcv)
    assert moves.std() * np.sqrt(DAY_MS / 300_000) == pytest.approx(0.033, rel=0.25)
    size = np.abs(moves)
    assert np.corrcoef(size[:-1], size[1:])[0, 1] > 0.1
    spread = np.log(series.ohlcv[:, 1] / series.ohlcv[:, 2])
    assert np.corrcoef(spread, np.log(series.ohlcv[:, 4]))[0, 1] > 0.4


def test_afternoons_are_louder_than_nights() -> None:
    series = market(RECIPE, ["A"], 3)["A"]
    hour = series.start_ms[1:] % DAY_MS // HOUR_MS
    size = np.abs(returns(series.ohlcv))
    assert size[hour == 15].mean() > 1.5 * size[hour == 3].mean()


def test_jumps_make_tails_fat() -> None:
    def kurtosis(jumps: float) -> float:
        recipe = MarketRecipe(interval_ms=300_000, bars=50_000, jumps_per_day=jumps, jump_vol=1.0)
        moves = returns(market(recipe, ["A"], 3)["A"].ohlcv)
        return float(((moves / moves.std()) ** 4).mean())

    assert kurtosis(1.0) > 2 * kurtosis(0.0)


def test_coins_move_together_as_much_as_asked() -> None:
    recipe = MarketRecipe(interval_ms=300_000, bars=50_000, correlation=0.6, jumps_per_day=0.0)
    made = market(recipe, ["A", "B"], 3)
    assert np.corrcoef(returns(made["A"].ohlcv), returns(made["B"].ohlcv))[0, 1] == pytest.approx(
        0.6, abs=0.08
    )


@pytest.mark.parametrize("strength", [-0.3, 0.0, 0.1, 0.3])
def test_the_planted_signal_predicts_as_much_as_asked(strength: float) -> None:
    recipe = MarketRecipe(interval_ms=300_000, bars=100_000, predictability=strength, jumps_per_day=0.0)
    series = market(recipe, ["A"], 3)["A"]
    moves = returns(series.ohlcv)
    near = np.sqrt(np.convolve(moves**2, np.ones(13) / 13, mode="same"))
    ic = np.corrcoef(series.signal[:-1], moves / near)[0, 1]
    # A volatility estimated from the moves themselves hides a little of what is there.
    assert ic == pytest.approx(strength, abs=0.05)


def test_past_returns_show_the_planted_signal() -> None:
    recipe = MarketRecipe(interval_ms=300_000, bars=50_000, predictability=0.3, jumps_per_day=0.0)
    series = market(recipe, ["A"], 3)["A"]
    moves = returns(series.ohlcv)
    hour = np.convolve(moves, np.ones(12), mode="valid")  # the last hour at each close
    assert np.corrcoef(hour[:-1], moves[12:])[0, 1] > 0.1
    assert np.corrcoef(hour, series.signal[12:])[0, 1] > 0.7


def test_funding_is_settled_on_its_grid_and_leans_with_the_trend() -> None:
    series = market(MarketRecipe(interval_ms=300_000, bars=50_000, start_ms=T0), ["A"], 3)["A"]
    times, rates = funding(series, 3)
    assert (times % (8 * HOUR_MS) == 0).all()
    assert times[0] == T0 + 8 * HOUR_MS
    assert times[-1] <= series.start_ms[-1] + 300_000
    assert (np.abs(rates) <= 0.00375).all()
    assert rates.std() > 0
    change = np.interp(times, series.start_ms, np.log(series.ohlcv[:, 3]))
    assert np.corrcoef(np.diff(change), rates[1:])[0, 1] > 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"start_ms": 1},
        {"bars": 0},
        {"price": 0.0},
        {"daily_vol": float("nan")},
        {"correlation": 1.0},
        {"predictability": 1.0},
        {"tick": -0.1},
        {"jumps_per_day": -1.0},
    ],
)
def test_a_recipe_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        MarketRecipe(**({"interval_ms": 300_000, "bars": 10} | changes))  # type: ignore[arg-type]
