"""The manifest of a trained model: its skill, its warm-up and its attention.

Skill is measured on the validation span only; neither the weights nor any choice used this span. The
baselines and the model's own linear skip (at its optimum) are measured on the same rows and the same draws of
days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import msgspec
import numpy as np

import bot
from bot.adapters.model.checkpoint import FORMAT, Features, Manifest, TrainedFile, Twin, Weights
from bot.adapters.model.predictor import run_chunked
from bot.domain.errors import BadUsage
from bot.domain.market import HOUR_MS
from bot.features.spec import FeatureSet
from bot.metrics import Estimate, Times
from bot.model.config import warmup_bars as bars_until
from bot.model.drift import DriftReference, describe
from bot.model.performer import CausalFavor, Performer
from bot.ports import Floats
from bot.research.dataset import RV, Inputs, LabelledRows, Mask, Split
from bot.research.skill.baselines import fit_har_hour, fit_last_hour, fit_zero, har_hour_weights
from bot.research.skill.evaluate import bootstrap_mean, estimate_json, losses, paired_qlike, score
from bot.research.train import TrainedModel, TrainingSettings

WARMUP_TOLERANCE = 0.01
WARMUP_STARTS = 4
POSITIONS = {"512": 512, "4096": 4096, "longest": None}
TARGET_COLUMNS = [0, 2, 3]
"""Columns of the targets among the six columns of a forecast."""


def manifest(
    trained: TrainedModel,
    files: Sequence[LabelledRows],
    feature_set: FeatureSet,
    split: Split,
    settings: TrainingSettings,
    trials: int = 1,
) -> Manifest:
    """Measure a trained model and return its manifest. ``trials``: the number of configurations tried.

    Raises:
        BadUsage: there are no rows to validate on.
    """
    used = [rows for rows in files if (rows.close_ms <= split.valid_ms).any()]
    warmup_bars, warmup = measure_warmup(trained, used, split, feature_set.warmup)
    return Manifest(
        format=FORMAT,
        hash="",
        features=Features(
            feature_set.name, feature_set.interval_ms, feature_set.hash, feature_set.definition
        ),
        scale=trained.scale.to_json(),
        config=trained.model.config.to_json(),
        interval_ms=feature_set.interval_ms,
        symbols=sorted({rows.symbol for rows in used}),
        files=[_file(rows) for rows in used],
        trained_to_ms=split.cut_ms,
        trained_to=iso(split.cut_ms),
        validated_to_ms=split.valid_ms,
        validated_to=iso(split.valid_ms),
        warmup_bars=warmup_bars,
        warmup=warmup,
        seed=settings.seed,
        trials=trials,
        settings=asdict(settings) | {
            "fitted_to": iso(split.stop_ms), "best_epoch": trained.best_epoch, "history": trained.history,
            "chosen_qlike": trained.chosen_qlike, "linear_chosen_qlike": trained.linear_chosen_qlike,
        },
        skill=measure_skill(trained, used, split),
        attention=measure_attention(trained.model),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        code_version=bot.__version__,
        drift=drift_reference(used, split.cut_ms),
    )  # fmt: skip


def refitted(
    twin: Manifest,
    refit: TrainedModel,
    files: Sequence[LabelledRows],
    feature_set: FeatureSet,
    split: Split,
) -> Manifest:
    """Return the manifest of a model that was refitted on all bars to ``split.valid_ms``.

    ``twin`` is the saved manifest of the model that was judged; the figures of skill stay the twin's.
    """
    used = [rows for rows in files if (rows.close_ms <= split.valid_ms).any()]
    warmup_bars, warmup = measure_warmup(refit, used, split, feature_set.warmup)
    return msgspec.structs.replace(
        twin,
        hash="",
        scale=refit.scale.to_json(),
        trained_to_ms=split.valid_ms,
        trained_to=iso(split.valid_ms),
        warmup_bars=warmup_bars,
        warmup=warmup,
        settings=twin.settings | {"fitted_to": iso(split.valid_ms)},
        attention=measure_attention(refit.model),
        twin=Twin(twin.hash, twin.trained_to_ms, twin.trained_to),
        drift=drift_reference(used, split.valid_ms),
    )


def drift_reference(files: Sequence[LabelledRows], until_ms: int) -> DriftReference | None:
    """Return what drift is measured against: rows before ``until_ms``, one an hour. None if none is known.

    A model's weights have no part in it, so ``Checkpoint.with_drift`` can add it to a manifest later.
    """
    sample = [(rows, rows.warm & rows.known & rows.within(0, until_ms)) for rows in files]
    hourly = [rows.features[mask & (rows.close_ms % HOUR_MS == 0)] for rows, mask in sample]
    har_weights, har_factor = har_hour_weights(sample)
    if not sum(map(len, hourly)) or not np.isfinite([*har_weights, har_factor]).all():
        return None
    return DriftReference(**describe(np.concatenate(hourly)), har_weights=har_weights, har_factor=har_factor)


def weights(model: Performer) -> Weights:
    """Return the arrays of a model, by name."""
    return {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


def measure_skill(trained: TrainedModel, files: Sequence[LabelledRows], split: Split) -> dict[str, Any]:
    """Return the figures of the validation span, pooled and per symbol, each with its 95 % interval.

    The intervals are day-bootstrap intervals.

    Raises:
        BadUsage: there are no rows to validate on.
    """
    judged = [_judge(trained, rows, split) for rows in files if split.validate(rows).any()]
    if not judged:
        raise BadUsage(
            f"no rows to validate on between {iso(split.cut_ms)} and {iso(split.valid_ms)}; "
            "give data after --cut or an earlier one"
        )
    sample = [(rows, split.before_cut(rows)) for rows in files]
    for name, fit in {"zero": fit_zero, "last_hour": fit_last_hour, "har_hour": fit_har_hour}.items():
        forecast = fit(sample)
        for one in judged:
            one.forecasts[name] = forecast(one.rows)
    pooled = _pool(judged)
    horizons = files[0].horizons
    returns = score(pooled.close_ms, pooled.targets, pooled.forecasts["model"]).to_json(horizons)
    returns.pop(horizons.figures[0])  # it is among the volatility's
    return {
        "from": iso(split.cut_ms),
        "to": iso(split.valid_ms),
        "rows": len(pooled.close_ms),
        **_volatility_skill(pooled),
        "qlike_by_position": {
            name: estimate_json(_qlike(pooled, f"position_{name}")) for name in POSITIONS
        },
        **returns,
        "by_symbol": {symbol: _volatility_skill(part) for symbol, part in _by_symbol(judged).items()},
    }  # fmt: skip


def measure_warmup(
    trained: TrainedModel, files: Sequence[LabelledRows], split: Split, feature_warmup: int
) -> tuple[int, dict[str, Any]]:
    """Return the bars after which an earlier start no longer changes a forecast, measured on real rows.

    Streams that start at several moments are compared with the stream that started first. The distance of two
    forecasts is the largest of |Δ ln rv| and of both |Δ ret|, each over the standard deviation
    of this forecast. The result is the number of bars after which the distance stays below 1 % (the worst of
    all starts), plus the warm-up of the features. If the data are too short, the longest half-life gives the
    result.
    """
    bars = []
    for rows in files:
        x = np.nan_to_num(trained.scale.apply(rows.features))
        bars += _settling_bars(trained.model, rows, x, split)
    settled = bars_until(trained.model.config.half_lives, WARMUP_TOLERANCE) or 0
    worst = max(bars, default=settled)
    return feature_warmup + worst, {
        "tolerance": WARMUP_TOLERANCE,
        "feature_bars": feature_warmup,
        "model_bars": worst,
        "model_bars_median": float(np.median(bars)) if bars else 0.0,
        "starts": len(bars),
    }


def measure_attention(model: Performer) -> dict[str, Any]:
    """Return half-lives in bars, and s = |q| = |k| of each head.

    FAVOR+ approximates softmax for s up to about 1.5.
    """
    heads = [module for module in model.modules() if isinstance(module, CausalFavor)]
    scales = [head.scale().tolist() for head in heads] if model.config.qk_norm else []
    return {"half_lives": list(model.config.half_lives), "s": scales}


def iso(ms: int) -> str:
    """Write a UTC time in ISO 8601."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class _Judged:
    """Forecasts ``(T, 3)`` by name for some rows, and the rows that count."""

    rows: LabelledRows
    mask: Mask
    forecasts: dict[str, Floats]


