"""A backtest's result in memory: fills, funding and the account's value at each close."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bot.domain.ledger import Fill
from bot.domain.messages import (
    BarsClosed,
    Effect,
    Event,
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    PlaceOrder,
    RiskChanged,
    StrategyStopped,
    Verdict,
)
from bot.domain.money import ZERO
from bot.domain.orders import Refused
from bot.exchange.rulebook.time_in_force import NO_MATCH
from bot.risk.acts import LimitAct, act_of
from bot.risk.breaker import Breaker
from bot.service.moments import strategy_failed

_ANSWERS = (OrderAccepted, OrderCancelled, OrderRejected)


class RunTape:
    """A ``ports.Recorder`` that keeps what a report needs; its curve begins at ``from_ms``."""

    def __init__(self, from_ms: int = 0) -> None:
        self._from_ms = from_ms
        self.fills: list[Fill] = []
        self.funding: list[FundingPaid] = []
        self.placed: list[PlaceOrder] = []
        self.answers: list[OrderAccepted | OrderCancelled | OrderRejected] = []
        self.refused: dict[str, Refused] = {}
        """The first refusal by each check."""
        self.acts: list[LimitAct] = []
        """What the breaker did, with its numbers of that moment; needs ``watch``."""
        self._breaker: Breaker | None = None
        self._causes: frozenset[str] = frozenset()
        self._ts_ms: list[int] = []
        self._equity: list[float] = []
        self._notional: list[float] = []

    def watch(self, breaker: Breaker) -> None:
        """Read the numbers of what ``breaker`` does from it."""
        self._breaker = breaker

    def event(self, event: Event) -> None:
        """Keep fills, funding and the venue's answers to orders."""
        if type(event) is BarsClosed:
            return
        if type(event) is Filled:
            self.fills.append(event.fill)
        elif isinstance(event, _ANSWERS):
            self.answers.append(event)
        elif type(event) is FundingPaid:
            self.funding.append(event)

    def effects(self, effects: Iterable[Effect]) -> None:
        """Keep orders, the first refusal by each check, and what the breaker did.

        Raises:
            StrategyFailed: a strategy raised. What would follow is no result of it.
        """
        for effect in effects:
            if type(effect) is PlaceOrder:
                self.placed.append(effect)
            elif type(effect) is Verdict:
                if isinstance(effect.verdict, Refused):
                    self.refused.setdefault(effect.verdict.reason, effect.verdict)
            elif type(effect) is RiskChanged:
                self._keep_acts(effect.ts_ms)
            elif type(effect) is StrategyStopped:
                raise strategy_failed(effect)

    def _keep_acts(self, ts_ms: int) -> None:
        """Keep the causes that are new since the breaker last moved."""
        breaker = self._breaker
        if breaker is None:
            return
        for cause in breaker.halting:
            if cause not in self._causes:
                self.acts.append(act_of(cause, breaker, ts_ms, "halted"))
        for cause in breaker.reducing:
            if cause not in self._causes:
                self.acts.append(act_of(cause, breaker, ts_ms, "reducing"))
        self._causes = frozenset((*breaker.halting, *breaker.reducing))

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Keep one point of the curve."""
        if ts_ms >= self._from_ms:
            self._ts_ms.append(ts_ms)
            self._equity.append(equity)
            self._notional.append(notional)

    def set_final(self, equity: float) -> None:
        """Replace the last point of the curve after open positions were closed."""
        if self._equity:
            self._equity[-1] = equity

    def cut_short(self) -> Iterator[tuple[PlaceOrder, OrderCancelled, Decimal]]:
        """Yield market orders that the venue did not fill whole, each with its end and what was filled."""
        ends = {
            each.order_id: each
            for each in self.answers
            if isinstance(each, OrderCancelled) and each.reason == NO_MATCH
        }
        filled: dict[str, Decimal] = {}
        for fill in self.fills if ends else ():
            if fill.order_id in ends:
                filled[fill.order_id] = filled.get(fill.order_id, ZERO) + fill.qty
        for order in self.placed if ends else ():
            end = ends.get(order.order_id)
            if end is not None and order.intent.order_type == "Market":
                yield order, end, filled.get(order.order_id, ZERO)

    @property
    def orders(self) -> int:
        """Orders sent."""
        return len(self.placed)

    @property
    def ts_ms(self) -> NDArray[np.int64]:
        """Closes ``(T,)``."""
        return np.array(self._ts_ms, dtype=np.int64)

    @property
    def equity(self) -> NDArray[np.float64]:
        """Account value at each close ``(T,)``, quote."""
        return np.array(self._equity, dtype=np.float64)

    @property
    def notional(self) -> NDArray[np.float64]:
        """Net value held at each close, short below zero ``(T,)``, quote."""
        return np.array(self._notional, dtype=np.float64)
