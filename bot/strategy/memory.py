"""What a strategy remembers, as JSON text: how its state survives the process.

A strategy that remembers something between bars may have two more methods (``Remembering``). Without them a
new process shows it past bars before it trades on.
"""

import json
from typing import Any, Protocol

from bot.domain.errors import BadInput, BadUsage


class Unkept(BadUsage):
    """A strategy's ``state()`` raised, or returned something that cannot be kept."""

    def __init__(self, words: str, symbol: str, cause: Exception) -> None:
        super().__init__(words)
        self.symbol = symbol
        self.cause = cause


class Remembering(Protocol):
    """The two optional methods of a strategy."""

    def state(self) -> object:
        """Return everything that a later decision depends on, as a JSON value.

        That is None, a bool, a number (NaN and infinity too), a text, a list of these, or a dict of these
        with text keys. Parameters of the constructor need not be in it. A tuple comes back as a list.
        """

    def restore(self, state: Any) -> None:
        """Take over what ``state`` returned in an earlier process; the parameters are the same."""


def remembers(strategy: object) -> bool:
    """Return True if a strategy has ``state`` and ``restore``."""
    return callable(getattr(strategy, "state", None)) and callable(getattr(strategy, "restore", None))


def memory_of(strategy: Any, symbol: str) -> str | None:
    """Return the state of a strategy as JSON text (with NaN and Infinity), None if it has no ``state``.

    Raises:
        Unkept: ``state`` fails, or returns something that is not a JSON value.
    """
    if not remembers(strategy):
        return None
    name = type(strategy).__name__
    try:
        state = strategy.state()
        text = json.dumps(state, separators=(",", ":"))
        _check_keys(state)
    except Exception as error:  # the code of a user may raise anything
        raise Unkept(
            f"{name}.state() of {symbol} cannot be kept ({type(error).__name__}: {error}): it must return "
            "numbers, texts, lists and dicts with text keys",
            symbol,
            error,
        ) from error
    return text


def remind(strategy: Any, symbol: str, text: str) -> None:
    """Give a strategy the state that ``memory_of`` returned.

    Raises:
        BadInput: the strategy has no ``restore`` any more, or ``restore`` fails.
    """
    name = type(strategy).__name__
    if not remembers(strategy):
        raise BadInput(f"{name} of {symbol} has no state() and restore(), but its state was kept: add them")
    try:
        strategy.restore(json.loads(text))
    except Exception as error:  # the code of a user may raise anything
        raise BadInput(
            f"{name}.restore() of {symbol} failed ({type(error).__name__}: {error}): it must take what "
            "state() returned"
        ) from error


def _check_keys(value: object) -> None:
    """Refuse a dict whose keys are no texts: JSON would turn them into texts without a word.

    Raises:
        TypeError: a key is not a text.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a text")
            _check_keys(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_keys(each)
