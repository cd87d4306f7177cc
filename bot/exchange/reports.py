"""Translate exchange events into the engine's events, and the engine's effects into exchange actions.

Both venues of this process use it: ``BarVenue`` (backtest, replay) and ``PaperVenue`` (live prices).
"""

from decimal import Decimal

from bot.domain.ledger import Fill, FillCause
from bot.domain.messages import (
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    PlaceOrder,
    RejectCause,
    SetStops,
    SetTrailing,
    StopsChanged,
    StopsRejected,
    VenueEvent,
)
from bot.domain.money import ZERO, to_money
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.events import Executed, Execution, OrderChanged, WalletChanged
from bot.exchange.orders import Cancel, ExchangeOrder, NewOrder, TradingStop
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.rulebook import refusals
from bot.exchange.rulebook.refusals import Missed, Refusal

Levels = tuple[Decimal | None, Decimal | None]
"""Stop loss and take profit of a position."""
NO_LEVELS: Levels = (None, None)
CAUSES: dict[str, FillCause] = {
    "CreateByStopLoss": "stop_loss",
    "CreateByTrailingStop": "stop_loss",
    "CreateByTakeProfit": "take_profit",
    "CreateByLiq": "liquidation",
    "CreateByTakeOver_PassThrough": "liquidation",
    "CreateByAdl_PassThrough": "adl",
    "CreateBySettle": "settle",
}
"""Why the venue made an order, by its createType; any other order was asked for."""
_GENERAL = ("EC_NoError", "EC_PerCancelRequest")
"""Reject reasons that say less than the cancelType."""


