"""The default set: its contents, the meaning of its columns, and what changes its hash."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.domain.errors import BadInput
from bot.features import ops
from bot.features.ops import CLOSE, VOLUME
from bot.features.spec import FeatureSet, build, default
from tests.features.series import M5, candles

SET = default(M5)
FIRST = build("default-v1", M5)
SERIES = candles(2200, seed=5)
ROW = dict(zip(SET.names, SERIES.replay(SET)[-1], strict=True))
OPEN_, HIGH_, LOW_, CLOSE_, VOLUME_ = SERIES.ohlcv.T
RET = np.clip(np.diff(np.log(CLOSE_)), -0.1, 0.1)
VOL = np.sqrt(np.mean(RET[-288:] ** 2))


def ln_hourly(squares: np.ndarray) -> float:
    return float(np.log(np.mean(squares) * 12))


def test_the_groups_of_the_default_set() -> None:
    assert [SET.names[i] for i in SET.volatilities] == [
        "har_15m", "har_1h", "har_4h", "har_1d", "har_1w", "season_1d", "season_1w", "season_mean",
        "parkinson_15m", "parkinson_1h", "parkinson_4h", "parkinson_1d", "abs_ret_1", "range_1", "atr_14_log",
        "bollinger_width_log_20",
    ]  # fmt: skip
    assert [SET.names[i] for i in SET.lags] == ["ret_1", *(f"ret_lag_{n}" for n in range(1, 6))]
    assert [SET.names[i] for i in SET.hours] == [f"hour_{hour:02d}" for hour in range(24)]
    assert [SET.names[i] for i in SET.workdays] == [
        "new_york_workday",
        *(f"new_york_{hour:02d}{minute:02d}" for hour in range(7, 17) for minute in (0, 30)),
        "new_york_1700",
    ]
    assert len(SET.names) == len(set(SET.names)) >= 24


def test_the_calendar_is_what_is_known_without_any_bar() -> None:
    calendar = {SET.names[at] for at in SET.calendar}
    assert {each.partition("_")[0] for each in calendar} == {"day", "week", "hour", "new", "funding"}
    assert "funding_until" in calendar
    assert not calendar & {"funding_bps", "season_1d", "ret_1", "volume_z_12"}


def test_the_hours_of_new_york_are_an_hour_earlier_by_utc_in_summer_and_blank_at_the_weekend() -> None:
    for monday, opens_utc in (("2025-01-06", "14:30"), ("2025-07-07", "13:30")):
        close_ms = int(np.datetime64(f"{monday}T{opens_utc}", "ms").astype(np.int64))
        for day in range(7):
            at = replace(SERIES[-1:], start_ms=np.array([close_ms + day * 86_400_000 - M5]))
            row = dict(zip(SET.names, at.replay(SET)[0], strict=True))
            hours = {name: value for name, value in row.items() if name.startswith("new_york_")}
            assert hours.pop("new_york_workday") == (day < 5)
            shares = {"new_york_0900": 0.5, "new_york_0930": 1.0, "new_york_1000": 0.5} if day < 5 else {}
            assert {name: value for name, value in hours.items() if value} == shares


def test_a_week_of_returns_is_the_longest_memory() -> None:
    assert SET.warmup == 7 * 288 + 1


@pytest.mark.parametrize(("name", "bars"), [("15m", 3), ("1h", 12), ("4h", 48), ("1d", 288), ("1w", 2016)])
def test_har_terms_are_log_variances_of_an_hour(name: str, bars: int) -> None:
    assert ROW[f"har_{name}"] == pytest.approx(ln_hourly(RET[-bars:] ** 2), rel=1e-12)


def test_a_crash_return_is_clipped_to_a_tenth_in_every_variance() -> None:
    crash = candles(20, seed=5)
    crash.ohlcv[-1, 2:4] *= 0.5
    ret = np.diff(np.log(crash.ohlcv[:, 3]))
    got = crash.replay(SET)[-1, SET.names.index("har_1h")]
    assert got == pytest.approx(ln_hourly(np.append(ret[-12:-1], 0.1) ** 2), rel=1e-12)


@pytest.mark.parametrize("n", [1, 3, 6, 12, 24, 48, 96, 288])
def test_returns_are_in_trailing_volatilities(n: int) -> None:
    expected = np.log(CLOSE_[-1] / CLOSE_[-1 - n]) / (VOL * np.sqrt(n))
    assert ROW[f"ret_{n}"] == pytest.approx(expected, rel=1e-12)


def test_a_lag_is_the_return_of_an_earlier_bar_as_it_was_then() -> None:
    assert ROW["ret_lag_5"] == SERIES.replay(SET)[-6, SET.names.index("ret_1")]


def test_variance_columns_by_hand() -> None:
    square, reach = RET**2, np.log(HIGH_ / LOW_) ** 2 / (4 * np.log(2))
    assert ROW["parkinson_1d"] == pytest.approx(ln_hourly(reach[-288:]), rel=1e-12)
    assert ROW["down_share_1h"] == pytest.approx(np.sum(square[-12:][RET[-12:] < 0]) / np.sum(square[-12:]))
    assert ROW["abs_ret_1"] == pytest.approx(abs(RET[-1]) / VOL)
    assert ROW["season_1d"] == pytest.approx(ln_hourly(square[-288:][:12]), rel=1e-12)
    days = [ln_hourly(square[-288 * day :][:12]) for day in range(1, 8)]
    assert ROW["season_mean"] == pytest.approx(np.mean(days), rel=1e-12)
    assert ROW["season_1w"] == pytest.approx(days[-1], rel=1e-12)


def test_volume_columns_by_hand() -> None:
    level, signed = np.log1p(VOLUME_), VOLUME_ * np.sign(CLOSE_ - OPEN_)
    assert ROW["volume_z_48"] == pytest.approx((level[-1] - level[-48:].mean()) / level[-48:].std())
    assert ROW["volume_1h_to_1d"] == pytest.approx(level[-12:].mean() - level[-288:].mean())
    assert ROW["volume_1d_to_1w"] == pytest.approx(level[-288:].mean() - level[-2016:].mean())
    assert ROW["signed_volume_1h"] == pytest.approx(signed[-12:].sum() / VOLUME_[-12:].sum())


def test_candle_columns_add_up_to_the_range() -> None:
    atr = np.exp(ROW["atr_14_log"]) * CLOSE_[-1]
    parts = abs(ROW["body"]) + ROW["upper_wick"] + ROW["lower_wick"]
    assert parts == pytest.approx((HIGH_[-1] - LOW_[-1]) / atr)
    assert ROW["range_1"] == pytest.approx(np.log(parts))


def test_bands_and_oscillators_by_hand() -> None:
    window = CLOSE_[-20:]
    assert ROW["bollinger_b_20"] == pytest.approx(0.5 + (window[-1] - window.mean()) / window.std() / 4)
    assert ROW["bollinger_width_log_20"] == pytest.approx(np.log(4 * window.std() / window.mean()))
    top, bottom = HIGH_[-288:].max(), LOW_[-288:].min()
    assert ROW["range_position_288"] == pytest.approx((CLOSE_[-1] - bottom) / (top - bottom))


def test_calendar_features_use_the_close_time() -> None:
    rows = SERIES.replay(SET)
    monday_midnight = 6 * 288 - 288 - 1  # the series begins on Wednesday 2025-01-01, 00:00
    row = dict(zip(SET.names, rows[monday_midnight], strict=True))
    assert (row["day_sin"], row["day_cos"], row["week_sin_1"], row["week_cos_1"]) == (0.0, 1.0, 0.0, 1.0)
    assert row["hour_00"] == 1.0
    assert rows[:, list(SET.hours)].sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("interval_ms", [60_000, M5, 3_600_000, 86_400_000])
def test_no_two_columns_are_the_same(interval_ms: int) -> None:
    nodes = [op for _, op in default(interval_ms).columns]
    assert len(set(nodes)) == len(nodes)


def test_a_set_is_rebuilt_from_its_name_and_interval() -> None:
    for feature_set in (SET, SET.joined(), FIRST):
        assert build(feature_set.name, feature_set.interval_ms).hash == feature_set.hash
    assert default(M5, join=True).hash == SET.joined().hash


@pytest.mark.parametrize(("name", "interval_ms"), [("default-v0", M5), ("default-v1", 123)])
def test_an_unknown_set_is_refused(name: str, interval_ms: int) -> None:
    with pytest.raises(BadInput):
        build(name, interval_ms)


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from bot.features.spec import default; print(default(300_000).hash)"
    for_other_seed = os.environ | {"PYTHONHASHSEED": "12345"}
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], env=for_other_seed, cwd=root, capture_output=True, check=True, text=True
    )
    assert run.stdout.strip() == SET.hash


def one(op: ops.Op, name: str = "x", interval_ms: int = M5) -> FeatureSet:
    return FeatureSet("one", interval_ms, ((name, op),))


def test_the_hash_changes_with_every_part_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    base = one(ops.Ratio(ops.Sum(CLOSE, 5), VOLUME, 1e-3))
    others = [
        one(ops.Ratio(ops.Sum(CLOSE, 6), VOLUME, 1e-3)),
        one(ops.Ratio(ops.Sum(CLOSE, 5), VOLUME, 1e-4)),
        one(ops.Ratio(ops.Sum(VOLUME, 5), VOLUME, 1e-3)),
        one(ops.Ratio(VOLUME, ops.Sum(CLOSE, 5), 1e-3)),
        one(ops.Ratio(ops.Std(CLOSE, 5), VOLUME, 1e-3)),
        one(ops.Ratio(ops.Sum(CLOSE, 5), VOLUME, 1e-3), name="y"),
        one(ops.Ratio(ops.Sum(CLOSE, 5), VOLUME, 1e-3), interval_ms=60_000),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 8
    before = base.hash
    monkeypatch.setattr(ops.Sum, "version", 2)
    assert replace(base).hash != before


def test_the_shipped_definition_has_not_changed_unnoticed() -> None:
    """Shipped models depend on this hash. A change needs a new set name and a new model."""
    assert SET.hash.startswith("bd6b7b0a")
    assert FIRST.hash.startswith("bf5d0d1d")


def test_the_first_set_lacks_the_hours_of_new_york_alone() -> None:
    assert SET.columns == FIRST.columns + tuple(SET.columns[i] for i in SET.workdays)
    assert (SET.warmup, SET.program.state_size) == (FIRST.warmup, FIRST.program.state_size)
