"""What follows from an execution at the live exchange: order, position, cash, and what is told of it.

Everything that one match does is collected and told at once by ``publish`` in Bybit's order: orders and
executions (with one sequence number), then positions, then the wallet.
"""

import copy
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal

from bot.domain.messages import FundingRate
from bot.domain.money import ZERO, to_money
from bot.exchange.account import Account
from bot.exchange.clearing import Facts
from bot.exchange.live_book import LiveBook, Pocket
from bot.exchange.live_orders import (
    ExecType,
    Executed,
    Execution,
    Happening,
    LiveOrder,
    OrderChanged,
    PositionChanged,
    WalletChanged,
)
from bot.exchange.terms import Terms

_FEE_STEP = Decimal("1e-8")


def _rounded(fee_quote: Decimal) -> Decimal:
    """A fee as Bybit books it: 64.6273 × 0.00055 is recorded as 0.03554502, 122.5299 × it as 0.06739145."""
    return fee_quote.quantize(_FEE_STEP, rounding=ROUND_HALF_UP)


class LiveClearing:
    """Books executions and ends of orders; ``ids`` names executions (and the venue's own orders)."""

    def __init__(
        self,
        terms: Terms,
        account: Account[Pocket],
        books: Mapping[str, LiveBook],
        active: dict[str, Pocket],
        ids: Iterator[str],
    ) -> None:
        self.facts = Facts()
        self.seq = 0
        """Of the last match told."""
        self.executed: list[LiveOrder] = []
        """Orders executed in this match."""
        self.touched: dict[str, Pocket] = {}
        """Positions whose orders or size changed in this match."""
        self._terms = terms
        self._account = account
        self._books = books
        self._active = active
        self._ids = ids
        self._orders: list[tuple[LiveOrder, bool]] = []
        self._executions: list[Executed] = []
        self._told: list[Happening] = []

    def next_id(self) -> str:
        """A name for something that the venue makes itself."""
        return next(self._ids)

    def drain(self) -> list[Happening]:
        """What happened since the last call."""
        told, self._told = self._told, []
        return told

    def touch(self, pocket: Pocket) -> None:
        """Have the position told and its prices watched anew."""
        self.touched[pocket.key] = pocket

    def note(self, order: LiveOrder, ts_ms: int, *, matched: bool = True) -> None:
        """Have an order told as it is now; ``matched`` False for a move of its own (a trailing stop)."""
        order.updated_ms = ts_ms
        self._orders.append((copy.copy(order), matched))
        self.touch(self._books[order.symbol].of(order))

    def end(
        self, order: LiveOrder, ts_ms: int, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError"
    ) -> None:
        """Close an order: Deactivated while it waited for its trigger, else Cancelled."""
        order.status = "Deactivated" if order.status == "Untriggered" else "Cancelled"
        order.cancel_type, order.reject_reason = cancel_type, reason
        order.leaves_qty = order.margin_quote = ZERO
        self._books[order.symbol].orders.pop(order.order_id, None)
        self.note(order, ts_ms)

    def execute(
        self,
        order: LiveOrder,
        qty: Decimal,
        price: Decimal,
        ts_ms: int,
        *,
        maker: bool = False,
        exec_type: ExecType = "Trade",
        base: Decimal | None = None,
    ) -> None:
        """Fill part or all of an order: position, cash and order move; ``note`` tells the order."""
        book = self._books[order.symbol]
        pocket = book.of(order)
        fee = ZERO if exec_type == "AdlTrade" else _rounded(self._terms.fee_quote(qty, price, maker))
        closed, pnl = self._move(pocket, order, qty, price, fee, ts_ms)
        order.cum_exec_qty += qty
        order.cum_exec_value += to_money(qty * price)
        order.cum_exec_fee += fee
        order.avg_price = order.cum_exec_value / order.cum_exec_qty
        order.leaves_qty -= qty
        order.status = "PartiallyFilled" if order.leaves_qty else "Filled"
        order.updated_ms = ts_ms
        if not order.leaves_qty:
            book.orders.pop(order.order_id, None)
        if not any(known is order for known in self.executed):
            self.executed.append(order)
        execution = Execution(
            exec_id=self.next_id(),
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
            value_quote=to_money(qty * price),
            fee_quote=fee,
            fee_frac=self._fee_frac(exec_type, maker),
            maker=maker,
            closed_size=closed,
            pnl_quote=pnl,
            mark_price=book.mark if book.mark is not None else price,
            index_price=book.index,
            base_price=base,
            ts_ms=ts_ms,
            match_seq=self.seq + 1,
        )
        self._executions.append(Executed(ts_ms, execution, copy.copy(order), self.seq + 1))

    def _fee_frac(self, exec_type: ExecType, maker: bool) -> Decimal:
        if exec_type == "AdlTrade":
            return ZERO
        return self._terms.maker_fee_frac if maker else self._terms.taker_fee_frac

    def _move(
        self, pocket: Pocket, order: LiveOrder, qty: Decimal, price: Decimal, fee: Decimal, ts_ms: int
    ) -> tuple[Decimal, Decimal]:
        """Position, cash and the account's record of both; returns (base closed, profit before fees)."""
        position, before = pocket.position, pocket.position.qty
        entry_value, cash = abs(position.entry_value), self._account.cash
        closing = bool(before) and (before > ZERO) != (order.side == "Buy")
        closed = min(qty, abs(before)) if closing else ZERO
        realised = position.apply(order.side, qty, price)
        cash.realised += realised
        cash.fees += fee
        self._note_shortfall()
        close_fee = to_money(fee * closed / qty)
        if closed:
            share = to_money(pocket.open_fees * closed / abs(before))
            order.closed_pnl += realised - share - close_fee
            order.closed_qty += closed
            order.cum_entry_value += to_money(entry_value * closed / abs(before))
            pocket.open_fees -= share
        pocket.open_fees += fee - close_fee
        self._keep_record(pocket, before, realised, fee, close_fee, ts_ms)
        self._account.revalue(pocket)
        self.touch(pocket)
        return closed, realised

    def _keep_record(
        self, pocket: Pocket, before: Decimal, realised: Decimal, fee: Decimal, close_fee: Decimal, ts_ms: int
    ) -> None:
        after = pocket.position.qty
        pocket.changes.append((ts_ms, before))
        pocket.cum_realised += realised - fee
        pocket.cur_realised += realised - fee
        pocket.created_ms = pocket.created_ms or ts_ms
        pocket.updated_ms, pocket.seq = ts_ms, self.seq + 1
        if not before:
            pocket.opened_ms = ts_ms
        elif not after or (after > ZERO) != (before > ZERO):
            pocket.ended = True
            pocket.added_quote = ZERO
            pocket.opened_ms = ts_ms if after else 0
            pocket.cur_realised = close_fee - fee
            if not after:
                pocket.open_fees = ZERO

    def pay_funding(self, book: LiveBook, rate: FundingRate) -> None:
        """Move −qty × mark × rate for each position open at the stamp; once per stamp."""
        mark = book.mark if book.mark is not None else book.price()
        if rate.ts_ms in book.paid or mark is None:
            return
        book.paid.append(rate.ts_ms)
        for pocket in book.pockets:
            qty = pocket.held_at(rate.ts_ms)
            if not qty:
                continue
            amount = to_money(-qty * mark * rate.rate)
            self._account.cash.funding += amount
            self._note_shortfall()
            pocket.cum_realised += amount
            if pocket.position.qty:
                pocket.cur_realised += amount
            pocket.updated_ms = rate.ts_ms
            self.touch(pocket)
            self._executions.append(self._funding(pocket, rate, qty, mark, amount))

    def _funding(
        self, pocket: Pocket, rate: FundingRate, qty: Decimal, mark: Decimal, amount: Decimal
    ) -> Executed:
        execution = Execution(
            exec_id=self.next_id(),
            exec_type="Funding",
            order_id=self.next_id(),
            link_id="",
            symbol=pocket.book.symbol,
            position_idx=pocket.idx,
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
            index_price=pocket.book.index,
            base_price=None,
            ts_ms=rate.ts_ms,
            match_seq=self.seq + 1,
        )
        return Executed(rate.ts_ms, execution, None, self.seq + 1)

    def count_liquidation(self) -> None:
        """One more; and whether the account is bankrupt."""
        self.facts.liquidations += 1
        self.facts.bankruptcies += self._account.wallet_quote < ZERO

    def _note_shortfall(self) -> None:
        self.facts.shortfall_quote = max(self.facts.shortfall_quote, -self._account.wallet_quote)

    def money_moved(self, ts_ms: int) -> None:
        """Tell of money that came or went without an order."""
        self._told.append(WalletChanged(ts_ms))
        self.watch([])

    def publish(self, ts_ms: int) -> None:
        """Tell what this match did, and watch the prices that matter from now on."""
        if not self.touched:
            return
        self.seq += 1
        for order, matched in self._orders:
            self._told.append(OrderChanged(order.updated_ms, order, self.seq if matched else None))
        self._told.extend(self._executions)
        self._told.extend(PositionChanged(ts_ms, p.book.symbol, p.idx) for p in self.touched.values())
        self._told.append(WalletChanged(ts_ms))
        touched = list(self.touched.values())
        self._orders.clear()
        self._executions.clear()
        self.executed.clear()
        self.touched.clear()
        self.watch(touched)

    def watch(self, pockets: list[Pocket]) -> None:
        """Work out anew which prices concern ``pockets``; in cross margin one position concerns all."""
        for book in {pocket.book.symbol: pocket.book for pocket in pockets}.values():
            book.watch()
            for pocket in book.pockets:
                if book.busy:
                    self._active[pocket.key] = pocket
                else:
                    self._active.pop(pocket.key, None)
        if self._account.mode == "isolated":
            self._account.watch_margin(pockets)
        else:
            flat = [pocket for pocket in pockets if not pocket.position.qty]
            self._account.watch_margin([*self._account.held.values(), *flat])
