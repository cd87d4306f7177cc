"""Measure what each part of the forecasting model adds: the same training with one part replaced.

    python scripts/bench/ablation.py --data DIR/bybit_linear_*_5m*.parquet --cut 2025-12-01 [--epochs 2]
        [--seeds 0,1,2] [--variants shipped,gru] [--work DIR] [--out FILE]

Every variant reads the same rows, the same lessons of the teacher and the same linear start, in the product's
own training loop, and is scored on the same rows after the cut. No variant is tuned for itself. Each run is
kept in ``--work`` when it is done, so the same command goes on where it was stopped. Prints one JSON object:
for each variant the figures of its seeds, and its QLIKE minus that of ``shipped`` with an interval from
drawing days.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from mixings import EluAttention, ExactSoftmax, Gru, Mixed, Nothing
from torch import nn

from bot.adapters.files.candles import read_candles
from bot.adapters.model.predictor import run_chunked
from bot.domain.market import DAY_MS
from bot.features.scale import Scale
from bot.features.spec import NEWEST, FeatureSet, build
from bot.model.loss import Targets
from bot.model.performer import Performer, PerformerConfig
from bot.ports import Floats
from bot.research.dataset import (
    RET_LONG,
    RET_SHORT,
    RV,
    Inputs,
    LabelledRows,
    Split,
    TrainingStream,
    label_rows,
    streams,
)
from bot.research.processes import ALONE
from bot.research.skill.baselines import fit_har_hour, fit_lightgbm
from bot.research.skill.evaluate import bootstrap_mean, estimate_json, losses, score
from bot.research.teacher import lessons
from bot.research.train import (
    LEAD_BARS,
    TrainingSettings,
    fit_linear,
    model_config,
    returns_between,
    train_epochs,
)

RECIPE = TrainingSettings(
    patience=0,
    half_lives=(8.0, 32.0, 96.0, 288.0),
    teacher="lightgbm",
    lesson_weight=20.0,
    return_share=0.5,
)
STOP_DAYS = 7
LINEAR = ("skip_vol.weight", "skip_ret.weight", "bias")
"""The parameters of the linear model."""
FIRST_SET = "default-v1"


@dataclass(frozen=True)
class Variant:
    """One way to forecast: what is replaced in the shipped form, in words and in code."""

    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mixing: Callable[[PerformerConfig, int], nn.Module] | None = None
    taught: bool = True
    skip: bool = True
    feature_set: str = NEWEST


VARIANTS = {
    "shipped": Variant("the shipped form: 16 positive random features, four half-lives, skip, teacher"),
    "no_teacher": Variant("without the teacher", taught=False),
    "no_memory": Variant("no attention: each row alone, in the same MLPs", mixing=Nothing),
    "elu": Variant("features elu(x) + 1 instead of random ones", mixing=EluAttention),
    "gru": Variant("a GRU of the same size instead of attention", mixing=Gru),
    "no_skip": Variant("without the linear skip", skip=False),
    "no_decay": Variant("heads that never forget", {"half_lives": (None,) * 4}),
    "one_half_life": Variant("every head with a half-life of 96 bars", {"half_lives": (96.0,) * 4}),
    "m64": Variant("64 random features", {"features": 64}),
    "m256": Variant("256 random features", {"features": 256}),
    "utc": Variant("without New York's clock", feature_set=FIRST_SET),
    "softmax": Variant("exact softmax over 512 bars, the same forgetting", mixing=ExactSoftmax),
}
FITTED = {
    "linear": "the linear skip alone",
    "lightgbm": "LightGBM, the same rows and features",
    "har_hour": "HAR with hour-of-day dummies",
}
ONCE = ("linear", "har_hour")
"""These have no seed."""


def main() -> None:
    asked = _options().parse_args()
    torch.set_num_threads(1)
    names = list(VARIANTS) + list(FITTED) if asked.variants is None else asked.variants.split(",")
    unknown = sorted(set(names) - set(VARIANTS) - set(FITTED))
    if unknown:
        sys.exit(f"--variants: there is no {unknown[0]!r}; there are {', '.join([*VARIANTS, *FITTED])}")
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    ground = Ground.read(asked.data, asked.cut, asked.work)
    settings = replace(RECIPE, epochs=asked.epochs)
    for seed in seeds:
        for name in names:
            if name not in ONCE or seed == seeds[0]:
                _run(ground, name, replace(settings, seed=seed))
    result = json.dumps(summary(ground, names, asked.epochs))
    if asked.out is not None:
        asked.out.write_text(result + "\n", encoding="utf-8")
    print(result)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description="What each part of the forecasting model adds")
    options.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="candles")
    options.add_argument(
        "--cut", required=True, metavar="DATE", help="scored are the bars from here on (UTC)"
    )
    options.add_argument("--epochs", type=int, default=2, help="of each training (the shipped model: 6)")
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--variants", help=f"default: all ({', '.join([*VARIANTS, *FITTED])})")
    options.add_argument("--work", type=Path, default=Path(".data/ablation"), metavar="DIR")
    options.add_argument("--out", type=Path, metavar="FILE", help="where the JSON is written as well")
    return options


@dataclass(frozen=True)
class Ground:
    """What all variants share: rows, their split, the teacher's lessons, and the place of finished runs."""

    files: Sequence[LabelledRows]
    feature_set: FeatureSet
    split: Split
    work: Path

    @classmethod
    def read(cls, data: Sequence[Path], cut: str, work: Path) -> "Ground":
        candles = [read_candles(path, now_ms=int(time.time() * 1000)) for path in sorted(data)]
        feature_set = build(NEWEST, candles[0].interval_ms)
        files = [label_rows(each, feature_set) for each in candles]
        cut_ms = int(datetime.fromisoformat(cut).replace(tzinfo=UTC).timestamp() * 1000)
        valid_ms = max(int(rows.close_ms[-1]) for rows in files)
        split = Split(cut_ms - STOP_DAYS * DAY_MS, cut_ms, valid_ms)
        given = json.dumps([[rows.sha256 for rows in files], feature_set.hash, cut_ms])
        place = work / sha256(given.encode()).hexdigest()[:16]
        place.mkdir(parents=True, exist_ok=True)
        return cls(files, feature_set, split, place)

    @cached_property
    def inputs(self) -> list[Inputs]:
        """Scaled by the rows to fit on, as in training."""
        scale = Scale.fit(np.concatenate([rows.features[self.split.fit(rows)] for rows in self.files]))
        return [np.nan_to_num(scale.apply(rows.features)) for rows in self.files]

    @cached_property
    def told(self) -> list[Floats]:
        """The teacher's lessons."""
        place = self.work / "lessons.npz"
        if not place.exists():
            _say("the teacher's lessons")
            np.savez(place, *lessons(self.files, [self.split.fit(rows) for rows in self.files]))
        with np.load(place) as saved:
            return [saved[name] for name in saved.files]

    @cached_property
    def linear(self) -> Performer:
        """The fitted linear model that every training starts from."""
        place = self.work / f"start-{self.feature_set.name}.npz"
        if not place.exists():
            _say("the linear model")
            fitted = fit_linear(self.files, self.inputs, self.feature_set, self.split, RECIPE)
            parts = {name: p.numpy() for name, p in fitted.named_parameters() if name in LINEAR}
            np.savez(place, **parts)
        model = Performer(model_config(self.feature_set, RECIPE, self.files[0].horizons))
        with np.load(place) as saved, torch.no_grad():
            for name in LINEAR:
                model.get_parameter(name).copy_(torch.from_numpy(saved[name]))
            model.head.weight.zero_()
        return model.requires_grad_(False).eval()

    @cached_property
    def first(self) -> "Ground":
        """The same rows with the columns of the first set, which knows the hours of UTC alone."""
        first = build(FIRST_SET, self.feature_set.interval_ms)
        columns = [self.feature_set.names.index(name) for name in first.names]
        files = [replace(rows, features=rows.features[:, columns]) for rows in self.files]
        return Ground(files, first, self.split, self.work)

    def streams(self, taught: bool) -> list[TrainingStream]:
        told = self.told if taught else [None] * len(self.files)
        each = zip(self.files, self.inputs, told, strict=True)
        return [one for rows, x, lesson in each for one in streams(rows, x, self.split.fit(rows), lesson)]

    @cached_property
    def scored(self) -> tuple[Floats, Floats]:
        """Close times and targets of the rows after the cut, of all files that have some."""
        masks = [self.split.validate(rows) for rows in self.files]
        each = list(zip(self.files, masks, strict=True))
        close_ms = np.concatenate([rows.close_ms[mask] for rows, mask in each])
        return close_ms, np.concatenate([rows.targets[mask] for rows, mask in each])


