"""A newer model beside the one that decides: it sees past bars, then the same closes, until it may take over.

The model that decides goes on meanwhile. The newer one has features and a memory of its own and is asked by
nobody. Once it has seen exactly the bars that the engine has seen, ``after`` gives the event by which the
engine goes on with it. Nothing here waits: the shell feeds it in small pieces.
"""

from collections import deque
from collections.abc import Sequence

from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, Event, ModelSwapped
from bot.engine.core import Engine
from bot.engine.forecasting import Forecaster, Successor

Close = tuple[tuple[Bar, ...], tuple[float, ...]]
"""Bars of one close, and the funding rate of each symbol that was settled last before it (NaN: unknown)."""


class Rewarming:
    """Warms ``shadow``, a fresh forecaster of the newer model, for the engine's bars of ``interval_ms``.

    ``successor`` is the same model for the engine, with a predictor that nobody else uses.
    """

    def __init__(self, engine: Engine, interval_ms: int, shadow: Forecaster, successor: Successor) -> None:
        self.successor = successor
        self._engine = engine
        self._interval_ms = interval_ms
        self._shadow = shadow
        self._heard: deque[Close] = deque()
        self._read = False

    @property
    def _decides(self) -> Forecaster:
        return self._engine.state.forecasters[self._interval_ms]

    def see(self, close: Close) -> None:
        """Take one past close; bars that were seen before are passed over."""
        symbols = self._engine.state.symbols
        due = dict(zip(symbols, self._shadow.next_start_ms, strict=True))
        fresh = [(bar, rate) for bar, rate in zip(*close, strict=True) if bar.start_ms >= due[bar.symbol]]
        if fresh:
            self._shadow.step([bar for bar, _ in fresh], [rate for _, rate in fresh])

    def has_read(self) -> None:
        """Say that no past close comes any more."""
        self._read = True

    def after(self, event: Event) -> ModelSwapped | None:
        """Hear an event that the engine has just handled; return the swap once it may be taken."""
        if type(event) is BarsClosed and event.interval_ms == self._interval_ms:
            self._heard.append(self._of(event.bars))
        if not self._read:
            return None
        while self._heard:
            self.see(self._heard.popleft())
        if not self.is_due:
            return None
        return self._shadow.swap(self._engine.state.now_ms, self._interval_ms)

    @property
    def is_due(self) -> bool:
        """True if the newer model has seen the engine's bars and no symbol would lose its forecasts."""
        decides = self._decides
        same = self._shadow.next_start_ms == decides.next_start_ms
        return same and self._shadow.is_as_warm_as(decides)

    @property
    def is_apart(self) -> bool:
        """True if it cannot follow any more: it has read everything and has other bars than the engine."""
        return self._read and not self._heard and self._shadow.next_start_ms != self._decides.next_start_ms

    def _of(self, bars: Sequence[Bar]) -> Close:
        symbols = self._engine.state.symbols
        traded = tuple(bar for bar in bars if bar.symbol in symbols)
        return traded, tuple(symbols[bar.symbol].funding_rate for bar in traded)
