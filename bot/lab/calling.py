"""How public functions are called: their errors are one line, and their times are what Python users write."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from bot.app.context import Context
from bot.app.times import read_time
from bot.domain.errors import BadUsage, BotError

P = ParamSpec("P")
R = TypeVar("R")
_OPTION = re.compile(r"--([a-z][a-z-]*)")
Time = str | int | date
"""``"2025-12-01"``, ``"2025-12-01T08:00+02:00"``, ms since 1970, date or datetime; without an offset UTC."""


def one_line(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function raise its errors as the product's own: one line, no frames from inside."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BotError as error:
            error.args = (in_python(str(error)), *error.args[1:])
            raise error.with_traceback(None) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise BadUsage(f"{error.filename}: {error.strerror}; name another place") from None

    return call


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


def utc_ms(given: Time | None, name: str) -> int | None:
    """Return ms since 1970, None for None.

    Raises:
        BadUsage: it is no time; ``name`` is the argument's.
    """
    match given:
        case None:
            return None
        case bool():
            pass
        case int():
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
