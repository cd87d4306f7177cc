"""A strategy that raises: what is kept of the error, and what stands in the strategy's place afterwards.

The error of a user's code must not end a program that holds positions. Its symbol takes no entries until the
operator lifts that (``unhalt``); exits, stops and all other symbols go on.
"""

from collections.abc import Callable
from inspect import unwrap
from types import CodeType, TracebackType
from typing import Literal

from bot.domain.market import Bar
from bot.domain.messages import StrategyFailure
from bot.strategy.signal import Target, View

_OURS = __file__.removesuffix("strategy/failing.py")
_TRACE_MAX = 20
_WORDS_MAX = 200


def no_target(view: View) -> Target | None:
    """Say nothing: stands in the place of a stopped strategy's ``on_bar``."""
    return None


def failure_of(
    strategy: object,
    error: Exception,
    bar: Bar,
    redact: Callable[[str], str],
    method: Literal["on_bar", "on_close", "state"] = "on_bar",
) -> StrategyFailure:
    """Return what people must know of an error in a method: the line of the user's own file, and the words.

    ``redact`` takes secrets out of the words: they go to the journal, and a user's code may say anything.

    The line is the last one of the file that the method stands in: an error inside a library is caused there.
    """
    frames = list(_frames(error.__traceback__))[1:]  # the first is our own
    code = _code_of(strategy, method)
    own = code.co_filename if code is not None else frames[0][0].co_filename if frames else ""
    found = next((each for each in reversed(frames) if each[0].co_filename == own), None)
    if found is None:
        found = (code, code.co_firstlineno) if code is not None else None
    return StrategyFailure(
        bar_ms=bar.start_ms,
        strategy=type(strategy).__name__,
        method=method,
        file=_name(found[0]) if found is not None else "?",
        line=found[1] if found is not None else 0,
        error=_words(error, redact),
        trace=tuple(f"{_name(each)}:{at} in {each.co_name}" for each, at in frames[-_TRACE_MAX:]),
    )


def place_of(error: Exception) -> str:
    """Return ``file:line: error`` for an error raised while a user's module was imported or its class made.

    The line is the last one of the first file that is neither ours nor the importer's.
    """
    frames = [each for each in _frames(error.__traceback__) if _is_users(each[0].co_filename)]
    if not frames:
        return _words(error)
    own = frames[0][0].co_filename
    code, line = next(each for each in reversed(frames) if each[0].co_filename == own)
    return f"{_name(code)}:{line}: {_words(error)}"


def _is_users(file: str) -> bool:
    return not file.startswith("<") and not file.startswith(_OURS) and "/importlib/" not in file


def _frames(trace: TracebackType | None) -> "list[tuple[CodeType, int]]":
    found = []
    while trace is not None:
        found.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _code_of(strategy: object, method: str) -> CodeType | None:
    """Return the code of a method, of its own function if something was wrapped around that."""
    code = getattr(unwrap(getattr(type(strategy), method, None)), "__code__", None)  # type: ignore[arg-type]
    return code if isinstance(code, CodeType) else None


def _name(code: CodeType) -> str:
    return code.co_filename.replace("\\", "/").rpartition("/")[2]


def _words(error: Exception, redact: Callable[[str], str] = str) -> str:
    try:
        said = " ".join(str(error).split())
    except Exception:  # the class is the user's own
        said = ""
    text = redact(f"{type(error).__name__}: {said}" if said else type(error).__name__)
    return text if len(text) <= _WORDS_MAX else text[: _WORDS_MAX - 1] + "…"
