"""The shape of an answer: which fields it has and of which kind, and no value of it. Pure.

A shape maps the path of a field, such as ``result.list[].side``, to the kinds that were seen there. A field
that holds no value ("" or null) says nothing about its kind, and an empty list nothing about its rows.
"""

import re
from collections.abc import Mapping, Set

Shape = dict[str, set[str]]

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_NAMES = re.compile(r"(id|cursor|msg|note|time ?zone)$", re.IGNORECASE)
"""Fields with a name in them: its digits do not make it a number."""
_EMPTY = {"blank", "null"}


def shape_of(value: object, path: str = "") -> Shape:
    """Return the shape of a decoded JSON value."""
    found: Shape = {path: {_kind(value, path)}} if path else {}
    if isinstance(value, Mapping):
        for name, each in value.items():
            merge(found, shape_of(each, f"{path}.{name}" if path else str(name)))
    elif isinstance(value, list):
        for each in value:
            merge(found, shape_of(each, f"{path}[]"))
    return found


def merge(into: Shape, more: Mapping[str, Set[str]]) -> None:
    """Add what was seen elsewhere in the same kind of answer."""
    for path, kinds in more.items():
        into.setdefault(path, set()).update(kinds)


def differences(found: Shape, expected: Shape) -> list[str]:
    """Return one line for each field that is missing, new, or of another kind."""
    lines = []
    for path in sorted({*found, *expected}):
        parent = _parent(path)
        if path not in found:
            if _has_rows(found, parent) and _has_rows(expected, parent):
                lines.append(f"{path}: missing, expected {_words(expected[path])}")
        elif path not in expected:
            if _has_rows(found, parent) and _has_rows(expected, parent):
                lines.append(f"{path}: not expected, is {_words(found[path])}")
        elif (other := found[path] - _EMPTY - expected[path]) and expected[path] - _EMPTY:
            lines.append(f"{path}: is {_words(other)}, expected {_words(expected[path])}")
    return lines


def _parent(path: str) -> str:
    return path[:-2] + "[]" if path.endswith("[]") else path.rpartition(".")[0]


def _has_rows(shape: Shape, parent: str) -> bool:
    """True if the object or the list of rows at ``parent`` was there, so its fields can be judged."""
    if not parent:
        return True
    if parent.endswith("[]"):
        return parent in shape
    return "object" in shape.get(parent, ())


def _kind(value: object, path: str) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "whole number"
        case float():
            return "number"
        case Mapping():
            return "object"
        case list():
            return "list"
        case "":
            return "blank"
        case str() if _NUMBER.fullmatch(value) and not _NAMES.search(path):
            return "number as text"
    return "text"


def _words(kinds: Set[str]) -> str:
    return " or ".join(sorted(kinds))
