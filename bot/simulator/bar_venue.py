"""``--fills bars``: orders meet closed bars by exactly the backtest's rules, behind the live exchange's face.

An order counts as sent at the last close, acts at the open of the bar after it, and is told when that bar
closes, before its candle is confirmed: the same ``bot.exchange.venue.Exchange`` in the same order of calls
as a backtest, so the same orders give the same fills to the bit. What those rules do not know (conditional
and trailing orders, amendments, hedge mode, partial TP/SL) is refused with 10001 and a reason.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Literal, assert_never

from bot.domain.ledger import Fill, FillCause, Position
from bot.domain.market import Instrument
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Filled,
    FundingPaid,
    FundingRate,
    InstrumentChanged,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    SetStops,
    StopsChanged,
    StopsRejected,
    Synced,
    VenueEvent,
)
from bot.domain.money import ZERO, to_decimal, to_money
from bot.domain.orders import Intent, Side
from bot.exchange import rules
from bot.exchange.account import Account
from bot.exchange.book import Book
from bot.exchange.live_orders import (
    Executed,
    Happening,
    LiveOrder,
    NewOrder,
    OrderChanged,
    PositionChanged,
    PositionView,
    StopOrderType,
    TpslMode,
    TriggerBy,
    WalletChanged,
    WalletView,
)
from bot.exchange.rules import Refusal
from bot.exchange.terms import Terms
from bot.exchange.venue import Exchange
from bot.simulator.bar_orders import Facts, client_order, funding, trade, venue_order
from bot.simulator.bar_views import position_view, wallet_view

SAME = Refusal(34040, "not modified")
SAME_MODE = Refusal(110025, "Position mode is not modified")
SAME_MARGIN_MODE = Refusal(110026, "Cross/isolated margin mode is not modified")
GONE = Refusal(110001, "order not exists or too late to cancel")
POSITION_IDX = Refusal(10001, "position idx not match position mode")
_STOPS: tuple[tuple[StopOrderType, FillCause, str], ...] = (
    ("StopLoss", "stop_loss", "CreateByStopLoss"),
    ("TakeProfit", "take_profit", "CreateByTakeProfit"),
)


def not_here(what: str) -> Refusal:
    """A refusal of what the backtest's rules do not know."""
    return Refusal(10001, f"{what} not offered by an exchange that runs with --fills bars")


