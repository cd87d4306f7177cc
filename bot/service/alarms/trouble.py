"""Trouble in words: halts, refusals, differences, unknown orders, lines that are down.

The engine says what happened by events, effects and its breaker; nothing here decides anything. Each alert
has the number and the limit, the venue's code and words where there are some, and what to do.
"""

from collections.abc import Iterable

from bot.domain.alerts import Level
from bot.domain.market import HOUR_MS
from bot.domain.messages import (
    LINES,
    Effect,
    Event,
    Filled,
    Line,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    Reconciled,
    StopsRejected,
    StrategyStopped,
    Verdict,
)
from bot.domain.money import plain
from bot.domain.orders import Order, OrderState, Refused
from bot.domain.spans import span_words
from bot.engine.core import Engine
from bot.engine.reconcile import ROUNDING_QUOTE
from bot.risk.breaker import Cause
from bot.risk.words import what_to_do, words_of
from bot.service.alarms.refusals import RefusalWatch
from bot.service.alarms.voice import Voice
from bot.service.moments import clock_words, failure_words

_REMIND_MS = HOUR_MS
"""How often the log repeats that the bot is halted."""
_QUIET = frozenset({Cause.PAUSED, Cause.ACCOUNT_UNREAD})
"""Causes that are not alarms: the operator's own, and a part of every start."""
_QUIET_LINES = frozenset({Line.START.value, Line.STOPPING.value})


