"""What a complete reading of the account means for our books: events, open questions, differences.

Pure: the caller reads and asks, this decides. Nothing is ever concluded from an answer that did not come:
an order ends on the venue's word, or when its absence is proven (``Absence``).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

import msgspec

from bot.adapters.venue_orders import OrderTable, Sent
from bot.adapters.venue_rows import is_protective, number, price_or_none
from bot.bybit import wire
from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.messages import StopsChanged, VenueEvent
from bot.domain.money import ZERO
from bot.domain.orders import Intent, OrderState

ABSENT_ROUNDS = 3
"""Complete, empty rounds over realtime, history and executions that prove an absence."""
ABSENT_GRACE_MS = 5_000
"""Beyond the receive window an order can no longer be accepted; this much more is waited."""
ABSENT_SPACING_MS = 1_000

Stops = tuple[Decimal | None, Decimal | None]
AnyExecution = TypeVar("AnyExecution", bound=wire.ExecutionFields)


class Reading(msgspec.Struct, frozen=True):
    """The account as five queries showed it; ``began_ms`` is the venue's time before the first.

    ``positions`` are the open ones, ``orders`` the working ones of every kind, both complete; ``executions``
    are all since a moment before the last one seen.
    """

    began_ms: int
    wallet_quote: Decimal
    positions: tuple[wire.PositionFields, ...]
    orders: tuple[wire.OrderFields, ...]
    executions: tuple[wire.ExecutionFields, ...]

    def qty(self, symbol: str) -> Decimal:
        """The signed position in ``symbol``."""
        return sum((signed_qty(row) for row in self.positions if row.symbol == symbol), ZERO)


class Plan(msgspec.Struct, frozen=True):
    """What follows from a reading.

    ``ask``: orders whose fate the reading does not show. ``adrift``: positions that differ from the
    executions told, as (ours, theirs); before that is believed the account is read again.
    """

    events: list[VenueEvent]
    ask: tuple[str, ...]
    adrift: dict[str, tuple[Decimal, Decimal]]
    account: AccountSnapshot


def reconcile(table: OrderTable, reading: Reading, told: dict[str, Stops], ts_ms: int) -> Plan:
    """Apply a reading to the books; ``told`` are the stops last told by symbol, kept up to date here."""
    events: list[VenueEvent] = []
    for row in by_time(reading.executions):
        events += table.on_execution(row)
    for order in reading.orders:
        if table.is_own(order.orderLinkId) and not table.knows(order):
            table.adopt_order(order, reading.began_ms)  # of an earlier process, and late to show
        else:
            events += table.on_order(order, ts_ms)
    for symbol in told.keys() - {position.symbol for position in reading.positions}:
        del told[symbol]  # they ended with the position
    for position in reading.positions:
        events += stops_of(position, told, table, ts_ms)
    return Plan(events, open_questions(table, reading), adrift(table, reading), account_of(table, reading))


def adopt(table: OrderTable, reading: Reading) -> tuple[str, ...]:
    """Take over the account as read, before any event was told; returns the orders to ask about.

    Only when there are none may ``take_over`` follow: an order of an earlier process may be anything yet.
    """
    for row in by_time(reading.executions):
        table.on_execution(row)
    for order in reading.orders:
        if table.is_own(order.orderLinkId):
            table.adopt_order(order, reading.began_ms)
    working = {order.orderLinkId for order in reading.orders}
    return tuple(order_id for order_id in table.live if order_id not in working)


def take_over(table: OrderTable, reading: Reading, told: dict[str, Stops]) -> AccountSnapshot:
    """From here on every new execution moves the books; returns the account they begin with."""
    for row in reading.positions:
        table.positions[row.symbol] = reading.qty(row.symbol)
        told[row.symbol] = (price_or_none(row.stopLoss), price_or_none(row.takeProfit))
    table.adopted = True
    return account_of(table, reading)


def open_questions(table: OrderTable, reading: Reading) -> tuple[str, ...]:
    """Orders that should have been in the reading and were not, or whose executions are not all here."""
    working = {order.orderLinkId for order in reading.orders}
    return tuple(
        order.order_id
        for order in table.live.values()
        if order.sent_ms < reading.began_ms
        and (order.unsettled or (order.state is not OrderState.SENT and order.order_id not in working))
    )


def adrift(table: OrderTable, reading: Reading) -> dict[str, tuple[Decimal, Decimal]]:
    """Positions of traded symbols that are not what the executions seen make of them."""
    theirs = {row.symbol: reading.qty(row.symbol) for row in reading.positions}
    symbols = sorted(table.symbols & (theirs.keys() | table.positions.keys()))
    both = {symbol: (table.expected(symbol), theirs.get(symbol, ZERO)) for symbol in symbols}
    return {symbol: pair for symbol, pair in both.items() if pair[0] != pair[1]}


def stops_of(
    row: wire.PositionFields, told: dict[str, Stops], table: OrderTable, ts_ms: int
) -> list[VenueEvent]:
    """Tell the protective orders of a position if they are not what was told last."""
    stops = (price_or_none(row.stopLoss), price_or_none(row.takeProfit))
    if not number(row.size):  # they ended with the position, as everybody knows
        told.pop(row.symbol, None)
        return []
    if row.symbol not in table.symbols or told.get(row.symbol, (None, None)) == stops:
        return []
    told[row.symbol] = stops
    return [StopsChanged(ts_ms, row.symbol, *stops)]


def account_of(table: OrderTable, reading: Reading) -> AccountSnapshot:
    """The reading in our own words."""
    # What has ended since it was listed is no working order any more.
    own = [order for order in reading.orders if order.orderLinkId in table.live]
    foreign = [order for order in reading.orders if not table.is_own(order.orderLinkId)]
    return AccountSnapshot(
        wallet_quote=reading.wallet_quote,
        holdings=tuple(_holding(row) for row in sorted(reading.positions, key=lambda row: row.symbol)),
        orders=tuple(_open_order(order) for order in sorted(own, key=lambda row: row.orderLinkId)),
        foreign_orders=sum(not is_protective(order) for order in foreign),
    )


def is_as_meant(row: wire.OrderFields, intent: Intent) -> bool:
    """Whether the order found under our id is the one we meant to place."""
    price = None if intent.order_type == "Market" else intent.price
    return (
        row.symbol == intent.symbol
        and row.side == intent.side
        and row.orderType == intent.order_type
        and number(row.qty) == intent.qty
        and row.reduceOnly == intent.reduce_only
        and (price is None or number(row.price) == price)
    )


class Absence(msgspec.Struct):
    """The proof that the venue never had an order: spaced, complete, empty rounds after its last chance.

    Times are the venue's. A round that failed, or that found anything, proves nothing and starts anew.
    """

    not_before_ms: int
    spacing_ms: int = ABSENT_SPACING_MS
    rounds: int = 0
    last_ms: int = 0

    @classmethod
    def of(cls, order: Sent, recv_window_ms: int, grace_ms: int, spacing_ms: int) -> "Absence":
        """The proof for one order, from the time it was sent."""
        return cls(order.sent_ms + recv_window_ms + grace_ms, spacing_ms)

    def empty(self, now_ms: int, *, position_agrees: bool) -> bool:
        """A complete round found nothing; returns whether that proves it."""
        if not position_agrees:
            self.rounds = 0
        elif now_ms >= self.not_before_ms and now_ms - self.last_ms >= self.spacing_ms:
            self.rounds += 1
            self.last_ms = now_ms
        return self.rounds >= ABSENT_ROUNDS

    def failed(self) -> None:
        """A round was not complete: network errors are never evidence."""
        self.rounds = 0


def by_time(rows: Iterable[AnyExecution]) -> list[AnyExecution]:
    """Executions oldest first; the venue lists them newest first, also among those of one instant."""
    oldest_first = list(rows)[::-1]  # sorting keeps the order of those that tie
    return sorted(oldest_first, key=lambda row: (_ms(row.execTime), row.seq))


def signed_qty(row: wire.PositionFields) -> Decimal:
    """A position's size, below zero when short."""
    return number(row.size) * (-1 if row.side == "Sell" else 1)


def _ms(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def _holding(row: wire.PositionFields) -> Holding:
    price = row.avgPrice if isinstance(row, wire.PositionRow) else getattr(row, "entryPrice", "")
    return Holding(
        row.symbol,
        signed_qty(row),
        number(price),
        price_or_none(row.stopLoss),
        price_or_none(row.takeProfit),
    )


def _open_order(row: wire.OrderFields) -> OpenOrder:
    is_limit = row.orderType == "Limit"
    return OpenOrder(
        order_id=row.orderLinkId,
        symbol=row.symbol,
        side="Buy" if row.side == "Buy" else "Sell",
        order_type="Limit" if is_limit else "Market",
        qty=number(row.qty),
        filled_qty=number(row.cumExecQty),
        price=number(row.price) if is_limit else None,
        reduce_only=row.reduceOnly,
    )
