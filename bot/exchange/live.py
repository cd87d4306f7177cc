"""The live exchange: the venue's rules for prices that arrive one by one.

Where ``venue.Exchange`` walks closed bars, this one is told every quote, trade and mark. It has the order
kinds of Bybit's linear contracts (limit, market, conditional, TP/SL, trailing), both position modes and
both margin modes, with the formulas of ``account`` and the refusals of ``rules``.

Read this file, then ``crossing`` (executions), ``triggers``, ``protection``, ``margin_calls`` and
``live_clearing`` (what follows from each). No clock: every call says when it happens.
"""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from itertools import count

from bot.domain.ledger import Cash
from bot.domain.market import Instrument
from bot.domain.messages import FundingRate
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange import live_checks as checks
from bot.exchange import rules
from bot.exchange.account import Account, Mode
from bot.exchange.amending import Amending
from bot.exchange.clearing import Facts
from bot.exchange.crossing import Crossing
from bot.exchange.depth import NO_DEPTH, Depth
from bot.exchange.live_book import Band, LiveBook, Pocket
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.live_orders import (
    Happening,
    LiveOrder,
    NewOrder,
    PositionView,
    TpslMode,
    TradingStop,
    TriggerBy,
    WalletView,
)
from bot.exchange.live_setup import NO_POSITION, Setup, switch_mode
from bot.exchange.live_views import position_view, wallet_view
from bot.exchange.margin_calls import MarginCalls
from bot.exchange.protection import Protection
from bot.exchange.rules import Refusal
from bot.exchange.terms import Terms
from bot.exchange.triggers import Triggers

LINKS_KEPT = 100_000
"""Link ids remembered as used, some 25 MB of them; the oldest of closed orders are forgotten beyond."""


def counted_ids() -> Iterator[str]:
    """Names in the shape of a UUID, counting up: the default of what the venue names itself."""
    return (f"00000000-0000-4000-8000-{number:012x}" for number in count(1))


