import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from bot.domain.errors import BadUsage
from bot.domain.market import HOUR_MS, MINUTE_MS, Forecast
from bot.research.dataset import RET_LONG, RV, targets
from bot.research.skill.tails import Tails, follow
from bot.strategy.ranges import RET_LEVELS, RV_LEVELS, NextHour, Quantiles, log_surprise
from bot.strategy.signal import View
from tests.helpers import T0, bar
from tests.strategy.views import forecast, view

STEP_MS = 15 * MINUTE_MS
LOG_SD = 0.5
FIRST = NextHour().ret.values


@dataclass
class Market:
    """Bars of 15 minutes with a forecast each, as a strategy sees them and as research does."""

    close: np.ndarray
    rv: np.ndarray
    start_ms: np.ndarray

    def views(self) -> list[View]:
        return [
            view(
                index=index,
                bar=bar(index, close, interval_ms=STEP_MS),
                forecast=forecast(0.0, rv, rv_log_sd=LOG_SD),
                bars_per_hour=4.0,
            )
            for index, (close, rv) in enumerate(zip(self.close.tolist(), self.rv.tolist(), strict=True))
        ]


def market(bars: int = 2_000, seed: int = 0) -> Market:
    rng = np.random.default_rng(seed)
    rv = np.exp(rng.normal(-10.0, 0.5, bars))
    close = 100.0 * np.exp(np.cumsum(rng.standard_t(4, bars) * 0.003))
    return Market(close, rv, T0 + STEP_MS * np.arange(bars))


def shown(views: list[View], after: NextHour | None = None) -> NextHour:
    found = after or NextHour()
    for each in views:
        found.see(each)
    return found


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.8])
def test_the_share_beyond_a_followed_quantile_is_right_whatever_the_model_thought(scale: float) -> None:
    x = scale * np.random.default_rng(1).standard_normal(8_000)
    followed = follow(x, RET_LEVELS, FIRST)
    for level in RET_LEVELS:
        assert np.mean(x < followed.quantile(level)) == pytest.approx(level, abs=0.03)
    assert (np.diff(followed.table, axis=1) >= 0.0).all()  # quantiles never cross


def test_a_quantile_knows_earlier_hours_only() -> None:
    x = np.random.default_rng(2).standard_normal(300)
    changed = x.copy()
    changed[200:] *= 10.0
    whole, other = follow(x, RET_LEVELS, FIRST).table, follow(changed, RET_LEVELS, FIRST).table
    np.testing.assert_array_equal(whole[:201], other[:201])
    assert (whole[201] != other[201]).any()


def test_a_strategy_sees_the_quantiles_that_evaluation_judges() -> None:
    made = market()
    live = shown(made.views())
    y = targets(made.start_ms, made.close, STEP_MS)
    full = ((made.start_ms + STEP_MS) % HOUR_MS == 0) & np.isfinite(y[:, RV])
    z = y[full, RET_LONG] / np.sqrt(made.rv[full])
    e = [log_surprise(rv, hat, LOG_SD) for rv, hat in zip(y[full, RV], made.rv[full], strict=True)]
    ret, rv = Quantiles(RET_LEVELS, FIRST), Quantiles(RV_LEVELS, NextHour().rv.values)
    for each, other in zip(z.tolist(), e, strict=True):
        ret.learn(each)
        rv.learn(other)
    np.testing.assert_allclose(live.ret.values, ret.values, rtol=1e-9)
    np.testing.assert_allclose(live.rv.values, rv.values, rtol=1e-9)
    assert live.ret.values != FIRST


@pytest.mark.parametrize("cut", [301, 303, 304])
def test_a_range_goes_on_after_a_restart_as_if_there_had_been_none(cut: int) -> None:
    views = market(600).views()
    kept = json.loads(json.dumps(shown(views[:cut]).state()))
    again = NextHour()
    again.restore(kept)
    assert shown(views[cut:], again).state() == shown(views).state()


def test_a_hole_in_the_bars_drops_its_hour_and_a_cold_bar_begins_none() -> None:
    views = market(12).views()
    assert shown(views[:8]).ret.values != FIRST  # the hour from bar 3 to bar 7
    assert shown(views[:5] + views[6:8]).ret.values == FIRST
    views[3].warm = False
    assert shown(views[:8]).ret.values == FIRST
    views[3].warm, views[3].forecast = True, None
    assert shown(views[:8]).ret.values == FIRST


def test_ranges_are_in_returns_and_variances_of_the_forecast() -> None:
    fresh, hour = NextHour(), Forecast.of([4e-6, 0.5, 0.0, 0.0, 1e-3, 1e-3])
    assert fresh.return_at(0.05, hour) == pytest.approx(-2.1318 / math.sqrt(2.0) * 2e-3, rel=1e-4)
    assert fresh.variance_at(0.5, hour) == pytest.approx(4e-6 * math.exp(-0.125))
    assert fresh.variance_at(0.975, hour) == pytest.approx(4e-6 * math.exp(0.5 * 1.95996 - 0.125), rel=1e-4)
    assert [Tails().quantile(level) for level in RET_LEVELS] == pytest.approx(fresh.ret.values)
    middle = (fresh.return_at(0.01, hour) + fresh.return_at(0.05, hour)) / 2.0
    assert fresh.return_at(0.03, hour) == pytest.approx(middle)
    with pytest.raises(BadUsage, match=r"from 0\.01 to 0\.99, not 0\.001"):
        fresh.return_at(0.001, hour)
