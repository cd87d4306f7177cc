"""The exchange: everything that a client may request for one account, whatever moves the prices.

``bars.BarExchange`` moves by closed bars, ``quotes.QuoteExchange`` by every quote, trade and mark. Both have
the order kinds of Bybit's linear contracts (limit, market, conditional, TP/SL, trailing), both position modes
and both margin modes. Actions are values (``orders``); ``drain`` returns the events that they caused.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

from bot.domain.ledger import Cash
from bot.domain.market import Instrument
from bot.domain.messages import FundingRate
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.events import ExchangeEvent, PositionView, WalletView
from bot.exchange.ids import counted_ids
from bot.exchange.ledger.book import PositionSlot, SymbolBook
from bot.exchange.ledger.booking import Ledger, SimulationFacts
from bot.exchange.ledger.liquidation import Liquidator
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.ledger.modes import AccountModes, switch_mode
from bot.exchange.ledger.protection import ProtectiveOrders
from bot.exchange.ledger.views import position_view, wallet_view
from bot.exchange.matching import Matching
from bot.exchange.orders import (
    PROTECTIVE,
    AddMargin,
    Amend,
    Cancel,
    ExchangeOrder,
    MarginMode,
    NewOrder,
    SetLeverage,
    TradingStop,
)
from bot.exchange.rulebook import admission, refusals, stops, triggers
from bot.exchange.rulebook.admission import OrderContext
from bot.exchange.rulebook.refusals import Refusal
from bot.exchange.terms import Terms

LINKS_KEPT = 100_000
"""Link ids remembered as used, some 25 MB of them; the oldest of closed orders are forgotten beyond."""
B = TypeVar("B", bound=SymbolBook)


class Exchange(ABC, Generic[B]):
    """One account at the venue.

    Args:
        instruments: rules per symbol; an order for any other symbol is refused.
        wallet_quote: USDT at the start.
        terms: fees, leverage, margin mode, and what the market costs where the exchange models it.
        ids: makes unique ids for executions and for the orders that the venue creates.
        for_client: True emits acceptances and positions, too, as a client's streams show them.

    Every method that changes something takes the time of the change and leaves events for ``drain``. An
    action returns None, or the reason of its refusal.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms,
        ids: Iterator[str] | None,
        for_client: bool = True,
    ) -> None:
        self.terms = terms
        self._links: dict[str, str] = {}
        """Order id by link id: one of the last ``LINKS_KEPT`` is not free again."""
        self._books: dict[str, B] = {}
        for instrument in instruments.values():
            self._add(instrument)
        self.account = MarginAccount(Cash(wallet_quote), terms.margin_mode, terms.taker_fee_frac)
        names = ids if ids is not None else counted_ids()
        self._ledger = Ledger(terms, self.account, self._books, names, for_client=for_client)
        self._protection = ProtectiveOrders(self._ledger)
        self._matching = Matching(self.account, self._ledger, self._protection)
        self._liquidator = Liquidator(self.account, self._ledger, self._protection, self._books)
        self._settings = AccountModes(self.account, self._ledger)

    @abstractmethod
    def _book(self, instrument: Instrument, leverage: Decimal) -> B:
        """Return an empty book for a symbol."""

    @abstractmethod
    def _send(self, book: B, order: ExchangeOrder, now_ms: int) -> None:
        """Send an accepted order, or an order amended to another price, to the book."""

    def _sent_ms(self, now_ms: int) -> int:
        """Return the time at which an action that comes at ``now_ms`` counts as sent."""
        return now_ms

    def _add(self, instrument: Instrument) -> None:
        leverage = min(self.terms.leverage, instrument.max_leverage)
        self._books[instrument.symbol] = self._book(instrument, leverage)

    def change(self, instrument: Instrument, now_ms: int) -> None:
        """Take new rules for a symbol, or a new symbol."""
        book = self._books.get(instrument.symbol)
        if book is None:
            self._add(instrument)
            return
        book.set_rules(instrument)
        for slot in book.slots:
            slot.leverage = min(slot.leverage, instrument.max_leverage)
            self.account.revalue(slot)
        self._ledger.watch(book.slots)

    def is_busy(self, symbol: str) -> bool:
        """Return True if there is an open order or a position in a symbol."""
        return symbol in self._books and self._books[symbol].busy

    def settle_funding(self, symbol: str, ts_ms: int, rate: Decimal, mark: Decimal | None = None) -> None:
        """Pay funding on the positions held at ``ts_ms``, at ``mark`` or the mark of that time; once a stamp.

        A stamp may come late: its payment is that of its own time, whatever was traded since.
        """
        book = self._books.get(symbol)
        if book is not None and mark is None:
            mark = book.mark_at(ts_ms)
        if book is not None and mark is not None:
            self._ledger.pay_funding(book, FundingRate(ts_ms, symbol, rate), mark)
            self._ledger.publish(ts_ms)

    # Orders

    def place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        """``order/create``."""
        now_ms = self._sent_ms(now_ms)
        return self._counted(self._place(new, now_ms))

    def _place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        book = self._books.get(new.symbol)
        if book is None:
            return refusals.UNKNOWN_SYMBOL
        slot = book.slot(new.position_idx)
        if slot is None:
            return refusals.POSITION_IDX
        if new.link_id and new.link_id in self._links:
            return refusals.DUPLICATE_ID
        held, price = book.prospective_qty(slot), book.price()
        if price is None:
            return _no_liquidity(new, book)
        new = admission.normal(new, held, book.instrument)
        refusal = self._refuse_new(new, book, slot, held, price)
        # Too large for the risk limit and for the wallet: Bybit names the wallet (110007).
        if refusal is not None and refusal is not refusals.RISK_LIMIT:
            return refusal
        order = _accepted(new, book, price, now_ms)
        if not order.reduces and not order.conditional:
            paid = order.price if new.order_type == "Limit" else price
            margin = self.account.opening_margin(slot, order.side, order.qty, paid, held)
            if margin > ZERO and margin > self.account.available_quote:
                return refusals.NO_BALANCE
            order.margin_quote = margin
        if refusal is not None:
            return refusal
        if new.link_id:
            self._links[new.link_id] = new.order_id
            if len(self._links) > LINKS_KEPT:
                self._forget_links()
        if order.conditional:
            book.orders[order.order_id] = order
            self._ledger.note(order, now_ms)
            self._ledger.publish(now_ms)
        else:
            self._send(book, order, now_ms)
        return None

    def _refuse_new(
        self, new: NewOrder, book: B, slot: PositionSlot, held: Decimal, price: Decimal
    ) -> Refusal | None:
        if new.sl_order_type == "Limit" or new.tp_order_type == "Limit":
            legs = (new.sl_order_type, new.sl_limit_price), (new.tp_order_type, new.tp_limit_price)
            refusal = stops.refuse_kinds(new.tpsl_mode, *legs)
            if refusal is not None:
                return refusal
        trigger_base = book.price_by(new.trigger_by) if new.trigger_price is not None else None
        refusal = admission.refuse_new(new, _context(book, slot, held, price), trigger_base)
        if refusal is None and new.trigger_price is None and new.order_type == "Market":
            return None if book.has_offer(new.side) else _no_liquidity(new, book)
        return refusal

    def _forget_links(self) -> None:
        for _ in range(len(self._links)):
            if len(self._links) <= LINKS_KEPT:
                return
            oldest = next(iter(self._links))
            order_id = self._links.pop(oldest)
            if any(order_id in book.orders for book in self._books.values()):
                self._links[oldest] = order_id  # still open: it stays, as the newest

    def amend(self, change: Amend, now_ms: int) -> Refusal | None:
        """``order/amend``: change only the given values; the order id stays.

        An order with a new price or a larger quantity loses its place in the queue and may take at once.
        A TP/SL order is moved by its trigger price.
        """
        now_ms = self._sent_ms(now_ms)
        book = self._books.get(change.symbol)
        order = book.orders.get(change.order_id) if book is not None else None
        if book is None or order is None:
            return self._counted(refusals.GONE_AMEND)
        return self._counted(self._amend(book, order, _completed(change, order), now_ms))

    def _amend(self, book: B, order: ExchangeOrder, to: "_Amended", now_ms: int) -> Refusal | None:
        if to == _Amended(order.qty, order.price, order.trigger_price, order.stop_loss, order.take_profit):
            return refusals.SAME_ORDER
        slot = book.slot_of(order)
        refusal = self._refuse_amended(book, slot, order, to)
        if refusal is not None:
            return refusal
        margin = ZERO
        if not order.reduces and not order.conditional:
            margin = self.account.opening_margin(slot, order.side, to.qty, to.price, slot.position.qty)
        if margin > order.margin_quote and margin - order.reserved_quote > self.account.available_quote:
            return refusals.NO_BALANCE
        moved = to.price != order.price or to.qty > order.qty
        order.margin_quote = margin
        order.leaves_qty = to.qty - order.cum_exec_qty
        order.qty, order.trigger_price = to.qty, to.trigger_price
        order.stop_loss, order.take_profit = to.stop_loss, to.take_profit
        order.price = book.banded(order.side, to.price) if to.price else to.price
        if moved and not order.conditional:
            book.forget(order)
            self._send(book, order, now_ms)
        else:
            self._ledger.note(order, now_ms)
            self._protection.finish(now_ms)
        return None

    def _refuse_amended(
        self, book: B, slot: PositionSlot, order: ExchangeOrder, to: "_Amended"
    ) -> Refusal | None:
        if to.qty <= order.cum_exec_qty:
            return refusals.BELOW_FILLED
        base = book.price_by(order.trigger_by)
        if order.stop_order_type in PROTECTIVE:
            if to.qty != order.qty and not stops.is_size(to.qty, slot.position.qty, book.instrument):
                return refusals.BAD_SIZE
            assert base is not None, "a position was filled at a price"
            return stops.refuse_moved(order, to.price, to.trigger_price, base, book.instrument)
        price = book.price()
        assert price is not None, "an order was placed at a price"
        change = Amend(symbol=order.symbol, order_id=order.order_id, **to._asdict())
        context = _context(book, slot, slot.position.qty, price)
        return admission.refuse_amended(order, change, context, base)

    def cancel(self, cancel: Cancel, now_ms: int) -> Refusal | None:
        """``order/cancel``: 110001 if there is no such open order."""
        now_ms = self._sent_ms(now_ms)
        book = self._books.get(cancel.symbol)
        order = book.orders.get(cancel.order_id) if book is not None else None
        if book is None or order is None:
            return self._counted(refusals.GONE_CANCEL)
        self._withdraw(book, order, now_ms)
        return None

    def _withdraw(self, book: B, order: ExchangeOrder, now_ms: int) -> None:
        """Cancel an open order for its owner."""
        self._ledger.end(order, now_ms, "CancelByUser", "EC_PerCancelRequest")
        self._protection.finish(now_ms)

    def cancel_all(
        self,
        symbols: Collection[str] | None,
        now_ms: int,
        kind: str = "",
        *,
        choose: Callable[[list[ExchangeOrder]], list[ExchangeOrder]] = list,
    ) -> list[ExchangeOrder]:
        """Cancel the open orders of ``symbols`` (None: all) and return them; ``choose`` may leave out some.

        ``kind`` is Bybit's orderFilter: ``Order`` active ones, ``StopOrder`` conditional ones and TP/SL,
        ``tpslOrder`` TP/SL, ``OpenOrder`` or empty all of them.
        """
        now_ms = self._sent_ms(now_ms)
        chosen = [order for order in self.open_orders(None) if _is_kind(order, kind)]
        chosen = choose([order for order in chosen if symbols is None or order.symbol in symbols])
        for order in chosen:
            if order.open:  # the cancel before may have ended it
                self._withdraw(self._books[order.symbol], order, now_ms)
        return chosen

    def trading_stop(self, asked: TradingStop, now_ms: int) -> Refusal | None:
        """``position/trading-stop``: 34040 if nothing changes."""
        now_ms = self._sent_ms(now_ms)
        book = self._books.get(asked.symbol)
        if book is None:
            return self._counted(refusals.UNKNOWN_SYMBOL)
        slot = book.slot(asked.position_idx)
        if slot is None:
            return self._counted(refusals.POSITION_IDX)
        return self._counted(self._protection.set_stops(slot, asked, now_ms))

    def _counted(self, refusal: Refusal | None) -> Refusal | None:
        if refusal is not None:
            self._ledger.facts.refusals += 1
        return refusal

    # Settings

    def set_leverage(self, asked: SetLeverage, now_ms: int) -> Refusal | None:
        """``position/set-leverage``."""
        now_ms = self._sent_ms(now_ms)
        book = self._books.get(asked.symbol)
        if book is None:
            return refusals.UNKNOWN_SYMBOL
        return self._settings.set_leverage(book, asked.buy, asked.sell, now_ms)

    def switch_mode(self, symbol: str, hedge: bool) -> Refusal | None:
        """``position/switch-mode``; refused unless the symbol is flat and has no orders."""
        book = self._books.get(symbol)
        return refusals.UNKNOWN_SYMBOL if book is None else switch_mode(book, hedge)

    def set_margin_mode(self, mode: MarginMode, now_ms: int) -> Refusal | None:
        """``account/set-margin-mode``, for the whole account; refused if the margin would not suffice."""
        now_ms = self._sent_ms(now_ms)
        return self._settings.set_margin_mode(mode, now_ms)

    def add_margin(self, asked: AddMargin, now_ms: int) -> Refusal | None:
        """``position/add-margin``."""
        now_ms = self._sent_ms(now_ms)
        book = self._books.get(asked.symbol)
        slot = book.slot(asked.position_idx) if book is not None else None
        if slot is None:
            return refusals.NO_POSITION
        return self._settings.add_margin(slot, asked.amount, now_ms)

    def adjust_wallet(self, amount: Decimal, now_ms: int) -> None:
        """Give money, or with ``amount`` < 0 take it (demo-apply-money)."""
        self.account.cash.initial += amount
        self._ledger.money_moved(now_ms)

    # What a fault plan does

    def adl(self, symbol: str, position_idx: int, qty: Decimal, now_ms: int) -> None:
        """Auto-deleverage ``qty`` of a position at the mark."""
        if (slot := self._held(symbol, position_idx)) is not None:
            self._liquidator.deleverage(slot, qty, now_ms)

    def liquidate(self, symbol: str, position_idx: int, now_ms: int) -> None:
        """Close a position at its bankruptcy price, even if its margin suffices."""
        if (slot := self._held(symbol, position_idx)) is not None:
            self._liquidator.take_over(slot, now_ms)

    def deliver(self, symbol: str, now_ms: int) -> None:
        """Take a contract off the list: cancel its orders and close its positions at the mark."""
        book = self._books.get(symbol)
        if book is None:
            return
        for order in list(book.orders.values()):
            self._ledger.end(order, now_ms, "CancelBySettle")
        for slot in book.slots:
            self._liquidator.deliver(slot, now_ms)
        self._protection.finish(now_ms)

    def _held(self, symbol: str, idx: int) -> PositionSlot | None:
        slot = self._books[symbol].slot(idx) if symbol in self._books else None
        return slot if slot is not None and slot.position.qty else None

    # What there is

    def banded(self, symbol: str, side: Side, price: Decimal) -> Decimal:
        """Return a limit price moved into the symbol's present band."""
        book = self._books.get(symbol)
        return price if book is None else book.banded(side, price)

    def drain(self) -> list[ExchangeEvent]:
        """The events since the last call, in Bybit's order."""
        return self._ledger.drain()

    @property
    def facts(self) -> SimulationFacts:
        """Counts that a report on the simulation must give."""
        return self._ledger.facts

    @property
    def symbols(self) -> list[str]:
        """Known symbols."""
        return list(self._books)

    def instrument(self, symbol: str) -> Instrument:
        """Rules of a symbol; KeyError for an unknown one."""
        return self._books[symbol].instrument

    def last_price(self, symbol: str) -> Decimal | None:
        """The last price, else a substitute (see the books' ``price``); None before any price."""
        return self._books[symbol].price()

    def offer(self, symbol: str, side: Side, level: int) -> Decimal | None:
        """The price of a level (1 is the best) on the book side where orders of ``side`` rest, if any."""
        return None

    def order(self, symbol: str, order_id: str) -> ExchangeOrder | None:
        """An open order; not to be changed by the caller."""
        book = self._books.get(symbol)
        return book.orders.get(order_id) if book is not None else None

    def order_id_of(self, link_id: str) -> str | None:
        """The id of the order with this link id; only the last ``LINKS_KEPT`` link ids are kept."""
        return self._links.get(link_id)

    def open_orders(self, symbol: str | None) -> list[ExchangeOrder]:
        """Open orders of a symbol or (None) of all, conditional ones and TP/SL included."""
        if symbol is not None:
            book = self._books.get(symbol)
            return list(book.orders.values()) if book is not None else []
        return [order for book in self._books.values() for order in book.orders.values()]

    def position(self, symbol: str, idx: int) -> PositionView | None:
        """A position, flat or not; None if symbol or index do not exist."""
        book = self._books.get(symbol)
        slot = book.slot(idx) if book is not None else None
        return position_view(slot, self.account) if slot is not None else None

    def positions(self, symbol: str | None = None) -> list[PositionView]:
        """All positions of a symbol, flat ones too, or (None) the open ones of all symbols."""
        if symbol is not None:
            book = self._books.get(symbol)
            slots = book.slots if book is not None else []
        else:
            slots = list(self.account.held.values())
        return [position_view(slot, self.account) for slot in slots]

    def wallet(self) -> WalletView:
        """The account's money."""
        return wallet_view(self.account)