def _run(ground: Ground, name: str, settings: TrainingSettings) -> None:
    """Do one run, unless it was done before, and keep its forecasts of the scored rows and what it cost."""
    place = ground.work / f"{name}-{settings.seed}-{settings.epochs}.npz"
    if place.exists():
        return
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    forecast, facts = (_fitted if name in FITTED else _trained)(ground, name, settings)
    told = {**facts, "cpu_s": time.process_time() - began_cpu_s, "wall_s": time.monotonic() - began_s}
    half_written = ground.work / "half-written.npz"
    np.savez(half_written, forecast=forecast.astype(np.float32), facts=json.dumps(told))
    half_written.rename(place)
    _, targets = ground.scored
    qlike = losses(targets[:, RV], forecast[:, RV]).mean()
    _say(f"{name} seed {settings.seed}: QLIKE {qlike:.4f}, CPU {told['cpu_s']:.0f} s")


def _trained(ground: Ground, name: str, settings: TrainingSettings) -> tuple[Floats, dict[str, Any]]:
    variant = VARIANTS[name]
    ground = ground.first if variant.feature_set == FIRST_SET else ground
    began_s = time.process_time()
    parts, linear = ground.streams(variant.taught), ground.linear
    shared_s = time.process_time() - began_s
    model = train(variant, replace(settings, **variant.settings), ground, parts, linear)
    facts = {
        "cpu_s_an_epoch": (time.process_time() - began_s - shared_s) / settings.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "state_bytes": model.start(1).nbytes,
    }
    return _forecast(model, ground), facts