class TroubleWatch:
    """Looks at what goes wrong, and says each thing once.

    Args:
        engine: whose breaker and orders it looks at.
        voice: says the alerts.
    """

    def __init__(self, engine: Engine, voice: Voice) -> None:
        self._engine = engine
        self._raise = voice.say
        self._log = voice.log
        self._drifts: dict[str, str] = {}
        self._causes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._down_ms: dict[str, int] = {}
        self.link_lost = ""
        """Why the feed's line was lost, as the feed noted it."""
        self._refusals = RefusalWatch(engine, voice)
        self._reminded_ms: int | None = None

    # As a recorder

    def event(self, event: Event) -> None:
        """Say what an event means for a person; the engine has not handled it yet."""
        match event:
            case OrderAccepted() | OrderCancelled():
                self._on_known(event, "has it" if isinstance(event, OrderAccepted) else "has ended it")
            case OrderRejected():
                self._on_known(event, "refused it")
                self._refusals.rejected(event)
            case OrderUnknown(ts_ms, order_id) if order_id in self._engine.state.orders.live:
                self._on_unknown(ts_ms, self._engine.state.orders.live[order_id])
            case StopsRejected(ts_ms, symbol, code, reason):
                words = f"{symbol}: the venue refused a stop: {code} {reason}"
                do = "the bot sends it again; see that the position has a stop at the venue"
                self._raise(ts_ms, "error", "stop_refused", words, do=do, symbol=symbol, code=code)
            case Filled(fill) if fill.cause in ("liquidation", "adl"):
                words = f"{fill.symbol}: {fill.side} {plain(fill.qty)} at {plain(fill.price)} by {fill.cause}"
                do = what_to_do(Cause(fill.cause).value)
                self._raise(fill.ts_ms, "error", fill.cause, words, do=do, symbol=fill.symbol)
            case Filled(fill):
                self._on_known(event, "filled it", fill.order_id)
            case _:
                pass

    def effects(self, effects: Iterable[Effect]) -> None:
        """Say what decisions mean for a person."""
        for effect in effects:
            match effect:
                case Verdict(ts_ms, Refused() as refused):
                    self._refusals.refused(ts_ms, refused)
                case Reconciled():
                    self._on_reconciled(effect)
                case StrategyStopped():
                    self._on_strategy_stopped(effect)
                case _:
                    pass

    def look(self, *, started: bool) -> None:
        """Say which causes have come to the breaker or left it since the last look.

        ``started`` is False while the daemon has not begun to decide: lines are then down as at every start.
        """
        self._look_at_drift()
        breaker = self._engine.state.breaker
        now = (breaker.halting, breaker.reducing)
        if now == self._causes:
            return
        (halting, reducing), self._causes = self._causes, now
        for cause in breaker.halting:
            if cause not in halting:
                self._on_halt(cause)
        for cause in breaker.reducing:
            if cause not in reducing and self._is_loud(cause, started):
                self._on_held_back(cause)
        for cause in halting:
            if cause not in breaker.halting:
                self._on_halt_lifted(cause)
        for cause in reducing:
            if cause not in breaker.reducing and self._is_loud(cause, started):
                self._on_again(cause)

    def remind(self, now_ms: int) -> None:
        """Log once an hour that the bot is still halted, and why."""
        breaker = self._engine.state.breaker
        if breaker.state != "halted":
            self._reminded_ms = None
            return
        if self._reminded_ms is None:
            self._reminded_ms = now_ms
        elif now_ms - self._reminded_ms >= _REMIND_MS:
            self._reminded_ms = now_ms
            causes = [words_of(cause, breaker) for cause in breaker.halting]
            do = "; ".join(dict.fromkeys(filter(None, map(what_to_do, breaker.halting))))
            self._log.warning("still_halted", halted_by=causes, do=do)

    # Inside

    def _look_at_drift(self) -> None:
        """Say which measures of drift came and went that hold no entries back, as the settings ask."""
        state = self._engine.state
        told = self._drifts
        if not told and not any(each.drift and each.drift.beyond for each in state.forecasters.values()):
            return  # nearly always
        now = state.drift_told()
        self._drifts = dict(now)
        for name, numbers in now.items():
            if name not in told:
                words = words_of(Cause.DRIFT.named(f"{name}, {numbers}"), state.breaker)
                self._raise(state.now_ms, "warning", "drifted", words, do="train a newer model", measure=name)
        for name in told:
            if name not in now:
                words = f"drift of {name} is back within its bound"
                self._raise(state.now_ms, "info", "drift_gone", words, measure=name)

    @staticmethod
    def _is_loud(cause: str, started: bool) -> bool:
        kind, detail = Cause.of(cause), cause.partition(": ")[2]
        if kind is Cause.LINK_DOWN:
            return started and detail not in _QUIET_LINES
        return kind not in _QUIET

    def _on_halt(self, cause: str) -> None:
        state = self._engine.state
        words, do = words_of(cause, state.breaker), what_to_do(cause)
        self._raise(state.now_ms, "error", "halted", words, do=do, cause=cause)

    def _on_halt_lifted(self, cause: str) -> None:
        words = f"the halt is lifted ({cause}); entries may leave again if nothing else holds them back"
        self._raise(self._engine.state.now_ms, "info", "halt_lifted", words, cause=cause)

    def _on_held_back(self, cause: str) -> None:
        state = self._engine.state
        if Cause.of(cause) is not Cause.LINK_DOWN:
            words, do = words_of(cause, state.breaker), what_to_do(cause)
            self._raise(state.now_ms, "error", "entries_held_back", words, do=do, cause=cause)
            return
        line = cause.partition(": ")[2]
        self._down_ms[line] = state.now_ms
        why = f": {self.link_lost}" if line == Line.FEED and self.link_lost else ""
        since = clock_words(state.now_ms, state.now_ms)
        words = f"{LINES[line][0]} since {since}{why}; no entries meanwhile"
        self._raise(state.now_ms, "warning", "line_down", words, line=line, cause=cause)

    def _on_again(self, cause: str) -> None:
        state = self._engine.state
        if Cause.of(cause) is not Cause.LINK_DOWN:
            words = f"no longer held back by {cause}"
            self._raise(state.now_ms, "info", "entries_again", words, cause=cause)
            return
        line = cause.partition(": ")[2]
        since_ms = self._down_ms.pop(line, None)
        if since_ms is None:  # it was down as at every start, and nobody was told
            return
        if line == Line.FEED:
            self.link_lost = ""
        down_ms = max(0, state.now_ms - since_ms)
        words = f"{LINES[line][1]} after {span_words(down_ms)}"
        self._raise(state.now_ms, "info", "line_up", words, line=line, down_ms=down_ms, cause=cause)

    def _on_unknown(self, ts_ms: int, order: Order) -> None:
        limits, intent = self._engine.state.breaker.limits, order.intent
        stop, halt = span_words(limits.unknown_order_reduce_ms), span_words(limits.unknown_order_halt_ms)
        words = (
            f"order {order.order_id} ({intent.side} {plain(intent.qty)} {intent.symbol}): no answer, "
            f"nobody knows yet whether the venue has it; entries stop after {stop}, "
            f"the bot halts after {halt}"
        )
        do = "the bot asks the venue until it knows; if this lasts, look the order up there"
        self._raise(ts_ms, "error", "order_unknown", words, do=do, order_id=order.order_id)

    def _on_known(self, event: Event, what: str, order_id: str = "") -> None:
        order = self._engine.state.orders.live.get(order_id or getattr(event, "order_id", ""))
        if order is not None and order.state is OrderState.UNKNOWN:
            words = f"order {order.order_id} is no longer unknown: the venue {what}"
            self._raise(event.ts_ms, "info", "order_known", words, order_id=order.order_id)

    def _on_strategy_stopped(self, stopped: StrategyStopped) -> None:
        symbol, failure = stopped.symbol, stopped.failure
        if failure.method == "on_close" and symbol != next(iter(self._engine.state.symbols)):
            return  # the strategy of all symbols stops each of them: one alarm is enough
        symbols = "no symbol takes entries" if failure.method == "on_close" else f"{symbol} takes no entries"
        words = f"{failure_words(symbol, failure)}; {symbols}, exits and stops go on"
        do = "mend the strategy, start the bot again, then `bot unhalt`"
        self._raise(
            stopped.ts_ms, "error", "strategy_stopped", words, do=do, symbol=symbol, trace=failure.trace
        )

    def _on_reconciled(self, fact: Reconciled) -> None:
        if fact.differences:
            words = "the account differs from our books: " + "; ".join(fact.differences)
            level: Level = "warning" if fact.first else "error"
            do = "the venue's values are in force; see who or what moved them"
            self._raise(fact.ts_ms, level, "account_differs", words, do=do, differences=fact.differences)
        if abs(fact.adjusted_quote) > ROUNDING_QUOTE:  # less is rounding: booked, and no news
            moved = plain(fact.adjusted_quote)
            words = f"the wallet moved by {moved} that no trade of ours explains"
            self._raise(fact.ts_ms, "warning", "wallet_adjusted", words, quote=moved)
