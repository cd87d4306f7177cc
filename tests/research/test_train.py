from dataclasses import replace

import numpy as np
import pytest
import torch

from bot.adapters.model import checkpoint
from bot.adapters.model.predictor import run_chunked
from bot.domain.errors import TooFewBars
from bot.domain.market import DAY_MS
from bot.research import record
from bot.research.dataset import TrainingStream, pack
from bot.research.skill.evaluate import score
from bot.research.train import TrainingError, TrainingProgress, advance, fit, fit_linear, refit
from tests.research import series
from tests.research.series import FEATURES, TINY


@pytest.fixture(scope="module")
def rows():
    return [series.rows(series.candles(seed=seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def trained(rows):
    return fit(rows, FEATURES, series.split(), TINY)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(rows, trained):
    again = fit(rows, FEATURES, series.split(), TINY)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    other = fit(rows, FEATURES, series.split(), replace(TINY, seed=1))
    assert not torch.equal(other.model.embed.weight, trained.model.embed.weight)


def test_training_starts_at_the_linear_model_and_never_ends_worse(trained):
    assert trained.chosen_qlike <= trained.linear_chosen_qlike
    assert trained.zero_chosen.high < 0.0


def test_nothing_after_the_cut_is_trained_on(rows, trained):
    split = series.split()
    changed = []
    for one in rows:
        features, targets = one.features.copy(), one.targets.copy()
        late = one.close_ms >= split.cut_ms
        features[late] *= 2.0
        targets[late] *= 3.0
        changed.append(replace(one, features=features, targets=targets))
    again = fit(changed, FEATURES, split, TINY)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_without_patience_the_last_epoch_stays_even_if_an_earlier_one_was_better(rows, trained):
    assert trained.best_epoch < TINY.epochs  # these rows choose an earlier one
    last = fit(rows, FEATURES, series.split(), replace(TINY, patience=0))
    assert last.best_epoch == TINY.epochs
    assert last.chosen_qlike == last.history[-1]["chosen_qlike"]


def test_returns_lie_between_the_linear_model_and_the_network_and_variances_stay(rows, trained):
    whole = replace(TINY, patience=0)
    network, half = (
        fit(rows, FEATURES, series.split(), settings).model
        for settings in (whole, replace(whole, return_share=0.5))
    )
    x = torch.from_numpy(np.nan_to_num(trained.scale.apply(rows[0].features[-300:])))[None]
    of_linear, of_network, between = (model(x)[0] for model in (trained.linear, network, half))
    assert not torch.allclose(of_network[..., 2:4], of_linear[..., 2:4])
    torch.testing.assert_close(between[..., 2:4], (of_linear[..., 2:4] + of_network[..., 2:4]) / 2)
    assert torch.equal(between[..., [0, 1, 4, 5]], of_network[..., [0, 1, 4, 5]])


def test_a_refit_learns_from_the_rows_after_the_cut_too(rows, trained):
    split, settings, judged = series.split(), replace(TINY, epochs=1), replace(trained, best_epoch=1)
    one = rows[0]
    moved = replace(one, targets=np.where(one.close_ms[:, None] >= split.cut_ms, 3.0, 1.0) * one.targets)
    first, other = (refit([given], FEATURES, split, settings, judged).model for given in (one, moved))
    assert not torch.equal(first.embed.weight, other.embed.weight)


def test_state_carried_from_window_to_window_is_one_long_pass():
    model = series.untrained().eval()
    x = np.random.default_rng(0).normal(size=(300, len(FEATURES.names))).astype(np.float32)
    stream = TrainingStream(x, np.zeros((300, 3)))
    state, raws = model.start(1), []
    with torch.no_grad():
        for batch in pack([stream], 1, 64, np.random.default_rng(5)):
            raw, state = advance(model, batch, state)
            raws.append(raw[0, np.isfinite(batch.y[0, :, 0])])
        carried = torch.cat(raws)
        skipped = 300 - len(carried)
        once, _ = model(torch.from_numpy(x[None, skipped:]))
    torch.testing.assert_close(carried, once[0], rtol=1e-5, atol=1e-5)


def test_a_lane_that_begins_a_stream_forgets_the_one_before():
    model = series.untrained().eval()
    rng = np.random.default_rng(0)
    first, second = (
        TrainingStream(rng.normal(size=(64, len(FEATURES.names))).astype(np.float32), np.zeros((64, 3)))
        for _ in "ab"
    )
    with torch.no_grad():
        (alone,) = pack([second], 1, 64, np.random.default_rng(8))
        wanted, _ = advance(model, alone, model.start(1))
        _, dirty = advance(model, next(pack([first], 1, 64, np.random.default_rng(8))), model.start(1))
        got, _ = advance(model, alone, dirty)
    assert torch.equal(got, wanted)


def test_gradients_stop_at_the_window():
    model = series.untrained()
    batch = next(
        pack(
            [TrainingStream(np.zeros((64, len(FEATURES.names)), np.float32), np.zeros((64, 3)))],
            1,
            64,
            np.random.default_rng(0),
        )
    )
    _, state = advance(model, batch, model.start(1))
    assert not state.requires_grad


def test_the_linear_skip_finds_a_planted_momentum():
    one = series.rows(series.candles(4000, moving=False, momentum=0.3))
    split = series.split(4000)
    from bot.features.scale import Scale

    scale = Scale.fit(one.features[split.fit(one)])
    x = np.nan_to_num(scale.apply(one.features))
    linear = fit_linear([one], [x], FEATURES, split, TINY)
    table = run_chunked(linear, x, one.warm, one.start_ms, one.interval_ms)[:, record.TARGET_COLUMNS]
    mask = split.validate(one)
    assert score(one.close_ms[mask], one.targets[mask], table[mask]).ic_short.low > 0.15


def test_the_linear_skip_is_at_its_optimum(rows):
    from bot.features.scale import Scale
    from bot.model.loss import LossWeights, Targets, loss

    split = series.split()
    scale = Scale.fit(np.concatenate([one.features[split.fit(one)] for one in rows]))
    inputs = [np.nan_to_num(scale.apply(one.features)) for one in rows]
    linear = fit_linear(rows, inputs, FEATURES, split, TINY)
    x = torch.from_numpy(np.concatenate([x[split.fit(one)] for x, one in zip(inputs, rows, strict=True)]))
    y = Targets(*torch.from_numpy(np.concatenate([one.targets[split.fit(one)] for one in rows])).unbind(-1))
    variance = LossWeights(ret_short_nll=0.0, ret_long_nll=0.0)  # returns do not act back on it
    for weights, skip, bias in (
        (variance, "skip_vol.weight", slice(0, 2)),
        (LossWeights(), "skip_ret.weight", slice(2, None)),
    ):
        best = loss(linear.linear(x), y, weights).total
        rng = torch.Generator().manual_seed(0)
        for _ in range(20):
            moved = series.untrained()
            moved.load_state_dict(linear.state_dict())
            with torch.no_grad():
                for parameter in (moved.get_parameter(skip), moved.bias[bias]):
                    parameter += 0.02 * torch.randn(parameter.shape, generator=rng)
            assert loss(moved.linear(x), y, weights).total > best


def test_training_on_noise_raises_training_error():
    noise = [series.rows(series.candles(seed=seed, moving=False)) for seed in (3, 4)]
    with pytest.raises(TrainingError, match="learned nothing"):
        fit(noise, FEATURES, series.split(), TINY)


def test_a_diverging_run_raises_training_error(rows):
    with pytest.raises(TrainingError, match="diverged: the loss is"):
        fit(rows, FEATURES, series.split(), replace(TINY, lr=1e9, warmup_steps=1))


def test_too_little_data_is_an_error_that_says_how_much_is_needed():
    warmup = f"{FEATURES.warmup:,} unbroken bars"
    with pytest.raises(
        TooFewBars, match=f"no rows to fit on among 600 bars: a row needs {warmup}.* give at least"
    ):
        fit([series.rows(series.candles(600))], FEATURES, series.split(600), TINY)


def test_a_day_to_validate_on_is_too_little_for_an_interval():
    split = series.split()
    short = replace(split, valid_ms=(split.cut_ms // DAY_MS + 1) * DAY_MS)
    with pytest.raises(TooFewBars, match=r"(only 1 day of|no) rows to validate on"):
        fit([series.rows(series.candles(3000))], FEATURES, short, TINY)


def test_progress_counts_every_step_and_scores_every_epoch(rows):
    seen: list[TrainingProgress] = []
    fit(rows, FEATURES, series.split(), replace(TINY, epochs=1), seen.append)
    steps = [progress for progress in seen if progress.chosen_qlike is None]
    assert [progress.step for progress in steps] == list(range(1, steps[0].steps + 1))
    assert seen[-1].chosen_qlike > 0.0
    assert all(progress.tokens_per_s > 0 for progress in steps)


def test_the_manifest_measures_skill_and_warm_up(rows, trained, tmp_path):
    made = record.manifest(trained, rows, FEATURES, series.split(), TINY, trials=3)
    saved = checkpoint.save(tmp_path / "model", made, record.weights(trained.model))
    skill = saved.manifest.skill
    assert set(skill["qlike"]) == {"model", "linear_skip", "har_hour", "last_hour", "zero"}
    assert skill["qlike_minus"]["zero"]["high"] < 0.0
    assert set(skill["qlike_by_position"]) == {"512", "4096", "longest"}
    assert skill["qlike_by_position"]["longest"] == skill["qlike"]["model"]
    assert set(skill["by_symbol"]) == {"BTCUSDT"}
    assert saved.manifest.trials == 3
    assert FEATURES.warmup <= saved.warmup_bars <= FEATURES.warmup + 32 * 14
    assert saved.trained_to_ms == series.split().cut_ms
    assert saved.manifest.drift == record.drift_reference(rows, series.split().cut_ms)
    assert saved.manifest.drift is not None
    assert (
        0 < saved.manifest.drift.rows <= sum(series.split().before_cut(each).sum() for each in rows) // 4 + 1
    )
    assert all(0.0 < s < 1.5 for layer in saved.manifest.attention["s"] for s in layer)


def test_a_warm_stream_forecasts_like_one_that_started_much_earlier(rows, trained):
    bars, _ = record.measure_warmup(trained, rows, series.split(), FEATURES.warmup)
    one = rows[0]
    x = np.nan_to_num(trained.scale.apply(one.features))
    whole = run_chunked(trained.model, x, one.warm, one.start_ms, one.interval_ms)
    start = 1300
    late = run_chunked(trained.model, x[start:], one.warm[start:], one.start_ms[start:], one.interval_ms)
    settled = bars - FEATURES.warmup
    apart = np.abs(np.log(late[settled:, 0]) - np.log(whole[start + settled :, 0]))
    assert apart.max() < 2 * record.WARMUP_TOLERANCE * np.log(whole[one.warm, 0]).std()