def train(
    variant: Variant,
    settings: TrainingSettings,
    ground: Ground,
    parts: Sequence[TrainingStream],
    linear: Performer,
) -> Performer:
    """Return the trained model: for the shipped form the one of ``bot train --patience 0``, to the bit."""
    torch.manual_seed(settings.seed)
    model = start(variant, settings, ground, linear)
    *_, last = train_epochs(model, parts, settings, lambda progress: None, ALONE)
    if not variant.skip:
        return last.eval()
    return returns_between(linear, last.eval(), settings.return_share)


def start(variant: Variant, settings: TrainingSettings, ground: Ground, linear: Performer) -> Performer:
    """Return the model that training starts from: the fitted linear model and an untrained trunk."""
    config = model_config(ground.feature_set, settings, ground.files[0].horizons)
    if not variant.skip:
        config = replace(config, skip_vol=(), skip_ret=())
    model = Performer(config) if variant.mixing is None else Mixed(config, variant.mixing)
    with torch.no_grad():
        model.head.weight.zero_()
        if variant.skip:
            for name in LINEAR:
                model.get_parameter(name).copy_(linear.get_parameter(name))
            return model
    fits = [ground.split.fit(rows) for rows in ground.files]
    x = np.concatenate([x[mask] for x, mask in zip(ground.inputs, fits, strict=True)])
    y = np.concatenate([rows.targets[mask] for rows, mask in zip(ground.files, fits, strict=True)])
    model.fit_skip(torch.from_numpy(x), *Targets(*torch.from_numpy(y[:, [RV, RET_SHORT, RET_LONG]]).T))
    return model


def _fitted(ground: Ground, name: str, settings: TrainingSettings) -> tuple[Floats, dict[str, Any]]:
    if name == "linear":
        return _forecast(ground.linear, ground), {}
    sample = [(rows, mask) for rows in ground.files if (mask := ground.split.fit(rows)).any()]
    fitted = fit_lightgbm(sample, settings.seed) if name == "lightgbm" else fit_har_hour(sample)
    tables = [(rows, mask) for rows in ground.files if (mask := ground.split.validate(rows)).any()]
    return np.concatenate([fitted(rows)[mask] for rows, mask in tables]), {}


def _forecast(model: Performer, ground: Ground) -> Floats:
    """Return the model's forecasts (rows, 3) of the scored rows, from the state of a long stream."""
    out = []
    for rows, x in zip(ground.files, ground.inputs, strict=True):
        mask = ground.split.validate(rows)
        if not mask.any():
            continue
        part = slice(max(0, int(np.argmax(mask)) - LEAD_BARS), len(mask))
        table = run_chunked(model, x[part], rows.warm[part], rows.start_ms[part], rows.interval_ms)
        out.append(table[mask[part]][:, [0, 2, 3]])
    return np.concatenate(out)


def summary(ground: Ground, names: Sequence[str], epochs: int) -> dict[str, Any]:
    """Return the figures of every finished run of ``names`` with so many epochs."""
    close_ms, targets = ground.scored
    variants, mean_loss = {}, {}
    for name in names:
        runs, loss = _runs(ground, name, epochs)
        found = [run["qlike"] for run in runs]
        mean_loss[name] = loss
        variants[name] = {
            "what": VARIANTS[name].words if name in VARIANTS else FITTED[name],
            "seeds": len(runs),
            "qlike": mean(found),
            "qlike_sd": stdev(found) if len(found) > 1 else None,
            "minus_shipped": None,
            "runs": runs,
        }
    if "shipped" in names:
        for name in set(names) - {"shipped"}:
            difference = bootstrap_mean(close_ms, mean_loss[name] - mean_loss["shipped"])
            variants[name]["minus_shipped"] = estimate_json(difference)
    return {
        "epochs": epochs,
        "rows_fitted": sum(int(ground.split.fit(rows).sum()) for rows in ground.files),
        "rows_scored": len(targets),
        "days": len(np.unique(close_ms // DAY_MS)),
        "variants": variants,
    }


def _runs(ground: Ground, name: str, epochs: int) -> tuple[list[dict[str, Any]], Floats]:
    """Return the figures of one variant's runs, and their mean loss of each scored row."""
    close_ms, targets = ground.scored
    runs, total = [], np.zeros(len(targets))
    for place in sorted(ground.work.glob(f"{name}-*-{epochs}.npz")):
        with np.load(place) as saved:
            forecast, facts = saved["forecast"].astype(np.float64), json.loads(str(saved["facts"]))
        loss = losses(targets[:, RV], forecast[:, RV])
        total += loss
        scores = score(close_ms, targets, forecast)
        ics = {"ic_15m": estimate_json(scores.ic_short), "ic_60m": estimate_json(scores.ic_long)}
        runs.append({"seed": int(place.stem.split("-")[1]), "qlike": float(loss.mean()), **ics, **facts})
    return runs, total / len(runs)


def _say(words: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
