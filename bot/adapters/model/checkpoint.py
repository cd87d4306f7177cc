"""A model directory: ``weights.safetensors`` and ``manifest.json``, checked before use.

``save`` writes both into a directory beside the target and renames it, so a reader sees a whole model or
none. ``load`` recomputes every hash and checks weights, config, features and scaling against each other.
Nothing in the directory is ever unpickled. This module does not need torch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from bot.domain.errors import BadInput, BadModel, BadUsage
from bot.domain.horizons import HOUR, Horizons
from bot.features import spec
from bot.features.bridge import Bridge
from bot.features.definition import Definition, own_set
from bot.features.scale import Scale
from bot.features.spec import FeatureSet
from bot.model.config import PerformerConfig
from bot.model.drift import DriftReference
from bot.model.kernel import StreamingKernel

Weights = Mapping[str, NDArray[np.float32]]

WEIGHTS = "weights.safetensors"
MANIFEST = "manifest.json"
FORMAT = 1
MAX_WEIGHTS_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The feature set the model was trained on; ``hash`` is the hash of its definition.

    ``definition``: of a set of the user's own, as ``features.definition`` reads it; None: ``name`` ships.
    """

    name: str
    interval_ms: int
    hash: str
    definition: dict[str, Any] | None = None

    def build(self) -> FeatureSet:
        """Return the feature set as this program makes it.

        Raises:
            BadInput: no set has this name, or the definition cannot be read.
        """
        if self.definition is None:
            return spec.build(self.name, self.interval_ms)
        try:
            given = msgspec.convert(self.definition, Definition)
        except msgspec.ValidationError as error:
            raise BadInput(f"features.definition: {error}") from error
        return own_set(given, self.interval_ms)


class TrainedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candle file used for training or validation: its name, content hash and bars."""

    file: str
    symbol: str
    sha256: str
    first_ms: int
    end_ms: int
    bars: int


class Twin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model that a refitted model was judged by: the same recipe on the bars before an earlier time.

    ``hash`` is the hash of its weights. It has never seen the bars that its figures are of.
    """

    hash: str
    trained_to_ms: int
    trained_to: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a model except its weights. Times are UTC ms; each has a readable copy.

    Bars before ``trained_to_ms`` were used to fit or choose the model: figures of them are in-sample.
    A model that was refitted on all bars has a ``twin``; ``skill`` is then the twin's, because no bar is
    left that the model itself has not seen.
    ``settings``, ``skill``, ``warmup``, ``bridge`` and ``attention`` are records for people and reports.

    ``bridge_bars``, ``rewarm_bars`` and ``repay_bars`` say which holes are bridged (see ``features.bridge``);
    a manifest without them bridges none. ``drift`` says what the training data looked like; None in an older
    manifest: then drift of inputs and of skill stays unknown.
    """

    format: int
    hash: str
    features: Features
    scale: dict[str, Any]
    config: dict[str, Any]
    interval_ms: int
    symbols: list[str]
    files: list[TrainedFile]
    trained_to_ms: int
    trained_to: str
    validated_to_ms: int
    validated_to: str
    warmup_bars: int
    warmup: dict[str, Any]
    seed: int
    trials: int
    settings: dict[str, Any]
    skill: dict[str, Any]
    attention: dict[str, Any]
    parameters: int
    code_version: str
    twin: Twin | None = None
    bridge_bars: int = 0
    rewarm_bars: list[int] = []
    repay_bars: int = 1
    bridge: dict[str, Any] = {}
    drift: DriftReference | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checked model: its parts fit each other."""

    manifest: Manifest
    config: PerformerConfig
    feature_set: FeatureSet
    scale: Scale = field(repr=False)
    weights: Weights = field(repr=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the weights file: the model's name in records."""
        return self.manifest.hash

    @property
    def interval_ms(self) -> int:
        """Length of the bars it was trained on; it forecasts no others."""
        return self.manifest.interval_ms

    @property
    def horizons(self) -> Horizons:
        """How far ahead it forecasts."""
        return self.config.horizons

    @property
    def warmup_bars(self) -> int:
        """Unbroken bars of a symbol, features included, before its forecasts count."""
        return self.manifest.warmup_bars

    @property
    def trained_to_ms(self) -> int:
        """Bars before this time were used to fit or choose the model."""
        return self.manifest.trained_to_ms

    @property
    def judged_from_ms(self) -> int:
        """Time from which the figures of the manifest are: the ``trained_to_ms`` of the model they are of."""
        twin = self.manifest.twin
        return self.trained_to_ms if twin is None else twin.trained_to_ms

    @cached_property
    def bridge(self) -> Bridge:
        """Which holes in a symbol's bars are bridged, and what a bridged hole costs."""
        return Bridge(tuple(self.manifest.rewarm_bars), self.manifest.repay_bars)

    def with_bridge(self, bridge: Bridge, measured: Mapping[str, Any]) -> "Checkpoint":
        """Return the same model with another bridge; ``measured``: the figures that it was chosen by."""
        manifest = msgspec.structs.replace(
            self.manifest,
            bridge_bars=bridge.bars,
            rewarm_bars=list(bridge.rewarm_bars),
            repay_bars=bridge.repay_bars,
            bridge=dict(measured),
        )
        return replace(self, manifest=manifest)

    @property
    def drift(self) -> DriftReference | None:
        """What the training data looked like; None in an older manifest."""
        return self.manifest.drift

    def with_drift(self, reference: DriftReference | None) -> "Checkpoint":
        """Return the same model with another reference for its drift."""
        return replace(self, manifest=msgspec.structs.replace(self.manifest, drift=reference))

    def kernel(self, symbols: int) -> StreamingKernel:
        """Return the compiled streaming step with one memory a symbol."""
        scale = self.scale
        return StreamingKernel(self.weights, self.config, scale.mean, scale.std, scale.clip, symbols=symbols)


def load(path: str | Path) -> Checkpoint:
    """Read a model directory and check every part of it.

    Raises:
        BadModel: it is missing, incomplete or altered, or its parts do not fit each other or this program.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadModel(
            f"{path}: no model directory, and no model has this name: `bot model list` shows those there are "
            f"(`bot train --out {path}` makes one)"
        )
    manifest = _read_manifest(path / MANIFEST)
    content = _read(path / WEIGHTS, MAX_WEIGHTS_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    if digest != manifest.hash:
        raise BadModel(
            f"{path / WEIGHTS}: content has hash {digest[:12]}…, the manifest says {manifest.hash[:12]}…; "
            "the model is damaged or mixed with another, copy it again"
        )
    try:
        weights = safetensors.numpy.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadModel(f"{path / WEIGHTS}: not a safetensors file ({error})") from error
    try:
        return _checked(manifest, weights)
    except BadInput as error:
        raise BadModel(f"{path}: {error}") from error


def check_place(path: str | Path) -> None:
    """Check that a model can be written to ``path`` before it is trained.

    Raises:
        BadUsage: something that is no model directory is there, or nothing can be written there.
    """
    path = Path(path).resolve()
    known = {path / WEIGHTS, path / MANIFEST}
    if path.exists() and not (path.is_dir() and known.issuperset(path.iterdir())):
        raise BadUsage(f"{path}: is there and is no model directory; name a new one, it would be replaced")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUsage(f"{path}: cannot be written ({error.strerror}); name another directory") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise BadUsage(f"{path}: cannot be written (no permission); name another directory")


def save(path: str | Path, manifest: Manifest, weights: Weights) -> Checkpoint:
    """Write a model directory in one step, replacing an older one; return it as ``load`` reads it.

    ``manifest.hash`` is filled in. The parts are checked first, so the written model can be loaded.

    Raises:
        BadModel: the parts do not fit each other.
        BadUsage: ``path`` holds something else than a model.
    """
    check_place(path)
    path = Path(path).resolve()
    arrays = {name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}
    content = safetensors.numpy.save(arrays)
    manifest = msgspec.structs.replace(manifest, hash=hashlib.sha256(content).hexdigest())
    _checked(manifest, arrays)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        _write(temporary / WEIGHTS, content)
        _write(temporary / MANIFEST, _encode(manifest))
        _sync(temporary)
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return load(path)


def rewrite_manifest(path: str | Path, manifest: Manifest) -> Checkpoint:
    """Replace the manifest of a model directory in one step; the weights stay as they are.

    Raises:
        BadModel: the new manifest does not fit the weights; nothing was written.
        BadUsage: the directory cannot be written.
    """
    path = Path(path).resolve()
    model = load(path)
    _checked(msgspec.structs.replace(manifest, hash=model.hash), model.weights)
    temporary = path / f".{MANIFEST}.{os.getpid()}.tmp"
    try:
        _write(temporary, _encode(msgspec.structs.replace(manifest, hash=model.hash)))
        temporary.replace(path / MANIFEST)
        _sync(path)
    except OSError as error:
        raise BadUsage(f"{path}: cannot be written ({error.strerror}); copy the model first") from error
    finally:
        temporary.unlink(missing_ok=True)
    return load(path)


def _checked(manifest: Manifest, weights: Weights) -> Checkpoint:
    """Check every part against the others and against what this program computes."""
    config = PerformerConfig.from_json(manifest.config)
    feature_set = manifest.features.build()
    scale = Scale.from_json(manifest.scale)
    width = len(feature_set.names)
    if manifest.format != FORMAT:
        raise BadModel(f"model format {manifest.format} is unknown, this program reads {FORMAT}")
    if feature_set.hash != manifest.features.hash:
        raise BadModel(
            f"features {feature_set.name} are defined differently in this program "
            f"({feature_set.hash[:12]}…, the model has {manifest.features.hash[:12]}…): train the model again"
        )
    if not manifest.interval_ms == manifest.features.interval_ms:
        raise BadModel(f"interval_ms {manifest.interval_ms} differs from that of its features")
    if config.horizons != HOUR:
        config.horizons.require_bars(manifest.interval_ms)
    if config.n_in != width:
        raise BadModel(f"model takes {config.n_in} inputs, its features are {width}")
    if manifest.warmup_bars < feature_set.warmup:
        raise BadModel(f"warmup_bars {manifest.warmup_bars} is below its features' {feature_set.warmup}")
    if manifest.bridge_bars != Bridge(tuple(manifest.rewarm_bars), manifest.repay_bars).bars:
        raise BadModel(f"bridge_bars {manifest.bridge_bars} needs as many rewarm_bars, one for each length")
    if manifest.drift is not None:
        manifest.drift.check(width)
    read = _Reads(weights)
    Checkpoint(manifest, config, feature_set, scale, read).kernel(symbols=1)  # names, shapes, finiteness
    if unknown := sorted(set(weights) - read.names):
        raise BadModel(f"weights: {unknown[0]} belongs to no part of the model")
    if other := sorted(name for name, value in weights.items() if value.dtype != np.float32):
        raise BadModel(f"weights: {other[0]} is {weights[other[0]].dtype}, must be float32")
    return Checkpoint(manifest, config, feature_set, scale, weights)


class _Reads(dict[str, NDArray[np.float32]]):
    """A mapping that remembers which names were read."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        self.names.add(name)
        return super().__getitem__(name)


def _read_manifest(path: Path) -> Manifest:
    content = _read(path, MAX_MANIFEST_BYTES)
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BadModel(f"{path}: not JSON ({error}); copy the model again or train it anew") from error
    if not isinstance(document, dict):
        raise BadModel(f"{path}: must be a JSON object")
    said = document.pop("manifest_hash", None)
    if said != _document_hash(document):
        raise BadModel(f"{path}: has been altered, its content does not match its manifest_hash")
    try:
        return msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise BadModel(f"{path}: {error}") from error


def _encode(manifest: Manifest) -> bytes:
    document = json.loads(msgspec.json.encode(manifest))
    document["manifest_hash"] = _document_hash(document)
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _document_hash(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise BadModel(f"{path}: {size} bytes, the limit is {limit}")
        return path.read_bytes()
    except OSError as error:
        raise BadModel(
            f"{path}: cannot be read ({error.strerror}); a model directory holds {WEIGHTS} and {MANIFEST}"
        ) from error


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(temporary: Path, path: Path) -> None:
    """Move the finished directory into place. An older model is moved aside first and then removed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    replaced = path.exists()
    if replaced:
        path.replace(aside)
    temporary.replace(path)
    _sync(path.parent)
    if replaced:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
