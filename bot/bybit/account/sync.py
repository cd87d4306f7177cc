"""``AccountSync``: one account, kept by the private stream and read whole over REST. Pure.

The private stream repeats nothing. So after every connection, on a timer, and whenever a message could not be
read, the account is read whole and compared with the order table. ``AccountSync.read`` is that procedure as a
generator: it yields ``SyncStep`` values (what to ask the venue), the caller sends ``SyncAnswer`` values
back, and events leave through ``emit``. A test drives it with rows; the adapter drives it with sockets.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from bot.bybit import wire
from bot.bybit.account.absence import is_adjusted, is_as_intended
from bot.bybit.account.money import MoneyLog, leads
from bot.bybit.account.order_table import OrderTable
from bot.bybit.account.reading import (
    NO_STOPS,
    AccountReading,
    AccountRows,
    OrderTrace,
    Stops,
    account_of,
    by_time,
    due_qty,
    own_qty,
    position_differences,
    signed_qty,
    stops_of,
    unsettled_orders,
)
from bot.bybit.account.rows import is_end, number, time_ms
from bot.domain.account import KnownAccount
from bot.domain.errors import Rejected, Retryable
from bot.domain.market import DAY_MS
from bot.domain.messages import StopsChanged, Synced, VenueEvent
from bot.domain.money import ZERO
from bot.domain.orders import Intent, Order
from bot.domain.words import counted

READ_TRIES = 8
"""Readings during which something was executed are not of one instant, and are repeated so often at most."""
COMPARE_TRIES = 5
"""Readings before a position that no execution explains is believed."""
OWN_MS = 7 * DAY_MS
"""How far back executions are read to find out whose a position is; the venue answers for so long at once."""
DUPLICATE_ID = 110072
"""Bybit's code for an ``orderLinkId`` that was used before."""


class ReadExecutions(msgspec.Struct, frozen=True):
    """Read all executions since ``since_ms`` of the venue's clock."""

    since_ms: int


class ReadAccount(msgspec.Struct, frozen=True):
    """Read wallet, positions and open orders."""


class ReadMoney(msgspec.Struct, frozen=True):
    """Read the transaction log since ``since_ms`` of the venue's clock; answer None if that is impossible."""

    since_ms: int


class AskOnce(msgspec.Struct, frozen=True):
    """Ask about one order, once, and give the answer to ``AccountSync.on_trace``."""

    order_id: str


class KeepAsking(msgspec.Struct, frozen=True):
    """Ask about an order in the background until its fate is known."""

    order_id: str


class AwaitFates(msgspec.Struct, frozen=True):
    """Ask about these orders and answer when the fate of all of them is known."""

    order_ids: tuple[str, ...]


class Wait(msgspec.Struct, frozen=True):
    """Answer after so many seconds."""

    seconds: float


SyncStep = ReadExecutions | ReadAccount | ReadMoney | AskOnce | KeepAsking | AwaitFates | Wait


class SyncAnswer(msgspec.Struct, frozen=True):
    """The answer to a step, and the time: ``now_ms`` of this machine, ``venue_ms`` of the venue's clock."""

    now_ms: int
    venue_ms: int
    executions: tuple[wire.ExecutionFields, ...] = ()
    rows: AccountRows | None = None
    money: tuple[wire.TransactionRow, ...] | None = None


Steps = Generator[SyncStep, SyncAnswer, AccountReading]


