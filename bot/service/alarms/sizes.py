"""Says that the account has outgrown the default limits of size, before they refuse the first entry."""

from math import inf

from bot.engine.core import Engine
from bot.risk.words import SMALL_LIMITS_DO, default_sizes, small_limits
from bot.service.alarms.voice import Voice


class SizeWatch:
    """Looks at the equity until it has spoken, once in this process."""

    def __init__(self, engine: Engine, voice: Voice) -> None:
        self._state = engine.state
        self._voice = voice
        self._bound = min(map(float, default_sizes(engine.state.breaker.limits).values()), default=inf)

    def look(self) -> None:
        """Speak once the equity is known and above the smallest of these limits."""
        state = self._state
        if state.account_known and self._bound < state.equity < inf:
            self._bound = inf
            words = small_limits(state.equity, state.breaker.limits)
            self._voice.say(state.now_ms, "warning", "limits_below_equity", words, do=SMALL_LIMITS_DO)
