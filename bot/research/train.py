"""The seeded training loop: first a linear model, then the Performer on top of it.

``fit`` does everything. It scales the inputs and brings the linear skip to its own optimum on the training
rows. The Performer starts as exactly this linear model. Then ``fit`` reads windows of parallel streams in
order and carries the detached state along, because live streams never end. After each epoch an exponential
average of the weights is scored on the rows for choosing. The best of these averages is the result.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bot.adapters.model.predictor import run_chunked
from bot.domain.errors import BotError, TooFewBars
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import DAY_MS
from bot.domain.spans import span_words
from bot.features.scale import Scale
from bot.features.spec import FeatureSet
from bot.metrics import Estimate, Times
from bot.model import config as shapes
from bot.model.loss import LossWeights, Targets, lesson_loss, loss
from bot.model.performer import Performer, PerformerConfig
from bot.ports import Floats
from bot.research.dataset import (
    RET_LONG,
    RET_SHORT,
    RV,
    Batch,
    Inputs,
    LabelledRows,
    Split,
    TrainingStream,
    pack,
    streams,
)
from bot.research.processes import ALONE, Processes
from bot.research.skill.evaluate import losses, paired_qlike
from bot.research.teacher import lessons

LEAD_BARS = 6144
"""Bars that are read before the rows for choosing, so that these start from the state of a long stream."""

_SEEDS_APART = 1_000_003
"""Between the seeds of two processes, so that they leave out other values (dropout)."""

RETURNS = slice(2, 4)
"""The raw outputs that are locations of returns."""

_SPANS_DAYS_MIN = 14
"""Days after the features' warm-up that leave two to validate on, 15 % of the data, and one to choose on."""


class TrainingError(BotError):
    """Training has no useful result: it diverged, or the model is not better than a constant."""


Teacher = Literal["none", "lightgbm"]
"""Who forecasts the rows to fit on, for the model to learn these forecasts as well (see ``teacher``)."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that fixes a trained model, except the data. Sizes as in ``PerformerConfig``."""

    epochs: int = 12
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    processes: int = 1  # that shared out the lanes
    lanes: int = 8
    window: int = 512
    lr: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    average: float = 0.99
    patience: int = 4  # 0: nothing is chosen, the last epoch stays
    d_model: int = 64
    heads: int = 4
    layers: int = 2
    features: int = 16
    mlp_ratio: int = 4
    half_lives: tuple[float, ...] = (16.0, 64.0, 256.0, 1024.0)
    dropout: float = 0.1
    teacher: Teacher = "none"
    lesson_weight: float = 5.0  # of the teacher's forecast, against 1 for what came
    return_share: float = 1.0  # of the network in forecasts of returns; the rest is the linear model


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of training: after a step, or (with ``chosen_qlike``) after an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    tokens_per_s: float
    chosen_qlike: float | None = None


@dataclass(frozen=True)
class TrainedModel:
    """The result of ``fit``: the model, the linear model it started from, and how the epoch was chosen."""

    model: Performer
    linear: Performer
    scale: Scale
    best_epoch: int
    chosen_qlike: float
    linear_chosen_qlike: float
    zero_chosen: Estimate | None
    history: list[dict[str, float]]


