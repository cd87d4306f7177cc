"""The tree as a commented TOML file: what ``bot config init`` writes and ``config/default.toml`` is."""

import json
from decimal import Decimal
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from bot.settings.tree import FIELDS, SECRETS, Settings, plain


def to_toml() -> str:
    """The whole tree as a commented TOML file with every default; ``config/default.toml`` is this text."""
    lines = [
        "# Every setting with its default. Precedence: command line > BOT_* environment > .env > this file.",
        "# A key a.b is BOT_A__B in the environment. Unknown keys are errors. No secrets here.",
    ]
    section = ""
    for key, field in FIELDS.items():
        table, _, _ = key.rpartition(".")
        if table != section:
            section = table
            kind = Settings.model_fields[table].annotation
            lines += ["", f"[{table}]  # {(kind.__doc__ or '').splitlines()[0] if kind else ''}"]
        allowed = bounds(field)
        lines += [f"# {field.description}{f' ({allowed})' if allowed else ''}", _assignment(key, field)]
    return "\n".join(lines) + "\n"


def _assignment(key: str, field: FieldInfo) -> str:
    name, value = key.rpartition(".")[2], field.default
    if value is None or key in SECRETS:
        return f"# {name} ="
    if isinstance(value, dict):
        return f"{name} = {{}}"
    if isinstance(value, Decimal | float | int):
        return f"{name} = {value}"
    return f"{name} = {json.dumps(plain(value))}"


def bounds(field: FieldInfo) -> str:
    """Return what a value may be: ``a | b`` for words, ``>= 0, <= 100`` for numbers; empty if anything."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    words = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(
        f"{word} {limit}"
        for rule in field.metadata
        for attribute, word in words.items()
        if (limit := getattr(rule, attribute, None)) is not None
    )
