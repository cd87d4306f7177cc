"""Refused orders in words: each with number, limit and the venue's code, and many of them as a burst."""

from collections import Counter, deque

from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.domain.messages import OrderRejected, RejectCause
from bot.domain.money import plain
from bot.domain.orders import Refused
from bot.domain.refusals import SETTINGS
from bot.domain.spans import span_words
from bot.engine.core import Engine
from bot.service.alarms.voice import Voice

_EVERY_MS = HOUR_MS
"""A refusal of one symbol by one limit is said at most so often; all of them are counted."""
_BURST = 5
_BURST_MS = 5 * MINUTE_MS
"""So many refusals within so long are a burst; the next burst is said after ``_EVERY_MS``."""
_COUNTED_MAX = 10_000
_DO = {"stop_liquidation": "give a stop nearer to the price, or lower account.leverage"}
_OF_SIZE = frozenset({"order_notional", "daily_notional", "position_notional", "total_notional", "leverage"})
"""Limits that refuse because too much is asked for: every later entry of this size is refused, too."""


class RefusalWatch:
    """Says refusals by a limit of ours and by the venue.

    Args:
        engine: whose orders, retries and counts are named.
        voice: says the alerts.
    """

    def __init__(self, engine: Engine, voice: Voice) -> None:
        self._engine = engine
        self._say = voice.say
        self._said_ms: dict[tuple[str, str], int] = {}
        self._recent: deque[tuple[int, str]] = deque(maxlen=_COUNTED_MAX)
        self._burst_ms: int | None = None

    def rejected(self, event: OrderRejected) -> None:
        """Say that an order of ours was refused; the engine has not handled the refusal yet."""
        order = self._engine.state.orders.live.get(event.order_id)
        if order is None or event.cause is RejectCause.POST_ONLY:
            return
        intent, state = order.intent, self._engine.state
        why = f"{event.code} {event.reason}" if event.code else event.reason
        sort = "entry" if not intent.reduce_only else "exit" if intent.take_at is None else "take"
        words = (
            f"{intent.symbol}: {sort} {intent.side} {plain(intent.qty)} refused ({event.cause.value}): {why}"
        )
        ids = {"order_id": event.order_id, "symbol": intent.symbol}
        halts = False
        if intent.take_at is not None:
            if not state.symbols[intent.symbol].position.qty:  # the stop was faster
                return
            words += "; sent again at the next close, a few times; the position keeps its stop"
            self._say(event.ts_ms, "warning", "order_refused", words, **ids, code=event.code)
            return
        if event.cause is RejectCause.VENUE:
            count, limit = state.breaker.consecutive_rejects + 1, state.breaker.limits.max_consecutive_rejects
            words += f"; refusal {count} in a row, the bot halts at {limit}"
            halts = count >= limit
        if intent.reduce_only:
            retry = state.retries.get(intent.symbol)
            words += (
                f"; try {1 if retry is None else retry.tries + 1} of this exit, sent again within seconds"
            )
            do = "if it is refused again, close the position at the venue; its stop there stays"
            self._say(event.ts_ms, "error", "exit_refused", words, do=do, **ids, code=event.code)
        else:
            name = "order_not_sent" if event.cause is RejectCause.NOT_SENT else "order_refused"
            self._say(event.ts_ms, "warning", name, words, **ids, code=event.code)
        if not halts:  # the halt says it all
            self._count(event.ts_ms, f"{event.code} by the venue" if event.code else event.cause.value)

    def _count(self, ts_ms: int, reason: str) -> None:
        """Count a refusal, and say a burst of them."""
        self._recent.append((ts_ms, reason))
        while self._recent and ts_ms - self._recent[0][0] > _BURST_MS:
            self._recent.popleft()
        recent = self._burst_ms is not None and 0 <= ts_ms - self._burst_ms < _EVERY_MS
        if len(self._recent) < _BURST or recent:
            return
        self._burst_ms = ts_ms
        counted = Counter(reason for _, reason in self._recent).most_common(3)
        words = f"{len(self._recent)} orders refused within {span_words(_BURST_MS)}: " + ", ".join(
            f"{count} × {reason}" for reason, count in counted
        )
        do = "see the refusals in the log; a limit of the settings or the venue's code says what to change"
        self._say(ts_ms, "error", "refusal_burst", words, do=do, count=len(self._recent))

    def refused(self, ts_ms: int, refused: Refused) -> None:
        """Say that a limit refused an intent, once an hour for a symbol and a limit.

        What a halt refuses is not said: the halt is.
        """
        symbol, reason = refused.intent.symbol, refused.reason
        if reason != "breaker":
            self._count(ts_ms, f"limit {reason}")
        said_ms = self._said_ms.get((symbol, reason))
        if reason == "breaker" or (said_ms is not None and 0 <= ts_ms - said_ms < _EVERY_MS):
            return
        self._said_ms[symbol, reason] = ts_ms
        numbers = ""
        if refused.wanted is not None and refused.allowed is not None:
            numbers = f": wanted {float(refused.wanted):.8g}, allowed {float(refused.allowed):.8g}"
        words = f"{symbol}: {refused.intent.side} {plain(refused.intent.qty)} refused by {reason}{numbers}"
        count, setting = self._engine.state.refusals[reason], SETTINGS.get(reason)
        do = f"trade less at a time, or set risk.{setting}" if reason in _OF_SIZE else _DO.get(reason, "")
        self._say(ts_ms, "warning", "limit_refused", words, do=do, symbol=symbol, limit=reason, count=count)