@dataclass(frozen=True)
class _Part:
    """The rows that count, of one symbol or of all symbols."""

    close_ms: Times
    targets: Floats
    forecasts: Mapping[str, Floats]


def _judge(trained: TrainedModel, rows: LabelledRows, split: Split) -> _Judged:
    x = np.nan_to_num(trained.scale.apply(rows.features))

    def run(model: Performer, restart_bars: int | None) -> Floats:
        table = run_chunked(model, x, rows.warm, rows.start_ms, rows.interval_ms, restart_bars)
        return table[:, TARGET_COLUMNS]

    forecasts = {f"position_{name}": run(trained.model, bars) for name, bars in POSITIONS.items()}
    forecasts["model"] = forecasts["position_longest"]
    forecasts["linear_skip"] = run(trained.linear, None)
    return _Judged(rows, split.validate(rows), forecasts)


def _pool(judged: Sequence[_Judged]) -> _Part:
    return _Part(
        np.concatenate([one.rows.close_ms[one.mask] for one in judged]),
        np.concatenate([one.rows.targets[one.mask] for one in judged]),
        {
            name: np.concatenate([one.forecasts[name][one.mask] for one in judged])
            for name in judged[0].forecasts
        },
    )


def _by_symbol(judged: Sequence[_Judged]) -> dict[str, _Part]:
    symbols = sorted({one.rows.symbol for one in judged})
    return {symbol: _pool([one for one in judged if one.rows.symbol == symbol]) for symbol in symbols}


