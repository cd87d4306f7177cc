import dataclasses

import numpy as np
import pytest

from bot.domain.market import DAY_MS, HOUR_MS
from bot.research.dataset import RET_LONG, RET_SHORT, RV, LabelledRows, targets
from bot.research.skill import baselines
from bot.research.skill.evaluate import bootstrap_mean, forecast_all, losses, paired_qlike, report, score
from tests.research import series

DAYS = 30
PER_DAY = 96
CLOSES = series.T0 + 15 * 60_000 * np.arange(DAYS * PER_DAY)


def sample(seed=0):
    rng = np.random.default_rng(seed)
    rv = np.exp(rng.normal(-10.0, 1.0, len(CLOSES)))
    return np.column_stack((rv, *rng.normal(0.0, 0.01, (2, len(CLOSES)))))


def test_a_perfect_forecast_scores_perfectly():
    y = sample()
    scored = score(CLOSES, y, y)
    assert scored.qlike.value == pytest.approx(0.0, abs=1e-12)
    for figure in (scored.r2_log_rv, scored.ic_short, scored.ic_long, scored.direction):
        assert figure.value == pytest.approx(1.0)


def test_qlike_by_hand():
    # rv/f = 2: 2 - ln 2 - 1 = 0.3069
    assert losses(np.array([2e-5]), np.array([1e-5]))[0] == pytest.approx(0.306853, abs=1e-6)


def test_the_ic_is_the_rank_correlation_with_ties():
    y = sample()[:10]
    forecast = y.copy()
    forecast[:, RET_SHORT] = [1, 1, 2, 2, 3, 4, 5, 5, 5, 9]
    ranks = np.array([1.5, 1.5, 3.5, 3.5, 5, 6, 8, 8, 8, 10])
    wanted = np.corrcoef(ranks, np.argsort(np.argsort(y[:, RET_SHORT])))[0, 1]
    assert score(CLOSES[:10], y, forecast).ic_short.value == pytest.approx(wanted)


@pytest.mark.parametrize("n", [2880, 2879, 1931, 401])
def test_without_a_return_forecast_the_skill_is_none(n):
    y = sample()[:n]
    scored = score(CLOSES[:n], y, np.column_stack((y[:, RV], np.zeros((n, 2)))))
    assert scored.ic_short is None
    assert scored.direction is None


def test_a_constant_factor_costs_qlike_but_not_r2():
    y = sample()
    scored = score(CLOSES, y, y * np.array([2.0, 1.0, 1.0]))
    assert scored.r2_log_rv.value == pytest.approx(1.0)
    assert scored.qlike.value == pytest.approx(np.log(2) - 0.5)


def test_the_interval_draws_days_and_not_rows():
    # one value a day, repeated 96 times: as uncertain as 30 values, not as 2880
    daily = np.random.default_rng(1).normal(0.0, 1.0, DAYS)
    figure = bootstrap_mean(CLOSES, np.repeat(daily, PER_DAY))
    wanted = 2 * 1.96 * daily.std() / np.sqrt(DAYS)
    assert figure.high - figure.low == pytest.approx(wanted, rel=0.15)


def test_a_paired_difference_has_a_narrower_interval_than_the_two_figures():
    y = sample()[:, RV]
    rv = y * np.exp(np.random.default_rng(2).normal(0.0, 1.0, len(y)))  # its mean is e^½ = 1.65 times y
    difference = paired_qlike(CLOSES, rv, 1.6 * y, 1.2 * y)
    ours, theirs = (bootstrap_mean(CLOSES, losses(rv, factor * y)) for factor in (1.6, 1.2))
    assert ours.high > theirs.low
    assert difference.high < 0.0


def test_figures_that_are_too_good_raise_the_leak_alarm():
    y = sample()
    forecast = y + np.random.default_rng(3).normal(0.0, 0.05, y.shape) * np.array([0, 1, 1])
    assert [leak.split()[0] for leak in score(CLOSES, y, forecast).leaks()] == [
        "ic_ret_15m", "ic_ret_60m", "r2_log_rv_60m", "direction_ret_15m",
    ]  # fmt: skip
    blurred = y[:, RV] * np.exp(np.random.default_rng(5).normal(0.0, 0.8, len(y)))
    honest = np.column_stack((blurred, *np.random.default_rng(4).normal(0.0, 0.01, (2, len(y)))))
    assert score(CLOSES, y, honest).leaks() == []


def test_har_finds_persistence_and_the_hour_dummies_the_daily_rhythm():
    rows, split = series.rows(series.candles(6000)), series.split(6000)
    fit = [(rows, split.before_cut(rows))]
    mask = split.validate(rows)
    qlike = {
        name: float(losses(rows.targets[mask, RV], make(fit)(rows)[mask, RV]).mean())
        for name, make in baselines.BASELINES.items()
        if name in ("zero", "last_hour", "har", "har_hour")
    }
    assert qlike["har_hour"] < qlike["har"] < min(qlike["zero"], qlike["last_hour"])


def test_rolling_har_learns_what_changed_after_the_first_fit():
    rows, split = series.rows(series.candles(6000)), series.split(3000)
    targets = rows.targets.copy()
    targets[4000:, RV] *= 4.0  # from here on, the next hour moves twice as much as the past says
    changed = dataclasses.replace(rows, targets=targets)
    fit = [(changed, split.before_cut(changed))]
    late = slice(5500, 5900)
    once, rolling = (
        losses(targets[late, RV], make(fit)(changed)[late, RV]).mean()
        for make in (baselines.fit_har, baselines.fit_har_rolling)
    )
    assert rolling < 0.8 * once


