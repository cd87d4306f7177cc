"""Where models lie: those that ship, and the user's in ``state_dir/models``; each has a name.

A model may be named wherever a directory is taken. This module finds directories and reads none.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from bot.domain.errors import BadModel
from bot.domain.market import interval_name

FOLDER = "models"
"""The folder of the user's models in the state directory."""
MANIFEST = "manifest.json"
"""A directory with this file is a model, whole or damaged."""
DEFAULT = "performer-5m"
"""The shipped model that forecasts unless another is named."""
_TWIN = "-judged"
"""Behind a model's name: its twin, made in the same way from older bars, which newer ones judge."""
JUDGED = DEFAULT + _TWIN
"""The twin of the default."""
_PLACE = Path(str(files("bot.shipped")))
SHIPPED = {
    name: _PLACE / name
    for bars in ("5m", "1m", "15m", "1h")  # the default first
    for name in (f"performer-{bars}", f"performer-{bars}{_TWIN}")
}
"""Name → directory of each model that ships."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Named(NamedTuple):
    """A model directory and the name that it goes by."""

    name: str
    path: Path
    ships: bool


def twin_place(out: Path) -> Path:
    """Return the directory of the model that a refitted one is judged by: ``mine`` → ``mine-judged``."""
    return out.with_name(out.name + _TWIN)


def known_models(state_dir: Path) -> Iterator[Named]:
    """Yield the models that have a name: those that ship, then the user's by name."""
    for name, path in SHIPPED.items():
        yield Named(name, path, ships=True)
    folder = state_dir / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file():
            yield Named(path.name, path, ships=False)


def shipped_name(path: Path) -> str | None:
    """Return the name of the shipped model that lies in a directory; None if it is another model's."""
    return next((name for name, place in SHIPPED.items() if place.resolve() == path.resolve()), None)


def shipped_twin(path: Path) -> str | None:
    """Return the name of the twin of the shipped model in a directory; None if it has none."""
    twin = f"{shipped_name(path)}{_TWIN}"
    return twin if twin in SHIPPED else None


def model_for(interval_ms: int, give: str = "give --model") -> str:
    """Return what to do about bars that a model is not for: which one ships for them, or that none does."""
    bars = interval_name(interval_ms)
    name = f"performer-{bars}"
    if name in SHIPPED:
        return f"{give} {name}, which ships for bars of {bars}"
    return f"train one for bars of {bars} (`bot train`)"


def find_model(given: Path, state_dir: Path) -> Path:
    """Return the directory that ``given`` means: the name of a model, or a path, which stays as it is.

    A name has no folder before it. One that no model has is taken for a path.

    Raises:
        BadModel: two models have this name.
    """
    if given.is_absolute() or not _NAME.fullmatch(str(given)):
        return given
    found = [each.path for each in known_models(state_dir) if each.name == str(given)]
    if (given / MANIFEST).is_file():
        found.insert(0, given)
    if len({path.resolve() for path in found}) > 1:
        places = " and ".join(str(path.absolute()) for path in found)
        raise BadModel(f"model {str(given)!r} is {places}: rename one, or write the whole path")
    return found[0] if found else given