class VenueReports:
    """Connects one engine with its account at an exchange: sends effects, returns resulting events."""

    def __init__(self, exchange: BarExchange | QuoteExchange) -> None:
        self._exchange = exchange
        self._asked: dict[str, Decimal] = {}
        """Quantity asked for, by our order id, of orders not ended."""
        self._levels: dict[str, Levels] = {}
        self._told: dict[str, Levels] = {}
        """Stop loss and take profit by symbol: the present ones, and those last reported to the engine."""
        self._trails: dict[str, Decimal] = {}
        self._told_trails: dict[str, Decimal] = {}
        """Distance of the trailing stop by symbol, 0 for none: the present one, and the one last reported."""

    def stops(self, symbol: str) -> Levels:
        """Stop loss and take profit of a symbol's position."""
        return self._levels.get(symbol, NO_LEVELS)

    # What the engine sends

    def place(self, effect: PlaceOrder, ts_ms: int) -> list[VenueEvent]:
        """Place an order under its own id; tell its price if the exchange moved it into its band."""
        intent, order_id = effect.intent, effect.order_id
        bound = effect.approved.max_slippage_bps
        new = NewOrder(
            order_id=order_id,
            link_id=order_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            qty=intent.qty,
            price=intent.price,
            time_in_force=intent.time_in_force,
            reduce_only=intent.reduce_only,
            stop_loss=intent.stop_loss,
            take_profit=intent.take_profit,
            slippage_type="Percent" if bound else "",
            slippage=Decimal(bound) / 100 if bound else ZERO,
        )
        refusal = self._exchange.place(new, ts_ms)
        if refusal is not None:
            return [_rejected(ts_ms, order_id, refusal)]
        self._asked[order_id] = intent.qty
        there = self._exchange.order(intent.symbol, order_id)
        if there is None or intent.order_type != "Limit" or there.price == intent.price:
            return [OrderAccepted(ts_ms, order_id)]
        return [OrderAccepted(ts_ms, order_id), OrderRepriced(ts_ms, order_id, there.price)]

    def cancel(self, symbol: str, order_id: str, ts_ms: int) -> list[VenueEvent]:
        """Cancel an order by our id; a cancel of an order that is gone emits nothing."""
        there = self._exchange.order_id_of(order_id)
        if there is not None and self._exchange.order(symbol, there) is not None:
            self._exchange.cancel(Cancel(symbol, there), ts_ms)
        return self.drain()

    def set_stops(self, effect: SetStops, ts_ms: int) -> list[VenueEvent]:
        """Set a position's stop loss and take profit; None removes it."""
        symbol, levels = effect.symbol, (effect.stop_loss, effect.take_profit)
        asked = TradingStop(symbol=symbol, stop_loss=levels[0] or ZERO, take_profit=levels[1] or ZERO)
        refusal = self._exchange.trading_stop(asked, ts_ms)
        if refusal is not None and refusal != refusals.NOT_MODIFIED:
            return [StopsRejected(ts_ms, symbol, refusal.code, refusal.reason)]
        self._told[symbol] = levels
        return [*self.drain(), StopsChanged(ts_ms, symbol, *levels, self._trails.get(symbol, ZERO))]

    def set_trailing(self, effect: SetTrailing, ts_ms: int) -> list[VenueEvent]:
        """Set a position's trailing stop; 0 removes it. One that finds its position closed emits nothing."""
        symbol, distance = effect.symbol, effect.distance
        asked = TradingStop(symbol=symbol, trailing_stop=distance, active_price=effect.from_price)
        refusal = self._exchange.trading_stop(asked, ts_ms)
        if refusal == refusals.STOPS_WITHOUT_POSITION:
            return self.drain()
        if refusal is not None and refusal != refusals.NOT_MODIFIED:
            return [StopsRejected(ts_ms, symbol, refusal.code, refusal.reason)]
        self._told_trails[symbol] = distance
        events = self.drain()
        return [*events, StopsChanged(ts_ms, symbol, *self.stops(symbol), distance)]

    # What the exchange emits

    def drain(self) -> list[VenueEvent]:
        """The events since the last call, match by match: fills, then orders that ended, then stops."""
        events: list[VenueEvent] = []
        ends: list[VenueEvent] = []
        symbols: dict[str, None] = {}
        for each in self._exchange.drain():
            if type(each) is Executed:
                events.append(_executed(each.execution))
            elif type(each) is OrderChanged:
                self._changed(each.order, ends, symbols)
            elif (ends or symbols) and type(each) is WalletChanged:
                events += ends
                ends.clear()
                for symbol in symbols:
                    levels, trail = self.stops(symbol), self._trails.get(symbol, ZERO)
                    told = self._told.get(symbol, NO_LEVELS), self._told_trails.get(symbol, ZERO)
                    if (levels, trail) != told:
                        self._told[symbol], self._told_trails[symbol] = levels, trail
                        events.append(StopsChanged(each.ts_ms, symbol, *levels, trail))
                symbols.clear()
        return events

    def _changed(self, order: ExchangeOrder, ends: list[VenueEvent], symbols: dict[str, None]) -> None:
        kind = order.stop_order_type
        if kind == "StopLoss" or kind == "TakeProfit":
            level = order.trigger_price if order.status == "Untriggered" else None
            stop, target = self._levels.get(order.symbol, NO_LEVELS)
            self._levels[order.symbol] = (level, target) if kind == "StopLoss" else (stop, level)
            symbols[order.symbol] = None
            return
        if kind == "TrailingStop":
            distance = order.trailing_quote if order.status == "Untriggered" else ZERO
            if distance != self._trails.get(order.symbol, ZERO):
                self._trails[order.symbol] = distance
                symbols[order.symbol] = None
            return
        if order.open or order.status == "Triggered":
            return
        asked = self._asked.pop(order.order_id, None)
        if asked is None:
            return
        if order.status != "Filled":
            reason = order.cancel_type if order.reject_reason in _GENERAL else order.reject_reason
            ends.append(OrderCancelled(order.updated_ms, order.link_id, reason))
        elif order.cum_exec_qty < asked:  # cut to the position when it was accepted
            ends.append(OrderCancelled(order.updated_ms, order.link_id, "CancelByReduceOnly"))


def _executed(done: Execution) -> VenueEvent:
    if done.exec_type == "Funding":
        return FundingPaid(done.ts_ms, done.symbol, -done.fee_quote)
    return Filled(
        Fill(
            done.ts_ms,
            done.symbol,
            done.side,
            done.qty,
            done.price,
            done.fee_quote,
            done.link_id or done.order_id,
            done.exec_id,
            done.maker,
            CAUSES.get(done.create_type, "order"),
            _slippage_quote(done),
        )
    )


def _slippage_quote(done: Execution) -> Decimal:
    """What spread and impact cost against the price without them."""
    base = done.base_price
    if base is None or base == done.price:
        return ZERO
    worse = done.price - base if done.side == "Buy" else base - done.price
    return to_money(worse * done.qty) if worse > ZERO else ZERO


def _rejected(ts_ms: int, order_id: str, refusal: Refusal) -> OrderRejected:
    cause = RejectCause.MISSED if isinstance(refusal, Missed) else RejectCause.VENUE
    return OrderRejected(ts_ms, order_id, refusal.code, refusal.reason, cause)
