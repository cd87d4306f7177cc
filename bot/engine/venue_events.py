"""Events of the venue: executions, answers to orders, protective orders, funding, account readings."""

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
    OrderUnknown,
    Reconciled,
    RejectCause,
    StopsChanged,
    StopsRejected,
    Synced,
    VenueEvent,
)
from bot.domain.money import ZERO
from bot.domain.orders import OrderState
from bot.engine import reconcile
from bot.engine.activity import DROPPED, POSITION_CLOSED, Resting, Turning
from bot.engine.protection import NO_STOPS, TRIES_MAX
from bot.engine.state import EngineState, SymbolState
from bot.engine.trader import Trader
from bot.engine.unknown import UnknownOrder
from bot.risk.breaker import Cause
from bot.risk.limits import Limits

_NOTHING: tuple[Effect, ...] = ()


class VenueEventHandler:
    """Applies the venue's events for the engine, on the engine's state."""

    def __init__(self, state: EngineState, trader: Trader, limits: Limits, name: str) -> None:
        self._state = state
        self._trader = trader
        self._limits = limits
        self._name = name

    def handle(self, event: VenueEvent) -> Sequence[Effect]:
        """Apply one event of the venue; of symbols that are not traded here, only executions matter."""
        match event:
            case OrderAccepted() | OrderRejected() | OrderUnknown() | OrderCancelled():
                return self._on_answer(event)
            case Filled():
                return self._on_fill(event.fill)
            case Synced():
                return self._on_synced(event)
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
                return self._on_stops(sym, event.stop_loss, event.take_profit)
            case StopsRejected():
                return self._on_stops_refused(sym)
        assert_never(event)

    def _on_fill(self, fill: Fill) -> Sequence[Effect]:
        state = self._state
        if (
            not state.orders.is_new(fill) or not state.synced
        ):  # the account that is about to be read contains it
            return _NOTHING
        sym = state.symbols.get(fill.symbol)
        if sym is None:  # the next reading of the account shows its effect on the wallet
            return self._on_stranger(fill)
        order = state.orders.live.get(fill.order_id)
        if order is not None:
            state.costs.add(fill, order.arrival_price or order.intent.ref_price)
            state.orders.fill(fill)
            if not order.intent.reduce_only:
                state.breaker.on_entry(fill.ts_ms, fill.qty * fill.price)
        was = sym.position.qty
        realised = sym.position.apply(fill.side, fill.qty, fill.price)
        state.cash.realised += realised
        state.cash.fees += fill.fee_quote
        if sym.mark != sym.mark:
            sym.mark = float(fill.price)
        state.rebook(sym)
        sym.trade_quote += realised - fill.fee_quote
        sym.last_fill_ms = max(sym.last_fill_ms, fill.ts_ms)
        now = sym.position.qty
        turned = bool(was) and (not now or (was > 0) != (now > 0))
        if not was or turned:
            sym.view.bars_held = 0
        state.remark()
        effects: list[Effect] = []
        if order is not None and order.intent.reduce_only:
            state.retries.pop(sym.symbol, None)
        if turned:
            effects += self._close_trade(sym, fill.ts_ms)
        if order is not None and now and order.intent.stop_loss is not None:
            self._want_stops(sym, fill, order.intent.stop_loss, order.intent.take_profit)
        elif order is None:
            effects += self._on_stranger(fill)
        effects += self._trader.go_on(sym)
        # The fill may have come before a cancel, or be a part of an exit.
        if now and (state.flattening or state.breaker.wants_flat):
            effects += self._trader.close(sym)
        return effects

    def _want_stops(self, sym: SymbolState, fill: Fill, stop: Decimal, target: Decimal | None) -> None:
        """Remember the stops that the venue holds from an entry's first fill on; lost ones are sent again."""
        if (sym.position.qty > ZERO) == (fill.side == "Buy"):
            sym.stops.wanted = (stop, target or sym.stops.wanted[1])

    def _on_stranger(self, fill: Fill) -> Sequence[Effect]:
        """Handle an execution without a live order: our stop, a late report, or another's order."""
        breaker, what = self._state.breaker, f"{fill.symbol} {fill.side} {fill.qty}"
        if fill.cause == "liquidation" or fill.cause == "adl":
            if self._limits.on_liquidation == "halt":
                cause = Cause.ADL if fill.cause == "adl" else Cause.LIQUIDATION
                return self._trader.breaker_moved(breaker.halt(cause, what))
        elif fill.cause == "order" and not self._state.orders.knows(fill.order_id):
            self._state.reconciled["foreign_fill"] += 1
            return self._trader.breaker_moved(breaker.halt(Cause.FOREIGN, what))
        return _NOTHING

    def _close_trade(self, sym: SymbolState, ts_ms: int) -> Sequence[Effect]:
        profit, sym.trade_quote = sym.trade_quote, ZERO
        self._state.advance(sym, POSITION_CLOSED)
        sym.stops.wanted = NO_STOPS
        if not sym.position.qty:
            sym.view.bars_held = 0
            sym.stops.at_venue = NO_STOPS
        moved = self._state.breaker.on_closed_trade(profit, ts_ms)
        if sym.stops.tries:
            sym.stops.tries = 0
            moved = self._state.breaker.protected(sym.symbol) or moved
        return self._trader.breaker_moved(moved)

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
            return self._trader.go_on(sym) if type(sym.activity) is Turning else _NOTHING
        if isinstance(event, OrderUnknown) and order.state is OrderState.UNKNOWN:
            state.unknown.setdefault(order.order_id, UnknownOrder(state.now_ms))
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

    def _on_stops(
        self, sym: SymbolState, stop_loss: Decimal | None, take_profit: Decimal | None
    ) -> Sequence[Effect]:
        sym.stops.at_venue = (stop_loss, take_profit)
        if stop_loss is None:
            return self._guard(sym)
        sym.stops.wanted = (stop_loss, take_profit)
        sym.stops.sent_ms = 0
        if not sym.stops.tries:
            return _NOTHING
        sym.stops.tries = 0
        return self._trader.breaker_moved(self._state.breaker.protected(sym.symbol))

    def _on_stops_refused(self, sym: SymbolState) -> Sequence[Effect]:
        """Try again if the position has no stop. No order was refused, so no streak of rejects grows."""
        self._state.refusals["stops"] += 1
        sym.stops.sent_ms = 0
        return self._guard(sym)

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
            return self._trader.restore_stops(sym)
        effects = list(self._trader.breaker_moved(state.breaker.unprotected(sym.symbol)))
        return [*effects, *self._trader.restore_stops(sym)] if again else effects

    def _on_funding(self, sym: SymbolState, event: FundingPaid) -> Sequence[Effect]:
        state = self._state
        if event.ts_ms <= sym.funding_ms:
            return _NOTHING
        sym.funding_ms = event.ts_ms
        if not state.synced:
            return _NOTHING
        state.cash.funding += event.amount_quote
        state.cash_quote = float(state.cash.balance)
        state.remark()
        sym.trade_quote += event.amount_quote
        return _NOTHING

    def _on_synced(self, event: Synced) -> Sequence[Effect]:
        """Adopt the first reading of the account; compare later ones with our state."""
        state = self._state
        first = event.first or not state.synced
        effects: list[Effect] = []
        if first:
            for sym in state.symbols.values():
                state.advance(sym, DROPPED)
            found = reconcile.adopt(state, event)
            moved = state.breaker.account_read()
        else:
            found = reconcile.compare(state, event, self._name)
            moved = bool(found.halting) and state.breaker.halt(Cause.RECONCILE, found.halting[0])
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
        for sym in state.open:
            effects += self._guard(sym, again=True)
        if first or found.differences or found.adjusted_quote:
            fact = Reconciled(event.ts_ms, first, tuple(found.differences), found.adjusted_quote)
            effects.insert(0, fact)
        return effects
