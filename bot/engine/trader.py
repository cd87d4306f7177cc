"""From a wish to orders: rests, replacements, steps through zero, protective stops, getting flat.

Whatever leaves here for the venue as an order has passed ``risk.limits.check``, each replacement anew.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from bot.domain.market import MINUTE_MS
from bot.domain.messages import CancelOrder, Effect, PlaceOrder, RiskChanged, SetStops, Verdict
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Approved, Intent, Order, OrderState, Side
from bot.engine.execution import Execution, Step, Work, at_touch, next_step
from bot.engine.protection import stop_of, stop_to_restore
from bot.engine.state import Desk, EngineState
from bot.risk.limits import Exposure, Limits, RiskView, check
from bot.strategy.signal import Target
from bot.strategy.sizing import round_stops, to_intents

_NOTHING: tuple[Effect, ...] = ()


class Trader:
    """Carries wishes out for the engine, on the engine's state."""

    def __init__(
        self,
        state: EngineState,
        limits: Limits,
        name: str,
        execution: Execution,
        protective_stop_frac: Decimal | None,
    ) -> None:
        self._state = state
        self._limits = limits
        self._name = name
        self._execution = execution
        self._stop_frac = protective_stop_frac

    # Wishes

    def pursue(
        self, desk: Desk, target: Target, decided_ms: int, *, urgent: bool = False
    ) -> Sequence[Effect]:
        """Turn a wish into orders; what else rests of the symbol is taken back first.

        What it asks to leave stands until it is left, whatever volume a bar has. ``urgent`` wishes and
        those with a price of their own are not carried out maker first.
        """
        state = self._state
        desk.leaving = _leaving(target, desk.position_base)
        desk.waiting = None
        resting = list(state.book.of(desk.symbol))
        intents = self._intents(desk, target, desk.mark, decided_ms)
        stepwise = self._execution.rests_first and target.limit_price is None and not urgent
        if resting:
            if any(_is_undecided(order) for order in resting):
                return _NOTHING  # its outcome decides what is left to do
            priced = not (stepwise and desk.work is not None)
            left = [_wish(order.intent, order.leaves_qty, priced=priced) for order in resting]
            if left == [_wish(intent, intent.qty, priced=priced) for intent in intents]:
                return _NOTHING
            desk.waiting = (target, decided_ms, urgent)
            state.set_work(desk, None)
            return [CancelOrder(order.order_id, desk.symbol) for order in resting]
        if desk.work is not None:
            state.set_work(desk, None)
        if stepwise and intents:
            return self._begin(desk, target, decided_ms, intents)
        effects: list[Effect] = []
        for intent in intents:
            effects += self._submit(desk, intent)
        if not intents and desk.position.qty:
            effects += self._move_stops(desk, target)
        return effects

    def go_on(self, desk: Desk) -> Sequence[Effect]:
        """Pursue what waited for orders of the symbol, once they are gone."""
        if desk.waiting is None and desk.work is None:
            return _NOTHING
        if any(self._state.book.of(desk.symbol)):
            return _NOTHING
        if desk.waiting is not None:
            target, decided_ms, urgent = desk.waiting
            return self.pursue(desk, target, decided_ms, urgent=urgent)
        return self._carry_on(desk)

    def leave(self, desk: Desk, decided_ms: int) -> Sequence[Effect]:
        """Pursue again the wish to be rid of a position, if one stands and nothing of it is under way."""
        if desk.leaving is None or desk.work is not None or any(self._state.book.of(desk.symbol)):
            return _NOTHING
        return self.pursue(desk, desk.leaving, decided_ms, urgent=True)

    def drop(self, desk: Desk) -> None:
        """Give up whatever waits or is carried out; orders at the venue are not touched."""
        desk.waiting = None
        self._state.set_work(desk, None)

    # Maker first

    def _begin(
        self, desk: Desk, target: Target, decided_ms: int, intents: Sequence[Intent]
    ) -> Sequence[Effect]:
        rule, now_ms = self._execution, self._state.now_ms
        deadline_ms = now_ms + rule.deadline_ms
        # In a replay closes alone tell the time: the first after the deadline is the moment to act.
        replayed = now_ms == decided_ms and not desk.quote_ms
        late_ms = -rule.deadline_ms % desk.interval_ms if replayed else 0
        until_ms = deadline_ms + late_ms + self._limits.max_signal_age_ms
        work = Work(target, decided_ms, to_decimal(desk.mark), deadline_ms, until_ms, priced_ms=now_ms)
        effects, sent = self._send(desk, intents, work, rest=True, until_ms=0)
        if not any(isinstance(each, PlaceOrder) and not each.intent.reduce_only for each in effects):
            work.until_ms = 0  # an exit alone was approved: that is no leave for entries later
        self._state.set_work(desk, work if sent else None)
        return effects

    def step(self, desk: Desk) -> Sequence[Effect]:
        """Let time and the touch act on the wish that is carried out."""
        work = desk.work
        if work is None:
            return _NOTHING
        orders = list(self._state.book.of(desk.symbol))
        now_ms = self._state.now_ms
        bid, ask = desk.touch(now_ms)
        step = next_step(work, self._execution, now_ms, orders, bid, ask, desk.instrument.tick_size)
        if step is Step.WAIT:
            return _NOTHING
        work.next = step
        if not orders:
            return self._carry_on(desk)
        work.cancelled_ms = now_ms
        return [CancelOrder(order.order_id, desk.symbol) for order in orders]

    def _carry_on(self, desk: Desk) -> Sequence[Effect]:
        """Nothing of the wish rests any more: send what is missing, if it is time to."""
        work, state = desk.work, self._state
        if work is None:
            return _NOTHING
        work.cancelled_ms = None
        step, work.next = work.next, Step.WAIT
        if state.now_ms >= work.deadline_ms:
            step = Step.TAKE
        intents = self._intents(desk, work.target, desk.mark, work.decided_ms)
        if not intents or work.took:
            state.set_work(desk, None)
            return _NOTHING
        if step is Step.WAIT:
            return _NOTHING
        rest = step is Step.REST
        if rest:
            work.reprices += 1
            work.priced_ms = state.now_ms
            state.costs.reprices += 1
        else:
            work.took = True
            state.costs.deadlines += 1
        effects, sent = self._send(desk, intents, work, rest=rest, until_ms=work.until_ms)
        if not sent:
            state.set_work(desk, None)
        return effects

    def _send(
        self, desk: Desk, intents: Sequence[Intent], work: Work, *, rest: bool, until_ms: int
    ) -> tuple[list[Effect], bool]:
        """Submit a wish's orders; also whether risk let any of them through."""
        bid, ask = desk.touch(self._state.now_ms)
        effects: list[Effect] = []
        sent = False
        for intent in intents:
            priced = at_touch(intent, bid, ask, desk.instrument) if rest else intent
            effects += self._submit(desk, priced, arrival=work.arrival_price, until_ms=until_ms)
            sent = sent or isinstance(effects[-1], PlaceOrder)
        return effects, sent

    # Orders

    def _intents(self, desk: Desk, target: Target, ref_price: float, decided_ms: int) -> tuple[Intent, ...]:
        return to_intents(
            target,
            position=desk.position.qty,
            instrument=desk.instrument,
            ref_price=ref_price,
            decided_ms=decided_ms,
        )

    def _submit(
        self, desk: Desk, intent: Intent, *, arrival: Decimal | None = None, until_ms: int = 0
    ) -> list[Effect]:
        state = self._state
        if self._stop_frac and not intent.reduce_only and intent.stop_loss is None:
            intent = self._protect(desk, intent)
        verdict = check(intent, self._risk_view(desk, until_ms), self._limits)
        if not isinstance(verdict, Approved):
            desk.refused = True
            state.refusals[verdict.reason] += 1
            return [Verdict(state.now_ms, verdict)]
        order_id = f"{self._name}-{state.seq}-{state.next_leg()}"
        state.book.add(order_id, intent, state.now_ms, arrival)
        if not intent.reduce_only:
            state.entries_ms.append(state.now_ms)
        return [Verdict(state.now_ms, verdict), PlaceOrder(order_id, verdict)]

    def _risk_view(self, desk: Desk, until_ms: int) -> RiskView:
        state = self._state
        minute_ago = state.now_ms - MINUTE_MS
        state.entries_ms = [ms for ms in state.entries_ms if ms > minute_ago]
        others = [self._exposure(other) for other in self._busy() if other is not desk]
        held = sum((e.worst_notional_quote for e in others if e.worst_qty()), state.foreign_notional_quote)
        return RiskView(
            now_ms=state.now_ms,
            instrument=desk.instrument,
            exposure=self._exposure(desk),
            equity_quote=state.equity,
            last_data_ms=desk.last_data_ms,
            standing=state.breaker,
            others_notional_quote=held,
            entries_last_minute=len(state.entries_ms),
            warm=desk.view.warm,
            target_until_ms=until_ms,
        )

    def _busy(self) -> Iterable[Desk]:
        """The desks that hold something or have live orders: of hundreds, a few."""
        state = self._state
        busy = {desk.symbol: desk for desk in state.open}
        for order in state.book.live.values():
            symbol = order.intent.symbol
            if symbol not in busy and symbol in state.desks:
                busy[symbol] = state.desks[symbol]
        return busy.values()

    def _exposure(self, desk: Desk) -> Exposure:
        buys, sells = self._state.book.resting_qty(desk.symbol)
        mark = to_decimal(desk.mark) if desk.mark == desk.mark else Decimal("NaN")
        return Exposure(desk.symbol, desk.position.qty, mark, buys, sells)

    def take_back(self, orders: Iterable[Order]) -> list[Effect]:
        """Cancel what rests; market orders end by themselves."""
        return [
            CancelOrder(order.order_id, order.intent.symbol)
            for order in orders
            if order.intent.order_type == "Limit"
        ]

    # Protective stops

    def _protect(self, desk: Desk, intent: Intent) -> Intent:
        """Give an entry a stop, unless it adds to a position that has one at the venue."""
        held = desk.position.qty
        adds = bool(held) and (held > ZERO) == (intent.side == "Buy")
        if self._stop_frac is None or (adds and desk.stops[0] is not None):
            return intent
        return msgspec.structs.replace(intent, stop_loss=stop_of(intent, self._stop_frac, desk.instrument))

    def restore_stops(self, desk: Desk) -> Sequence[Effect]:
        """Put back the stop of an open position that the venue does not have; counts how often in a row."""
        entry = desk.position.entry_price
        if entry is None or desk.stops[0] is not None:
            return _NOTHING
        stop, target = desk.stops_wanted
        if stop is None and not self._stop_frac:
            return _NOTHING
        mark = to_decimal(desk.mark)
        stop = stop_to_restore(desk.position.qty, entry, mark, stop, self._stop_frac, desk.instrument)
        if stop is None:
            return _NOTHING
        target = desk.stops[1] or target
        if target is not None and (target > mark) != (desk.position.qty > ZERO):
            target = None  # the price is past it: the venue would refuse both
        desk.stop_tries += 1
        desk.stops_sent_ms = self._state.now_ms
        return (SetStops(desk.symbol, stop, target),)

    def _move_stops(self, desk: Desk, target: Target) -> Sequence[Effect]:
        """Follow a wish that keeps the position but names other protective prices; naming none keeps them."""
        if target.stop_loss is None and target.take_profit is None:
            return _NOTHING
        side: Side = "Buy" if desk.position.qty > ZERO else "Sell"
        stop_loss, take_profit = round_stops(target, side, desk.instrument.tick_size)
        wished = (stop_loss or desk.stops[0], take_profit or desk.stops[1])
        if wished == desk.stops:
            return _NOTHING
        low, high = wished if side == "Buy" else wished[::-1]
        if not ((low is None or low < desk.mark) and (high is None or high > desk.mark)):
            self._state.refusals["stop_side"] += 1  # the price is past it: the venue would refuse, too
            return _NOTHING
        desk.stops_wanted = wished
        return (SetStops(desk.symbol, *wished),)

    # Stopping and getting flat

    def breaker_moved(self, moved: bool) -> Sequence[Effect]:
        """What follows from a breaker that moved: the fact, and entries taken back or positions closed."""
        if not moved:
            return _NOTHING
        breaker = self._state.breaker
        effects: list[Effect] = [RiskChanged(self._state.now_ms, breaker.state, breaker.reason)]
        if breaker.state != "active" or self._state.flattening:
            effects += self.stop_entries()
        return effects

    def stop_entries(self) -> Sequence[Effect]:
        """Get flat where that is wanted; else take entries that rest back: they would still be entries."""
        if self.wants_flat():
            return self.flatten()
        live = self._state.book.live.values()
        return self.take_back(order for order in live if not order.intent.reduce_only)

    def wants_flat(self) -> bool:
        """Whether everything is to be closed: a halt that says so, or the operator until it is done."""
        state = self._state
        if state.flattening and state.synced and not state.book.live:
            state.flattening = any(desk.position.qty for desk in state.desks.values())
        return state.flattening or state.breaker.wants_flat

    def at_close(self, *, flatten: bool) -> list[Effect]:
        """What a close does beside its decisions: get flat where that is not done yet, carry wishes on."""
        effects = self.flatten() if flatten else []
        for desk in self._state.working:
            effects += self.step(desk)
        return effects

    def flatten(self) -> list[Effect]:
        """Take back what rests and close what is open at once; exits pass risk like any order."""
        state = self._state
        effects = self.take_back(state.book.live.values())
        for desk in state.desks.values():
            effects += self.close(desk)
        return effects

    def close(self, desk: Desk) -> list[Effect]:
        """Close one position at once, unless an exit is under way."""
        state = self._state
        target = Target(qty=0.0, reason="halt" if state.breaker.wants_flat else "operator")
        exits = [order.intent for order in state.book.of(desk.symbol) if order.intent.reduce_only]
        self.drop(desk)
        effects: list[Effect] = []
        if not desk.position.qty:
            return effects
        if exits:
            if all(exit_.order_type == "Limit" for exit_ in exits):
                desk.waiting = (target, state.now_ms, True)
            return effects
        for intent in self._intents(desk, target, desk.mark, state.now_ms):
            effects += self._submit(desk, intent)
        return effects


def _is_undecided(order: Order) -> bool:
    return order.intent.order_type == "Market" or order.state is OrderState.UNKNOWN


def _leaving(target: Target, position: float) -> Target | None:
    """The part of a wish that takes the position off: all of it where the wish is flat or the other side."""
    if not position or target.qty * position > 0.0:
        return None
    return Target(0.0, target.reason, target.limit_price)


def _wish(intent: Intent, qty: Decimal, *, priced: bool) -> tuple[object, ...]:
    return intent.side, qty, intent.price if priced else None, intent.reduce_only