def _volatility_skill(part: _Part) -> dict[str, Any]:
    rivals = ("linear_skip", "har_hour", "last_hour", "zero")
    rv, ours = part.targets[:, RV], part.forecasts["model"][:, RV]
    return {
        "qlike": {name: estimate_json(_qlike(part, name)) for name in ("model", *rivals)},
        "qlike_minus": {
            name: estimate_json(paired_qlike(part.close_ms, rv, ours, part.forecasts[name][:, RV]))
            for name in rivals
        },
    }


def _qlike(part: _Part, name: str) -> Estimate | None:
    return bootstrap_mean(part.close_ms, losses(part.targets[:, RV], part.forecasts[name][:, RV]))


def _settling_bars(model: Performer, rows: LabelledRows, x: Inputs, split: Split) -> list[int]:
    """Return for each start the rows until forecasts stay equal to those of the longer stream.

    Uses the last stretch without gaps.
    """
    used = rows.close_ms <= split.valid_ms
    broken = np.flatnonzero(np.diff(rows.start_ms[used]) != rows.interval_ms)
    first = int(broken[-1]) + 1 if len(broken) else 0
    part = slice(first + int(np.argmax(rows.warm[first:])), int(used.sum()))
    length = part.stop - part.start
    if length < 8 * WARMUP_STARTS:
        return []
    longer = _comparable(model, rows, x, part)
    scale = longer.std(axis=0)
    found = []
    for start in np.linspace(length // 2, length * 3 // 4, WARMUP_STARTS).astype(int):
        later = _comparable(model, rows, x, slice(part.start + int(start), part.stop))
        apart = (np.abs(later - longer[start:]) > WARMUP_TOLERANCE * scale).any(axis=1)
        found.append(int(np.flatnonzero(apart)[-1]) + 1 if apart.any() else 0)
    return found


def _comparable(model: Performer, rows: LabelledRows, x: Inputs, part: slice) -> Floats:
    table = run_chunked(model, x[part], rows.warm[part], rows.start_ms[part], rows.interval_ms)
    return np.column_stack((np.log(table[:, 0]), table[:, 2], table[:, 3]))


def _file(rows: LabelledRows) -> TrainedFile:
    return TrainedFile(
        file=PurePath(rows.path).name,
        symbol=rows.symbol,
        sha256=rows.sha256,
        first_ms=int(rows.start_ms[0]),
        end_ms=int(rows.close_ms[-1]),
        bars=len(rows.close),
    )
