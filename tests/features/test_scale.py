import json

import numpy as np
import pytest

from bot.domain.errors import BadModel
from bot.features.scale import Scale

ROWS = np.random.default_rng(0).normal([1.0, -5.0, 1e4], [0.1, 3.0, 50.0], (1000, 3))


def test_fitted_rows_have_mean_0_and_deviation_1() -> None:
    scaled = Scale.fit(ROWS).apply(ROWS)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=1e-5)


def test_cold_rows_do_not_count_and_stay_cold() -> None:
    cold = np.vstack([np.full((5, 3), np.nan), ROWS, [1.0, np.nan, 2.0]])
    scale = Scale.fit(cold)
    assert scale.mean.tolist() == Scale.fit(ROWS).mean.tolist()
    np.testing.assert_array_equal(np.isnan(scale.apply(cold)), np.isnan(cold))


def test_a_constant_column_becomes_zero_not_noise() -> None:
    rows = np.column_stack([ROWS[:, 0], np.full(1000, 0.1)])
    scale = Scale.fit(rows)
    assert scale.std[1] == 1.0
    assert np.abs(scale.apply(rows)[:, 1]).max() < 1e-12


def test_outliers_are_clipped_on_both_sides() -> None:
    scale = Scale.fit(ROWS, clip=4.0)
    assert scale.apply(np.array([1e9, -1e9, 1e4])).tolist()[:2] == [4.0, -4.0]


def test_json_keeps_every_bit() -> None:
    scale = Scale.fit(ROWS)
    copy = Scale.from_json(json.loads(json.dumps(scale.to_json())))
    assert scale.apply(ROWS).tobytes() == copy.apply(ROWS).tobytes()
    assert (copy.mean.tobytes(), copy.std.tobytes(), copy.clip) == (
        scale.mean.tobytes(),
        scale.std.tobytes(),
        8.0,
    )


GOOD = Scale.fit(ROWS).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [1.0]},
        {"std": [1.0, 0.0, 1.0]},
        {"mean": [float("nan"), 0, 0]},
        {"clip": 0},
        {"std": "x"},
        {"mean": 3.0},
    ],
)
def test_an_invalid_scale_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadModel):
        Scale.from_json(GOOD | change)
    with pytest.raises(BadModel):
        Scale.from_json({key: value for key, value in GOOD.items() if key not in change})


def test_rows_without_a_warm_one_cannot_be_fitted() -> None:
    with pytest.raises(BadModel, match="warm"):
        Scale.fit(np.full((3, 2), np.nan))
