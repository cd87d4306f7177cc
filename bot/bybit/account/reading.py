"""A complete reading of the account, and what it means for the order table.

Nothing is concluded from an answer that did not come: an order ends by the venue's word, or when its absence
is proven (``absence``).
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec

from bot.bybit import wire
from bot.bybit.account.order_table import OrderTable
from bot.bybit.account.rows import (
    cause_of,
    entry_price,
    executed_qty,
    is_protective,
    number,
    price_or_none,
    time_ms,
)
from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.money import ZERO
from bot.domain.netting import split
from bot.domain.orders import OrderState, sign

Stops = tuple[Decimal | None, Decimal | None, Decimal]
"""Stop loss and take profit of a position, and the distance of its trailing stop; 0 if it has none."""
NO_STOPS: Stops = (None, None, ZERO)
AnyExecution = TypeVar("AnyExecution", bound=wire.ExecutionFields)


class AccountRows(msgspec.Struct, frozen=True):
    """Wallet, open positions and open orders of every kind, complete, as read one after the other."""

    wallet_quote: Decimal
    positions: tuple[wire.PositionFields, ...] = ()
    orders: tuple[wire.OrderFields, ...] = ()


class AccountReading(msgspec.Struct, frozen=True):
    """The account at one instant; ``began_ms`` is the venue's time before the first query.

    ``executions`` are all since a moment before the last one seen.
    """

    began_ms: int
    rows: AccountRows
    executions: tuple[wire.ExecutionFields, ...] = ()
    money: tuple[wire.TransactionRow, ...] | None = None
    """The transaction log since the last reading; None if it could not be read."""

    def qty(self, symbol: str) -> Decimal:
        """Return the signed position in ``symbol``."""
        rows = (row for row in self.rows.positions if row.symbol == symbol)
        return sum((signed_qty(row) for row in rows), ZERO)

    @property
    def working(self) -> set[str]:
        """Our ids of the open orders."""
        return {order.orderLinkId for order in self.rows.orders}


class OrderTrace(msgspec.Struct, frozen=True):
    """What the venue shows of one order: its row, if any endpoint had one, and its executions."""

    row: wire.OrderFields | None
    executions: tuple[wire.ExecutionFields, ...] = ()

    @property
    def empty(self) -> bool:
        """True if open orders, order history and executions all know nothing of the order."""
        return self.row is None and not self.executions


def unsettled_orders(table: OrderTable, reading: AccountReading) -> tuple[str, ...]:
    """Return the orders that the reading should show and does not, or whose executions are not all here."""
    working = reading.working
    return tuple(
        order.order_id
        for order in table.live.values()
        if order.sent_ms < reading.began_ms
        and (order.unsettled or (order.state is not OrderState.SENT and order.order_id not in working))
    )


def position_differences(table: OrderTable, reading: AccountReading) -> dict[str, tuple[Decimal, Decimal]]:
    """Return (by executions, by the venue) for each traded symbol whose two positions differ."""
    theirs = {row.symbol: reading.qty(row.symbol) for row in reading.rows.positions}
    symbols = sorted(table.symbols & (theirs.keys() | table.positions.keys()))
    both = {symbol: (table.expected(symbol), theirs.get(symbol, ZERO)) for symbol in symbols}
    return {symbol: pair for symbol, pair in both.items() if pair[0] != pair[1]}


def due_qty(table: OrderTable, reading: AccountReading, symbol: str, gap: Decimal) -> Decimal:
    """Return the part of a position's difference that executions of our live orders may still explain.

    An order that the reading lists has filled as much as its row says; any other may have filled whole.
    """
    due = ZERO
    for order in table.live.values():
        if order.symbol == symbol and sign(order.side) * gap > ZERO:
            most = order.cum_qty if order.order_id in reading.working else order.qty
            due += sign(order.side) * max(most - order.emitted_qty, ZERO)
    return due if abs(due) < abs(gap) else gap


def own_qty(
    held: Decimal, executions: Iterable[wire.ExecutionFields], is_own: Callable[[str], bool]
) -> Decimal:
    """Return the part of a position ``held`` that orders of ours opened, by its symbol's executions.

    What was held before the first of them is foreign: nothing shows that it is ours.
    """
    rows = [row for row in by_time(executions) if row.execType != "Funding"]
    moves = [(number(row.execQty) * (1 if row.side == "Buy" else -1), row) for row in rows]
    ours, foreign = ZERO, held - sum((signed for signed, _ in moves), ZERO)
    for signed, row in moves:
        if is_own(row.orderLinkId) or cause_of(row) != "order":
            of_ours, of_foreign = split(signed, ours, foreign)
        else:
            of_foreign, of_ours = split(signed, foreign, ours)
        ours, foreign = ours + of_ours, foreign + of_foreign
    return ours


def account_of(
    table: OrderTable,
    reading: AccountReading,
    *,
    parts: Mapping[str, Decimal] | None = None,
    uid: str = "",
    replaced: str = "",
) -> AccountSnapshot:
    """Return the reading as the engine's ``AccountSnapshot``; ``parts``: ours of the positions, by symbol."""
    rows = reading.rows
    # An order that ended since it was listed is not open any more.
    own = [order for order in rows.orders if order.orderLinkId in table.live]
    foreign = [order for order in rows.orders if not table.is_own(order.orderLinkId)]
    return AccountSnapshot(
        wallet_quote=rows.wallet_quote,
        holdings=tuple(
            _holding(row, (parts or {}).get(row.symbol, ZERO))
            for row in sorted(rows.positions, key=lambda row: row.symbol)
        ),
        orders=tuple(_open_order(order) for order in sorted(own, key=lambda row: row.orderLinkId)),
        foreign_orders=sum(not is_protective(order) for order in foreign),
        uid=uid,
        replaced=replaced,
    )


def stops_of(row: wire.PositionFields) -> Stops:
    """Return stop loss, take profit and the distance of the trailing stop of a position row."""
    trailing = price_or_none(row.trailingStop) or ZERO
    return price_or_none(row.stopLoss), price_or_none(row.takeProfit), trailing


def by_time(rows: Iterable[AnyExecution]) -> list[AnyExecution]:
    """Sort executions, oldest first. The venue lists them newest first, also those of one instant."""
    oldest_first = list(rows)[::-1]  # sorting keeps the order of executions of one instant
    return sorted(oldest_first, key=lambda row: (time_ms(row.execTime), row.seq))


def signed_qty(row: wire.PositionFields) -> Decimal:
    """Return the size of a position, below zero when short."""
    return number(row.size) * (-1 if row.side == "Sell" else 1)


def _holding(row: wire.PositionFields, own: Decimal) -> Holding:
    return Holding(row.symbol, signed_qty(row), entry_price(row), *stops_of(row), own_qty=own)


def _open_order(row: wire.OrderFields) -> OpenOrder:
    is_limit = row.orderType == "Limit"
    return OpenOrder(
        order_id=row.orderLinkId,
        symbol=row.symbol,
        side="Buy" if row.side == "Buy" else "Sell",
        order_type="Limit" if is_limit else "Market",
        qty=number(row.qty),
        filled_qty=executed_qty(row),
        price=number(row.price) if is_limit else None,
        reduce_only=row.reduceOnly,
    )
