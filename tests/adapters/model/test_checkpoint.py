import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS, Manifest
from bot.domain.errors import BadModel
from bot.features.bridge import NO_BRIDGE, Bridge
from bot.features.scale import Scale
from bot.model.performer import Performer, PerformerConfig
from bot.research.record import weights
from tests.research import series


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return series.saved_model(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def place(original, tmp_path):
    copy = tmp_path / "model"
    copy.mkdir()
    for name in (WEIGHTS, MANIFEST):
        (copy / name).write_bytes((original / name).read_bytes())
    return copy


def refused(place: Path) -> str:
    with pytest.raises(BadModel) as caught:
        checkpoint.load(place)
    text = str(caught.value)
    assert "\n" not in text
    assert str(place) in text
    return text


def rewrite(place: Path, **changes: object) -> None:
    """Change manifest fields and sign it again, as a careless or hostile hand would."""
    document = json.loads((place / MANIFEST).read_text())
    del document["manifest_hash"]
    for key, value in changes.items():
        if value is None:
            del document[key]
        else:
            document[key] = value
    document["manifest_hash"] = checkpoint._document_hash(document)
    (place / MANIFEST).write_text(json.dumps(document))


def replace_weights(place: Path, content: bytes) -> None:
    (place / WEIGHTS).write_bytes(content)
    rewrite(place, hash=hashlib.sha256(content).hexdigest())


def test_what_is_saved_is_what_is_loaded(original):
    loaded = checkpoint.load(original)
    assert loaded.config == series.untrained().config
    assert loaded.feature_set == series.FEATURES
    assert loaded.hash == hashlib.sha256((original / WEIGHTS).read_bytes()).hexdigest()
    for name, value in weights(series.untrained()).items():
        np.testing.assert_array_equal(loaded.weights[name], value)
    scale = Scale.fit(series.rows(series.candles()).features)
    np.testing.assert_array_equal(loaded.scale.mean, scale.mean)


def test_one_model_has_one_hash(original, tmp_path):
    assert checkpoint.load(series.saved_model(tmp_path)).hash == checkpoint.load(original).hash
    assert checkpoint.load(series.saved_model(tmp_path, seed=1)).hash != checkpoint.load(original).hash


@pytest.mark.fault(78)
@pytest.mark.surface("model-files")
@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_flipped_bit_anywhere_is_refused(place, name):
    content = (place / name).read_bytes()
    for at in np.random.default_rng(0).choice(len(content) - 2, 60, replace=False):
        flipped = bytearray(content)
        flipped[at] ^= 0x04
        if name == MANIFEST and _same_meaning(flipped, content):
            continue
        (place / name).write_bytes(flipped)
        refused(place)


def _same_meaning(one: bytearray, other: bytes) -> bool:
    """A flip of white space or of a digit beyond a float's precision says the same thing."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_or_truncated_file_is_refused(place, name):
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) // 2])
    refused(place)
    (place / name).unlink()
    assert name in refused(place)


def test_a_missing_directory_says_how_to_make_one(tmp_path):
    assert "bot train" in refused(tmp_path / "none")


BRIDGE_FIELDS = ("bridge_bars", "rewarm_bars", "repay_bars", "bridge")
NOT_NEEDED = (*BRIDGE_FIELDS, "twin", "drift")
"""Older manifests lack these."""


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Manifest)])
def test_every_field_is_needed_and_typed(place, field):
    if field not in NOT_NEEDED:
        rewrite(place, **{field: None})
        assert field in refused(place)
    rewrite(
        place,
        **{
            field: {"no": "such"}
            if field not in ("scale", "config", "warmup", "settings", "skill", "attention", "bridge")
            else 3
        },
    )
    refused(place)


def test_an_older_manifest_without_a_twin_has_figures_of_its_own(place):
    rewrite(place, twin=None)
    model = checkpoint.load(place)
    assert model.manifest.twin is None
    assert model.judged_from_ms == model.trained_to_ms


def test_an_older_manifest_without_a_bridge_bridges_nothing(place):
    rewrite(place, **dict.fromkeys(BRIDGE_FIELDS))
    assert checkpoint.load(place).bridge == NO_BRIDGE


def test_a_bridge_is_written_beside_untouched_weights(place):
    before = (place / WEIGHTS).read_bytes()
    model = checkpoint.load(place)
    written = model.with_bridge(Bridge((0, 3), 4), {"holes": 100}).manifest
    assert checkpoint.rewrite_manifest(place, written).bridge == Bridge((0, 3), 4)
    assert checkpoint.load(place).manifest == written
    assert (place / WEIGHTS).read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == [MANIFEST, WEIGHTS]


def test_a_manifest_that_does_not_fit_its_weights_is_not_written(place):
    before = (place / MANIFEST).read_bytes()
    manifest = msgspec.structs.replace(checkpoint.load(place).manifest, bridge_bars=3)
    with pytest.raises(BadModel, match="bridge_bars 3"):
        checkpoint.rewrite_manifest(place, manifest)
    assert (place / MANIFEST).read_bytes() == before


@pytest.mark.fault(66)
@pytest.mark.fault(78)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 2"),
        (
            {"features": {"name": "default-v1", "interval_ms": 900_000, "hash": "0" * 64}},
            "defined differently",
        ),
        ({"features": {"name": "nonesuch", "interval_ms": 900_000, "hash": "0" * 64}}, "nonesuch"),
        ({"interval_ms": 300_000}, "interval_ms"),
        ({"warmup_bars": 3}, "warmup_bars 3"),
        ({"surprise": 1}, "surprise"),
        ({"bridge_bars": 2, "rewarm_bars": [0]}, "bridge_bars 2"),
        ({"bridge_bars": 2, "rewarm_bars": [3, 2]}, "must not fall"),
        ({"bridge_bars": 1, "rewarm_bars": [-1]}, "rewarm_bars"),
        ({"bridge_bars": 1, "rewarm_bars": [0], "repay_bars": 0}, "repay_bars"),
        (
            {
                "drift": {
                    "rows": 1,
                    "edges": [[0.0] * 9],
                    "shares": [[0.1] * 10],
                    "har_weights": [],
                    "har_factor": 1.0,
                }
            },
            "drift: needs",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(place, changes, words):
    rewrite(place, **changes)
    assert words in refused(place)


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_in", 3), ("d_model", 16), ("layers", 2), ("features", 16), ("heads", 4), ("depth", 1)],
)
def test_a_config_of_another_shape_is_refused(place, key, value):
    config = json.loads((place / MANIFEST).read_text())["config"]
    rewrite(place, config={**config, key: value})
    refused(place)


@pytest.mark.parametrize("part", ["mean", "std", "clip"])
def test_a_scale_that_cannot_be_is_refused(place, part):
    scale = json.loads((place / MANIFEST).read_text())["scale"]
    for bad in (
        0.0 if part == "clip" else [0.0] * 3,
        "text",
        -1.0 if part == "clip" else [-1.0] * len(scale["std"]),
    ):
        if part == "mean" and bad == [-1.0] * len(scale["std"]):
            continue
        rewrite(place, scale={**scale, part: bad})
        refused(place)


def test_a_weight_of_another_shape_name_or_value_is_refused(place):
    arrays = {name: value.copy() for name, value in checkpoint.load(place).weights.items()}
    name = "head.weight"
    for bad in (
        {**arrays, name: arrays[name][:, :-1]},
        {
            **arrays,
            name: np.where(arrays[name] == arrays[name][0, 0], np.nan, arrays[name]).astype(np.float32),
        },
        {**arrays, name: arrays[name].astype(np.float64)},
        {**arrays, "extra": np.zeros(1, np.float32)},
        {key: value for key, value in arrays.items() if key != name},
    ):
        replace_weights(
            place, safetensors.numpy.save({key: np.ascontiguousarray(v) for key, v in bad.items()})
        )
        refused(place)


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.fault(84)
@pytest.mark.surface("model-files")
def test_a_pickle_in_disguise_is_refused_and_never_run(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace_weights(place, pickle.dumps({"head.weight": _Bomb()}))
    assert "safetensors" in refused(place)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.fault(84)
@pytest.mark.surface("model-files")
def test_a_huge_file_is_refused_unread(place, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_WEIGHTS_BYTES", 100)
    assert "limit is 100" in refused(place)


def test_saving_replaces_a_model_whole_and_leaves_nothing_beside_it(place):
    before = checkpoint.load(place).hash
    series.saved_model(place.parent, seed=5)
    assert checkpoint.load(place).hash != before
    assert [path.name for path in place.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("exists", [True, False])
def test_an_interrupted_save_leaves_what_was_there(place, tmp_path, monkeypatch, exists):
    target = place if exists else tmp_path / "new"
    before = {path.name: path.read_bytes() for path in target.iterdir()} if exists else None

    def interrupted(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_write", interrupted)
    model, scale = series.untrained(seed=9), Scale.fit(series.rows(series.candles()).features)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(target, series.manifest(model, scale), weights(model))
    assert (target.exists() and {p.name: p.read_bytes() for p in target.iterdir()}) == (before or False)
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model, scale = series.untrained(), Scale.fit(series.rows(series.candles()).features)
    bad = {**weights(model), "bias": np.full(6, np.nan, np.float32)}
    with pytest.raises(BadModel):
        checkpoint.save(tmp_path / "model", series.manifest(model, scale), bad)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_other_inputs_than_its_features_is_refused(tmp_path):
    model = Performer(PerformerConfig(n_in=5, d_model=8, heads=2, layers=1, features=8))
    scale = Scale(np.zeros(5), np.ones(5))
    with pytest.raises(BadModel, match="takes 5 inputs"):
        checkpoint.save(tmp_path / "model", series.manifest(model, scale), weights(model))


def test_loading_and_streaming_need_no_torch(original):
    code = (
        "import sys, numpy as np\n"
        "from bot.adapters.model import checkpoint, predictor\n"
        f"loaded = checkpoint.load({str(original)!r})\n"
        "one = predictor.KernelPredictor(loaded, 1)\n"
        "rows = np.zeros((1, loaded.config.n_in))\n"
        "assert one.step(rows, np.zeros(1, np.int64))[0] is not None\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