def fit(
    files: Sequence[LabelledRows],
    feature_set: FeatureSet,
    split: Split,
    settings: TrainingSettings,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    processes: Processes = ALONE,
) -> TrainedModel:
    """Train on ``split.fit`` rows, choose the epoch on ``split.choose`` rows. Repeatable on one machine.

    Without patience the last epoch is taken: few days choose by chance, and the rate falls to the end anyway.
    Of several ``processes`` each calls this with the same arguments and gets the same model.

    Raises:
        TooFewBars: there are no rows to fit, to choose or to validate on.
        TrainingError: the loss is not finite, or the result is not better than a constant forecast.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed + processes.rank * _SEEDS_APART)
    _require_rows(files, split, feature_set.warmup)
    scale, inputs = _scaled(files, split)
    linear = fit_linear(files, inputs, feature_set, split, settings)
    processes.same_start(linear)
    model = copy.deepcopy(linear).requires_grad_(True).to(settings.device)
    choice = [one for rows, x in zip(files, inputs, strict=True) if (one := _choice(rows, x, split))]
    parts = _streams(files, inputs, split, settings)
    linear_qlike = processes.decide(lambda: _chosen_qlike(linear, choice, split))
    best, best_epoch, best_qlike = copy.deepcopy(model), 0, linear_qlike
    history = []
    for epoch, average in enumerate(train_epochs(model, parts, settings, report, processes), start=1):
        qlike = processes.decide(partial(_chosen_qlike, average, choice, split))
        history.append({"epoch": epoch, "chosen_qlike": qlike})
        report(TrainingProgress(epoch, settings.epochs, 0, 0, math.nan, math.nan, qlike))
        if qlike < best_qlike or not settings.patience:
            best, best_epoch, best_qlike = copy.deepcopy(average), epoch, qlike
        elif epoch - best_epoch >= settings.patience:
            break
    best = returns_between(linear, best.cpu().eval(), settings.return_share)
    against_zero = processes.decide(lambda: _against_zero(best, files, choice, split))
    if against_zero is None or not against_zero.high < 0.0:
        words = (
            "the model learned nothing: on the rows for choosing its QLIKE is not below the QLIKE of a "
            f"constant variance ({best_qlike:.4f}; difference {_interval(against_zero)}); nothing was written"
        )
        raise processes.of_all(TrainingError(words))
    return TrainedModel(best, linear, scale, best_epoch, best_qlike, linear_qlike, against_zero, history)


def refit(
    files: Sequence[LabelledRows],
    feature_set: FeatureSet,
    split: Split,
    settings: TrainingSettings,
    judged: TrainedModel,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    processes: Processes = ALONE,
) -> TrainedModel:
    """Train again in the same way on every row to ``split.valid_ms``, for as many epochs as ``judged`` has.

    Nothing is chosen: the choice was made on rows that this model is now fitted on. So it has no figures of
    its own; those of ``judged`` say what the recipe can do.

    Raises:
        TrainingError: the loss is not finite.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed + processes.rank * _SEEDS_APART)
    every = Split(stop_ms=split.valid_ms, cut_ms=split.valid_ms, valid_ms=split.valid_ms)
    scale, inputs = _scaled(files, every)
    linear = fit_linear(files, inputs, feature_set, every, settings)
    processes.same_start(linear)
    model = copy.deepcopy(linear).requires_grad_(True).to(settings.device)
    last = model
    if judged.best_epoch:
        epochs = train_epochs(model, _streams(files, inputs, every, settings), settings, report, processes)
        last = next(islice(epochs, judged.best_epoch - 1, None))
    between = returns_between(linear, last.cpu().eval(), settings.return_share)
    return replace(judged, model=between, linear=linear, scale=scale)


@torch.no_grad()
def returns_between(linear: Performer, trained: Performer, share: float) -> Performer:
    """Return a model that forecasts variances as ``trained`` does, and returns between ``linear`` and it.

    Returns are nearly all noise, of which the network learns some. The mean of both forecasts has less of it,
    and needs no second model: a forecast is linear in these last weights.
    """
    between = copy.deepcopy(trained)
    between.head.weight[RETURNS] *= share  # the linear model's are 0
    for name, returns in (("bias", RETURNS), ("skip_ret.weight", slice(None))):
        of_linear, of_trained = linear.get_parameter(name)[returns], trained.get_parameter(name)[returns]
        between.get_parameter(name)[returns] = torch.lerp(of_linear, of_trained, share)
    return between


def _scaled(files: Sequence[LabelledRows], split: Split) -> tuple[Scale, list[Inputs]]:
    """Return the scale of the rows to fit on, and the inputs of every row."""
    scale = Scale.fit(np.concatenate([rows.features[split.fit(rows)] for rows in files]))
    return scale, [np.nan_to_num(scale.apply(rows.features)) for rows in files]


def _streams(
    files: Sequence[LabelledRows], inputs: Sequence[Inputs], split: Split, settings: TrainingSettings
) -> list[TrainingStream]:
    """Return the streams to learn from, with a teacher's lessons if the settings name one."""
    fits = [split.fit(rows) for rows in files]
    told = [None] * len(files) if settings.teacher == "none" else lessons(files, fits)
    each = zip(files, inputs, fits, told, strict=True)
    return [stream for rows, x, mask, lesson in each for stream in streams(rows, x, mask, lesson)]


def model_config(
    feature_set: FeatureSet, settings: TrainingSettings, horizons: Horizons = HOUR
) -> PerformerConfig:
    """Return the shapes of a model on these features that forecasts over ``horizons``.

    Columns that measure volatility, and the hours of the day, feed the volatility skip; so does what a
    definition adds.
    """
    skip_vol, skip_ret = feature_set.skips
    bars_15m, bars_60m = shapes.bars_ahead(horizons, feature_set.interval_ms)
    return PerformerConfig(
        n_in=len(feature_set.names),
        d_model=settings.d_model,
        heads=settings.heads,
        layers=settings.layers,
        features=settings.features,
        mlp_ratio=settings.mlp_ratio,
        half_lives=settings.half_lives,
        dropout=settings.dropout,
        seed=settings.seed,
        skip_vol=skip_vol,
        skip_ret=skip_ret,
        bars_15m=bars_15m,
        bars_60m=bars_60m,
        horizons_minutes=horizons.minutes,
    )


