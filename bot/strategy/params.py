"""``--param name=text`` to constructor arguments, by the constructor's own annotations."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from types import NoneType, UnionType
from typing import Literal, Union, cast, get_args, get_origin

from bot.domain.errors import BadUsage
from bot.strategy.signal import Strategy

_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def build(cls: type, params: Mapping[str, str]) -> Strategy:
    """Make one strategy from texts; what is not given keeps its default.

    Annotations may be int, float, bool, str, a Literal of these, or one of them or None (``none``); a
    parameter without one takes its default's type.

    Raises:
        BadUsage: a name the constructor does not have, a text that is not of the parameter's type, a
            parameter without default that is missing, or values the constructor refuses.
    """
    known = inspect.signature(cls, eval_str=True).parameters
    for name in params:
        if name not in known:
            raise BadUsage(_unknown(cls, name, list(known)))
    missing = [n for n, p in known.items() if _required(p) and n not in params]
    if missing:
        raise BadUsage(f"{cls.__name__} needs --param {missing[0]}=...")
    values = {name: _convert(cls, known[name], text) for name, text in params.items()}
    try:
        return cast(Strategy, cls(**values))
    except (TypeError, ValueError) as error:
        raise BadUsage(f"{cls.__name__} refused its parameters: {error}") from error


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
        return _parse(kind, text)
    except ValueError:
        words = kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")
        raise BadUsage(f"{cls.__name__}: {parameter.name} must be {words}, was {text!r}") from None


def _parse(kind: object, text: str) -> object:
    """Raises ValueError for a text that is not of this kind."""
    if get_origin(kind) is Literal:
        return _choose({str(choice): choice for choice in get_args(kind)}, text)
    if get_origin(kind) in (Union, UnionType):
        return _parse_one_of(get_args(kind), text)
    if kind is bool:
        return _choose(_BOOLS, text.lower())
    if kind is int:
        return int(text)
    if kind is float:
        return _finite(float(text))
    return text


def _choose(choices: Mapping[str, object], text: str) -> object:
    if text not in choices:
        raise ValueError(text)
    return choices[text]


def _parse_one_of(kinds: tuple[object, ...], text: str) -> object:
    if NoneType in kinds and text.lower() == "none":
        return None
    return _parse(next(kind for kind in kinds if kind is not NoneType), text)


def _finite(number: float) -> float:
    if not isfinite(number):
        raise ValueError(number)
    return number