class BarVenue:
    """One account behind closed bars.

    Args:
        instruments, wallet_quote, terms, seed: the backtest's.
        ids: names of executions and of orders that the venue makes.
        last: the market's last price of a symbol, for orders before the first close.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms,
        *,
        seed: int,
        ids: Iterator[str],
        last: Callable[[str], Decimal],
        opened_ms: int,
    ) -> None:
        self.exchange = Exchange(instruments, wallet_quote, terms, seed=seed)
        # An order acts no earlier than the exchange began, inside the bar then open.
        self.exchange.advance(BarsClosed(opened_ms, 1, ()))
        self._ids = ids
        self._last = last
        self._orders: dict[str, LiveOrder] = {}
        self._stops: dict[tuple[str, StopOrderType], LiveOrder] = {}
        self._positions = {symbol: Position() for symbol in instruments}
        self._sums: dict[str, tuple[Decimal, Decimal, int]] = {}
        """Per symbol: realised in all, since last flat (fees and funding included), time of the last fill."""
        self._told: list[Happening] = []
        self._seq = 0

    @property
    def account(self) -> Account[Book]:
        """The money."""
        return self.exchange.account

    def offer(self, symbol: str, side: Side, level: int) -> Decimal | None:
        """Bars have no book."""
        return None

    # -- what clients ask ------------------------------------------------------------------------------------

    def place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        """``order/create`` for market and limit orders with attached stops."""
        book = self.account.books.get(new.symbol)
        if book is None:
            return rules.UNKNOWN_SYMBOL
        refusal = self._unknown_kind(new, book)
        if refusal is not None:
            return refusal
        last = book.last_price() or self._last(new.symbol)
        answer = self.exchange.place(new.order_id, self._intent(new, book, last))
        if isinstance(answer, OrderRejected):
            return Refusal(answer.code, answer.reason)
        order = self._orders[new.order_id] = client_order(new, book, last, self.exchange.now_ms)
        self._note(order)
        self._finish(order.symbol)
        return None

    def _unknown_kind(self, new: NewOrder, book: Book) -> Refusal | None:
        if new.position_idx:
            return POSITION_IDX
        if any(order.link_id == new.link_id for order in self._orders.values() if new.link_id):
            return rules.DUPLICATE_ID
        if new.trigger_price:
            return not_here("conditional orders are")
        if new.slippage_type:
            return not_here("slippage tolerance is")
        if new.tpsl_mode == "Partial" or "Limit" in (new.sl_order_type, new.tp_order_type):
            return not_here("partial TP/SL is")
        if new.order_type == "Limit" and new.price is None:
            return Refusal(10001, "params error: price invalid")
        if not new.qty and not book.position.qty:
            return Refusal(110017, "current position is zero, cannot fix reduce-only order qty")
        return None

    def _intent(self, new: NewOrder, book: Book, last: Decimal) -> Intent:
        return Intent(
            symbol=new.symbol,
            side=new.side,
            qty=new.qty or abs(book.position.qty),
            ref_price=last,
            decided_ms=self.exchange.now_ms,
            order_type=new.order_type,
            price=new.price if new.order_type == "Limit" else None,
            time_in_force=new.time_in_force,
            reduce_only=new.reduce_only or new.close_on_trigger,
            stop_loss=new.stop_loss,
            take_profit=new.take_profit,
        )

    def amend(
        self,
        symbol: str,
        order_id: str,
        *,
        now_ms: int,
        qty: Decimal | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
    ) -> Refusal | None:
        """Not offered."""
        return not_here("amending is")

    def cancel(
        self, symbol: str, order_id: str, now_ms: int, cancel_type: str = "CancelByUser"
    ) -> Refusal | None:
        """``order/cancel``; an order that has not reached the book yet ends with the next bar."""
        stop = next((kind for kind, each in self._stops.items() if each.order_id == order_id), None)
        if stop is not None:
            if stop[1] == "StopLoss":
                return self.trading_stop(symbol, 0, now_ms=now_ms, stop_loss=ZERO)
            return self.trading_stop(symbol, 0, now_ms=now_ms, take_profit=ZERO)
        if order_id not in self._orders:
            return GONE
        self._take(self.exchange.submit(CancelOrder(order_id, symbol)))
        return None

    def cancel_all(self, symbols: Collection[str] | None, now_ms: int, kind: str = "") -> list[LiveOrder]:
        """``order/cancel-all``."""
        chosen = [
            order
            for order in self.open_orders(None)
            if (symbols is None or order.symbol in symbols)
            and (kind in ("", "OpenOrder") or (kind == "Order") != order.conditional)
        ]
        for order in chosen:
            self.cancel(order.symbol, order.order_id, now_ms)
        return chosen

    def trading_stop(
        self,
        symbol: str,
        position_idx: int,
        *,
        now_ms: int,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
        trailing_stop: Decimal | None = None,
        active_price: Decimal | None = None,
        tpsl_mode: TpslMode = "Full",
        sl_size: Decimal | None = None,
        tp_size: Decimal | None = None,
        sl_trigger_by: TriggerBy = "LastPrice",
        tp_trigger_by: TriggerBy = "LastPrice",
        sl_limit_price: Decimal | None = None,
        tp_limit_price: Decimal | None = None,
    ) -> Refusal | None:
        """``position/trading-stop`` for the one pair of the position."""
        if symbol not in self.account.books:
            return rules.UNKNOWN_SYMBOL
        if position_idx:
            return POSITION_IDX
        if trailing_stop or tpsl_mode == "Partial" or sl_limit_price or tp_limit_price:
            return not_here("trailing stops and partial TP/SL are")
        old_stop, old_target = self.exchange.stops(symbol)
        stop = old_stop if stop_loss is None else stop_loss or None
        target = old_target if take_profit is None else take_profit or None
        if self.account.books[symbol].position.qty and (stop, target) == (old_stop, old_target):
            return SAME
        answers = self.exchange.submit(SetStops(symbol, stop, target))
        for answer in answers:
            if isinstance(answer, StopsRejected):
                return Refusal(answer.code, answer.reason)
        self._take(answers)
        return None

    def set_leverage(self, symbol: str, buy: Decimal, sell: Decimal, now_ms: int) -> Refusal | None:
        """``position/set-leverage``."""
        if buy != sell:
            return Refusal(10001, "buy leverage must equal sell leverage in one-way mode")
        refusal = self.exchange.set_leverage(symbol, buy)
        if refusal is None:
            self._finish(symbol)
        return refusal

    def switch_mode(self, symbol: str, hedge: bool) -> Refusal | None:
        """One-way only."""
        if symbol not in self.account.books:
            return rules.UNKNOWN_SYMBOL
        return not_here("hedge mode is") if hedge else SAME_MODE

    def set_margin_mode(self, mode: Literal["cross", "isolated"], now_ms: int) -> Refusal | None:
        """As it was started."""
        return SAME_MARGIN_MODE if mode == self.account.mode else not_here("changing the margin mode is")

    def add_margin(self, symbol: str, position_idx: int, amount: Decimal, now_ms: int) -> Refusal | None:
        """Not offered."""
        return not_here("adding margin is")

    def adjust_wallet(self, amount: Decimal, now_ms: int) -> None:
        """Money given or taken by hand."""
        self.account.cash.initial += amount
        self._told.append(WalletChanged(now_ms))

    # -- what the market does --------------------------------------------------------------------------------

    def closed(self, closed: BarsClosed) -> None:
        """Bars closed: what orders and stops did in them."""
        self._take(self.exchange.advance(closed))

    def settle_funding(self, symbol: str, ts_ms: int, rate: Decimal) -> None:
        """A rate settled; a rate of 0 moves nothing and is not told."""
        if rate:
            self._take(self.exchange.advance(FundingRate(ts_ms, symbol, rate)), rate)

    def change(self, instrument: Instrument) -> None:
        """New rules."""
        self._positions.setdefault(instrument.symbol, Position())
        self._take(self.exchange.advance(InstrumentChanged(self.exchange.now_ms, instrument)))

    # -- what there is ---------------------------------------------------------------------------------------

    def drain(self) -> list[Happening]:
        """What happened since the last call."""
        told, self._told = self._told, []
        return told

    def open_orders(self, symbol: str | None) -> list[LiveOrder]:
        """Orders and protective stops."""
        both = [*self._orders.values(), *self._stops.values()]
        return [order for order in both if symbol is None or order.symbol == symbol]

    def positions(self, symbol: str | None = None) -> list[PositionView]:
        """A symbol's, flat too; or the open ones."""
        names = [symbol] if symbol is not None else list(self.account.held)
        return [
            position_view(
                self.account,
                self.account.books[name],
                self._sums.get(name, (ZERO, ZERO, 0)),
                self._last(name),
                self._seq,
            )
            for name in names
            if name in self.account.books
        ]

    def wallet(self) -> WalletView:
        """The money."""
        return wallet_view(self.account)

    # -- from the rules' events to happenings ----------------------------------------------------------------

    def _take(self, events: Collection[VenueEvent], rate: Decimal = ZERO) -> None:
        for event in events:
            match event:
                case Filled(fill=fill):
                    self._filled(fill)
                case OrderCancelled(ts_ms=ts_ms, order_id=order_id, reason=reason):
                    self._ended(self._orders[order_id], ts_ms, reason)
                case StopsChanged():
                    self._stops_changed(event)
                case FundingPaid():
                    self._funded(event, rate)
                case OrderAccepted() | OrderRejected() | OrderUnknown() | StopsRejected() | Synced():
                    pass
                case _:
                    assert_never(event)

    def _filled(self, fill: Fill) -> None:
        order = self._orders.get(fill.order_id) or self._venue_order(fill)
        position = self._positions[fill.symbol]
        before = position.qty
        realised = position.apply(fill.side, fill.qty, fill.price)
        closing = bool(before) and (before > ZERO) != (fill.side == "Buy")
        closed = min(fill.qty, abs(before)) if closing else ZERO
        value = to_money(fill.qty * fill.price)
        order.cum_exec_qty += fill.qty
        order.cum_exec_value += value
        order.cum_exec_fee += fill.fee_quote
        order.avg_price = order.cum_exec_value / order.cum_exec_qty
        order.leaves_qty = order.qty - order.cum_exec_qty
        order.closed_qty += closed
        if closed:
            order.cum_entry_value += to_money(closed * fill.price) - (
                realised if fill.side == "Sell" else -realised
            )
            order.closed_pnl += realised - fill.fee_quote
        order.status = "PartiallyFilled" if order.leaves_qty else "Filled"
        order.updated_ms = fill.ts_ms
        if not order.leaves_qty:
            self._orders.pop(order.order_id, None)
        self._sum(fill.symbol, realised - fill.fee_quote, fill.ts_ms, flat=not position.qty)
        self._seq += 1
        self._told.append(OrderChanged(fill.ts_ms, copy.copy(order), self._seq))
        self._told.append(
            Executed(
                fill.ts_ms, trade(self._facts(), fill, order, closed, realised), copy.copy(order), self._seq
            )
        )
        self._told += [PositionChanged(fill.ts_ms, fill.symbol, 0), WalletChanged(fill.ts_ms)]

    def _venue_order(self, fill: Fill) -> LiveOrder:
        """The order behind a fill that no client sent: a stop that waited, or a liquidation."""
        for kind, cause, _ in _STOPS:
            if fill.cause == cause and (stop := self._stops.pop((fill.symbol, kind), None)) is not None:
                stop.qty = stop.leaves_qty = fill.qty
                return stop
        made = venue_order(next(self._ids), fill.symbol, fill.ts_ms, fill.price)
        made.side, made.qty, made.leaves_qty = fill.side, fill.qty, fill.qty
        if fill.cause == "liquidation":
            made.create_type = "CreateByTakeOver_PassThrough"
        else:
            made.create_type = next(
                (create for _, cause, create in _STOPS if cause == fill.cause), "CreateByClosing"
            )
            made.stop_order_type = next((kind for kind, cause, _ in _STOPS if cause == fill.cause), "")
        return made

    def _ended(self, order: LiveOrder, ts_ms: int, reason: str) -> None:
        order.status = "Cancelled"
        order.leaves_qty = ZERO
        if reason.startswith("Cancel"):
            order.cancel_type = reason
            order.reject_reason = "EC_PerCancelRequest" if reason == "CancelByUser" else "EC_NoError"
        else:
            order.reject_reason = reason if reason.startswith("EC_") else "EC_Others"
        order.updated_ms = ts_ms
        self._orders.pop(order.order_id, None)
        self._note(order)
        self._finish(order.symbol)

    def _stops_changed(self, event: StopsChanged) -> None:
        size = abs(self._positions[event.symbol].qty)
        for (kind, _, create), price in zip(_STOPS, (event.stop_loss, event.take_profit), strict=True):
            present = self._stops.get((event.symbol, kind))
            if price is None:
                if present is not None:
                    del self._stops[event.symbol, kind]
                    present.status = "Deactivated"
                    present.cancel_type = "CancelByUser" if size else "CancelByTpSlTsClear"
                    present.leaves_qty = ZERO
                    present.updated_ms = event.ts_ms
                    self._note(present)
                continue
            if present is None:
                present = self._stops[event.symbol, kind] = self._waiting_stop(event, kind, create)
            present.trigger_price = price
            present.qty = present.leaves_qty = size
            present.updated_ms = event.ts_ms
            self._note(present)
        self._finish(event.symbol)

    def _waiting_stop(self, event: StopsChanged, kind: StopOrderType, create: str) -> LiveOrder:
        long = self._positions[event.symbol].qty > ZERO
        made = venue_order(next(self._ids), event.symbol, event.ts_ms, self._last(event.symbol))
        made.side = "Sell" if long else "Buy"
        made.status, made.stop_order_type, made.create_type = "Untriggered", kind, create
        made.trigger_direction = 2 if long == (kind == "StopLoss") else 1
        made.trigger_by, made.tpsl_mode, made.price = "LastPrice", "Full", ZERO
        return made

    def _funded(self, event: FundingPaid, rate: Decimal) -> None:
        qty = self._positions[event.symbol].qty
        mark = to_decimal(self.account.books[event.symbol].mark())
        self._seq += 1
        self._sum(event.symbol, event.amount_quote, event.ts_ms, flat=not qty)
        execution = funding(self._facts(), event, rate, qty, mark)
        self._told.append(Executed(event.ts_ms, execution, None, self._seq))
        self._told += [PositionChanged(event.ts_ms, event.symbol, 0), WalletChanged(event.ts_ms)]

    def _facts(self) -> Facts:
        return Facts(self.exchange.terms, self._ids, self._seq)

    def _sum(self, symbol: str, amount: Decimal, ts_ms: int, *, flat: bool) -> None:
        total, current, _ = self._sums.get(symbol, (ZERO, ZERO, 0))
        self._sums[symbol] = (total + amount, ZERO if flat else current + amount, ts_ms)

    def _note(self, order: LiveOrder) -> None:
        self._seq += 1
        self._told.append(OrderChanged(order.updated_ms, copy.copy(order), self._seq))

    def _finish(self, symbol: str) -> None:
        now_ms = self.exchange.now_ms
        self._told += [PositionChanged(now_ms, symbol, 0), WalletChanged(now_ms)]
