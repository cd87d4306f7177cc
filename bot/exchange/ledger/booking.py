"""What an execution does to order, position and cash, and the events that say so.

Everything that one match does is collected, and ``publish`` emits it at once in Bybit's order: orders and
executions (with one sequence number), then positions, then the wallet.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from bot.domain.messages import FundingRate
from bot.domain.money import ZERO, to_money
from bot.exchange.events import (
    ExchangeEvent,
    ExecType,
    Executed,
    Execution,
    OrderChanged,
    PositionChanged,
    WalletChanged,
)
from bot.exchange.ledger.book import PositionSlot, SymbolBook
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.orders import ExchangeOrder
from bot.exchange.terms import Terms

_ENDED = frozenset({"Filled", "Cancelled", "Deactivated", "Rejected"})
"""An order that has ended never changes again: it needs no copy."""


class SimulationFacts(msgspec.Struct):
    """Figures that a report must give about the simulation itself: counts, and one amount."""

    detail_missing_bars: int = 0
    """Bars walked whose finer candles, given for the symbol, do not cover the whole bar."""
    detail_mismatch_bars: int = 0
    """Bars walked whose finer candles have another open, high, low or close; the bar's own path was used."""
    mark_missing_bars: int = 0
    """Bars walked with a position open and no mark candle although others were given."""
    stale_bars: int = 0
    """Bars that end no later than one already seen: ignored."""
    refusals: int = 0
    liquidations: int = 0
    bankruptcies: int = 0
    """Liquidations that left the wallet below zero."""
    shortfall_quote: Decimal = ZERO
    """Deepest the wallet was below zero, after a loss or funding."""