def fit_linear(
    files: Sequence[LabelledRows],
    inputs: Sequence[Inputs],
    feature_set: FeatureSet,
    split: Split,
    settings: TrainingSettings,
) -> Performer:
    """Fit the linear skip alone, to the optimum of the same objective on the same rows. The trunk stays 0.

    Ridge regression in closed form, then L-BFGS on the training loss: first for the variance, then for the
    returns, which do not act back on it.
    """
    model = Performer(model_config(feature_set, settings, files[0].horizons))
    fits = [split.fit(rows) for rows in files]
    x = torch.from_numpy(np.concatenate([x[mask] for x, mask in zip(inputs, fits, strict=True)]))
    y = np.concatenate([rows.targets[mask] for rows, mask in zip(files, fits, strict=True)])
    targets = _targets(torch.from_numpy(y))
    model.fit_skip(x, *targets)
    model.double()  # measures of volatility are nearly collinear: float32 would stop early
    x = x.double()
    variance_alone = LossWeights(ret_short_nll=0.0, ret_long_nll=0.0)
    _descend(model, model.skip_vol.weight, x, targets, variance_alone)
    _descend(model, model.skip_ret.weight, x, targets, LossWeights())
    return model.float().requires_grad_(False).eval()


def _descend(
    model: Performer, weight: nn.Parameter, x: Tensor, targets: Targets, weights: LossWeights
) -> None:
    """Bring one weight of the linear skip, and the bias, to the least loss, by L-BFGS."""
    optimiser = torch.optim.LBFGS([weight, model.bias], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = loss(model.linear(x), targets, weights, short_share=model.short_share).total
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return total

    optimiser.step(closure)  # type: ignore[no-untyped-call]


def train_epochs(
    model: Performer,
    parts: Sequence[TrainingStream],
    settings: TrainingSettings,
    report: Callable[[TrainingProgress], None],
    processes: Processes,
) -> Iterator[Performer]:
    """Train ``model`` epoch by epoch. Yields the average of the weights after each.

    It may be any Performer, also one with a part replaced (``scripts/bench/ablation.py``).
    """
    rng = np.random.default_rng(settings.seed)
    steps = sum(1 for _ in pack(parts, settings.lanes, settings.window, np.random.default_rng(0)))
    optimiser = _optimiser(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _learning_rate(step, settings.warmup_steps, steps * settings.epochs)
    )
    average = copy.deepcopy(model).requires_grad_(False)
    for epoch in range(1, settings.epochs + 1):
        model.train()
        state = model.start(processes.lanes_of(settings.lanes))
        for step, batch in enumerate(pack(parts, settings.lanes, settings.window, rng), start=1):
            began_s = time.perf_counter()
            value, state = _step(model, processes.share_of(batch), state, optimiser, settings, processes)
            schedule.step()
            if not math.isfinite(value):
                words = (
                    f"training diverged: the loss is {value} in epoch {epoch}, step {step}; "
                    f"a lower --lr than {settings.lr} may help; nothing was written"
                )
                raise processes.of_all(TrainingError(words))
            _follow(average, model, settings.average)
            speed = settings.lanes * settings.window / (time.perf_counter() - began_s)
            report(TrainingProgress(epoch, settings.epochs, step, steps, value, speed))
        yield average


def _step(
    model: Performer,
    batch: Batch,
    state: Tensor,
    optimiser: torch.optim.Optimizer,
    settings: TrainingSettings,
    processes: Processes,
) -> tuple[float, Tensor]:
    """Do one update on one window of every lane. Returns the loss and the state after the window."""
    total, state = batch_loss(model, batch, state, settings.lesson_weight, processes)
    optimiser.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    value = processes.add_gradients(model, total)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimiser.step()
    return value, state


def batch_loss(
    model: Performer, batch: Batch, state: Tensor, lesson_weight: float, processes: Processes = ALONE
) -> tuple[Tensor, Tensor]:
    """Return the loss of one window of every lane, on the device of ``state``, and the state after it.

    Of several ``processes`` each returns its part: they add up to the loss of all lanes.
    """
    raw, state = advance(model, batch, state)
    y = torch.from_numpy(batch.y).to(state.device)
    total = loss(raw, _targets(y), short_share=model.short_share, total_of=processes.total).total
    if y.shape[-1] > len(Targets._fields):
        lesson = lesson_loss(raw, y[..., len(Targets._fields)], processes.total)
        total = (total + lesson_weight * lesson) / (1.0 + lesson_weight)
    return total, state


def advance(model: Performer, batch: Batch, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the raw outputs of a window of every lane from the carried state, and the next state.

    Lanes that start a stream start from zero. Gradients do not reach back into earlier windows.
    """
    fresh = torch.from_numpy(batch.fresh).to(state.device)
    before = torch.where(fresh[:, None, None, None, None], 0.0, state)
    raw, after = model(torch.from_numpy(batch.x).to(state.device), before)
    return raw, after.detach()


def _optimiser(model: Performer, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return AdamW. Weight decay applies to the trunk's matrices, not to norms, biases or the linear skip."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if p.ndim >= 2 and not name.startswith("skip")]
    kept = [p for name, p in trained if p.ndim < 2 or name.startswith("skip")]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.95))


def _learning_rate(step: int, warmup: int, total: int) -> float:
    """Return the share of the peak rate: linear warm-up, then a cosine down to 5 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * done))