class LiveExchange:
    """One account at the venue.

    Args:
        instruments: rules per symbol; an order for any other symbol is refused.
        wallet_quote: USDT at the start.
        terms: fees, leverage and margin mode; spread, impact and liquidity are the market's own here.
        bands: price bands per symbol, where they differ from ``Band()``.
        ids: names for executions and for the orders that the venue makes; unique.

    Every method that changes something takes the time and leaves what happened for ``drain``.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        wallet_quote: Decimal,
        terms: Terms | None = None,
        *,
        bands: Mapping[str, Band] | None = None,
        ids: Iterator[str] | None = None,
    ) -> None:
        self.terms = terms if terms is not None else Terms()
        self._bands = bands if bands is not None else {}
        self._links: dict[str, str] = {}
        """Order id by link id: one of the last ``LINKS_KEPT`` is not free again."""
        self._books: dict[str, LiveBook] = {}
        active: dict[str, Pocket] = {}
        for instrument in instruments.values():
            self._add(instrument)
        self.account: Account[Pocket] = Account(
            Cash(wallet_quote), self.terms.margin_mode, self.terms.taker_fee_frac, active
        )
        names = ids if ids is not None else counted_ids()
        self._clearing = LiveClearing(self.terms, self.account, self._books, active, names)
        self._protection = Protection(self._clearing)
        self._crossing = Crossing(self._clearing, self._protection)
        self._triggers = Triggers(self.account, self._clearing, self._protection, self._crossing)
        self._calls = MarginCalls(self.account, self._clearing, self._protection, self._books)
        self._setup = Setup(self.account, self._clearing)
        self._amending = Amending(self.account, self._clearing, self._protection, self._crossing)

    # What the market does

    def quote(self, symbol: str, ts_ms: int, depth: Depth) -> None:
        """What is offered now; resting orders that it crosses are executed at their own price."""
        book = self._books.get(symbol)
        if book is None:
            return
        book.depth = depth
        book.quoted_ms = ts_ms
        if book.busy:
            self._quoted(book, ts_ms)

    def _quoted(self, book: LiveBook, ts_ms: int) -> None:
        """Fill the resting orders that the depth crosses, if there are any."""
        depth, low, high = book.depth, book.quote_low, book.quote_high
        crossed = (low is not None and bool(depth.asks) and depth.asks[0][0] <= low) or (
            high is not None and bool(depth.bids) and depth.bids[0][0] >= high
        )
        if crossed:
            self._crossing.quoted(book, ts_ms)

    def trade(
        self, symbol: str, ts_ms: int, price: Decimal, qty: Decimal, depth: Depth | None = None
    ) -> None:
        """Others traded: move the last price, fill resting orders that it went through, then fire triggers.

        ``depth`` is what is offered after the trade: a triggered order meets this, never the offers from
        before the trade. Without it, a trade outside the touch moves the touch (``Depth.moved_to``).
        """
        book = self._books.get(symbol)
        if book is None:
            return
        book.last = price
        if depth is not None:
            book.depth = depth
            book.quoted_ms = ts_ms
        else:
            book.depth = book.depth.moved_to(price, book.instrument.tick_size)
        if not book.busy:
            return
        low, high = book.trade_low, book.trade_high
        if (low is None or low < price) and (high is None or price < high):
            if depth is not None:
                self._quoted(book, ts_ms)
            return
        self._crossing.traded(book, price, qty, ts_ms)
        if depth is not None:
            self._quoted(book, ts_ms)
        self._triggers.look(book, "LastPrice", price, ts_ms)

    def mark(self, symbol: str, ts_ms: int, mark: Decimal, index: Decimal | None = None) -> None:
        """Mark and index: margin and liquidation, and triggers that look at them."""
        book = self._books.get(symbol)
        if book is None:
            return
        book.set_mark(ts_ms, mark, index)
        if not book.busy:
            return
        if book.orders:
            self._triggers.look(book, "MarkPrice", mark, ts_ms)
            self._triggers.look(book, "IndexPrice", index if index is not None else mark, ts_ms)
        self._calls.look(book, ts_ms)

    def settle_funding(self, symbol: str, ts_ms: int, rate: Decimal) -> None:
        """Pay funding on the positions held at ``ts_ms``; once per stamp."""
        book = self._books.get(symbol)
        if book is not None:
            self._clearing.pay_funding(book, FundingRate(ts_ms, symbol, rate))
            self._clearing.publish(ts_ms)

    def change(self, instrument: Instrument) -> None:
        """New rules for a symbol, or a new symbol."""
        book = self._books.get(instrument.symbol)
        if book is None:
            self._add(instrument)
            return
        book.set_rules(instrument)
        for pocket in book.pockets:
            pocket.leverage = min(pocket.leverage, instrument.max_leverage)
            self.account.revalue(pocket)
        self._clearing.watch(book.pockets)

    def _add(self, instrument: Instrument) -> None:
        symbol = instrument.symbol
        leverage = min(self.terms.leverage, instrument.max_leverage)
        self._books[symbol] = LiveBook(instrument, leverage, self._bands.get(symbol, Band()))

    # Orders

    def place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        """``order/create``: None, or why it was refused. What comes of it is told by ``drain``."""
        return self._counted(self._place(new, now_ms))

    def _place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        book = self._books.get(new.symbol)
        if book is None:
            return rules.UNKNOWN_SYMBOL
        pocket = book.pocket(new.position_idx)
        if pocket is None:
            return checks.POSITION_IDX
        if new.link_id and new.link_id in self._links:
            return rules.DUPLICATE_ID
        new = checks.normal(new, pocket)
        refusal = checks.refuse(new, book, pocket)
        # Too large for the risk limit and for the wallet: Bybit names the wallet (110007).
        if refusal is not None and refusal.code != rules.RISK_LIMIT:
            return refusal
        order = checks.accepted(new, book, now_ms)
        if not order.conditional and not order.reduces:
            price = order.price if new.order_type == "Limit" else book.price()
            assert price is not None, "checked"
            margin = self.account.opening_margin(pocket, order.side, order.qty, price, pocket.position.qty)
            if margin > ZERO and margin > self.account.available_quote:
                return rules.NO_BALANCE
            order.margin_quote = margin
        if refusal is not None:
            return refusal
        if new.link_id:
            self._links[new.link_id] = new.order_id
            self._forget_links()
        if order.conditional:
            book.orders[order.order_id] = order
            self._clearing.note(order, now_ms)
            self._clearing.publish(now_ms)
        else:
            if order.reduces:
                order.qty = order.leaves_qty = min(order.qty, abs(pocket.position.qty))
            self._crossing.arrive(book, order, now_ms)
        return None

    def _forget_links(self) -> None:
        for _ in range(len(self._links)):
            if len(self._links) <= LINKS_KEPT:
                return
            oldest = next(iter(self._links))
            order_id = self._links.pop(oldest)
            if any(order_id in book.orders for book in self._books.values()):
                self._links[oldest] = order_id  # still open: it stays, as the newest

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
        """``order/amend``: None leaves a value as it is, ``stop_loss`` or ``take_profit`` 0 removes it."""
        book = self._books.get(symbol)
        order = book.orders.get(order_id) if book is not None else None
        if book is None or order is None:
            return self._counted(checks.GONE_AMEND)
        return self._counted(
            self._amending.amend(
                book,
                order,
                now_ms,
                qty=qty,
                price=price,
                trigger_price=trigger_price,
                stop_loss=stop_loss,
                take_profit=take_profit,
            )
        )

    def cancel(
        self, symbol: str, order_id: str, now_ms: int, cancel_type: str = "CancelByUser"
    ) -> Refusal | None:
        """``order/cancel``: None, or 110001 if there is no such open order."""
        book = self._books.get(symbol)
        order = book.orders.get(order_id) if book is not None else None
        if order is None:
            return self._counted(checks.GONE_CANCEL)
        self._clearing.end(order, now_ms, cancel_type, "EC_PerCancelRequest")
        self._protection.finish(now_ms)
        return None

    def cancel_all(self, symbols: Collection[str] | None, now_ms: int, kind: str = "") -> list[LiveOrder]:
        """Cancel the open orders of ``symbols`` (None: all) and return them.

        ``kind`` is Bybit's orderFilter: ``Order`` active ones, ``StopOrder`` conditional ones and TP/SL,
        ``tpslOrder`` TP/SL, ``OpenOrder`` or empty all of them.
        """
        ended = [order for order in self.open_orders(None) if _is_kind(order, kind)]
        ended = [order for order in ended if symbols is None or order.symbol in symbols]
        for order in ended:
            self._clearing.end(order, now_ms, "CancelByUser", "EC_PerCancelRequest")
        self._protection.finish(now_ms)
        return ended

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
        """``position/trading-stop``: None leaves a value as it is, 0 removes it; 34040 if nothing changes.

        A limit price makes that leg a limit order (``Partial`` only).
        """
        book = self._books.get(symbol)
        if book is None:
            return self._counted(rules.UNKNOWN_SYMBOL)
        pocket = book.pocket(position_idx)
        if pocket is None:
            return self._counted(checks.POSITION_IDX)
        wish = TradingStop(
            stop_loss=stop_loss,
            take_profit=take_profit,
            trailing_stop=trailing_stop,
            active_price=active_price,
            tpsl_mode=tpsl_mode,
            sl_size=sl_size,
            tp_size=tp_size,
            sl_trigger_by=sl_trigger_by,
            tp_trigger_by=tp_trigger_by,
            sl_order_type="Limit" if sl_limit_price else "Market",
            tp_order_type="Limit" if tp_limit_price else "Market",
            sl_limit_price=sl_limit_price,
            tp_limit_price=tp_limit_price,
        )
        return self._counted(self._protection.set_stops(pocket, wish, now_ms))

    def _counted(self, refusal: Refusal | None) -> Refusal | None:
        self._clearing.facts.refusals += refusal is not None
        return refusal

    # Settings

    def set_leverage(self, symbol: str, buy: Decimal, sell: Decimal, now_ms: int) -> Refusal | None:
        """``position/set-leverage``; both must be equal in one-way mode."""
        book = self._books.get(symbol)
        return rules.UNKNOWN_SYMBOL if book is None else self._setup.set_leverage(book, buy, sell, now_ms)

    def switch_mode(self, symbol: str, hedge: bool) -> Refusal | None:
        """``position/switch-mode``: only while flat and without orders."""
        book = self._books.get(symbol)
        return rules.UNKNOWN_SYMBOL if book is None else switch_mode(book, hedge)

    def set_margin_mode(self, mode: Mode, now_ms: int) -> Refusal | None:
        """``account/set-margin-mode``, for the whole account; refused if the margin would not carry it."""
        return self._setup.set_margin_mode(mode, now_ms)

    def add_margin(self, symbol: str, position_idx: int, amount: Decimal, now_ms: int) -> Refusal | None:
        """``position/add-margin``: bind more (or with ``amount`` < 0 free) margin of an isolated position."""
        book = self._books.get(symbol)
        pocket = book.pocket(position_idx) if book is not None else None
        return NO_POSITION if pocket is None else self._setup.add_margin(pocket, amount, now_ms)

    def adjust_wallet(self, amount: Decimal, now_ms: int) -> None:
        """Give money, or with ``amount`` < 0 take it (demo-apply-money)."""
        self.account.cash.initial += amount
        self._clearing.money_moved(now_ms)

    # What a fault plan does

    def adl(self, symbol: str, position_idx: int, qty: Decimal, now_ms: int) -> None:
        """Auto-deleverage ``qty`` of a position at the mark."""
        if (pocket := self._held(symbol, position_idx)) is not None:
            self._calls.deleverage(pocket, qty, now_ms)

    def liquidate(self, symbol: str, position_idx: int, now_ms: int) -> None:
        """Take a position over at its bankruptcy price, whatever its margin."""
        if (pocket := self._held(symbol, position_idx)) is not None:
            self._calls.take_over(pocket, now_ms)

    def _held(self, symbol: str, idx: int) -> Pocket | None:
        pocket = self._books[symbol].pocket(idx) if symbol in self._books else None
        return pocket if pocket is not None and pocket.position.qty else None

    # What there is

    def drain(self) -> list[Happening]:
        """What happened since the last call, in Bybit's order."""
        return self._clearing.drain()

    @property
    def facts(self) -> Facts:
        """Counts of refusals, liquidations and bankruptcies."""
        return self._clearing.facts

    @property
    def symbols(self) -> list[str]:
        """Known symbols."""
        return list(self._books)

    def instrument(self, symbol: str) -> Instrument:
        """Rules of a symbol; KeyError for an unknown one."""
        return self._books[symbol].instrument

    def hedge(self, symbol: str) -> bool:
        """Whether the symbol is in hedge mode."""
        return self._books[symbol].hedge

    def last_price(self, symbol: str) -> Decimal | None:
        """The last price, else the middle of the depth, else the mark; None before any."""
        return self._books[symbol].price()

    def offer(self, symbol: str, side: Side, level: int) -> Decimal | None:
        """The price of a level (from 1) of the side of the book that orders of ``side`` rest in."""
        depth = self._books[symbol].depth if symbol in self._books else NO_DEPTH
        levels = depth.bids if side == "Buy" else depth.asks
        return levels[level - 1][0] if level <= len(levels) else None

    def order(self, symbol: str, order_id: str) -> LiveOrder | None:
        """An open order; not to be changed by the caller."""
        book = self._books.get(symbol)
        return book.orders.get(order_id) if book is not None else None

    def order_id_of(self, link_id: str) -> str | None:
        """The order that used this link id, of the last ``LINKS_KEPT``."""
        return self._links.get(link_id)

    def open_orders(self, symbol: str | None) -> list[LiveOrder]:
        """Open orders of a symbol or (None) of all, conditional ones and TP/SL included."""
        if symbol is not None:
            book = self._books.get(symbol)
            return list(book.orders.values()) if book is not None else []
        return [order for book in self._books.values() if book.busy for order in book.orders.values()]

    def position(self, symbol: str, idx: int) -> PositionView | None:
        """A position, flat or not; None if symbol or index do not exist."""
        book = self._books.get(symbol)
        pocket = book.pocket(idx) if book is not None else None
        return position_view(pocket, self.account) if pocket is not None else None

    def positions(self, symbol: str | None = None) -> list[PositionView]:
        """All positions of a symbol, flat ones too, or (None) the open ones of all symbols."""
        if symbol is not None:
            book = self._books.get(symbol)
            pockets = book.pockets if book is not None else []
        else:
            pockets = list(self.account.held.values())
        return [position_view(pocket, self.account) for pocket in pockets]

    def wallet(self) -> WalletView:
        """The account's money."""
        return wallet_view(self.account)


def _is_kind(order: LiveOrder, kind: str) -> bool:
    if kind == "Order":
        return not order.conditional
    if kind == "StopOrder":
        return order.conditional
    if kind == "tpslOrder":
        return order.conditional and order.stop_order_type != "Stop"
    return True