class _Amended(NamedTuple):
    """Every value of an order after an amendment."""

    qty: Decimal
    price: Decimal
    trigger_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal


def _completed(change: Amend, order: ExchangeOrder) -> _Amended:
    limit = order.order_type == "Limit"
    return _Amended(
        change.qty or order.qty,
        change.price if change.price and limit else order.price,
        change.trigger_price if change.trigger_price and order.conditional else order.trigger_price,
        change.stop_loss if change.stop_loss is not None else order.stop_loss,
        change.take_profit if change.take_profit is not None else order.take_profit,
    )


def _context(book: SymbolBook, slot: PositionSlot, held: Decimal, price: Decimal) -> OrderContext:
    waiting = stop = 0
    for order in book.orders.values():
        if order.status == "Untriggered":
            waiting += 1
            stop += order.stop_order_type == "Stop"
    return OrderContext(book.instrument, held, price, slot.leverage, len(book.orders) - waiting, stop)


def _no_liquidity(new: NewOrder, book: SymbolBook) -> Refusal:
    limits = book.bounds()
    return Refusal(10001, f" [{new.order_id}]{new.side.lower()}: [{limits.highest},{limits.lowest}] invalid")


def _accepted(new: NewOrder, book: SymbolBook, last: Decimal, now_ms: int) -> ExchangeOrder:
    """Return an order as it enters the venue; move its limit price into the band unless conditional."""
    order = ExchangeOrder(
        order_id=new.order_id,
        link_id=new.link_id,
        symbol=new.symbol,
        side=new.side,
        order_type=new.order_type,
        qty=new.qty,
        leaves_qty=new.qty,
        price=new.price or ZERO,
        time_in_force=new.time_in_force,
        position_idx=new.position_idx,
        reduce_only=new.reduce_only,
        reduces=admission.only_reduces(new),
        close_on_trigger=new.close_on_trigger,
        create_type=new.create_type,
        created_ms=now_ms,
        updated_ms=now_ms,
        stop_loss=new.stop_loss or ZERO,
        take_profit=new.take_profit or ZERO,
        last_price_on_created=last,
    )
    if new.stop_loss or new.take_profit:
        order.sl_trigger_by, order.tp_trigger_by = new.sl_trigger_by, new.tp_trigger_by
        order.tpsl_mode = new.tpsl_mode or "Full"
        order.sl_order_type, order.tp_order_type = new.sl_order_type, new.tp_order_type
        order.sl_limit_price, order.tp_limit_price = new.sl_limit_price or ZERO, new.tp_limit_price or ZERO
    if new.slippage_type:
        order.slippage_type, order.slippage = new.slippage_type, new.slippage
    if new.trigger_price is not None:
        order.trigger_price, order.trigger_by = new.trigger_price, new.trigger_by
        order.trigger_direction = triggers.direction_of(
            new.trigger_direction, new.trigger_price, book.price_by(new.trigger_by)
        )
        order.status, order.stop_order_type = "Untriggered", "Stop"
    elif order.price:
        order.price = book.banded(order.side, order.price)
    return order


def _is_kind(order: ExchangeOrder, kind: str) -> bool:
    if kind == "Order":
        return not order.conditional
    if kind == "StopOrder":
        return order.conditional
    if kind == "tpslOrder":
        return order.conditional and order.stop_order_type != "Stop"
    return True
