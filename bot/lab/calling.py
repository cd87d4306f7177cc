"""How public functions are called: their errors are one line, and their times are what Python users write."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from functools import wraps
from numbers import Integral
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from bot.app.context import Context
from bot.app.times import read_time
from bot.domain.errors import BadUsage, BotError

P = ParamSpec("P")
R = TypeVar("R")
_OPTION = re.compile(r"--([a-z][a-z-]*)")
_SECONDS_UNTIL = 100_000_000_000
"""Seconds since 1970 are below this, ms since 1970 above it after March 1973."""
Time = str | int | date
"""``"2025-12-01"``, ``"2025-12-01T08:00+02:00"``, ms since 1970, date or datetime; without an offset UTC."""


def one_line(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function raise its errors as the product's own: one line, no frames from inside.

    Arguments of another type than its annotations say are such errors, too.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_types(signature, args, kwargs)
            return function(*args, **kwargs)
        except BotError as error:
            error.args = (in_python(str(error)), *error.args[1:])
            raise error.with_traceback(None) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise BadUsage(f"{error.filename}: {error.strerror}; name another place") from None

    return call


_KINDS: Mapping[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    int: ((Integral,), "a whole number"),
    Path: ((PathLike,), "a path"),
    Mapping: ((Mapping,), "a dict"),
    Sequence: ((Sequence, np.ndarray), "a list"),
    NoneType: ((NoneType,), "None"),
}
"""Kinds of arguments that are checked at the door; functions look at all others themselves."""


def _check_types(
    signature: inspect.Signature, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Refuse an argument of a kind that its parameter does not take.

    Raises:
        BadUsage: names the argument and what it takes.
    """
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # Python says it better, when the function is called
    for name, value in given.items():
        kinds = list(_members(signature.parameters[name].annotation))
        if not kinds or any(kind not in _KINDS for kind in kinds):
            continue
        fits = any(isinstance(value, _KINDS[kind][0]) for kind in kinds) and not isinstance(value, bool)
        if isinstance(value, str) and str not in kinds:
            fits = False  # a text is a sequence, too
        if not fits:
            told = [kind for kind in kinds if kind is not NoneType and (kind is not str or Path not in kinds)]
            words = " or ".join(_KINDS[kind][1] for kind in told)
            raise BadUsage(f"{name}={_short(value)}: must be {words}")
        if isinstance(value, Mapping) and not all(isinstance(each, str) for each in value):
            wrong = next(each for each in value if not isinstance(each, str))
            raise BadUsage(f"{name}: its names must be texts, one was {wrong!r}")


def _members(annotation: Any) -> Iterator[object]:
    """Yield the kinds of an annotation, without what they hold."""
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield get_origin(annotation) or annotation


def _short(value: object) -> str:
    text = repr(value).splitlines()[0]
    return text if len(text) <= 60 else f"{text[:60]}…"


def path_of(given: object, name: str) -> Path:
    """Return a path that a user gave.

    Raises:
        BadUsage: it is none.
    """
    if not isinstance(given, str | PathLike):
        raise BadUsage(f"{name}={_short(given)}: must be a path, such as 'result.html'")
    return Path(given)


def in_python(words: str) -> str:
    """Return an error's words with the names of arguments for those of options: ``half_lives``.

    A command between backticks stays as it is typed.
    """
    parts = words.removeprefix("command line:").split("`")
    parts[::2] = [re.sub(_OPTION, lambda found: found[1].replace("-", "_"), part) for part in parts[::2]]
    return "`".join(parts).strip()


def one_of(given: str, allowed: Sequence[str], name: str) -> None:
    """Refuse a word that an argument does not take.

    Raises:
        BadUsage: with the word that was probably meant.
    """
    if given not in allowed:
        near = get_close_matches(str(given), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"give {' or '.join(map(repr, allowed))}"
        raise BadUsage(f"{name}={given!r}: is not known; {hint}")


def utc_ms(given: object, name: str) -> int | None:
    """Return ms since 1970, None for None.

    Raises:
        BadUsage: it is no time; ``name`` is the argument's.
    """
    if isinstance(given, np.integer | np.datetime64):
        given = given.astype("datetime64[ms]").item() if isinstance(given, np.datetime64) else int(given)
    if given is not None and given != given:  # pandas.NaT
        raise BadUsage(f"{name}={given}: is no time")
    match given:
        case None:
            return None
        case bool():
            pass
        case int():
            if 0 < given < _SECONDS_UNTIL:
                raise BadUsage(f"{name}={given}: looks like seconds; give ms since 1970, or '2025-12-01'")
            return given
        case str():
            try:
                return read_time(given)
            except ValueError:
                pass
        case datetime():
            moment = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1000)
        case date():
            return round(datetime.combine(given, time(), UTC).timestamp() * 1000)
    raise BadUsage(f"{name}={given!r}: is no time; give '2025-12-01', '2025-12-01T08:00', a datetime or ms")


def context_of(config: str | Path | None) -> Context:
    """Return the settings' context, as ``bot -c CONFIG`` has it."""
    from bot.app.compiler import prepare_compiler

    context = Context()
    context.config = None if config is None else Path(config)
    prepare_compiler(context)
    return context