class Ledger:
    """Books executions, funding and ends of orders; ``ids`` names executions and the venue's own orders.

    With ``for_client`` False acceptances and positions are not emitted: an engine in this process needs
    executions, ends of orders and TP/SL only, and a backtest spends a third less on an order.
    """

    def __init__(
        self,
        terms: Terms,
        account: MarginAccount,
        books: Mapping[str, SymbolBook],
        ids: Iterator[str],
        *,
        for_client: bool = True,
    ) -> None:
        self._for_client = for_client
        self.facts = SimulationFacts()
        self.seq = 0
        """The sequence number of the last published match."""
        self.executed: dict[str, ExchangeOrder] = {}
        """Orders executed in this match, by id."""
        self.touched: dict[str, PositionSlot] = {}
        """Slots whose orders or position changed in this match."""
        self._terms = terms
        self._account = account
        self._books = books
        self._ids = ids
        self._moved = False
        """Whether something in this match changed what a position needs or what the wallet has."""
        self._orders: list[tuple[ExchangeOrder, bool]] = []
        self._executions: list[Executed] = []
        self._emitted: list[ExchangeEvent] = []

    def next_id(self) -> str:
        """Return a new id for an execution or for an order of the venue."""
        return next(self._ids)

    def drain(self) -> list[ExchangeEvent]:
        """The events since the last call."""
        emitted, self._emitted = self._emitted, []
        return emitted

    def touch(self, slot: PositionSlot) -> None:
        """Mark a position as changed: ``publish`` emits it and recomputes its margin range."""
        self._moved = True
        self.touched[slot.key] = slot

    def note(self, order: ExchangeOrder, ts_ms: int, *, matched: bool = True) -> None:
        """Collect an order's state for ``publish``; ``matched`` is False if only a trailing stop moved."""
        order.updated_ms = ts_ms
        self._orders.append((order if order.status in _ENDED else copy.copy(order), matched))
        if order.order_id in self.executed:  # its slot is touched already
            return
        slot = self._books[order.symbol].slot_of(order)
        self.touched[slot.key] = slot

    def accept(self, order: ExchangeOrder, ts_ms: int) -> None:
        """Collect an accepted order, which is on its way to the book, for ``publish``."""
        if self._for_client:
            self.note(order, ts_ms)
            self.publish(ts_ms)

    def end(
        self, order: ExchangeOrder, ts_ms: int, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError"
    ) -> None:
        """Close an order: Deactivated while it waited for its trigger, else Cancelled."""
        order.status = "Deactivated" if order.status == "Untriggered" else "Cancelled"
        order.cancel_type, order.reject_reason = cancel_type, reason
        order.leaves_qty = order.margin_quote = ZERO
        self._books[order.symbol].forget(order)
        self.note(order, ts_ms)

    # Executions

    def execute(
        self,
        order: ExchangeOrder,
        qty: Decimal,
        price: Decimal,
        ts_ms: int,
        *,
        maker: bool = False,
        exec_type: ExecType = "Trade",
        base: Decimal | None = None,
    ) -> None:
        """Fill part or all of an order: position, cash and order change; ``note`` emits the order.

        ``base`` is the price without spread and impact, None for a maker.
        """
        book = self._books[order.symbol]
        slot = book.slot_of(order)
        free = exec_type in ("AdlTrade", "Settle")
        value = to_money(qty * price)
        fee = ZERO if free else self._terms.fee_quote(value, maker)
        closed, pnl = self._move(slot, order, qty, price, fee, ts_ms)
        order.cum_exec_qty += qty
        order.cum_exec_value += value
        order.cum_exec_fee += fee
        order.avg_price = price if order.cum_exec_qty == qty else order.cum_exec_value / order.cum_exec_qty
        order.leaves_qty -= qty
        order.updated_ms = ts_ms
        if order.leaves_qty:
            order.status = "PartiallyFilled"
        else:
            order.status = "Filled"
            book.forget(order)
        self.executed[order.order_id] = order
        mark, index = book.mark_and_index()
        execution = Execution(
            exec_id=next(self._ids),
            exec_type=exec_type,
            order_id=order.order_id,
            link_id=order.link_id,
            symbol=order.symbol,
            position_idx=order.position_idx,
            side=order.side,
            order_type=order.order_type,
            stop_order_type=order.stop_order_type,
            create_type=order.create_type,
            order_price=order.price,
            order_qty=order.qty,
            leaves_qty=order.leaves_qty,
            price=price,
            qty=qty,
            value_quote=value,
            fee_quote=fee,
            fee_frac=ZERO if free else self._terms.fee_frac(maker),
            maker=maker,
            closed_size=closed,
            pnl_quote=pnl,
            mark_price=mark if mark is not None else price,
            index_price=index,
            base_price=base,
            ts_ms=ts_ms,
            match_seq=self.seq + 1,
        )
        as_it_is = copy.copy(order) if order.leaves_qty else order  # one that has ended never changes
        self._executions.append(Executed(ts_ms, execution, as_it_is, self.seq + 1))

    def _move(
        self, slot: PositionSlot, order: ExchangeOrder, qty: Decimal, price: Decimal, fee: Decimal, ts_ms: int
    ) -> tuple[Decimal, Decimal]:
        """Change position, cash and the account's record; return (base closed, profit before fees)."""
        position, cash = slot.position, self._account.cash
        before = position.qty
        closing = bool(before) and (before > ZERO) != (order.side == "Buy")
        if not closing:
            realised = position.apply(order.side, qty, price)
            cash.fees += fee
            slot.open_fees += fee
            self._record(slot, before, realised, fee, ZERO, ts_ms)
            self._account.revalue(slot)
            self.touch(slot)
            return ZERO, realised
        entry_value, size = abs(position.entry_value), abs(before)
        closed = min(qty, size)
        realised = position.apply(order.side, qty, price)
        cash.realised += realised
        cash.fees += fee
        close_fee = to_money(fee * closed / qty) if closed != qty else fee
        part = closed != size
        share = to_money(slot.open_fees * closed / size) if part else slot.open_fees
        order.closed_pnl += realised - share - close_fee
        order.closed_qty += closed
        order.cum_entry_value += to_money(entry_value * closed / size) if part else entry_value
        slot.open_fees += fee - close_fee - share
        self._record(slot, before, realised, fee, close_fee, ts_ms)
        if realised < ZERO:
            self._note_shortfall()
        self._account.revalue(slot)
        self.touch(slot)
        return closed, realised

    def _record(
        self,
        slot: PositionSlot,
        before: Decimal,
        realised: Decimal,
        fee: Decimal,
        close_fee: Decimal,
        ts_ms: int,
    ) -> None:
        after = slot.position.qty
        slot.changes.append((ts_ms, before))
        net = realised - fee
        slot.cum_realised += net
        slot.created_ms = slot.created_ms or ts_ms
        slot.updated_ms, slot.seq = ts_ms, self.seq + 1
        if not before:
            slot.opened_ms = ts_ms
            slot.cur_realised += net
        elif not after or (after > ZERO) != (before > ZERO):
            slot.ended = True
            slot.added_quote = ZERO
            slot.opened_ms = ts_ms if after else 0
            slot.cur_realised = close_fee - fee
            if not after:
                slot.open_fees = ZERO
        else:
            slot.cur_realised += net

    # Funding

    def pay_funding(self, book: SymbolBook, rate: FundingRate, mark: Decimal) -> None:
        """Move −qty × mark × rate for each position held at the stamp; once per stamp.

        Longs pay shorts when the rate is positive. A rate of 0 moves nothing and emits nothing.
        """
        if rate.ts_ms in book.paid:
            return
        book.paid.append(rate.ts_ms)
        for slot in book.slots:
            qty = slot.held_at(rate.ts_ms)
            amount = to_money(-qty * mark * rate.rate)
            if not amount:
                continue
            self._account.cash.funding += amount
            self._note_shortfall()
            slot.cum_realised += amount
            if slot.position.qty:
                slot.cur_realised += amount
            slot.updated_ms = rate.ts_ms
            self.touch(slot)
            self._executions.append(self._funding(slot, rate, qty, mark, amount))

    def _funding(
        self, slot: PositionSlot, rate: FundingRate, qty: Decimal, mark: Decimal, amount: Decimal
    ) -> Executed:
        execution = Execution(
            exec_id=next(self._ids),
            exec_type="Funding",
            order_id=next(self._ids),
            link_id="",
            symbol=slot.book.symbol,
            position_idx=slot.idx,
            side="Buy" if qty > ZERO else "Sell",
            order_type="UNKNOWN",
            stop_order_type="",
            create_type="",
            order_price=ZERO,
            order_qty=ZERO,
            leaves_qty=ZERO,
            price=mark,
            qty=abs(qty),
            value_quote=to_money(abs(qty) * mark),
            fee_quote=-amount,
            fee_frac=rate.rate,
            maker=False,
            closed_size=ZERO,
            pnl_quote=ZERO,
            mark_price=mark,
            index_price=slot.book.index(),
            base_price=None,
            ts_ms=rate.ts_ms,
            match_seq=self.seq + 1,
        )
        return Executed(rate.ts_ms, execution, None, self.seq + 1)

    # Counts and events

    def count_liquidation(self) -> None:
        """Count one more liquidation, and whether it left the account bankrupt."""
        self.facts.liquidations += 1
        self.facts.bankruptcies += self._account.wallet_quote < ZERO

    def _note_shortfall(self) -> None:
        wallet = self._account.wallet_quote
        if wallet < ZERO:
            self.facts.shortfall_quote = max(self.facts.shortfall_quote, -wallet)

    def money_moved(self, ts_ms: int) -> None:
        """Emit a change of the wallet that no order caused."""
        self._emitted.append(WalletChanged(ts_ms))
        self.watch(())

    def publish(self, ts_ms: int) -> None:
        """Emit the events of this match, and recompute the prices at which the symbols need work."""
        if not self.touched:
            return
        self.seq += 1
        emitted = self._emitted
        for order, matched in self._orders:
            emitted.append(OrderChanged(order.updated_ms, order, self.seq if matched else None))
        emitted.extend(self._executions)
        touched = list(self.touched.values())
        if self._for_client:
            for slot in touched:
                emitted.append(PositionChanged(ts_ms, slot.book.symbol, slot.idx))
        emitted.append(WalletChanged(ts_ms))
        self._orders.clear()
        self._executions.clear()
        self.executed.clear()
        self.touched.clear()
        moved, self._moved = self._moved, False
        for slot in touched:
            self._follow(slot.book)
        if moved:
            self._watch_margin(touched)

    def watch(self, slots: Iterable[PositionSlot]) -> None:
        """Recompute the prices at which ``slots`` need work, for orders and for margin."""
        slots = list(slots)
        for slot in slots:
            self._follow(slot.book)
        self._watch_margin(slots)

    def _follow(self, book: SymbolBook) -> None:
        """Recompute the prices at which orders act; keep the slot active while it has orders or size."""
        book.watch()
        active = self._account.active
        busy = book.busy
        for slot in book.slots:
            if busy:
                active[slot.key] = slot
            else:
                active.pop(slot.key, None)

    def _watch_margin(self, slots: list[PositionSlot]) -> None:
        """Recompute the margin ranges of ``slots``; in cross margin those of all positions."""
        account = self._account
        alone = len(slots) == 1 and len(account.held) <= (slots[0].key in account.held)
        if alone or account.mode == "isolated":
            account.watch_margin(slots)
        else:
            account.watch_margin([*account.held.values(), *(slot for slot in slots if not slot.size)])
