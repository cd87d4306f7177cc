"""From a target to orders: resting orders, replacements, turns through zero, protective stops, getting flat.

Every order that leaves here has passed the engine's check (``risk.limits.check``); so has every replacement.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Effect,
    PlaceOrder,
    RiskChanged,
    Verdict,
)
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Approved, Intent, Order, OrderState, Take, fitted, sign
from bot.engine.exposure import risk_view
from bot.engine.orders import takes
from bot.engine.orders.activity import (
    DROPPED,
    FINISHED,
    IDLE,
    Exiting,
    Idle,
    Replaced,
    Replacing,
    Rested,
    Resting,
    Sent,
    Turned,
    Turning,
    Unchanged,
)
from bot.engine.orders.execution import ExecutionPolicy, MakerExecution, MakerStep, at_touch, next_step
from bot.engine.orders.expiry import cancel_expired, cancelling, renew, with_expiry
from bot.engine.orders.retry import RETRY_MAX_MS, ExitRetry, after_failure
from bot.engine.orders.stops import StopKeeper
from bot.engine.orders.unknown import UnknownOrder
from bot.engine.state import EngineState, SymbolState
from bot.risk.breaker import Cause
from bot.risk.limits import NEEDS_ROOM, Judge, Limits
from bot.strategy.signal import Target
from bot.strategy.sizing import round_takes, to_intents

_NOTHING: tuple[Effect, ...] = ()


class Trader:
    """Turns targets into orders for the engine, on the engine's state."""

    def __init__(
        self,
        state: EngineState,
        limits: Limits,
        name: str,
        execution: ExecutionPolicy,
        protective_stop_frac: Decimal | None,
        check: Judge,
    ) -> None:
        self._state = state
        self._limits = limits
        self._check = check
        self._name = name
        self._execution = execution
        self.stops = StopKeeper(state, protective_stop_frac, limits.isolated_leverage)

    # Targets

    def pursue(
        self, sym: SymbolState, target: Target, decided_ms: int, *, urgent: bool = False
    ) -> Sequence[Effect]:
        """Turn a target into orders; cancel other resting orders of the symbol first.

        ``urgent`` targets and targets with a limit price are not carried out maker first.
        """
        if target.takes is not None or target.takes_bps is not None:
            self._name_takes(sym, target, decided_ms)
        effects = self._carry_out(sym, target, decided_ms, urgent=urgent)
        return [*self._follow_takes_of(sym), *effects] if self._state.taking else effects

    def _carry_out(
        self, sym: SymbolState, target: Target, decided_ms: int, *, urgent: bool
    ) -> Sequence[Effect]:
        state = self._state
        state.retries.pop(sym.symbol, None)  # this target decides anew
        exit_target = _exit_part(target, sym.position_base)
        resting = state.orders.of(sym.symbol)
        intents = self._intents(sym, target, sym.mark, decided_ms)
        stepwise = self._execution.rests_first and target.limit_price is None and not urgent
        if resting:
            priced = not (stepwise and isinstance(sym.activity, Resting))
            same = _same_terms(resting, intents, priced=priced)
            if same or any(_is_undecided(order) for order in resting):
                if same:
                    renew(state, resting, intents)
                state.advance(sym, Unchanged(exit_target))
                return _NOTHING
            state.advance(sym, Replaced(target, decided_ms, urgent, exit_target))
            cancelling(state, resting)
            return [CancelOrder(order.order_id, sym.symbol) for order in resting]
        if stepwise and intents:
            return self._begin(sym, target, decided_ms, intents, exit_target)
        if len(intents) == 2:
            return self._turn(sym, intents[0], intents[1], exit_target)
        if sym.activity is not IDLE or exit_target is not None:  # else Sent would change nothing
            state.advance(sym, Sent(exit_target))
        effects: list[Effect] = []
        for intent in intents:
            effects += self._submit(sym, intent, waits=True)
        if not intents and sym.position.qty:
            effects += self.stops.move(sym, target)
            if target.trailing_stop is not None:
                effects += self.stops.trail(
                    sym, to_decimal(target.trailing_stop), _decimal(target.trailing_from)
                )
        return effects

    def go_on(self, sym: SymbolState) -> Sequence[Effect]:
        """Pursue the target that waited for orders of the symbol, once those are gone."""
        activity = sym.activity
        match activity:
            case Idle() | Exiting():
                return _NOTHING
            case Replacing(target, decided_ms, urgent):
                if self._state.orders.of(sym.symbol):
                    return _NOTHING
                return self.pursue(sym, target, decided_ms, urgent=urgent)
            case Resting(execution):
                if self._state.orders.of(sym.symbol):
                    return _NOTHING
                return self._carry_on(sym, execution)
            case Turning():
                return self._enter_behind(sym, activity)

    def _turn(
        self, sym: SymbolState, leave: Intent, enter: Intent, exit_target: Target | None
    ) -> Sequence[Effect]:
        """Send the exit of a change of side; its entry follows once the venue has taken the exit."""
        effects = self._submit(sym, leave)
        left = any(isinstance(effect, PlaceOrder) for effect in effects)
        self._state.advance(sym, Turned(enter, exit_target) if left else Sent(exit_target))
        return effects

    def enter_behind(self) -> list[Effect]:
        """Send the entries that waited for exits, as far as these are taken."""
        effects: list[Effect] = []
        for sym in self._state.turning if self._state.synced else ():
            if isinstance(sym.activity, Turning):
                effects += self._enter_behind(sym, sym.activity)
        return effects

    def _enter_behind(self, sym: SymbolState, turning: Turning) -> Sequence[Effect]:
        """Send an entry that waited, unless an exit of its symbol is undecided or must be sent again."""
        exits = [order for order in self._state.orders.of(sym.symbol) if order.intent.reduce_only]
        if any(order.state in (OrderState.SENT, OrderState.UNKNOWN) for order in exits):
            return _NOTHING
        if not exits and sym.position.qty * sign(turning.entry.side) < ZERO:
            return _NOTHING
        self._state.advance(sym, Sent(turning.exit))
        return self._submit(sym, turning.entry, waits=True)

    # Exits that the venue did not take

    def exit_failed(self, sym: SymbolState, order: Order, *, refused: bool) -> None:
        """Plan to send an exit again that was refused, or that ended at the market before it was filled.

        A part of a position is only tried again after a refusal: the next close decides on the rest.
        """
        state = self._state
        if not order.intent.reduce_only or isinstance(sym.activity, Resting):
            return
        if not refused and not self._is_leaving(sym):
            return
        if order.filled_qty >= order.intent.qty or (not refused and order.intent.order_type != "Market"):
            return
        rest = msgspec.structs.replace(order.intent, qty=order.intent.qty - order.filled_qty)
        before = state.retries.get(sym.symbol)
        state.retries[sym.symbol] = after_failure(rest, before, state.now_ms)

    def send_exits_due(self) -> list[Effect]:
        """Send the exits again whose time has come, once the account is known."""
        state = self._state
        effects: list[Effect] = []
        if not state.synced:
            return effects
        for symbol, retry in list(state.retries.items()):
            if state.now_ms >= retry.due_ms:
                effects += self._try_exit(state.symbols[symbol], retry)
        return effects

    def _try_exit(self, sym: SymbolState, retry: ExitRetry) -> Sequence[Effect]:
        """Send a failed exit again: all of the position if it is to be left, else the part."""
        state = self._state
        held, failed = sym.position.qty, retry.intent
        busy = any(order.intent.reduce_only for order in state.orders.of(sym.symbol))
        if busy or held * sign(failed.side) >= ZERO:
            del state.retries[sym.symbol]
            return _NOTHING
        # A try that fails again finds this one and waits longer; an answer that never comes ends nothing.
        state.retries[sym.symbol] = msgspec.structs.replace(retry, due_ms=state.now_ms + RETRY_MAX_MS)
        qty = abs(held) if self._is_leaving(sym) else min(failed.qty, abs(held))
        if failed.time_in_force == "PostOnly":  # of a maker-first execution that has ended
            failed = msgspec.structs.replace(failed, order_type="Market", price=None, time_in_force="IOC")
        mark = to_decimal(sym.mark)
        again = msgspec.structs.replace(failed, qty=qty, ref_price=mark, decided_ms=state.now_ms)
        return self._submit(sym, fitted(again, sym.instrument) or again)

    def _is_leaving(self, sym: SymbolState) -> bool:
        """Return True if the whole position is to be closed."""
        state = self._state
        return sym.activity.exit is not None or state.flattening or state.breaker.wants_flat

    # Orders of unknown fate

    def count_unknown_anew(self) -> None:
        """Count the time of unknown fates from now on: no process has asked about these orders meanwhile."""
        state = self._state
        unknown = [order for order in state.orders.live.values() if order.state is OrderState.UNKNOWN]
        state.unknown = {order.order_id: UnknownOrder(state.now_ms) for order in unknown}

    def judge_unknown(self) -> Sequence[Effect]:
        """Stop entries, then halt, if the fate of an order stays unknown; allow entries once it is known."""
        state, limits, moved = self._state, self._limits, False
        for order_id, unknown in list(state.unknown.items()):
            order = state.orders.live.get(order_id)
            if order is None or order.state is not OrderState.UNKNOWN:
                del state.unknown[order_id]
                moved = state.breaker.fate_known(order_id) or moved
                continue
            age_ms = state.now_ms - unknown.since_ms
            if age_ms > limits.unknown_order_reduce_ms and not unknown.reduced:
                unknown.reduced = True
                moved = state.breaker.fate_unknown(order_id) or moved
            if age_ms > limits.unknown_order_halt_ms and not unknown.halted:
                unknown.reduced = unknown.halted = True
                moved = state.breaker.halt(Cause.UNKNOWN_ORDER, order_id) or moved
        return self.breaker_moved(moved)

    def send_exit_again(self, sym: SymbolState, decided_ms: int) -> Sequence[Effect]:
        """Pursue an active exit target again, unless its orders are still live or carried out maker first."""
        if not isinstance(sym.activity, Exiting | Turning) or self._state.orders.of(sym.symbol):
            return _NOTHING
        if sym.activity.exit is None:
            return _NOTHING
        return self.pursue(sym, sym.activity.exit, decided_ms, urgent=True)

    # Maker first

    def _begin(
        self,
        sym: SymbolState,
        target: Target,
        decided_ms: int,
        intents: Sequence[Intent],
        exit_target: Target | None,
    ) -> Sequence[Effect]:
        rule, now_ms = self._execution, self._state.now_ms
        deadline_ms = now_ms + rule.deadline_ms
        # Where only closes tell the time, the first close after the deadline must act. A live close that a
        # clock which is behind saw in its own millisecond differs in ``closes_tell_time`` alone.
        by_closes = self._state.closes_tell_time and now_ms == decided_ms and not sym.quote_ms
        late_ms = -rule.deadline_ms % sym.interval_ms if by_closes else 0
        until_ms = deadline_ms + late_ms + self._limits.max_signal_age_ms
        work = MakerExecution(
            target, decided_ms, to_decimal(sym.mark), deadline_ms, until_ms, priced_ms=now_ms
        )
        effects, sent = self._send(sym, intents, work, rest=True, until_ms=0)
        if not any(isinstance(each, PlaceOrder) and not each.intent.reduce_only for each in effects):
            work.until_ms = 0  # only an exit was approved: later entries of the target are too old
        self._state.advance(sym, Rested(work, exit_target) if sent else Sent(exit_target))
        return effects

    def step(self, sym: SymbolState) -> Sequence[Effect]:
        """Reprice, take or wait for a target that is carried out maker first."""
        if not isinstance(sym.activity, Resting):
            return _NOTHING
        work = sym.activity.execution
        orders = self._state.orders.of(sym.symbol)
        now_ms = self._state.now_ms
        bid, ask = sym.touch(now_ms)
        step = next_step(work, self._execution, now_ms, orders, bid, ask, sym.instrument.tick_size)
        if step is MakerStep.WAIT:
            return _NOTHING
        work.next = step
        if not orders:
            return self._carry_on(sym, work)
        work.cancelled_ms = now_ms
        return [CancelOrder(order.order_id, sym.symbol) for order in orders]

    def _carry_on(self, sym: SymbolState, work: MakerExecution) -> Sequence[Effect]:
        """Send the missing quantity of a target whose orders are gone, if it is time to."""
        state = self._state
        work.cancelled_ms = None
        step, work.next = work.next, MakerStep.WAIT
        if state.now_ms >= work.deadline_ms:
            step = MakerStep.TAKE
        intents = self._intents(sym, work.target, sym.mark, work.decided_ms)
        if not intents or work.took:
            state.advance(sym, FINISHED)
            return _NOTHING
        if step is MakerStep.WAIT:
            return _NOTHING
        rest = step is MakerStep.REST
        if rest:
            work.reprices += 1
            work.priced_ms = state.now_ms
            state.costs.reprices += 1
        else:
            work.took = True
            state.costs.deadlines += 1
        effects, sent = self._send(sym, intents, work, rest=rest, until_ms=work.until_ms)
        if not sent:
            state.advance(sym, FINISHED)
        return effects

    def _send(
        self, sym: SymbolState, intents: Sequence[Intent], work: MakerExecution, *, rest: bool, until_ms: int
    ) -> tuple[list[Effect], bool]:
        """Submit a target's orders; return the effects, and True if risk approved any of them."""
        bid, ask = sym.touch(self._state.now_ms)
        effects: list[Effect] = []
        sent = False
        for intent in intents:
            priced = at_touch(intent, bid, ask, sym.instrument) if rest else intent
            effects += self._submit(sym, priced, arrival=work.arrival_price, until_ms=until_ms)
            sent = sent or isinstance(effects[-1], PlaceOrder)
        return effects, sent

    # Orders

    def _intents(
        self, sym: SymbolState, target: Target, ref_price: float, decided_ms: int
    ) -> tuple[Intent, ...]:
        intents = to_intents(
            target,
            position=sym.position.qty,
            instrument=sym.instrument,
            ref_price=ref_price,
            decided_ms=decided_ms,
        )
        if target.expires_bars is None:  # nearly always
            return intents
        return with_expiry(intents, decided_ms + target.expires_bars * sym.interval_ms)

    def _submit(
        self,
        sym: SymbolState,
        intent: Intent,
        *,
        arrival: Decimal | None = None,
        until_ms: int = 0,
        waits: bool = False,
    ) -> list[Effect]:
        """Send an order if risk approves it.

        An entry that ``waits`` and has no room in the account is kept until exits of other symbols are done.
        """
        state = self._state
        if model := state.model_of(sym):
            intent = msgspec.structs.replace(intent, model=model)
        if not intent.reduce_only and intent.stop_loss is None:
            intent = self.stops.protect(sym, intent)
        verdict = self._check(intent, risk_view(state, self._limits, sym, until_ms), self._limits)
        if not isinstance(verdict, Approved):
            if waits and verdict.reason in NEEDS_ROOM and self._room_is_coming(sym):
                state.advance(sym, Turned(intent, sym.activity.exit))
                return []
            sym.refused = True
            state.refusals[verdict.reason] += 1
            return [Verdict(state.now_ms, verdict)]
        order_id = f"{self._name}-{state.seq}-{state.next_leg()}"
        state.orders.add(order_id, intent, state.now_ms, arrival)
        if not intent.reduce_only:
            state.entries_ms.append(state.now_ms)
        if intent.expires_ms:
            state.expiring[order_id] = intent.expires_ms
        return [Verdict(state.now_ms, verdict), PlaceOrder(order_id, verdict)]

    def _room_is_coming(self, sym: SymbolState) -> bool:
        """Return True if positions of other symbols are being closed at the market."""
        state = self._state
        intents = (order.intent for order in state.orders.live.values())
        leaving = {each.symbol for each in intents if each.reduce_only and each.order_type == "Market"}
        return bool((leaving | state.retries.keys()) - {sym.symbol})

    def fit(self, sym: SymbolState) -> tuple[Effect, ...]:
        """Bring what is kept of a position onto a new tick or step; send a stop at once that is missing."""
        sym.takes.regrid(sym.instrument.tick_size)
        if not self._state.synced or sym.stops.is_on_its_way(self._state.now_ms):
            return ()
        return (*self.stops.restore(sym), *self.stops.restore_trail(sym, again=True))

    def take_back(self, orders: Iterable[Order]) -> list[Effect]:
        """Cancel limit orders; market orders end by themselves."""
        return [
            CancelOrder(order.order_id, order.intent.symbol)
            for order in orders
            if order.intent.order_type == "Limit"
        ]

    # Takes

    def _name_takes(self, sym: SymbolState, target: Target, decided_ms: int) -> None:
        """Let the takes of a target that keeps the side of a position take the place of the present ones."""
        if target.qty * sym.position_base <= 0.0:
            return
        side = sym.side
        named = round_takes(target, side, sym.instrument.tick_size)
        if named is None or sym.takes.holds(named, sym.position.qty):
            return
        prices = [takes.price_of(take, sym) for take in named]
        if not all(price > sym.mark if side == "Buy" else price < sym.mark for price in prices):
            self._state.refusals["stop_side"] += 1  # the price is past it: the order would fill at once
            return
        self.begin_takes(sym, named, decided_ms)

    def begin_takes(self, sym: SymbolState, named: tuple[Take, ...], decided_ms: int) -> None:
        """Give an open position these takes, unless it has them; their orders follow after the event."""
        state = self._state
        if sym.takes.holds(named, sym.position.qty):
            return
        sym.takes.begin(named, sym.side, decided_ms)
        if sym not in state.taking:
            state.taking = tuple(sorted((*state.taking, sym), key=lambda each: each.symbol))

    def follow_takes(self, *, at_close: bool = False) -> list[Effect]:
        """Bring the take orders of every symbol in line with its position."""
        effects: list[Effect] = []
        for sym in self._state.taking:
            effects += takes.follow(self._state, sym, self._submit, at_close=at_close)
        return effects

    def _follow_takes_of(self, sym: SymbolState) -> Sequence[Effect]:
        return takes.follow(self._state, sym, self._submit) if sym in self._state.taking else _NOTHING

    # Stopping and getting flat

    def breaker_moved(self, moved: bool) -> Sequence[Effect]:
        """Report a breaker that moved; cancel entries or close positions if its state asks for that."""
        if not moved:
            return _NOTHING
        breaker = self._state.breaker
        effects: list[Effect] = [RiskChanged(self._state.now_ms, breaker.state, breaker.reason)]
        if breaker.state != "active" or self._state.flattening:
            effects += self.stop_entries()
        return effects

    def stop_entries(self) -> Sequence[Effect]:
        """Get flat if that is wanted; else cancel resting entries, which could still fill."""
        if self.wants_flat():
            return self.flatten()
        live = self._state.orders.live.values()
        return self.take_back(order for order in live if not order.intent.reduce_only)

    def give_up(self, sym: SymbolState) -> Sequence[Effect]:
        """Drop a symbol's unfinished target, and cancel its resting entries; an exit stays active."""
        self._state.advance(sym, DROPPED)
        resting = self._state.orders.of(sym.symbol)
        return self.take_back(order for order in resting if not order.intent.reduce_only)

    def wants_flat(self) -> bool:
        """Return True if everything must be closed: after a halt that flattens, or for the operator."""
        state = self._state
        if state.flattening and state.synced and not state.orders.live:
            state.flattening = any(sym.position.qty for sym in state.symbols.values())
        return state.flattening or state.breaker.wants_flat

    def at_close(self, event: BarsClosed, *, flatten: bool) -> list[Effect]:
        """Do what follows the decisions of a close: get flat, step maker first, end old entries."""
        effects = self.flatten() if flatten else []
        for sym in self._state.working if event.live else ():
            effects += self.step(sym)
        if event.live:
            effects += self.follow_takes(at_close=True)
        if self._state.expiring:
            effects += cancel_expired(self._state, event.interval_ms)
        return effects

    def flatten(self) -> list[Effect]:
        """Cancel resting orders and close open positions at once; exits pass risk like any order."""
        state = self._state
        effects = self.take_back(state.orders.live.values())
        for sym in state.symbols.values():
            effects += self.close(sym)
        return effects

    def close(self, sym: SymbolState) -> list[Effect]:
        """Close one position at once, unless an exit is under way."""
        state = self._state
        target = Target(qty=0.0, reason="halt" if state.breaker.wants_flat else "operator")
        exits = [order.intent for order in state.orders.of(sym.symbol) if order.intent.reduce_only]
        state.advance(sym, DROPPED)
        state.retries.pop(sym.symbol, None)
        effects: list[Effect] = []
        if not sym.position.qty:
            return effects
        if exits:
            if all(exit_.order_type == "Limit" for exit_ in exits):
                state.advance(sym, Replaced(target, state.now_ms, True, sym.activity.exit))
            return effects
        for intent in self._intents(sym, target, sym.mark, state.now_ms):
            effects += self._submit(sym, intent)
        return effects

    def leave(self, sym: SymbolState) -> Sequence[Effect]:
        """Close one position by the operator's command; the exit is sent again until the symbol is flat."""
        if not sym.position.qty:
            return _NOTHING
        return self.pursue(sym, Target(0.0, "operator"), self._state.now_ms, urgent=True)


def _decimal(price: float | None) -> Decimal | None:
    return None if price is None else to_decimal(price)


def _is_undecided(order: Order) -> bool:
    return order.intent.order_type == "Market" or order.state is OrderState.UNKNOWN


def _exit_part(target: Target, position: float) -> Target | None:
    """Return the exit part of a target that is flat or on the other side; None if it keeps the position."""
    if not position or target.qty * position > 0.0:
        return None
    return Target(0.0, target.reason, target.limit_price)


def _same_terms(resting: Sequence[Order], intents: Sequence[Intent], *, priced: bool) -> bool:
    """Return True if the live orders are what the intents ask for; their prices count only if ``priced``."""
    live = [_terms(order.intent, order.leaves_qty, priced=priced) for order in resting]
    return live == [_terms(intent, intent.qty, priced=priced) for intent in intents]


def _terms(intent: Intent, qty: Decimal, *, priced: bool) -> tuple[object, ...]:
    return intent.side, qty, intent.price if priced else None, intent.reduce_only
