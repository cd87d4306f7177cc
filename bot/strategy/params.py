"""Turn ``--param name=text`` into constructor arguments, by the constructor's own annotations.

From Python, a parameter may also be a value; only texts are converted.
"""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any, cast

import msgspec

from bot.domain.errors import BadUsage, BotError, StrategyFailed
from bot.strategy.failing import place_of
from bot.strategy.portfolio import AnyStrategy

_WORDS = {"none": None, "yes": True, "no": False}
"""Words that msgspec does not know for a value."""


def build(cls: type, params: Mapping[str, object]) -> AnyStrategy:
    """Make one strategy from texts or values; what is not given keeps its default.

    msgspec converts each text to its parameter's annotation: int, float, bool, str, Decimal, an Enum, a
    Literal, a union of these, None (``none``), or a class that takes one text. A parameter without an
    annotation takes its default's type.

    Raises:
        BadUsage: a name the constructor does not have, a text that is not of the parameter's type, a
            parameter without default that is missing, or values the constructor refuses.
        StrategyFailed: the constructor raised anything else.
    """
    known = inspect.signature(cls, eval_str=True).parameters
    for name in params:
        if name not in known:
            raise BadUsage(_unknown(cls, name, list(known)))
    missing = [n for n, p in known.items() if _required(p) and n not in params]
    if missing:
        raise BadUsage(f"{cls.__name__} needs --param {missing[0]}=...")
    values = {
        name: _convert(cls, known[name], value) if isinstance(value, str) else value
        for name, value in params.items()
    }
    try:
        return cast(AnyStrategy, cls(**values))
    except (TypeError, ValueError) as error:
        raise BadUsage(f"{cls.__name__} refused its parameters: {error}") from error
    except BotError:
        raise
    except Exception as error:  # the code of a user may raise anything
        raise StrategyFailed(f"{place_of(error)} (while a {cls.__name__} was made)") from error


def _required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not variadic


def _unknown(cls: type, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    listing = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"{cls.__name__} has no parameter {name}{hint} ({listing})"


def _convert(cls: type, parameter: inspect.Parameter, text: str) -> object:
    kind = parameter.annotation
    if kind is inspect.Parameter.empty:
        default = parameter.default
        kind = str if default is inspect.Parameter.empty or default is None else type(default)
    try:
        value = _word(kind, text) if text.lower() in _WORDS else _parse(kind, text)
    except (TypeError, ValueError):  # TypeError: an annotation that msgspec cannot read
        words = kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")
        raise BadUsage(f"{cls.__name__}: {parameter.name} must be {words}, was {text!r}") from None
    return value


def _word(kind: Any, text: str) -> object:
    """Take ``none``, ``yes`` or ``no`` for what it means where the annotation allows that, else as a text."""
    try:
        return msgspec.convert(_WORDS[text.lower()], kind)
    except msgspec.ValidationError:
        return _parse(kind, text)


def _parse(kind: Any, text: str) -> object:
    value = msgspec.convert(text, kind, strict=False, dec_hook=lambda custom, given: custom(given))
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(text)
    return value
