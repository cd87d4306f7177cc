"""A strategy whose every answer is noted, and the code of a user read anew for each run."""

import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import new_class
from typing import Any, Protocol

import msgspec

import bot
from bot.app.checks.tables import Log
from bot.domain.market import Forecast
from bot.strategy import PortfolioView, Target

_PROGRAM = str(Path(bot.__file__).parent)


class _Seen(Protocol):
    """The part of a view that holds what the model said."""

    symbol: str
    forecast: Forecast | None


def watched(cls: type, log: Log) -> type:
    """Return a subclass of a strategy's class that notes in ``log`` what the strategy sees and says.

    It has the name, the constructor and every attribute of ``cls``.
    """
    notes: dict[str, Callable[[Any, object], None]] = {
        "on_bar": lambda view, answer: _note_bar(log, view, answer),
        "on_close": lambda view, answer: _note_close(log, view, answer),
    }
    methods = {
        name: _noting(inner, note)
        for name, note in notes.items()
        if callable(inner := getattr(cls, name, None))
    }
    return new_class(cls.__name__, (cls,), {}, lambda body: body.update(methods, __module__=cls.__module__))


def _noting(inner: Callable[..., object], note: Callable[[Any, object], None]) -> Callable[..., object]:
    @wraps(inner)
    def method(self: object, view: Any) -> object:
        answer = inner(self, view)
        note(view, answer)
        return answer

    return method


def _note_bar(log: Log, view: _Seen, answer: object) -> None:
    _note_forecast(log, view.symbol, view.forecast)
    log.say(view.symbol, {f"target.{key}": value for key, value in _fields(answer).items()})


def _note_close(log: Log, view: PortfolioView, answer: object) -> None:
    for symbol, forecast in view.forecasts.items():
        _note_forecast(log, symbol, forecast)
    if isinstance(answer, Mapping):
        for symbol, target in answer.items():
            log.say(str(symbol), {f"target.{key}": value for key, value in _fields(target).items()})


def _note_forecast(log: Log, symbol: str, forecast: Forecast | None) -> None:
    if forecast is not None:
        log.say(symbol, {f"forecast.{key}": number for key, number in _fields(forecast).items()})


def _fields(answer: object) -> dict[str, float | str | None]:
    """Return what an answer holds; nothing for None, so that a quantity of 0 is something else."""
    if answer is None:
        return {}
    if not isinstance(answer, msgspec.Struct):
        return {"value": repr(answer)}
    values = {name: getattr(answer, name) for name in answer.__struct_fields__}
    values |= values.pop("own", ())
    told: dict[str, float | str | None] = {
        name: float(value) if isinstance(value, int | float) else str(value)
        for name, value in values.items()
        if value is not None and value != ""
    }
    return told if isinstance(answer, Target | Forecast) else {"kind": type(answer).__name__, **told}


@contextmanager
def read_anew() -> Iterator[None]:
    """Forget in the end which modules of the user were imported, so that the next run imports them again."""
    before = set(sys.modules)
    importlib.invalidate_caches()  # a file may be new
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if _is_users(sys.modules[name]):
                del sys.modules[name]


def _is_users(module: object) -> bool:
    file = getattr(module, "__file__", None)
    if not file:
        return False
    paths = sysconfig.get_paths()
    libraries = (_PROGRAM, paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"])
    return not str(file).startswith(libraries) and "site-packages" not in str(file)
