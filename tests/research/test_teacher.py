"""What the teacher says about a row, it says without having seen the row."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bot.domain.errors import BadUsage
from bot.model.loss import lesson_loss
from bot.model.performer import log_rv_mean
from bot.research import teacher
from bot.research.dataset import RV, pack, streams
from bot.research.skill import baselines
from bot.research.teacher import BLOCK_MS, lessons
from bot.research.train import TrainedModel, refit
from tests.research import series

pytest.importorskip("lightgbm", reason="the teacher is LightGBM")


@pytest.fixture(scope="module")
def one():
    return series.rows(series.candles(6000))


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(teacher, "RV_ROUNDS", 20)


def test_a_lesson_does_not_change_with_what_came_in_its_block(one, few_trees):
    fit = one.warm & one.known
    block = one.close_ms // BLOCK_MS
    inside = fit & (block == block[3000])
    moved = replace(one, targets=np.where(inside[:, None], 5.0, 1.0) * one.targets)
    (before,), (after,) = lessons([one], [fit]), lessons([moved], [fit])
    assert np.array_equal(before[inside], after[inside])
    assert not np.array_equal(before[fit & ~inside], after[fit & ~inside])


def test_no_tree_is_fitted_on_an_hour_that_reaches_into_the_block_it_forecasts(one, monkeypatch):
    fitted = []

    def remembered(x, y, rounds):
        fitted.append(set(y.tolist()))
        return baselines.boosted(x, y, 1)

    monkeypatch.setattr(teacher, "boosted", remembered)
    fit = one.warm & one.known
    lessons([one], [fit])
    ends_ms = one.close_ms + one.horizons.long_ms
    fold, after = (moment // BLOCK_MS % teacher.FOLDS for moment in (one.close_ms, ends_ms))
    over = np.flatnonzero(fit & (fold != after))
    assert len(over)
    for row in over:
        told = np.log(one.targets[row, RV])
        assert told not in fitted[fold[row]]
        assert told not in fitted[after[row]]


def test_the_trees_read_two_clocks_of_new_york_beside_the_features(one):
    mask = one.warm
    seen, close_ms = teacher._seen(one, mask), one.close_ms[mask]
    assert np.array_equal(seen[:, :-2], one.features[mask].astype(np.float32))
    monday = int(np.datetime64("2025-02-03T00:30", "ms").astype(np.int64)) + 5 * 3_600_000  # in winter
    assert seen[close_ms == monday, -2:].tolist() == [[30.0, 0.5]]


def test_lessons_are_of_the_rows_to_fit_on_and_of_the_mean(one, few_trees):
    fit = one.warm & one.known & (one.close_ms < one.close_ms[5000])
    (told,) = lessons([one], [fit])
    assert np.array_equal(np.isfinite(told), fit)
    ratio = one.targets[fit, RV] / np.exp(told[fit])
    assert ratio.mean() == pytest.approx(1.0, abs=0.25)
    assert np.corrcoef(told[fit], np.log(one.targets[fit, RV]))[0, 1] > 0.3


def test_rows_of_one_block_alone_cannot_be_taught(one):
    block = one.close_ms // BLOCK_MS
    with pytest.raises(BadUsage, match="two blocks of 14 days"):
        lessons([one], [one.warm & one.known & (block == block[3000])])


def test_a_lesson_goes_with_its_row_into_the_batches(one):
    fit = one.warm & one.known
    told = np.where(fit, np.arange(len(fit), dtype=float), np.nan)
    x = np.nan_to_num(one.features).astype(np.float32)
    batches = list(pack(streams(one, x, fit, told), 1, 64, np.random.default_rng(0)))
    rv, lesson = (np.concatenate([batch.y[0, :, column] for batch in batches]) for column in (RV, 3))
    known = np.isfinite(lesson)
    assert known.any()
    assert np.array_equal(one.targets[lesson[known].astype(int), RV], rv[known])


def test_the_lesson_loss_is_the_mean_square_of_the_known():
    raw = torch.tensor([[-9.0, -1.0, 0, 0, 0, 0], [-8.0, -1.0, 0, 0, 0, 0], [-7.0, -1.0, 0, 0, 0, 0]])
    told = log_rv_mean(raw) + torch.tensor([1.0, 3.0, torch.nan])
    assert lesson_loss(raw, told).item() == pytest.approx(5.0, rel=1e-5)
    assert lesson_loss(raw, torch.full((3,), torch.nan)).item() == 0.0


def test_a_model_with_a_teacher_learns_something_else(few_trees, monkeypatch):
    monkeypatch.setattr(teacher, "BLOCK_MS", BLOCK_MS // 7)
    rows = [series.rows(series.candles(1200))]
    judged = TrainedModel(series.untrained(), series.untrained(), None, 1, 0.0, 0.0, None, [])
    taught, alone = (
        refit(rows, series.FEATURES, series.split(1200), replace(series.TINY, teacher=name), judged).model
        for name in ("lightgbm", "none")
    )
    assert not torch.equal(taught.embed.weight, alone.embed.weight)


def test_the_same_rows_give_the_same_lessons(one, few_trees):
    fit = one.warm & one.known
    (first,), (again,) = lessons([one], [fit]), lessons([one], [fit])
    assert np.array_equal(first[fit], again[fit])


def test_without_lightgbm_the_error_says_how_to_get_it(one, monkeypatch):
    def absent(x, y, rounds):
        raise ImportError("no lightgbm", name="lightgbm")

    monkeypatch.setattr(teacher, "boosted", absent)
    with pytest.raises(BadUsage, match="lightgbm is not installed"):
        lessons([one], [one.warm & one.known])
