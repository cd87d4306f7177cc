"""Put the layers together: command line > environment > ``.env`` > file > default.

pydantic-settings reads and merges them. This file adds what it lacks: the place of each value, a
did-you-mean for unknown keys and variables, and keys that come from a private file.
"""

import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)

from bot.domain.errors import BadSettings
from bot.settings.forms import check_place
from bot.settings.models import DEFAULT, SHIPPED, find_model
from bot.settings.state_dir import DOTENV
from bot.settings.text import read_text
from bot.settings.tree import (
    FIELDS,
    LOCAL_KEYS,
    SECRET_FILES,
    SECRETS,
    TABLES,
    VENUE_SECRETS,
    Settings,
)
from bot.settings.variables import OPEN, check_variables, is_known, no_such, variable

COMMAND_LINE = "command line"


def load(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = DOTENV,
) -> Settings:
    """Read all layers and check the result.

    Args:
        config: a TOML file, None for none.
        overrides: the command line's values by dotted key.
        environ: default the process's environment.
        dotenv: read if it exists.

    Raises:
        BadSettings: every fault with its place (``file:key`` or variable), what is wrong, what to do.
        BadModel: two models have the name that ``model.path`` gives.
    """
    notes: list[str] = []
    faults = _Faults()
    variables = os.environ if environ is None else environ
    layers = [_command_line(overrides or {})]
    with faults.kept():
        layers.append(_environment(variables, notes, faults))
    with faults.kept():
        layers.append(_dotenv(dotenv, notes, faults))
    with faults.kept():
        layers += [_file(config, faults)] if config is not None else []
    given = {key: value for layer in reversed(layers) for key, value in layer.given()}
    for layer in layers:
        for key, value in layer.given():
            _check_key(key, value, faults)
    for secrets in (_venue_keys, _notify_urls):
        with faults.kept():
            layers.append(secrets(given))
            given |= dict(layers[-1].given())
    try:
        settings = Settings.from_sources(*(layer.source for layer in layers))
    except ValidationError as error:
        _explain(error, given, faults)
        raise BadSettings(*faults) from None
    if faults:
        raise BadSettings(*faults)
    settings = _with_model_found(settings)
    settings._origins.update({key: value.origin for key, value in given.items()})
    settings._notes.extend(notes)
    return settings


def _with_model_found(settings: Settings) -> Settings:
    """Put the directory in the place of a model's name, so that journals and readers know the directory."""
    given = settings.model.path
    if given is None:
        return settings
    found = find_model(given, settings.state_dir)
    path = None if found == SHIPPED[DEFAULT] else found  # unset: an installation may move
    return settings.model_copy(update={"model": settings.model.model_copy(update={"path": path})})


@dataclass(frozen=True, slots=True)
class _Given:
    """One value and the place where the user wrote it."""

    value: object
    origin: str


class _Faults(list[str]):
    """What is wrong, each with the place where it is written; of one place only the first."""

    def add(self, place: str, words: str) -> None:
        """Keep a fault, unless one of its place is known."""
        if not any(each.startswith(f"{place}: ") for each in self):
            self.append(f"{place}: {words}")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Go on behind a block that could not be read, so that the user learns of all faults at once."""
        try:
            yield
        except BadSettings as error:
            self.extend(each for each in error.faults if each not in self)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of pydantic-settings. ``table`` is what it holds; ``place`` says where it holds a key."""

    source: PydanticBaseSettingsSource
    table: Mapping[str, object]
    place: Callable[[str], str]

    def given(self) -> Iterator[tuple[str, _Given]]:
        """Yield each dotted key of this layer with its value and place."""
        return ((key, _Given(value, self.place(key))) for key, value in _flat(self.table))


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        key = prefix + name
        is_table = isinstance(value, dict) and (key not in FIELDS or key == OPEN)
        if is_table and (value or key in TABLES or key == OPEN):
            assert isinstance(value, dict)
            yield from _flat(value, key + ".")
        else:
            yield key, value


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, name = key.split(".", 2)
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value
    return tree


# The four layers


def _command_line(overrides: Mapping[str, object]) -> _Layer:
    table = _nested(overrides)
    return _Layer(InitSettingsSource(Settings, table), table, lambda key: COMMAND_LINE)


def _environment(environ: Mapping[str, str], notes: list[str], faults: _Faults) -> _Layer:
    told, wrong = check_variables(environ, "")
    notes += told
    faults += wrong
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items()}
    return _Layer(source, source(), variable)


class _PlainDotEnv(DotEnvSettingsSource):
    """Reads ``.env`` and leaves ``${NAME}`` as it is: a secret may contain these characters."""

    def _read_env_file(self, file_path: Path) -> Mapping[str, str | None]:
        self.lines = dotenv_values(stream=StringIO(read_text(file_path)), interpolate=False)
        return {name.lower(): value for name, value in self.lines.items()}


