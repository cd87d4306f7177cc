"""The file of ``bot train --definition``: what a model is trained on, if not on the default."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.domain.errors import BadInput, BadSettings
from bot.domain.horizons import HOUR
from bot.settings.text import read_text


class FeatureColumns(BaseModel):
    """Columns of a default set (``base``; None: the newest), and formulas beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: str | None = None
    keep: list[str] = Field(default=["*"], min_length=1)
    drop: list[str] = []
    add: dict[str, str] = {}


class TargetHorizons(BaseModel):
    """How far ahead forecasts reach: a shorter horizon for returns, a longer one for returns and variance."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    minutes: list[int] = list(HOUR.minutes)


class TrainingDefinition(BaseModel):
    """The keys of a definition."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    half_lives: list[Annotated[float, Field(gt=0)]] | None = Field(default=None, min_length=1)
    targets: TargetHorizons = TargetHorizons()
    features: FeatureColumns = FeatureColumns()


_KEYS = (
    "half_lives",
    "targets",
    "targets.minutes",
    "features",
    "features.base",
    "features.keep",
    "features.drop",
    "features.add",
)


@dataclass(frozen=True)
class ReadDefinition:
    """A definition that was read, and where its keys stand."""

    keys: TrainingDefinition
    file: str = ""
    text: str = ""

    def error(self, words: str) -> BadSettings:
        """Return the error of words that begin with a key and a colon, with the file and the line of it."""
        if not self.file:
            return BadSettings(f"definition: {words}")
        line = _line_of(words.partition(":")[0], self.text)
        return BadSettings(f"{self.file}{'' if line is None else f':{line}'}: {words}")


def read_definition(given: Path | Mapping[str, object]) -> ReadDefinition:
    """Read a definition from a TOML file, or from the same keys in a dict.

    Raises:
        BadSettings: one line with file, line and key, what is wrong, and what to do.
    """
    blank = TrainingDefinition()
    if not isinstance(given, Path):
        return _checked(_as_toml(_written(given)), ReadDefinition(blank))
    try:
        text = read_text(given)
        table = tomllib.loads(text)
    except OSError as error:
        raise BadSettings(f"{given}: cannot be read ({error.strerror}); give the TOML file") from error
    except ValueError as error:  # the message of TOML names the line
        raise BadSettings(f"{given}: is no TOML file: {error}") from error
    return _checked(table, ReadDefinition(blank, str(given), text))


def _written(given: Mapping[str, object]) -> Mapping[str, object]:
    """Return the keys with each indicator that is an object of Python as text, which a manifest can hold.

    Raises:
        BadSettings: it cannot be written as text.
    """
    features = given.get("features")
    add = features.get("add") if isinstance(features, Mapping) else None
    if not isinstance(features, Mapping) or not isinstance(add, Mapping):
        return given
    return {**given, "features": {**features, "add": {name: _text(name, each) for name, each in add.items()}}}


def _text(name: object, given: object) -> str:
    if not isinstance(name, str):
        raise BadSettings(f"definition: features.add: a name must be a text, was {name!r}")
    if isinstance(given, str):
        return given
    from bot.features.writing import write  # it loads a compiler

    try:
        return write(given)
    except BadInput as error:
        raise BadSettings(f"definition: features.add.{name}: {error}") from error


def _as_toml(value: object) -> Any:
    """Return a value of Python as TOML would give it: with lists, not tuples."""
    if isinstance(value, Mapping):
        return {name: _as_toml(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _checked(table: Mapping[str, object], place: ReadDefinition) -> ReadDefinition:
    try:
        return replace(place, keys=TrainingDefinition.model_validate(table))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        words = _no_such(key) if first["type"] == "extra_forbidden" else first["msg"]
        if first["type"] in ("dict_type", "model_type"):
            words = f"must be a table of names and values, was {first['input']!r}"
        if first["type"] == "string_type" and first["loc"][:2] == ("features", "add"):
            words += "; write the indicator as text, such as 'close / sma(close, 48) - 1'"
        raise place.error(f"{key}: {words}") from error


def _no_such(key: str) -> str:
    if key.split(".")[0] in ("target", "targets", "horizon", "horizons"):
        return (
            "the targets are returns over two horizons and the variance over the longer: [targets] with "
            "minutes = [30, 240]; others can only be fitted with bot.fit"
        )
    near = get_close_matches(key, _KEYS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KEYS)}"
    return f"no such key; {hint}"


def _line_of(key: str, text: str) -> int | None:
    """Return the line of a key: the first of its last word after that of its table."""
    words = key.split(".")
    lines = text.splitlines()
    first = 0
    for at, word in enumerate(words):
        form = re.compile(
            rf"""\s*(\[([\w.]+\.)?{re.escape(word)}\s*\]|["']?{re.escape(word)}["']?\s*(=|\.))"""
        )
        found = next((line for line in range(first, len(lines)) if form.match(lines[line])), None)
        if found is None:
            dotted = re.compile(rf"\s*\[{re.escape('.'.join(words[: at + 1]))}[.\]]")
            found = next((line for line in range(first, len(lines)) if dotted.match(lines[line])), None)
        if found is not None:
            first = found
        elif at == len(words) - 1:
            return first + 1 if at else None
    return first + 1