def test_a_refit_at_midnight_knows_no_hour_that_is_not_over():
    whole = series.candles(2600)
    midnight = int(np.flatnonzero(whole.start_ms % DAY_MS == 0)[-2])
    changed = whole.ohlcv.copy()
    changed[midnight:, :4] *= np.linspace(1.0, 2.0, len(changed) - midnight)[:, None]
    rows, other = (
        series.rows(series.Candles.make("BTCUSDT", series.INTERVAL_MS, whole.start_ms, ohlcv))
        for ohlcv in (whole.ohlcv, changed)
    )
    forecast = baselines.fit_har_rolling([(rows, series.split().before_cut(rows))])
    last = midnight - 1  # closes at midnight, so the new fit forecasts it
    assert forecast(other)[last, RV] == pytest.approx(forecast(rows)[last, RV], rel=1e-9)


def test_ridge_finds_a_planted_momentum():
    rows, split = series.rows(series.candles(6000, moving=False, momentum=0.3)), series.split(6000)
    forecast = baselines.fit_ridge([(rows, split.before_cut(rows))])(rows)
    mask = split.validate(rows)
    scored = score(rows.close_ms[mask], rows.targets[mask], forecast[mask])
    assert scored.ic_short.low > 0.2
    assert scored.ic_long.value > 0.05


def test_mean_reversion_is_minus_the_last_hour():
    rows = series.rows(series.candles(200))
    forecast = baselines.fit_mean_reversion([])(rows)
    wanted = -np.log(rows.close[100] / rows.close[96])
    np.testing.assert_allclose(forecast[100, [RET_SHORT, RET_LONG]], wanted)


@pytest.mark.parametrize("name", sorted(baselines.BASELINES))
def test_no_baseline_sees_the_future(name):
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    whole = series.candles(2600)
    rows = series.rows(whole)
    forecast = baselines.BASELINES[name]([(rows, series.split().before_cut(rows))])
    changed = whole.ohlcv.copy()
    changed[2300:, :4] *= np.linspace(1.0, 2.0, 300)[:, None]
    other = series.rows(series.Candles.make("BTCUSDT", series.INTERVAL_MS, whole.start_ms, changed))
    np.testing.assert_allclose(forecast(other)[:2300], forecast(rows)[:2300], rtol=1e-9, atol=1e-15)


def test_every_forecaster_is_scored_on_the_same_rows_and_baselines_know_only_the_past(monkeypatch):
    rows = series.rows(series.candles(2500))
    cut_ms = int(rows.start_ms[2000])
    fitted_on = []

    def spy(fitted):
        fitted_on.extend(fitted)
        return baselines.fit_har(fitted)

    monkeypatch.setattr(baselines, "BASELINES", {"har": spy, "mean_reversion": baselines.fit_mean_reversion})
    monkeypatch.setattr("bot.research.skill.evaluate.BASELINES", baselines.BASELINES)
    half = np.where(np.arange(2500)[:, None] < 2250, np.nan, rows.targets)  # a model that is cold for long
    (one,), skipped = forecast_all([rows], lambda _: half, cut_ms, cut_ms, int(rows.close_ms[-1]))
    assert skipped == {}
    assert np.flatnonzero(one.mask).tolist() == list(range(2250, 2496))
    assert (rows.close_ms[fitted_on[0][1]] + 60 * 60_000 <= cut_ms).all()
    told = report(one)
    assert told["rows"] == 246
    assert told["baselines"]["mean_reversion"]["qlike_rv_60m"] is None
    assert told["qlike_minus"]["har"]["high"] < 0.0
    assert told["leak_alarm"]


def test_a_missing_optional_baseline_is_left_out_with_a_reason(monkeypatch):
    def absent(fitted):
        raise ImportError("no lightgbm", name="lightgbm")

    monkeypatch.setattr("bot.research.skill.evaluate.BASELINES", {"lightgbm": absent})
    rows = series.rows(series.candles(1200))
    end_ms = int(rows.close_ms[-1])
    _, skipped = forecast_all([rows], lambda one: one.targets, end_ms, 0, end_ms)
    assert "lightgbm is not installed" in skipped["lightgbm"]


def test_too_few_days_give_a_figure_without_an_interval():
    figure = bootstrap_mean(CLOSES[:10] - CLOSES[0] % DAY_MS, np.ones(10))
    assert figure.value == 1.0
    assert np.isnan(figure.low)


@pytest.mark.parametrize("name", sorted(baselines.BASELINES))
def test_baselines_take_hourly_bars_which_have_no_quarter(name):
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    hourly = series.candles(900, interval_ms=HOUR_MS)
    close = hourly.ohlcv[:, 3]
    rows = LabelledRows(
        "BTCUSDT",
        HOUR_MS,
        "",
        "",
        hourly.start_ms,
        close,
        np.zeros((900, 1)),
        targets(hourly.start_ms, close, HOUR_MS),
        np.zeros(900, np.bool_),
    )
    forecast = baselines.BASELINES[name]([(rows, rows.known)])(rows)
    scored = score(rows.close_ms, rows.targets, forecast)
    assert scored.ic_short is None
    assert (scored.qlike is None) == (name in ("ridge", "mean_reversion"))
