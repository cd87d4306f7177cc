"""A feature set of the user's own: columns of the default set, and indicators as text beside them.

A model's manifest holds the definition, and the hash of the set that it gave: a program that makes other
features of it refuses the model.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

import msgspec

from bot.domain.errors import BadInput
from bot.features.expression import parse
from bot.features.ops import Op
from bot.features.spec import FeatureSet, build

NAME = "own"
COLUMNS_MAX = 512
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which columns of a default set are kept, and what is added to them.

    Names may have ``*`` and ``?``, as file names on a command line.
    """

    keep: tuple[str, ...] = ("*",)
    drop: tuple[str, ...] = ()
    add: dict[str, str] = {}
    """Name to formula, as ``expression.parse`` reads it."""
    base: str = "default-v1"
    """The default set; a manifest that does not say it is older than the second one."""


def own_set(definition: Definition, interval_ms: int) -> FeatureSet:
    """Return the feature set of a definition, for bars of this length.

    Raises:
        BadInput: a name that the default set does not have or that stands twice, a formula that cannot be
            read, or no column is left. The message begins with the key.
    """
    given = build(definition.base, interval_ms)
    kept = _matching("keep", definition.keep, given.names) - _matching("drop", definition.drop, given.names)
    columns = [(name, op) for name, op in given.columns if name in kept]
    columns += [(name, _added(name, text, kept)) for name, text in definition.add.items()]
    if not 0 < len(columns) <= COLUMNS_MAX:
        raise BadInput(f"features: {len(columns)} columns are left, must be 1 to {COLUMNS_MAX}")
    names = {op: name for name, op in reversed(columns)}
    twice = next((name for name, op in columns if names[op] != name), None)
    if twice is not None:
        where = "add" if twice in definition.add else "keep"
        raise BadInput(f"features.{where}.{twice}: is the same column as {names[dict(columns)[twice]]}")
    written = msgspec.json.decode(msgspec.json.encode(definition))  # as a manifest holds it: lists
    return FeatureSet(NAME, interval_ms, tuple(columns), added=tuple(definition.add), definition=written)


def _matching(key: str, patterns: Iterable[str], names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            near = get_close_matches(pattern, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "`bot.features(candles).names` lists them"
            raise BadInput(f"features.{key}: the default set has no column {pattern!r}; {hint}")
        found |= matched
    return found


def _added(name: str, text: str, kept: set[str]) -> Op:
    key = f"features.add.{name}"
    if not _WORD.fullmatch(name):
        raise BadInput(f"{key}: a name has small letters, digits and _ only, and begins with a letter")
    if name in kept:
        raise BadInput(f"{key}: the default set has a column of this name; drop it or take another name")
    try:
        return parse(text)
    except BadInput as error:
        raise BadInput(f"{key}: {error}") from error
