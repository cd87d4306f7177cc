"""Events of the venue: executions, answers to orders, protective orders, funding, account readings."""

from bisect import insort
from collections.abc import Sequence
from decimal import Decimal
from typing import assert_never

from bot.domain.ledger import Fill
from bot.domain.messages import (
    CancelOrder,
    Effect,
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    Reconciled,
    RejectCause,
    StopsChanged,
    StopsRejected,
    Synced,
    Transferred,
    VenueEvent,
)
from bot.domain.money import ZERO, plain, to_money
from bot.domain.netting import closing, split
from bot.domain.orders import Order, OrderState
from bot.engine import reconcile
from bot.engine.orders import takes
from bot.engine.orders.activity import DROPPED, POSITION_CLOSED, Resting, Turning
from bot.engine.orders.protection import NO_STOPS, TRIES_MAX, Trail
from bot.engine.orders.trader import Trader
from bot.engine.orders.unknown import UnknownOrder
from bot.engine.state import EngineState, SymbolState
from bot.risk.breaker import Cause
from bot.risk.limits import Limits

_NOTHING: tuple[Effect, ...] = ()
FUNDING_SEEN_MAX = 64
"""Settlements that a symbol remembers: more than two days of hourly ones. An older one is never booked."""
_TRANSFERS_MAX = 1_024
"""Ids of transfers remembered, so that each is booked once."""


