"""Layers put together: command line > environment > ``.env`` > file > default, each with its place."""

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from bot.domain.errors import BadSettings
from bot.settings.tree import FIELDS, LOCAL_KEYS, SECRETS, Settings

PREFIX = "BOT_"
DOTENV = Path(".env")
COMMAND_LINE = "command line"
_OPEN = "strategy.params"
"""The one table whose keys are not ours."""


def variable(key: str) -> str:
    """The environment's name of a key: ``risk.max_leverage`` → ``BOT_RISK__MAX_LEVERAGE``."""
    return PREFIX + key.upper().replace(".", "__")


def load(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = DOTENV,
) -> Settings:
    """Put the layers together and check the result.

    Args:
        config: a TOML file, None for none.
        overrides: the command line's values by dotted key.
        environ: default the process's environment.
        dotenv: read if it exists.

    Raises:
        BadSettings: one line with the place (``file:key`` or variable), what is wrong, what to do.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    layers = (
        _from_file(config) if config is not None else {},
        _from_variables(_read_dotenv(dotenv), f"{dotenv}:", dotenv),
        _from_variables(os.environ if environ is None else environ, "", None),
        {key: (value, COMMAND_LINE) for key, value in (overrides or {}).items()},
    )
    for layer in layers:
        for key, (value, origin) in layer.items():
            values[key], origins[key] = value, origin
    _check_keys(origins)
    _check_no_bools(values, origins)
    _add_key_file(values, origins)
    _add_local_keys(values, origins)
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise BadSettings(_explain(error, origins)) from None
    settings._origins.update(origins)
    return settings


Layer = dict[str, tuple[object, str]]
"""Dotted key → value and where it stands."""


def _from_file(path: Path) -> Layer:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(
            f"{path}: cannot be read ({error.strerror}); `bot config init` writes one"
        ) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadSettings(f"{path}: not valid TOML: {error}") from None
    layer: Layer = {key: (value, f"{path}:{key}") for key, value in _flat(table)}
    for key in SECRETS & layer.keys():
        raise BadSettings(
            f"{path}:{key}: a secret never belongs in a settings file; take it out, make a new key, and set "
            f"{variable(key)} or venue.api_key_file"
        )
    return layer


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict) and (key not in FIELDS or key == _OPEN):
            yield from _flat(value, key + ".")
        else:
            yield key, value


def _from_variables(variables: Mapping[str, str | None], where: str, file: Path | None) -> Layer:
    layer: Layer = {}
    for name, value in variables.items():
        if not name.startswith(PREFIX):
            continue
        key = name.removeprefix(PREFIX).lower().replace("__", ".")
        if value is None:
            raise BadSettings(f"{where}{name}: has no value; write {name}=…")
        if key in SECRETS and file is not None:
            _check_private(file, f"it holds {name}")
        layer[key] = (value, where + name)
    return layer


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path}: cannot be read: {error}") from None


def _check_keys(origins: Mapping[str, str]) -> None:
    for key, origin in origins.items():
        if key in FIELDS or key.startswith(_OPEN + "."):
            continue
        from_environment = origin.rpartition(":")[2].startswith(PREFIX)
        known = [variable(k) for k in FIELDS] if from_environment else list(FIELDS)
        near = get_close_matches(variable(key) if from_environment else key, known, n=1)
        inside = [k for k in FIELDS if k.startswith(key + ".")]
        hint = (
            f"it is a table with keys such as {inside[0]}"
            if inside
            else f"did you mean {near[0]}?"
            if near
            else "`bot config show` lists all"
        )
        raise BadSettings(f"{origin}: no such setting; {hint}")


def _check_no_bools(values: Mapping[str, object], origins: Mapping[str, str]) -> None:
    """No setting is a truth value, and Python would take ``true`` for the number 1."""
    for key, value in values.items():
        if isinstance(value, bool) and key in FIELDS:
            raise BadSettings(f"{origins[key]}: must not be {str(value).lower()} ({FIELDS[key].description})")


def _add_key_file(values: dict[str, object], origins: dict[str, str]) -> None:
    """Read ``venue.api_key_file`` into the two secrets it stands for."""
    if not (name := values.get("venue.api_key_file")):
        return
    path = Path(str(name))
    if SECRETS & values.keys():
        raise BadSettings(
            f"{origins['venue.api_key_file']}: keys come from {path} or from "
            f"{variable('venue.api_key')}, not from both"
        )
    _check_private(path, "it holds keys")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = {}  # the parser's words may repeat a piece of the secret
    if table.keys() != {"api_key", "api_secret"}:
        raise BadSettings(f'{path}: expected two lines, api_key = "…" and api_secret = "…"')
    for name in table:
        values[f"venue.{name}"], origins[f"venue.{name}"] = table[name], f"{path}:{name}"


def _add_local_keys(values: dict[str, object], origins: dict[str, str]) -> None:
    """The exchange on this machine has published toy keys: nobody need type them."""
    if values.get("venue.kind") == "local" and not SECRETS & values.keys():
        for key, value in zip(sorted(SECRETS), LOCAL_KEYS, strict=True):
            values[key], origins[key] = value, "the local exchange's published keys"


def _check_private(path: Path, why: str) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror}); venue.api_key_file names it") from None
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise BadSettings(f"{path}: {why} and others may read it (mode {mode:04o}); do `chmod 600 {path}`")


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, name = key.split(".", 2)
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value
    return tree


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    return "; ".join(_explain_one(dict(item), origins) for item in error.errors(include_url=False))


def _explain_one(item: dict[str, Any], origins: Mapping[str, str]) -> str:
    parts = [str(part) for part in item["loc"]]
    key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in FIELDS), ".".join(parts))
    origin = origins.get(".".join(parts)) or origins.get(key, key)
    if origin == COMMAND_LINE:
        origin = f"{COMMAND_LINE}:{key}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should", "must")
    shown = "" if key in SECRETS else f", was {item['input']!r}"
    description = FIELDS[key].description if key in FIELDS else ""
    return f"{origin}: {message}{shown} ({description})"