class _Toml(TomlConfigSettingsSource):
    """Reads the settings file, with or without a byte order mark."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return tomllib.loads(read_text(Path(str(file_path))))


def _dotenv(path: Path, notes: list[str], faults: _Faults) -> _Layer:
    try:
        source = _PlainDotEnv(Settings, env_file=path)
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path}: cannot be read: {error}") from None
    where = f"{path}:"
    told, wrong = check_variables(getattr(source, "lines", {}), where)
    notes += told
    faults += wrong
    layer = _Layer(source, source(), lambda key: where + variable(key))
    for key, _ in layer.given():
        if key in SECRETS:
            _check_private(path, f"it holds {variable(key)}", SECRET_FILES[key])
    return layer


def _file(path: Path, faults: _Faults) -> _Layer:
    hint = "`bot config init` writes one"
    if not path.is_file():  # pydantic-settings passes over a file that is missing
        raise BadSettings(f"{path}: cannot be read (there is no such file); {hint}")
    try:
        source = _Toml(Settings, path)
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror}); {hint}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadSettings(f"{path}: not valid TOML: {error}") from None
    layer = _Layer(source, source.toml_data, lambda key: f"{path}:{key}")
    for key, given in layer.given():
        if key in SECRETS:
            faults.add(
                given.origin,
                "a secret never belongs in a settings file; take it out, make a new key, "
                f"and set {variable(key)} or {SECRET_FILES[key]}",
            )
    return layer


def _venue_keys(given: Mapping[str, _Given]) -> _Layer:
    """Read ``venue.api_key_file`` into the two secrets; the local exchange has published ones."""
    if path := _private_file(given, "venue.api_key_file", VENUE_SECRETS):
        return _secrets("venue", _read_keys(path), lambda key: f"{path}:{key.rpartition('.')[2]}")
    kind = given.get("venue.kind")
    if kind is not None and kind.value == "local" and not VENUE_SECRETS & given.keys():
        return _secrets("venue", LOCAL_KEYS, lambda key: "the local exchange's published keys")
    return _secrets("venue", {}, variable)


def _notify_urls(given: Mapping[str, _Given]) -> _Layer:
    """Read ``notify.urls_file``: one address a line; empty lines and ``#`` comments are left out."""
    path = _private_file(given, "notify.urls_file", frozenset({"notify.urls"}))
    if path is None:
        return _secrets("notify", {}, variable)
    _check_private(path, "it holds addresses with secrets", "notify.urls_file")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        raise BadSettings(f"{path}: cannot be read as text; write one address a line") from None
    urls = [line for line in lines if line and not line.startswith("#")]
    return _secrets("notify", {"urls": urls}, lambda key: f"{path}")


def _private_file(given: Mapping[str, _Given], setting: str, secrets: frozenset[str]) -> Path | None:
    """Return the file that a setting names for some secrets; None if it names none.

    Raises:
        BadSettings: the secrets are given in another place, too, or the path is none.
    """
    named = given.get(setting)
    if not named:
        return None
    if secrets & given.keys():
        raise BadSettings(
            f"{named.origin}: secrets come from {named.value} or from {variable(sorted(secrets)[0])}, "
            "not from both"
        )
    try:
        return check_place(Path(str(named.value)))
    except ValueError as error:
        raise BadSettings(f"{named.origin}: {setting} {error}") from None


def _secrets(section: str, keys: Mapping[str, object], place: Callable[[str], str]) -> _Layer:
    table = {section: dict(keys)} if keys else {}
    return _Layer(InitSettingsSource(Settings, table), table, place)


def _read_keys(path: Path) -> dict[str, object]:
    _check_private(path, "it holds keys", "venue.api_key_file")
    try:
        table = tomllib.loads(read_text(path))
    except (OSError, ValueError):
        table = {}  # the parser's words may repeat a piece of the secret
    if table.keys() != {"api_key", "api_secret"}:
        raise BadSettings(f'{path}: expected two lines, api_key = "…" and api_secret = "…"')
    return table


# What pydantic-settings does not check


def _check_key(key: str, given: _Given, faults: _Faults) -> None:
    """Refuse an unknown key, and a truth value: no setting is one, and Python takes ``true`` for 1."""
    if not is_known(key):
        faults.add(given.origin, no_such(key, str))
    elif isinstance(given.value, bool) and key in FIELDS:
        shown = str(given.value).lower()
        faults.add(given.origin, f"must not be {shown} ({FIELDS[key].description})")


def _check_private(path: Path, why: str, named_by: str) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror}); {named_by} names it") from None
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise BadSettings(f"{path}: {why} and others may read it (mode {mode:04o}); do `chmod 600 {path}`")


# Errors in one line each


def _explain(error: ValidationError, given: Mapping[str, _Given], faults: _Faults) -> None:
    items = error.errors(include_url=False)
    inside = {item["loc"][:-1] for item in items if item["loc"]}
    for item in items:
        if item["type"] == "too_short" and item["loc"] in inside:
            continue  # a list is short only because its wrong values were taken out
        if item["type"] != "extra_forbidden" or not faults:  # unknown keys were told with a did-you-mean
            faults.add(*_explain_one(dict(item), given))


def _explain_one(item: dict[str, Any], given: Mapping[str, _Given]) -> tuple[str, str]:
    parts = [str(part) for part in item["loc"]]
    key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in FIELDS), ".".join(parts))
    found = given.get(".".join(parts)) or given.get(key)
    origin = found.origin if found else key
    if origin == COMMAND_LINE:
        origin = f"{COMMAND_LINE}:{key}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should", "must")
    shown = "" if key in SECRETS else f", was {item['input']!r}"
    description = FIELDS[key].description if key in FIELDS else ""
    return origin, f"{message}{shown} ({description})"
