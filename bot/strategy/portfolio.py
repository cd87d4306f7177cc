"""One strategy over many symbols: what it sees at a close (``PortfolioView``), and how it is asked.

Such a strategy has ``on_close(view)`` instead of ``on_bar(view)``. One instance trades all symbols of a run.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Protocol

from bot.domain.errors import BadUsage
from bot.domain.market import Bar, Forecast, interval_name
from bot.strategy.signal import Strategy, Target, View


class PortfolioView:
    """All symbols at one close. The engine reuses the object: read it, do not store it."""

    __slots__ = ("_views", "close_ms", "closed", "equity", "live", "symbols")

    close_ms: int
    """Time of the close, UTC, in ms since 1970."""
    equity: float
    """Equity of the account, in quote."""
    live: bool
    """False if no order can follow from this close: it warms up, or came too late to act on."""
    symbols: tuple[str, ...]
    """All symbols of the run, sorted."""
    closed: Mapping[str, View]
    """The symbols whose bar closed now, sorted; each `View` is what `on_bar` would see."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self.symbols = tuple(views)
        self.closed = {}
        self.close_ms, self.equity, self.live = 0, 0.0, False

    @property
    def missing(self) -> tuple[str, ...]:
        """The symbols without a bar at this close: not listed yet, a hole in the candles, or late."""
        closed = self.closed
        return tuple(symbol for symbol in self.symbols if symbol not in closed)

    @property
    def bars(self) -> dict[str, Bar]:
        """The bars that closed now, by symbol."""
        return {symbol: view.bar for symbol, view in self.closed.items()}

    @property
    def forecasts(self) -> dict[str, Forecast]:
        """The forecasts of this close, by symbol; symbols without one are left out."""
        return {symbol: view.forecast for symbol, view in self.closed.items() if view.forecast is not None}

    @property
    def positions(self) -> dict[str, float]:
        """The open positions in base, negative when short, by symbol; also of missing symbols."""
        return {symbol: view.position for symbol, view in self._views.items() if view.position}


class PortfolioStrategy(Protocol):
    """Turns a ``PortfolioView`` into targets by symbol. One instance trades all symbols of a run.

    A strategy may also have ``state()`` and ``restore(state)``: see ``memory.Remembering``.
    """

    def on_close(self, view: PortfolioView) -> Mapping[str, Target | None] | None:
        """Return targets by symbol after this close. Called once per close, in order.

        A symbol that is not in the answer keeps its position; None keeps all positions. A target for a
        missing symbol is followed at its last price, within the limit on the age of data.
        """


AnyStrategy = Strategy | PortfolioStrategy


def is_portfolio(strategy: object) -> bool:
    """Return True for a strategy, or a class, that is asked once for all symbols of a close."""
    return callable(getattr(strategy, "on_close", None))


def for_each_symbol(make: Callable[[], AnyStrategy], symbols: int) -> list[AnyStrategy]:
    """Return a strategy for each symbol: an instance of its own, or the one that trades them all."""
    first = make()
    if is_portfolio(first):
        return [first] * symbols
    return [first, *(make() for _ in range(symbols - 1))]


class Portfolio:
    """Asks one strategy for all symbols, and hands each symbol its part of the answer."""

    def __init__(self, strategy: PortfolioStrategy, views: Mapping[str, View]) -> None:
        self.strategy = strategy
        self._view = PortfolioView(views)
        self._views = views
        self._targets: Mapping[str, Target | None] = {}

    def ask(
        self, closed: Sequence[View], close_ms: int, equity: float, *, live: bool
    ) -> Mapping[str, Target | None]:
        """Call ``on_close`` and return its answer, checked; without a valid one, no symbol has a target.

        Raises:
            TypeError: the answer is no mapping, or a target is none.
            ValueError: a target for a symbol that is not traded here.
            Exception: whatever the code of a user raises.
        """
        seen, self._targets = self._view, {}
        seen.close_ms, seen.equity, seen.live = close_ms, equity, live
        every = len(closed) == len(self._views)
        seen.closed = self._views if every else {view.symbol: view for view in closed}
        answer = self.strategy.on_close(seen)
        if answer is not None:
            self._targets = self._checked(answer)
        return self._targets

    def answer(self, view: View) -> Target | None:
        """Return the target of one symbol; stands in the place of its ``on_bar``."""
        return self._targets.get(view.symbol)

    def _checked(self, answer: object) -> Mapping[str, Target | None]:
        if not isinstance(answer, Mapping):
            raise TypeError(f"on_close must return targets by symbol, or None, was {answer!r}")
        targets = dict(answer)
        for symbol, target in targets.items():
            if symbol not in self._views:
                raise ValueError(f"on_close returned a target for {symbol!r}, {self._hint(str(symbol))}")
            if target is not None and not isinstance(target, Target):
                raise TypeError(f"on_close must return a Target or None for {symbol}, was {target!r}")
        return targets

    def _hint(self, symbol: str) -> str:
        near = get_close_matches(symbol, self._views, n=1)
        told = ", ".join(self._views)
        return (
            f"which this run does not trade; did you mean {near[0]}?" if near else f"this run trades {told}"
        )


def portfolio_of(
    strategies: Mapping[str, AnyStrategy], intervals_ms: Mapping[str, int], views: Mapping[str, View]
) -> Portfolio | None:
    """Return what asks the one strategy of all symbols; None if each symbol has its own.

    Raises:
        BadUsage: there are several instances, or bars of several lengths.
    """
    first = next(iter(strategies.values()), None)
    name = type(first).__name__
    if not any(map(is_portfolio, strategies.values())):
        return None
    if any(each is not first for each in strategies.values()):
        raise BadUsage(f"{name}.on_close: one instance must trade all symbols of a run")
    if len(set(intervals_ms.values())) > 1:
        told = ", ".join(f"{symbol} has {interval_name(ms)}" for symbol, ms in intervals_ms.items())
        raise BadUsage(f"{name}.on_close needs bars of one length for all symbols; {told}")
    return Portfolio(first, views)  # type: ignore[arg-type]  # the first check says so