class AccountSync:
    """Everything known of one account. All rows of the venue enter here, events leave through ``emit``.

    Args:
        table: our orders, the executions seen, the positions.
        emit: called with events, in order; also an attribute, for answers entered into ``table`` directly.
        counts: ``adrift`` counts positions that were believed though no execution explains them,
            ``unsteady_readings`` readings that were repeated because something was executed meanwhile.
        overlap_ms: how far before the last reading executions are read again, in the venue's time.
        foreign: whether orders and positions that are not ours are counted, or end the start.
        foreign_positions: ``refuse`` ends the start if a traded symbol has a position that is not ours.

    Attributes:
        stops: the protective prices last emitted, by symbol.
        synced_ms: the venue's time of the last complete reading; 0: none yet.
        uid: the venue's name of the account, if it is known.
    """

    def __init__(
        self,
        table: OrderTable,
        emit: Callable[[Iterable[VenueEvent]], None],
        counts: Counter[str],
        *,
        overlap_ms: int,
        foreign: Literal["count", "refuse"] = "count",
        foreign_positions: Literal["hold", "adopt", "refuse"] = "hold",
    ) -> None:
        self.table = table
        self.stops: dict[str, Stops] = {}
        self.synced_ms = 0
        self.counts = counts
        self.emit = emit
        self._overlap_ms = overlap_ms
        self.uid = ""
        self._foreign = foreign
        self._foreign_positions = foreign_positions
        self._money = MoneyLog()
        self._wallet: Decimal | None = None
        self._known: KnownAccount | None = None
        self._replaced = ""
        self._recalled: tuple[Order, ...] = ()
        self._seen_ms = 0
        self._returned = 0
        self._now_ms = self._venue_ms = 0

    def recall(self, orders: Iterable[Order], executions_seen_ms: int) -> None:
        """Take what earlier processes left: their orders, and the time of the last execution they booked."""
        self._recalled = tuple(orders)
        self._seen_ms = executions_seen_ms

    def resume(self, known: KnownAccount, now_ms: int) -> None:
        """Go on from what an earlier process knew, unless ``uid`` shows that this is another account."""
        if known.uid and self.uid and known.uid != self.uid:
            self._replaced = f"account {self.uid}, was {known.uid}"
            return
        self.table.resume(known, now_ms)
        self._known, self._wallet = known, known.wallet_quote
        self.synced_ms = known.read_ms

    @property
    def wants_reading(self) -> bool:
        """True once after an order came back whose absence was proven: only a reading makes it known."""
        wanted, self._returned = self.table.returned > self._returned, self.table.returned
        return wanted

    # The private stream

    def on_execution(self, row: wire.ExecutionFields) -> None:
        """Take a pushed execution.

        Raises:
            BadInput: its numbers cannot be those of an execution.
        """
        self.emit(self.table.on_execution(row))

    def on_order(self, row: wire.OrderFields, now_ms: int) -> None:
        """Take a pushed order.

        Raises:
            BadInput: its quantity is no number.
        """
        self.emit(self.table.on_order(row, now_ms))

    def on_position(self, row: wire.PositionFields, now_ms: int) -> None:
        """Take a position row and emit its protective prices if they changed."""
        if not self.table.adopted:
            return
        stops = stops_of(row)
        if not number(row.size):  # the stops ended with the position
            self.stops.pop(row.symbol, None)
        elif row.symbol in self.table.symbols and self.stops.get(row.symbol, NO_STOPS) != stops:
            self.stops[row.symbol] = stops
            self.emit([StopsChanged(now_ms, row.symbol, *stops)])

    def stops_set(self, changed: StopsChanged) -> None:
        """Note that the venue took our protective prices."""
        self.stops[changed.symbol] = (changed.stop_loss, changed.take_profit, changed.trailing_stop)
        self.emit([changed])

    def is_naked(self, symbol: str) -> bool:
        """True if there is a position without a stop."""
        return bool(self.table.positions.get(symbol, ZERO)) and self.stops.get(symbol, NO_STOPS)[0] is None

    # Answers about one order

    def on_trace(self, order_id: str, found: OrderTrace, intent: Intent | None, now_ms: int) -> None:
        """Take what the venue shows of one order; with ``intent`` only such an order counts as ours.

        Raises:
            BadInput: a row that cannot be.
        """
        table, row = self.table, found.row
        another = row is not None and intent is not None and not _is_ours(row, intent)
        if another or self._is_older(order_id, found):
            self.emit(table.refused(order_id, DUPLICATE_ID, "another order has this id", now_ms))
            return
        events: list[VenueEvent] = []
        for execution in by_time(found.executions):
            events += table.on_execution(execution)
        if row is not None and not table.adopted:
            if is_end(row):
                table.forget(order_id)
        elif row is not None:
            events += table.on_order(row, now_ms)
        self.emit(events)

    def never_existed(self, order_id: str, now_ms: int) -> None:
        """Take the proof that the venue never had an order."""
        if not self.table.adopted:
            self.table.forget(order_id)
        self.emit(self.table.withdrawn(order_id, "NeverExisted", now_ms, may_return=True))

    def agrees(self, symbol: str, rows: Iterable[wire.PositionFields]) -> bool:
        """True if the venue's position is the sum of our executions: the second witness of an absence."""
        return sum((signed_qty(row) for row in rows), ZERO) == self.table.expected(symbol)

    def _is_older(self, order_id: str, found: OrderTrace) -> bool:
        """True if the id was used before we did: by a run whose state directory is lost."""
        order = self.table.live.get(order_id)
        if order is None or not order.since_ms:
            return False
        times = [execution.execTime for execution in found.executions]
        times += [found.row.createdTime] if found.row is not None else []
        before_ms = order.since_ms - self._overlap_ms
        return any(time.isdecimal() and int(time) < before_ms for time in times)

    # The whole account

    def read(self, now_ms: int, venue_ms: int) -> Steps:
        """Read the account until it is of one instant and understood; emit ``Synced``.

        Drive it with ``send(SyncAnswer)``. It may be abandoned at any step; the next reading begins anew.

        Raises:
            Retryable: the account did not hold still.
            Rejected: it holds what is not ours, and that is not allowed.
        """
        self._now_ms, self._venue_ms = now_ms, venue_ms
        return (yield from (self._compare() if self.table.adopted else self._take_over()))

    def confirm(self, reading: AccountReading) -> None:
        """Note that the private stream was up during the whole reading: later ones may begin from here."""
        self.synced_ms = reading.began_ms
        self._wallet = reading.rows.wallet_quote

    def _take_over(self) -> Steps:
        """Take the account over as it is; from then on every new execution moves the table."""
        table = self.table
        for order in self._recalled:
            if order.order_id not in table.live:
                table.recall(order, self._venue_ms)
        table.emit_after_ms = self._seen_ms or None
        while True:
            reading = yield from self._read(self._seen_ms)
            unknown = self._adopt_orders(reading)
            if not unknown:
                break
            yield from self._ask(AwaitFates(unknown))  # an order of an earlier process may be anything yet
        own = yield from self._own_parts(reading)
        self._check_foreign(reading, own)
        table.positions = {row.symbol: reading.qty(row.symbol) for row in reading.rows.positions}
        self.stops = {row.symbol: stops_of(row) for row in reading.rows.positions}
        table.adopted = True
        self._money.skip(reading.money or ())
        self._emit_reading(reading, own=own, first=True)
        return reading

    def _own_parts(self, reading: AccountReading) -> Generator[SyncStep, SyncAnswer, dict[str, Decimal]]:
        """Find out which part of each position in a traded symbol was opened by orders of ours."""
        table = self.table
        held = {row.symbol for row in reading.rows.positions} & table.symbols
        if not held:
            return {}
        rows = (yield from self._ask(ReadExecutions(reading.began_ms - OWN_MS))).executions
        return {
            symbol: own_qty(reading.qty(symbol), (row for row in rows if row.symbol == symbol), table.is_own)
            for symbol in held
        }

    def _emit_reading(
        self, reading: AccountReading, *, own: Mapping[str, Decimal] | None = None, first: bool = False
    ) -> None:
        account = account_of(self.table, reading, parts=own, uid=self.uid, replaced=self._replaced)
        self._replaced, self._known = "", None
        self.emit([Synced(reading.began_ms, account, first=first)])

    def _adopt_orders(self, reading: AccountReading) -> tuple[str, ...]:
        """Enter our open orders; return the orders that the store knows and the reading does not show."""
        for order in reading.rows.orders:
            if self.table.is_own(order.orderLinkId):
                self.table.adopt_order(order, reading.began_ms)
        return tuple(order_id for order_id in self.table.live if order_id not in reading.working)

    def _check_foreign(self, reading: AccountReading, own: Mapping[str, Decimal]) -> None:
        account = account_of(self.table, reading)
        others = [each.symbol for each in account.holdings if each.symbol not in self.table.symbols]
        if self._foreign == "refuse" and (account.foreign_orders or others):
            raise Rejected(
                f"the account holds {counted(account.foreign_orders, 'order')} not of ours and positions in "
                f"{', '.join(others) or 'nothing else'}; clear them, or set venue.foreign to count"
            )
        theirs = [symbol for symbol, part in sorted(own.items()) if part != reading.qty(symbol)]
        if self._foreign_positions == "refuse" and theirs:
            raise Rejected(
                f"the account holds a position in {', '.join(theirs)} that no order of ours opened; close "
                "it, or set venue.foreign_positions to hold or adopt"
            )

    def _compare(self) -> Steps:
        """Compare the table with the account; ask about each difference before it is believed."""
        table, first = self.table, self._known is not None
        for attempt in range(COMPARE_TRIES):
            if attempt:
                yield from self._ask(Wait(0.1 * 2**attempt))
            reading = yield from self._read(0)
            self._apply(reading)
            asked, known = unsettled_orders(table, reading), table.executions
            for order_id in asked:
                yield from self._ask(AskOnce(order_id))
            for order_id in unsettled_orders(table, reading):
                if order_id in asked:
                    yield from self._ask(KeepAsking(order_id))
            differs = position_differences(table, reading) or not self._log_leads(reading)
            if not differs and table.executions == known:
                break
        if self._was_reset(reading):
            return (yield from self._take_over())
        if (earlier := self._known) is not None:  # its wallet had what was moved before
            rows = reading.money or ()
            self._money.skip(row for row in rows if time_ms(row.transactionTime) < earlier.read_ms)
        self.emit(self._money.take(reading.money or ()))
        for symbol, (ours, theirs) in position_differences(table, reading).items():
            self.counts["adrift"] += 1
            due = due_qty(table, reading, symbol, theirs - ours)
            table.believe(symbol, theirs - due, reading.began_ms)
        self._emit_reading(reading, first=first)
        return reading

    def _log_leads(self, reading: AccountReading) -> bool:
        """True if the transaction log explains the wallet, or nobody can tell."""
        if self._wallet is None or reading.money is None:
            return True
        return leads(reading.money, self._wallet, reading.rows.wallet_quote)

    def _was_reset(self, reading: AccountReading) -> bool:
        """True if the account was reset while no process of ours ran: its wallet has no history any more.

        A wallet that the log does not explain is a reset only if none of our positions and orders is left.
        While a process runs, or if anything is left, it counts as a loss or a gain.
        """
        known = self._known
        if known is None or self._log_leads(reading):
            return False
        if any(reading.qty(symbol) for symbol in known.positions):
            return False
        if any(order.order_id in reading.working for order in known.orders):
            return False
        self._replaced = (
            f"the account was reset: its wallet was {known.wallet_quote:f}, is "
            f"{reading.rows.wallet_quote:f}, and its transaction log does not say why"
        )
        table = self.table
        for order_id in list(table.live):
            table.forget(order_id)
        return True

    def _apply(self, reading: AccountReading) -> None:
        """Enter the orders and positions of a reading; its executions were entered as they came."""
        table, rows = self.table, reading.rows
        for order in rows.orders:
            if table.is_own(order.orderLinkId) and not table.knows(order):
                table.adopt_order(order, reading.began_ms)  # of an earlier process, and late to show
            else:
                self.on_order(order, self._now_ms)
        for symbol in self.stops.keys() - {position.symbol for position in rows.positions}:
            del self.stops[symbol]  # the stops ended with the position
        for position in rows.positions:
            self.on_position(position, self._now_ms)

    def _read(self, seen_ms: int) -> Steps:
        """Read until nothing was executed between the first query and the last."""
        table = self.table
        for _ in range(READ_TRIES):
            began_ms = self._venue_ms
            # Since the last whole reading, not the last execution: the stream may have shown a later one.
            since_ms = (self.synced_ms or seen_ms or began_ms) - self._overlap_ms
            # The log may have shown a row of before only after the last reading: the wallet had it not yet.
            money_since_ms = (self.synced_ms or began_ms) - self._overlap_ms
            self._take((yield from self._ask(ReadExecutions(since_ms))).executions)
            known = table.executions
            money = (yield from self._ask(ReadMoney(money_since_ms))).money
            rows = (yield from self._ask(ReadAccount())).rows
            assert rows is not None, "the answer to ReadAccount has its rows"
            again = ReadExecutions(max(since_ms, table.last_execution_ms - self._overlap_ms))
            executions = (yield from self._ask(again)).executions
            self._take(executions)
            after = (yield from self._ask(ReadMoney(money_since_ms))).money
            if table.executions == known and money == after:
                return AccountReading(began_ms, rows, executions, money)
            self.counts["unsteady_readings"] += 1
        raise Retryable("the account did not hold still while it was read")

    def _take(self, rows: Iterable[wire.ExecutionFields]) -> None:
        for row in by_time(rows):
            self.on_execution(row)

    def _ask(self, step: SyncStep) -> Generator[SyncStep, SyncAnswer, SyncAnswer]:
        answer = yield step
        self._now_ms, self._venue_ms = answer.now_ms, answer.venue_ms
        return answer


def _is_ours(row: wire.OrderFields, intent: Intent) -> bool:
    """True if a row is the order we meant; an adjusted one must tell its time, which is judged apart."""
    return is_as_intended(row, intent) or (row.createdTime.isdecimal() and is_adjusted(row, intent))
