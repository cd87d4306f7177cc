"""The models that have a name, and what the manifest of one says."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.lineage import Lineage, name_of
from bot.domain.errors import BadModel
from bot.domain.horizons import HOUR
from bot.domain.market import interval_name
from bot.service.moments import minute_words
from bot.settings.models import DEFAULT, FOLDER, SHIPPED, Named, find_model, known_models, twin_place


def list_models(state_dir: Path, used: Path | None) -> list[dict[str, Any]]:
    """Return one row for each model that has a name; a damaged one has ``error`` and no figures.

    ``used``: the directory that the settings name, None for the default. ``current`` in a row: the model in
    use, which is the newest that was promoted in its place.
    """
    used = (SHIPPED[DEFAULT] if used is None else used).resolve()
    now = current_place(state_dir, used).resolve()
    return [
        _row(each, is_used=each.path.resolve() == used, is_current=each.path.resolve() == now)
        for each in known_models(state_dir)
    ]


def current_place(state_dir: Path, used: Path) -> Path:
    """Return the directory of the model in use in place of ``used``; ``used`` itself where it is damaged."""
    lineage = Lineage(state_dir / FOLDER)
    with suppress(BadModel):
        base = checkpoint.load(used)
        model, _ = lineage.current(base)
        return used if model.hash == base.hash else lineage.folder / name_of(model.hash)
    return used


def retrained(state_dir: Path, used: Path | None) -> dict[str, Any]:
    """Return what retraining made of the model that the settings name: current, kept, and why.

    Raises:
        StoreFailed: the record is damaged.
    """
    base = _hash(SHIPPED[DEFAULT] if used is None else used) or ""
    line = Lineage(state_dir / FOLDER).line(base)
    return {
        "base": line.base,
        "current": line.current,
        "kept": [{"name": each.name, **msgspec.to_builtins(each)} for each in line.promoted],
        "attempts": [msgspec.to_builtins(each) for each in line.attempts],
    }


def show_model(given: Path | None, state_dir: Path) -> dict[str, Any]:
    """Return what ``list_models`` says about one model, and the rest of its manifest that people ask for.

    Raises:
        BadModel: there is none, it is damaged, or two have this name.
    """
    path = SHIPPED[DEFAULT] if given is None else find_model(given, state_dir)
    model = checkpoint.load(path)
    name = next(
        (each.name for each in known_models(state_dir) if each.path.resolve() == path.resolve()), None
    )
    manifest = model.manifest
    return {
        "name": name,
        "directory": str(path),
        **_facts(model, path),
        "promoted": _promoted_words(model, state_dir),
        "twin": twin_of(model, state_dir),
        "feature_set": manifest.features.name,
        "definition": manifest.features.definition,
        "features": len(model.feature_set.names),
        "files": [each.file for each in manifest.files],
        "bridge_bars": manifest.bridge_bars,
        "seed": manifest.seed,
        "trials": manifest.trials,
        "settings": {key: value for key, value in manifest.settings.items() if key != "history"},
        "skill": manifest.skill,
        "code_version": manifest.code_version,
    }


def _promoted_words(model: Checkpoint, state_dir: Path) -> str | None:
    """Return when and why a model was promoted; None for one that retraining did not make."""
    line = Lineage(state_dir / FOLDER).line_of(model.hash)
    if line is None:
        return None
    taken = next(each for each in line.promoted if each.hash == model.hash)
    now = "current" if line.current == model.hash else "kept"
    return f"{minute_words(taken.ts_ms)} in the line of {line.base[:12]}, {now}: {taken.reason}"


def twin_of(model: Checkpoint, state_dir: Path) -> dict[str, Any] | None:
    """Return the model that the figures are of if it is another one, with the name that it has here."""
    twin = model.manifest.twin
    if twin is None:
        return None
    name = next((each.name for each in known_models(state_dir) if _hash(each.path) == twin.hash), None)
    return {"name": name, **msgspec.to_builtins(twin)}


def find_twin(model: Checkpoint, at: Path, state_dir: Path) -> Checkpoint | None:
    """Return the twin of a model in ``at``: beside it, or under any name; None if it is nowhere."""
    twin = model.manifest.twin
    if twin is None:
        return None
    for place in (twin_place(at), *(each.path for each in known_models(state_dir))):
        if _hash(place) == twin.hash:
            return checkpoint.load(place)
    return None


def twin_hint(model: Checkpoint, state_dir: Path) -> str | None:
    """Return which model has not seen the bars that this one has, for a warning; None if none has a name."""
    twin = twin_of(model, state_dir)
    if twin is None or twin["name"] is None:
        return None
    seen = minute_words(twin["trained_to_ms"])
    return f"its twin saw those to {seen}: for figures of later ones give --model {twin['name']}"


def _hash(path: Path) -> str | None:
    try:
        return checkpoint.load(path).hash
    except BadModel:
        return None


def _row(each: Named, *, is_used: bool, is_current: bool) -> dict[str, Any]:
    named: dict[str, Any] = {"name": each.name, "directory": str(each.path), "ships": each.ships}
    named |= {"used": is_used, "current": is_current}
    try:
        return {**named, **_facts(checkpoint.load(each.path), each.path), "error": None}
    except BadModel as error:
        return {**named, "error": str(error)}


def _facts(model: Checkpoint, path: Path) -> dict[str, Any]:
    manifest = model.manifest
    qlike = manifest.skill.get("qlike", {})
    variance, ret_short, _ = model.horizons.targets
    return {
        "hash": model.hash,
        "interval": interval_name(model.interval_ms),
        "symbols": list(manifest.symbols),
        "trained_to_ms": manifest.trained_to_ms,
        "trained_to": manifest.trained_to,
        "validated_to_ms": manifest.validated_to_ms,
        "validated_to": manifest.validated_to,
        "targets": list(model.horizons.targets),
        **dict.fromkeys((f"qlike_{HOUR.targets[0]}", f"ic_{HOUR.targets[1]}")),  # null for other horizons
        f"qlike_{variance}": _value(qlike.get("model")),
        "qlike_har_hour": _value(qlike.get("har_hour")),
        f"ic_{ret_short}": _value(manifest.skill.get(f"ic_{ret_short}")),
        "warmup_bars": manifest.warmup_bars,
        "parameters": manifest.parameters,
        "bytes": sum((path / name).stat().st_size for name in (checkpoint.WEIGHTS, checkpoint.MANIFEST)),
    }


def _value(figure: dict[str, float | None] | None) -> float | None:
    return None if figure is None else figure["value"]
