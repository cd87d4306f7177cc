"""A risk manager that only notes what limits would have done: ``bot backtest --risk observe``.

An ``Observer`` holds two values for an engine, a breaker and a check. They take the places of the ordinary
ones, so the engine does not know that it is observed. What is no limit of the settings acts as always: the
contract's rules, a number that is not finite, an account without equity, the operator.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from bot.domain.market import DAY_MS
from bot.domain.orders import Approved, Intent, Refused
from bot.domain.refusals import SETTINGS
from bot.risk.acts import Forces, LimitAct, act_of
from bot.risk.breaker import Breaker, Cause
from bot.risk.limits import CHECKS, Limits, RiskView, approve

_OBSERVED = frozenset({Cause.DRAWDOWN, Cause.DAILY_LOSS, Cause.REJECTS, Cause.LIQUIDATION, Cause.ADL})


class ObservingBreaker(Breaker):
    """A breaker whose limits are noted in ``acts`` and change nothing.

    After a halt that it notes, losses are measured from the present equity, as after ``bot unhalt``: what it
    notes next is what would have happened after an operator had let the bot go on.
    """

    acts: list[LimitAct] = msgspec.field(default_factory=list)
    cooldowns_ms: list[int] = msgspec.field(default_factory=list)
    """When losing trades in a row would have begun a cooldown."""
    drifts: tuple[str, ...] = ()
    """Measures of drift that were noted, each once."""
    seen_ms: int = 0
    """Time of the latest equity or answer."""

    def on_equity(self, ts_ms: int, equity: float) -> bool:
        """Take the account's value; a loss beyond a limit is noted."""
        self.seen_ms = ts_ms
        return super().on_equity(ts_ms, equity)

    def on_reject(self, ts_ms: int, words: str = "") -> bool:
        """Count a rejected order; too many in a row are noted."""
        self.seen_ms = ts_ms
        return super().on_reject(ts_ms, words)

    def on_closed_trade(self, pnl_quote: Decimal, ts_ms: int) -> bool:
        """Take a closed trade's profit; a streak of losses is noted."""
        moved = super().on_closed_trade(pnl_quote, ts_ms)
        if self.cooldown_until_ms:
            self.cooldowns_ms.append(ts_ms)
            self.cooldown_until_ms = 0
        return moved

    def drifted(self, measures: Mapping[str, str]) -> bool:
        """Note each measure of drift when it is first beyond its bound."""
        for name, numbers in measures.items():
            if name not in self.drifts:
                self.drifts = (*self.drifts, name)
                self._note(Cause.DRIFT, f"{name}, {numbers}", "reducing")
        return False

    def halt(self, cause: Cause = Cause.OPERATOR, detail: str = "") -> bool:
        """Note a halt by a limit; any other cause halts."""
        if cause not in _OBSERVED:
            return super().halt(cause, detail)
        self._note(cause, detail, "halted")
        return False

    def _reduce(self, cause: Cause, detail: str = "") -> bool:
        if cause not in _OBSERVED:
            return super()._reduce(cause, detail)
        self._note(cause, detail, "reducing")
        return False

    def _note(self, cause: Cause, detail: str, forces: Forces) -> None:
        if cause is Cause.DAILY_LOSS and self._noted_today():
            return
        self.acts.append(act_of(cause.named(detail), self, self.seen_ms, forces))
        if cause is Cause.DRAWDOWN:
            self.peak_equity = self.last_equity
            self._set_floors()
        elif cause is Cause.REJECTS:
            self._forget_rejects()

    def _noted_today(self) -> bool:
        daily = (act.ts_ms for act in reversed(self.acts) if act.cause == Cause.DAILY_LOSS)
        return next(daily, -1) >= self.day_end_ms - DAY_MS


class ObservedRefusals(msgspec.Struct):
    """Entries that a limit would have refused: how many, when first, and the first one's numbers."""

    count: int
    first_ms: int
    first: Refused


class Observer:
    """An observing risk manager: pass ``breaker`` and ``check`` to an engine, read the rest at the end."""

    def __init__(self) -> None:
        self.breaker = ObservingBreaker()
        self.refusals: dict[str, ObservedRefusals] = {}
        """Entries by the first limit that would have refused them."""

    @property
    def acts(self) -> list[LimitAct]:
        """What the breaker would have done, in order."""
        return self.breaker.acts

    def check(self, intent: Intent, at: RiskView, limits: Limits) -> Approved | Refused:
        """Refuse what the contract or the account refuses; note what only a limit refuses, and approve it."""
        noted: Refused | None = None
        for rule in CHECKS:
            if (intent.reduce_only and not rule.exits) or rule.allows(intent, at, limits):
                continue
            refused = rule.refuse(intent, at, limits)
            if rule.name not in SETTINGS:
                return refused
            noted = noted or refused
        if noted is not None:
            self._note(noted, at.now_ms)
        return approve(intent, at, limits)

    def _note(self, refused: Refused, ts_ms: int) -> None:
        known = self.refusals.get(refused.reason)
        if known is None:
            self.refusals[refused.reason] = ObservedRefusals(1, ts_ms, refused)
        else:
            known.count += 1
