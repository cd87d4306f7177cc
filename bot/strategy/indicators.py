"""What a strategy declares beside ``on_bar``: its indicators, and the warm-up that follows from them."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Protocol

from bot.domain.errors import BadUsage


class Declared(Protocol):
    """An indicator of ``bot.features.indicators``: the number of bars until it is known."""

    @property
    def warmup(self) -> int:
        """Number of bars until the value is known, counting the bar that makes it known."""


class NotDeclared(KeyError):
    """A strategy reads an indicator that it has not declared; the words say which ones it has."""

    def __str__(self) -> str:
        return str(self.args[0])


class Values(dict[str, float]):
    """``view.ind``: the indicators of a strategy by name.

    Raises:
        NotDeclared: on reading a name that the strategy has not declared.
    """

    def __missing__(self, name: object) -> float:
        if not self:
            raise NotDeclared(f"view.ind[{name!r}]: the strategy declares no indicators")
        near = get_close_matches(str(name), self, n=1)
        told = f"did you mean {near[0]!r}?" if near else f"declared are {', '.join(map(repr, self))}"
        raise NotDeclared(f"view.ind[{name!r}]: no indicator has this name; {told}")


def indicators_of(strategy: object) -> Mapping[str, Declared]:
    """Return the ``indicators`` of a class or an instance, by name; empty if there are none.

    Raises:
        BadUsage: they are not what ``bot.features.indicators`` makes, by name.
    """
    declared = getattr(strategy, "indicators", None)
    if declared is None:
        return {}
    owner = strategy.__name__ if isinstance(strategy, type) else type(strategy).__name__
    if not isinstance(declared, Mapping):
        raise BadUsage(
            f'{owner}.indicators: must be a dict such as {{"fast": ema(close, 12)}}, was {declared!r}'
        )
    for name, each in declared.items():
        where = f"{owner}.indicators[{name!r}]"
        if isinstance(each, tuple):
            fields = getattr(each, "_fields", ("[0]",))
            raise BadUsage(f"{where}: holds {len(each)} indicators; choose one, such as .{fields[0]}")
        if not isinstance(name, str) or not isinstance(getattr(each, "warmup", None), int):
            raise BadUsage(
                f"{where}: must be made by bot.features.indicators, such as ema(close, 12), was {each!r}"
            )
    return declared


def indicator_warmup_bars(strategy: object) -> int:
    """Return the bars until every indicator of a strategy is known; 0 if it declares none.

    Raises:
        BadUsage: as ``indicators_of``.
    """
    return max((each.warmup for each in indicators_of(strategy).values()), default=0)


def indicators_trained_to_ms(strategy: object) -> int | None:
    """Return up to which close fitted models among the indicators were fitted; None if there is none.

    Raises:
        BadUsage: as ``indicators_of``.
    """
    found = (getattr(each, "trained_to_ms", None) for each in indicators_of(strategy).values())
    return max((each for each in found if each is not None), default=None)