class VenueEventHandler:
    """Applies the venue's events for the engine, on the engine's state."""

    def __init__(
        self,
        state: EngineState,
        trader: Trader,
        limits: Limits,
        name: str,
        *,
        adopts_positions: bool = False,
    ) -> None:
        self._state = state
        self._trader = trader
        self._limits = limits
        self._name = name
        self._adopts = adopts_positions

    def handle(self, event: VenueEvent) -> Sequence[Effect]:
        """Apply one event of the venue; of symbols that are not traded here, only executions matter."""
        effects = self._apply(event)
        if self._state.turning:
            effects = [*effects, *self._trader.enter_behind()]
        return [*effects, *self._trader.follow_takes()] if self._state.taking else effects

    def _apply(self, event: VenueEvent) -> Sequence[Effect]:
        match event:
            case OrderAccepted() | OrderRejected() | OrderUnknown() | OrderCancelled():
                return self._on_answer(event)
            case OrderRepriced():
                self._state.orders.reprice(event)
                return _NOTHING
            case OrderResized():
                return self._on_resized(event)
            case Filled():
                return self._on_fill(event.fill)
            case Synced():
                return self._on_synced(event)
            case Transferred():
                return self._on_transfer(event)
            case FundingPaid() | StopsChanged() | StopsRejected():
                sym = self._state.symbols.get(event.symbol)
                return _NOTHING if sym is None else self._on_position(sym, event)
        assert_never(event)

    def _on_position(
        self, sym: SymbolState, event: FundingPaid | StopsChanged | StopsRejected
    ) -> Sequence[Effect]:
        match event:
            case FundingPaid():
                return self._on_funding(sym, event)
            case StopsChanged():
                return self._on_stops(sym, event)
            case StopsRejected():
                return self._on_stops_refused(sym)
        assert_never(event)

    def _on_fill(self, fill: Fill) -> Sequence[Effect]:
        """Book an execution: our part of it moves our position and our cash, the rest is foreign."""
        state = self._state
        if not state.orders.is_new(fill) or not (state.synced or state.account_known):
            return _NOTHING  # the account that is about to be read for the first time contains it
        sym = state.symbols.get(fill.symbol)
        if sym is None:  # the next reading of the account shows its effect on the wallet
            return self._on_fill_without_order(fill)
        order = state.orders.live.get(fill.order_id)
        ours, foreign = self._divide(sym, fill)
        if order is not None:
            self._count_fill(order, fill)
        effects: list[Effect] = []
        if foreign:
            effects += self._on_foreign(sym, fill.ts_ms, foreign)
        was = sym.position.qty
        if ours:
            self._book(sym, fill, ours)
            if not was:
                state.opened_ms[sym.symbol] = fill.ts_ms
        elif foreign and self._is_ours(fill):  # it met a foreign position; its fee is ours all the same
            self._pay(sym, ZERO, fill.fee_quote)
        sym.last_fill_ms = max(sym.last_fill_ms, fill.ts_ms)
        state.remark()
        now = sym.position.qty
        if was and (not now or (was > 0) != (now > 0)):
            effects += self._close_trade(sym, fill.ts_ms)
        if order is None:
            effects += self._on_fill_without_order(fill, took=ours)
        elif order.intent.take_at is not None:
            takes.took(state, sym, order.intent, fill)
        elif now and (order.filled_qty == fill.qty or was * now <= ZERO):
            effects += self._protect(sym, order, fill)
        effects += self._trader.go_on(sym)
        # The fill may have come before a cancel, or be a part of an exit.
        if now and (state.flattening or state.breaker.wants_flat):
            effects += self._trader.close(sym)
        return effects

    def _count_fill(self, order: Order, fill: Fill) -> None:
        """Count an execution of one of our orders."""
        state, intent = self._state, order.intent
        state.costs.add(fill, order.arrival_price or intent.ref_price)
        state.orders.fill(fill)
        if not intent.reduce_only:
            state.breaker.on_entry(fill.ts_ms, fill.qty * fill.price)
        elif intent.take_at is None:
            state.retries.pop(fill.symbol, None)

    def _is_ours(self, fill: Fill) -> bool:
        """True for an order of ours and for what the venue did to our position by itself."""
        return fill.cause != "order" or self._state.orders.knows(fill.order_id)

    def _divide(self, sym: SymbolState, fill: Fill) -> tuple[Decimal, Decimal]:
        """Return how an execution changes our part of the position, and how the foreign part.

        A reading may have shown an execution before it came. What it showed of an order of ours waits in
        ``due_qty``, or was taken for foreign; what it took from us, or showed of a foreign order, is counted.
        """
        signed = fill.qty if fill.side == "Buy" else -fill.qty
        if fill.ts_ms < sym.taken_ms:
            taken = closing(signed, -sym.taken_qty)
            sym.taken_qty -= taken
            signed -= taken
        held, foreign = sym.position.qty, sym.foreign_qty
        seen = fill.ts_ms < sym.compared_ms
        if not self._is_ours(fill):
            of_foreign, ours = (ZERO, ZERO) if seen else split(signed, foreign, held)
            return ours, of_foreign
        due = closing(signed, -sym.due_qty)
        sym.due_qty -= due
        mistaken = closing(signed - due, -foreign) if seen else ZERO
        ours, of_foreign = split(signed - mistaken, held + mistaken, foreign - mistaken)
        return ours + mistaken, of_foreign - mistaken

    def _book(self, sym: SymbolState, fill: Fill, signed: Decimal) -> None:
        """Book our part of an execution."""
        was, qty = sym.position.qty, abs(signed)
        realised = sym.position.apply("Buy" if signed > ZERO else "Sell", qty, fill.price)
        whole = qty == fill.qty or self._is_ours(fill)
        self._pay(sym, realised, fill.fee_quote if whole else to_money(fill.fee_quote * qty / fill.qty))
        if sym.mark != sym.mark:
            sym.mark = float(fill.price)
        self._state.rebook(sym)
        now = sym.position.qty
        if not was or not now or (was > 0) != (now > 0):
            sym.view.bars_held = 0

    def _pay(self, sym: SymbolState, realised: Decimal, fee: Decimal) -> None:
        cash = self._state.cash
        cash.realised += realised
        cash.fees += fee
        self._state.cash_quote = float(cash.balance)
        sym.trade_quote += realised - fee

    def _on_foreign(self, sym: SymbolState, ts_ms: int, signed: Decimal) -> Sequence[Effect]:
        """Note a change of a foreign position, name it, and take our entries in its symbol back."""
        self._state.move_foreign(sym, signed)
        named = Reconciled(ts_ms, False, (reconcile.foreign_words(sym),))
        return [named, *self._hold_entries(sym)]

    def _hold_entries(self, sym: SymbolState) -> Sequence[Effect]:
        if not sym.foreign_qty:
            return _NOTHING
        orders = self._state.orders.of(sym.symbol)
        return self._trader.take_back(order for order in orders if not order.intent.reduce_only)

    def _protect(self, sym: SymbolState, order: Order, fill: Fill) -> Sequence[Effect]:
        """Remember the stops of an entry, send its trailing stop and begin its takes.

        Only at an entry's first fill, or the first of a position: a later one must not undo what was changed
        since, and the venue begins a trailing stop with another distance anew at the present price. The venue
        takes no trailing stop with an order. Lost stops are sent again.
        """
        entry = order.intent
        if (sym.position.qty > ZERO) != (fill.side == "Buy"):
            return _NOTHING
        if entry.takes:
            self._trader.begin_takes(sym, entry.takes, entry.decided_ms)
        if entry.stop_loss is not None:
            sym.stops.wanted = (entry.stop_loss, entry.take_profit or sym.stops.wanted[1])
        if entry.trailing_stop is None:
            return _NOTHING
        return self._trader.stops.trail(sym, entry.trailing_stop, entry.trailing_from)

    def _on_fill_without_order(self, fill: Fill, took: Decimal = ZERO) -> Sequence[Effect]:
        """Handle an execution without a live order: our stop, a late report, or another's order.

        Another's order halts the bot if it ``took`` a part of our position, or if it has a name of this run:
        then a second bot with our names is trading. Otherwise only its own symbol waits.
        """
        breaker, what = self._state.breaker, f"{fill.symbol} {fill.side} {fill.qty}"
        if fill.cause == "liquidation" or fill.cause == "adl":
            if self._limits.on_liquidation == "halt":
                cause = Cause.ADL if fill.cause == "adl" else Cause.LIQUIDATION
                return self._trader.breaker_moved(breaker.halt(cause, what))
        elif not self._is_ours(fill):
            self._state.reconciled["foreign_fill"] += 1
            if took or fill.order_id.startswith(f"{self._name}-"):
                return self._trader.breaker_moved(breaker.halt(Cause.FOREIGN, what))
        return _NOTHING

    def _close_trade(self, sym: SymbolState, ts_ms: int) -> Sequence[Effect]:
        profit, sym.trade_quote = sym.trade_quote, ZERO
        self._state.advance(sym, POSITION_CLOSED)
        sym.stops.end()
        effects = self._trader.stops.drop(sym)
        if not sym.position.qty:
            sym.view.bars_held = 0
            if not sym.foreign_qty:
                sym.stops.trail_at_venue = ZERO
                if not self._has_stops_of_entry(sym):
                    sym.stops.at_venue = NO_STOPS
        self._state.day.closed(ts_ms)
        if sym.position.qty:
            self._state.opened_ms[sym.symbol] = ts_ms
        moved = self._state.breaker.on_closed_trade(profit, ts_ms)
        if sym.stops.tries:
            sym.stops.tries = 0
            moved = self._state.breaker.protected(sym.symbol) or moved
        return [*effects, *self._trader.breaker_moved(moved)]

    def _has_stops_of_entry(self, sym: SymbolState) -> bool:
        """True if the venue told of the stops of an entry before it told of the entry's fill."""
        stop = sym.stops.at_venue[0]
        entries = (order.intent for order in self._state.orders.of(sym.symbol))
        return stop is not None and any(
            entry.stop_loss == stop and not entry.reduce_only for entry in entries
        )

    def _on_answer(
        self, event: OrderAccepted | OrderRejected | OrderUnknown | OrderCancelled
    ) -> Sequence[Effect]:
        state = self._state
        order = state.orders.answer(event)
        if order is None:
            return _NOTHING
        sym = state.symbols[order.intent.symbol]
        if isinstance(event, OrderAccepted):
            state.breaker.on_accept()
            if order.intent.take_at is not None:
                sym.takes.refusals = 0
            return self._trader.go_on(sym) if type(sym.activity) is Turning else _NOTHING
        if isinstance(event, OrderUnknown) and order.state is OrderState.UNKNOWN:
            state.unknown.setdefault(order.order_id, UnknownOrder(state.now_ms))
        if order.intent.take_at is not None:
            return self._on_take_ended(sym, order, event)
        effects: list[Effect] = []
        if isinstance(event, OrderRejected):
            effects += self._on_rejected(sym, event)
        effects += self._trader.go_on(sym)
        # An order that filled in part leaves a rest to close.
        if order.filled_qty and (state.flattening or state.breaker.wants_flat):
            effects += self._trader.close(sym)
        elif isinstance(event, OrderRejected | OrderCancelled):
            self._trader.exit_failed(sym, order, refused=isinstance(event, OrderRejected))
        return effects

    def _on_resized(self, event: OrderResized) -> Sequence[Effect]:
        """Take an order back that somebody made larger: risk has approved a smaller one."""
        order = self._state.orders.resize(event)
        if order is None:
            return _NOTHING
        self._state.reconciled["resized"] += 1
        words = (
            f"{order.intent.symbol} order {order.order_id} was made larger, {plain(event.qty)}: taken back"
        )
        return [Reconciled(event.ts_ms, False, (words,)), *self._trader.take_back([order])]

    def _on_take_ended(
        self, sym: SymbolState, order: Order, event: OrderRejected | OrderUnknown | OrderCancelled
    ) -> Sequence[Effect]:
        """Note a take order that is gone. Its refusal is no reject: the position keeps stop and exit.

        One that finds the position closed already is no refusal.
        """
        refused = isinstance(event, OrderRejected) and event.cause is RejectCause.VENUE
        refused = refused and sym.takes.is_of(sym.position.qty)
        if refused:
            self._state.refusals["takes"] += 1
        if not isinstance(event, OrderUnknown):
            takes.lost(sym, order, refused=refused)
        return _NOTHING

    def _on_rejected(self, sym: SymbolState, event: OrderRejected) -> Sequence[Effect]:
        """Count a refusal by the venue; a refused price is not tried again before the deadline."""
        match event.cause:
            case RejectCause.POST_ONLY:
                return _NOTHING
            case RejectCause.VENUE:
                words = f"{event.code} {event.reason}" if event.code else event.reason
                moved = self._state.breaker.on_reject(event.ts_ms, words)
            case RejectCause.MISSED | RejectCause.NOT_SENT:
                moved = False
            case _:
                assert_never(event.cause)
        effects = self._trader.breaker_moved(moved)
        if isinstance(sym.activity, Resting):
            sym.activity.execution.stop_pricing()
        return effects

    def _on_stops(self, sym: SymbolState, event: StopsChanged) -> Sequence[Effect]:
        stop_loss, take_profit = event.stop_loss, event.take_profit
        if sym.foreign_qty and not sym.position.qty:  # only stops of ours that are to go are of interest
            if stop_loss is None and take_profit is None:
                sym.stops.at_venue = NO_STOPS
            if not event.trailing_stop:
                sym.stops.trail_at_venue = ZERO
            return _NOTHING
        effects = self._on_trailing(sym, event.trailing_stop)
        sym.stops.at_venue = (stop_loss, take_profit)
        if stop_loss is None:
            return [*effects, *self._guard(sym)]
        sym.stops.wanted = (stop_loss, take_profit)
        sym.stops.sent_ms = 0
        if not sym.stops.tries:
            return effects
        sym.stops.tries = 0
        return [*effects, *self._trader.breaker_moved(self._state.breaker.protected(sym.symbol))]

    def _on_trailing(self, sym: SymbolState, distance: Decimal) -> Sequence[Effect]:
        """Take the distance that the venue reports, as a fixed stop is taken; send a lost one again."""
        stops = sym.stops
        stops.trail_at_venue = distance
        if distance and stops.trail is not None and distance == stops.trail.distance:
            stops.trail_sent_ms = stops.trail_tries = 0
        elif distance and (stops.trail is None or stops.is_trail_lost(self._state.now_ms)):
            stops.trail = Trail(distance)
        return self._trader.stops.restore_trail(sym)

    def _on_stops_refused(self, sym: SymbolState) -> Sequence[Effect]:
        """Try again if the position has no stop. No order was refused, so no streak of rejects grows."""
        self._state.refusals["stops"] += 1
        sym.stops.sent_ms = sym.stops.trail_sent_ms = 0
        return [*self._guard(sym), *self._trader.stops.restore_trail(sym)]

    def _guard(self, sym: SymbolState, *, again: bool = False) -> Sequence[Effect]:
        """Send a lost stop again; after ``TRIES_MAX`` tries, hold entries back until the venue reports one.

        ``again`` tries once more all the same.
        """
        state = self._state
        if not sym.position.qty or not sym.stops.is_lost or not state.synced:
            return _NOTHING
        if sym.stops.is_on_its_way(state.now_ms):
            return _NOTHING
        if sym.stops.tries < TRIES_MAX:
            return self._trader.stops.restore(sym)
        effects = list(self._trader.breaker_moved(state.breaker.unprotected(sym.symbol)))
        return [*effects, *self._trader.stops.restore(sym)] if again else effects

    def _on_funding(self, sym: SymbolState, event: FundingPaid) -> Sequence[Effect]:
        """Book a settlement once; one that was missed may come after a later one."""
        state, seen = self._state, sym.funding_seen
        if event.ts_ms in seen or (len(seen) == FUNDING_SEEN_MAX and event.ts_ms < seen[0]):
            return _NOTHING
        insort(seen, event.ts_ms)
        del seen[:-FUNDING_SEEN_MAX]
        if not (state.synced or state.account_known):
            return _NOTHING
        amount, held = event.amount_quote, sym.position.qty
        # The venue pays it for the whole position; the part of a foreign one is no result of ours.
        ours = to_money(amount * held / (held + sym.foreign_qty)) if sym.foreign_qty else amount
        state.cash.funding += ours
        state.cash.adjusted += amount - ours
        state.cash_quote = float(state.cash.balance)
        state.remark()
        sym.trade_quote += ours
        return _NOTHING

    def _on_transfer(self, event: Transferred) -> Sequence[Effect]:
        """Book money that came or left by no trade, once; the breaker's levels move with it."""
        state = self._state
        if event.transfer_id in state.transfers or not (state.synced or state.account_known):
            return _NOTHING
        state.transfers[event.transfer_id] = None
        if len(state.transfers) > _TRANSFERS_MAX:
            del state.transfers[next(iter(state.transfers))]
        state.day.paid(float(event.amount_quote), state.breaker)
        state.breaker.on_transfer(float(event.amount_quote), state.equity)
        state.cash.adjusted += event.amount_quote
        state.cash_quote = float(state.cash.balance)
        state.remark()
        words = f"{event.kind or 'transfer'} {event.amount_quote:+f}"
        return (Reconciled(event.ts_ms, False, (words,), event.amount_quote),)

    def _on_synced(self, event: Synced) -> Sequence[Effect]:
        """Take over an account that was never read before or was replaced; compare every other reading."""
        state = self._state
        first = event.first or not state.synced
        effects: list[Effect] = []
        if not state.account_known or event.account.replaced:
            for sym in state.symbols.values():
                state.advance(sym, DROPPED)
            if state.account_known:
                state.breaker.begin_account()
                state.day.begin_account()
            found = reconcile.adopt(state, event, adopts_positions=self._adopts)
            moved = False
        else:
            found = reconcile.compare(state, event, self._name)
            moved = bool(found.halting) and state.breaker.halt(Cause.RECONCILE, found.halting[0])
        moved = state.breaker.account_read() or moved
        for sym in state.symbols.values():
            if not sym.position.qty or not sym.stops.is_lost:
                moved = state.breaker.protected(sym.symbol) or moved
        moved = state.judge(state.now_ms) or moved
        effects += self._trader.breaker_moved(moved)
        if not moved and state.breaker.state != "active":
            effects += self._trader.stop_entries()
        effects += [CancelOrder(each.order_id, each.symbol) for each in found.strangers]
        # The answer to a cancel of an order that the venue does not list says what became of the order.
        effects += [CancelOrder(each.order_id, each.intent.symbol) for each in found.missing]
        for sym in state.foreign:
            effects += [each for each in self._hold_entries(sym) if each not in effects]
            effects += self._trader.stops.drop(sym)
        for sym in state.open:
            effects += self._guard(sym, again=True)
            effects += self._trader.stops.restore_trail(sym, again=True)
        if first:
            found.differences += reconcile.left_aside(state, event)
        if first or found.differences or found.adjusted_quote:
            fact = Reconciled(event.ts_ms, first, tuple(found.differences), found.adjusted_quote)
            effects.insert(0, fact)
        return effects
