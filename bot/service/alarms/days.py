"""The end of a UTC day: what the account was worth at its beginning and at its end.

The two values are the breaker's own, so the day in a message is the day of the limit on daily loss.
"""

from datetime import UTC, datetime

from bot.domain.market import DAY_MS, MINUTE_MS
from bot.domain.messages import Event
from bot.engine.state import EngineState
from bot.service.alarms.money import signed
from bot.service.alarms.voice import Voice
from bot.strategy.edge import last_edge_words

_LATE_MS = 5 * MINUTE_MS
"""Without a price for so long after midnight, the day is summed up with the last value that is known."""
_EDGES_MAX = 3
"""Symbols whose forecast return a summary compares with what an entry needs."""


class DayWatch:
    """Says one summary for each UTC day of the account, soon after midnight."""

    def __init__(self, state: EngineState, voice: Voice) -> None:
        self._state = state
        self._voice = voice
        self._ending: tuple[int, float] | None = None
        """End of the day that is over (ms) and its first equity, until the next day has begun."""
        self._said_ms = 0

    def event(self, event: Event) -> None:
        """Remember the day that is over before the engine begins the next one."""
        breaker = self._state.breaker
        if self._ending is None and 0 < breaker.day_end_ms <= event.ts_ms:
            self._ending = breaker.day_end_ms, breaker.day_start_equity

    def look(self) -> None:
        """Say the summary once the next day has begun: it begins with the value at the end of this one."""
        if self._ending is not None and self._state.breaker.day_end_ms > self._ending[0]:
            self._say(self._ending[0], self._ending[1], self._state.breaker.day_start_equity)
            self._ending = None

    def turn(self, now_ms: int) -> None:
        """Say the summary by the clock if no price has begun the next day."""
        breaker = self._state.breaker
        if 0 < breaker.day_end_ms <= now_ms - _LATE_MS:
            self._say(breaker.day_end_ms, breaker.day_start_equity, breaker.last_equity)

    def _say(self, end_ms: int, start: float, end: float) -> None:
        if end_ms <= self._said_ms:
            return
        self._said_ms = end_ms
        state = self._state
        share = f" ({end / start - 1.0:+.2%})" if start > 0.0 else ""
        held = ", ".join(f"{sym.symbol} {sym.position_base:g}" for sym in state.open) or "none"
        day = datetime.fromtimestamp((end_ms - DAY_MS) / 1000.0, UTC).strftime("%Y-%m-%d")
        words = f"{day}: equity {end:,.2f}, the day {signed(end - start)}{share}; positions: {held}"
        if state.breaker.state == "halted":
            words += "; halted"
        elif not state.open:
            edges = [
                f"{sym.symbol}: {edge}"
                for sym in state.symbols.values()
                if (edge := last_edge_words(sym.strategy, sym.view.round_trip_bps))
            ]
            words += "".join(f"; {edge}" for edge in edges[:_EDGES_MAX])
        self._voice.say(
            end_ms, "info", "daily_summary", words, day_end_ms=end_ms, equity_quote=end, start_quote=start
        )
