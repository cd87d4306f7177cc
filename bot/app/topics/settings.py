"""``bot help settings``: every key with type, unit, default, bounds and variable, from the settings tree."""

from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words
from bot.settings import FIELDS, SECRETS, Settings, variable
from bot.settings.file import bounds
from bot.settings.tree import plain

_SUFFIXES = {
    "_ms": "milliseconds",
    "_bps": "basis points (0.01 %)",
    "_frac": "fraction of 1",
    "_quote": "quote currency (USDT)",
    "_bytes": "bytes",
    "_days": "days",
    "_per_second": "requests per second",
    "_per_minute": "per minute",
}
_ALSO = {
    "risk.max_leverage": "times the equity",
    "account.leverage": "times the margin",
    "notify.per_minute": "per minute",
    "web.port": "port number",
    "costs.impact_frac": "none",
    "seed": "none",
}
"""Units of numbers whose names do not end with one; every other whole number is a count."""


def page() -> Page:
    """Return every setting by its section of the file."""
    sections: dict[str, list[Entry]] = {}
    for key, field in FIELDS.items():
        sections.setdefault(key.rpartition(".")[0], []).append(_entry(key, field))
    return Page(
        "settings",
        "Settings come from the command line, then BOT_* variables, then .env, then the file of `-c`, then "
        "the default. An unknown key is an error with a did-you-mean, and so is a BOT_* variable that "
        "resembles a setting. `bot config show` prints the values in force, `bot config init` writes a "
        "commented file.",
        [
            Section(f"[{name}]" if name else "top level", entries, _about(name))
            for name, entries in sections.items()
        ],
    )


def unit(key: str, field: FieldInfo) -> str:
    """Return the unit of a number; empty for what is not a number."""
    kinds = _kinds(field.annotation)
    if not kinds & {int, float, Decimal}:
        return ""
    if key in _ALSO:
        return _ALSO[key]
    return next((words for end, words in _SUFFIXES.items() if key.endswith(end)), "count")


def _about(section: str) -> str:
    kind = Settings.model_fields[section].annotation if section else None
    return first_words(kind) if kind else ""


def _entry(key: str, field: FieldInfo) -> Entry:
    facts = {
        "type": _type(field.annotation),
        "unit": unit(key, field),
        "default": _default(key, field),
        "bounds": bounds(field),
        "variable": variable(key),
    }
    return Entry(key, str(field.description), {name: words for name, words in facts.items() if words})


def _kinds(annotation: object) -> set[object]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*(_kinds(each) for each in get_args(annotation)))
    return {origin or annotation}


_TYPES = {
    "Decimal": "number",
    "float": "number",
    "int": "whole number",
    "str": "text",
    "bool": "true or false",
}


def _type(annotation: object) -> str:
    kinds = _kinds(annotation) - {NoneType}
    (kind,) = kinds
    if kind is Literal:
        return "one of the words"
    name = getattr(kind, "__name__", str(kind))
    named = {"tuple": "list", "dict": "table", "SecretStr": "secret text", "Path": "path"}
    return named.get(name, _TYPES.get(name, name))


def _default(key: str, field: FieldInfo) -> str:
    if field.default is None or key in SECRETS:
        return "unset"
    value = plain(field.default)
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value) or "empty"