@torch.no_grad()
def _follow(average: Performer, model: Performer, keep: float) -> None:
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - keep)


def _targets(y: Tensor) -> Targets:
    """Return the targets among columns (..., 3 or more) in the order of ``Horizons.targets``."""
    return Targets(rv=y[..., RV], ret_short=y[..., RET_SHORT], ret_long=y[..., RET_LONG])


@dataclass(frozen=True)
class _Choice:
    """One file's rows for choosing, with ``LEAD_BARS`` before them."""

    rows: LabelledRows
    part: slice
    x: Inputs


def _choice(rows: LabelledRows, x: Inputs, split: Split) -> _Choice | None:
    chosen = np.flatnonzero(split.choose(rows))
    if not len(chosen):
        return None
    part = slice(max(0, int(chosen[0]) - LEAD_BARS), int(chosen[-1]) + 1)
    return _Choice(rows, part, x[part])


def _chosen(model: Performer, choice: Sequence[_Choice], split: Split) -> tuple[Times, Floats, Floats]:
    """Return close times, variances and the model's forecasts of them on the rows for choosing."""
    close_ms, rv, forecast = [], [], []
    for one in choice:
        rows, part = one.rows, one.part
        mask = split.choose(rows)[part]
        table = run_chunked(model, one.x, rows.warm[part], rows.start_ms[part], rows.interval_ms)
        close_ms.append(rows.close_ms[part][mask])
        rv.append(rows.targets[part][mask, RV])
        forecast.append(table[mask, 0])
    return np.concatenate(close_ms), np.concatenate(rv), np.concatenate(forecast)


def _chosen_qlike(model: Performer, choice: Sequence[_Choice], split: Split) -> float:
    _, rv, forecast = _chosen(model, choice, split)
    return float(losses(rv, forecast).mean())


def _against_zero(
    model: Performer, files: Sequence[LabelledRows], choice: Sequence[_Choice], split: Split
) -> Estimate | None:
    """Return QLIKE minus that of a constant (the training rows' mean variance), on the rows for choosing."""
    constant = float(np.mean(np.concatenate([rows.targets[split.fit(rows), RV] for rows in files])))
    close_ms, rv, forecast = _chosen(model, choice, split)
    return paired_qlike(close_ms, rv, forecast, np.full(len(rv), constant))


def _require_rows(files: Sequence[LabelledRows], split: Split, warmup_bars: int) -> None:
    """Refuse data without rows to fit, to choose on, or to measure skill on."""
    for what, mask, days_min in (
        ("fit", split.fit, 1),
        ("choose", split.choose, 1),
        ("validate", split.validate, 2),
    ):
        chosen = [rows.close_ms[mask(rows)] for rows in files]
        days = len(np.unique(np.concatenate(chosen) // DAY_MS))
        if days >= days_min:
            continue
        bars = sum(len(rows.close) for rows in files)
        warm_ms = warmup_bars * files[0].interval_ms
        ahead = span_words(files[0].horizons.long_ms)
        found = f"only {days} day of rows" if days else "no rows"
        raise TooFewBars(
            f"{found} to {what} on among {bars:,} bars: a row needs {warmup_bars:,} unbroken bars "
            f"({span_words(warm_ms)}) before it and {ahead} after it; give at least "
            f"{span_words(warm_ms + _SPANS_DAYS_MIN * DAY_MS)} of bars, or another --cut"
        )


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown"
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"
