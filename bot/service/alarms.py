"""Alarms: halts, refusals, differences and unknown orders in words, to the log, the status and any hook.

The engine says what happened by events, effects and its breaker; nothing here decides anything. Each alert
has the number and the limit, the venue's code and words where there are some, and what to do.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from bot.domain.alerts import Alert, Fact, Level
from bot.domain.market import HOUR_MS
from bot.domain.messages import (
    Effect,
    Event,
    Filled,
    Line,
    OrderRejected,
    OrderUnknown,
    Reconciled,
    RejectCause,
    StopsRejected,
    Verdict,
)
from bot.domain.orders import Refused
from bot.engine.core import Engine
from bot.ports import Alarm
from bot.risk.breaker import Cause
from bot.risk.words import what_to_do, words_of

_KEPT = 20
_REFUSAL_EVERY_MS = HOUR_MS
"""A refusal of one symbol by one limit is said at most so often; all of them are counted."""
_QUIET = frozenset({Cause.PAUSED, Cause.ACCOUNT_UNREAD})
"""Causes that are not alarms: the operator's own, and a part of every start."""
_QUIET_LINES = frozenset({Line.START.value, Line.STOPPING.value})


class Alarms:
    """Hears everything that the driver records, and says what a person should know.

    Args:
        engine: whose breaker and orders it looks at.
        log: alerts go there as warnings and errors.
        hooks: whoever else wants them.

    Attributes:
        recent: the latest alerts, oldest first.
    """

    def __init__(self, engine: Engine, log: Any, hooks: Sequence[Alarm] = ()) -> None:
        self.recent: deque[Alert] = deque(maxlen=_KEPT)
        self._engine = engine
        self._log = log
        self._hooks = tuple(hooks)
        self._standing: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._refused_ms: dict[tuple[str, str], int] = {}

    # As a recorder

    def event(self, event: Event) -> None:
        """Say what an event means for a person; the engine has not handled it yet."""
        match event:
            case OrderRejected():
                self._on_rejected(event)
            case OrderUnknown(ts_ms, order_id) if order_id in self._engine.state.orders.live:
                words = f"order {order_id}: no answer, nobody knows yet whether the venue has it"
                self._raise(ts_ms, "warning", "order_unknown", words, order_id=order_id)
            case StopsRejected(ts_ms, symbol, code, reason):
                words = f"{symbol}: the venue refused a stop: {code} {reason}"
                self._raise(ts_ms, "warning", "stop_refused", words, symbol=symbol, code=code)
            case Filled(fill) if fill.cause in ("liquidation", "adl"):
                words = f"{fill.symbol}: {fill.side} {fill.qty} at {fill.price} by {fill.cause}"
                self._raise(fill.ts_ms, "error", fill.cause, words, symbol=fill.symbol)
            case _:
                pass

    def effects(self, effects: Iterable[Effect]) -> None:
        """Say what decisions mean for a person."""
        for effect in effects:
            match effect:
                case Verdict(ts_ms, Refused() as refused):
                    self._on_refused(ts_ms, refused)
                case Reconciled():
                    self._on_reconciled(effect)
                case _:
                    pass

    def look(self, *, started: bool) -> None:
        """Say which causes have come to the breaker or left it since the last look.

        ``started`` is False while the daemon has not begun to decide: lines are then down as at every start.
        """
        breaker = self._engine.state.breaker
        now = (breaker.halting, breaker.reducing)
        if now == self._standing:
            return
        (halting, reducing), self._standing = self._standing, now
        for cause in breaker.halting:
            if cause not in halting:
                self._on_cause(cause, "halted", "error")
        for cause in breaker.reducing:
            if cause not in reducing and self._is_loud(cause, started):
                lost = Cause.of(cause) is Cause.LINK_DOWN
                self._on_cause(cause, "entries_held_back", "warning" if lost else "error")
        lifted = [cause for cause in halting if cause not in breaker.halting]
        lifted += [cause for cause in reducing if cause not in breaker.reducing]
        for cause in lifted:
            if self._is_loud(cause, started):
                self._log.info("lifted", cause=cause)

    # Inside

    @staticmethod
    def _is_loud(cause: str, started: bool) -> bool:
        kind, detail = Cause.of(cause), cause.partition(": ")[2]
        if kind is Cause.LINK_DOWN:
            return started and detail not in _QUIET_LINES
        return kind not in _QUIET

    def _on_cause(self, cause: str, name: str, level: Level) -> None:
        state = self._engine.state
        words, do = words_of(cause, state.breaker), what_to_do(cause)
        self._raise(state.now_ms, level, name, words, do=do, cause=cause)

    def _on_rejected(self, event: OrderRejected) -> None:
        order = self._engine.state.orders.live.get(event.order_id)
        if order is None or event.cause is RejectCause.POST_ONLY:
            return
        intent = order.intent
        sort = "exit" if intent.reduce_only else "entry"
        why = f"{event.code} {event.reason}" if event.code else event.reason
        words = f"{intent.symbol}: {sort} {intent.side} {intent.qty} refused ({event.cause.value}): {why}"
        name = "order_not_sent" if event.cause is RejectCause.NOT_SENT else "order_refused"
        ids = {"order_id": event.order_id, "symbol": intent.symbol}
        self._raise(event.ts_ms, "warning", name, words, **ids, code=event.code)

    def _on_refused(self, ts_ms: int, refused: Refused) -> None:
        """Say that a limit refused an intent, once an hour for a symbol and a limit.

        What a halt refuses is not said: the halt is.
        """
        symbol, reason = refused.intent.symbol, refused.reason
        said_ms = self._refused_ms.get((symbol, reason))
        if reason == "breaker" or (said_ms is not None and 0 <= ts_ms - said_ms < _REFUSAL_EVERY_MS):
            return
        self._refused_ms[symbol, reason] = ts_ms
        numbers = ""
        if refused.wanted is not None and refused.allowed is not None:
            numbers = f": wanted {float(refused.wanted):.8g}, allowed {float(refused.allowed):.8g}"
        words = f"{symbol}: {refused.intent.side} {refused.intent.qty} refused by {reason}{numbers}"
        count = self._engine.state.refusals[reason]
        self._raise(ts_ms, "warning", "limit_refused", words, symbol=symbol, limit=reason, count=count)

    def _on_reconciled(self, fact: Reconciled) -> None:
        if fact.differences:
            words = "the account differs from our books: " + "; ".join(fact.differences)
            level: Level = "warning" if fact.first else "error"
            do = "the venue's values are in force; see who or what moved them"
            self._raise(fact.ts_ms, level, "account_differs", words, do=do, differences=fact.differences)
        if fact.adjusted_quote:
            words = f"the wallet moved by {fact.adjusted_quote} that no trade of ours explains"
            self._raise(fact.ts_ms, "warning", "wallet_adjusted", words, quote=str(fact.adjusted_quote))

    def _raise(
        self,
        ts_ms: int,
        level: Level,
        name: str,
        words: str,
        *,
        do: str = "",
        **facts: Fact,
    ) -> None:
        alert = Alert(ts_ms=ts_ms, level=level, name=name, words=words, do=do, facts=facts)
        self.recent.append(alert)
        say = self._log.error if level == "error" else self._log.warning
        say(name, words=words, **({"do": do} if do else {}), **facts)
        for hook in self._hooks:
            hook.sound(alert)
