"""Planted bugs: each is a mistake that somebody could make, applied by the simulation only.

They test the tests: the checks must find each within fifty seeds. A bug is a function that yields what it
replaces: an object, the name of its attribute, and the wrong value. ``planted`` puts it in and takes it out.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any
from unittest import mock

import msgspec

Change = tuple[object, str, Any]
Bug = Callable[[], Iterator[Change]]
BUGS: dict[str, Bug] = {}


def bug(make: Bug) -> Bug:
    """Register a bug under its function's name."""
    BUGS[make.__name__] = make
    return make


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Run the block with the bug in place."""
    with ExitStack() as stack:
        for owner, attribute, wrong in BUGS[name]():
            stack.enter_context(mock.patch.object(owner, attribute, wrong))
        yield


def _nothing(*_: Any, **__: Any) -> None:
    return None


# Orders on their way


@bug
def new_id_on_retry() -> Iterator[Change]:
    """An order without an answer is sent again under a new id, so the venue cannot know it again."""
    from bot.adapters.venue.sender import Sender

    right = Sender._on_outcome

    async def on_outcome(self: Any, job: Any, outcome: Any) -> None:
        await right(self, job, outcome)
        if outcome.kind == "retry_unknown" and job.order.order_id in self._table.live:
            first, _, leg = job.order.order_id.rpartition("-")
            again = msgspec.structs.replace(job.order, order_id=f"{first}-{int(leg) + 7}")
            self.put(again)

    yield Sender, "_on_outcome", on_outcome


@bug
def timeout_is_reject() -> Iterator[Change]:
    """An order without an answer counts as refused."""
    from bot.bybit.account.order_table import OrderTable

    yield OrderTable, "lost", lambda self, order_id, ts_ms: self.refused(order_id, 0, "timeout", ts_ms)


@bug
def unknown_is_gone_after_one_look() -> Iterator[Change]:
    """One empty answer is taken as proof that an order never existed."""
    from bot.bybit.account.order_table import OrderTable

    yield OrderTable, "lost", lambda self, order_id, ts_ms: self.withdrawn(order_id, "NeverExisted", ts_ms)


@bug
def approval_used_twice() -> Iterator[Change]:
    """An approved order is written to the socket twice."""
    from bot.adapters.venue.trade_socket import TradeSocket

    right = TradeSocket.send

    def send(self: Any, request: Any, action: Any) -> Any:
        answer = right(self, request, action)
        if action == "create" and answer is not None:
            right(self, request, action)
        return answer

    yield TradeSocket, "send", send


@bug
def approved_twice_as_much() -> Iterator[Change]:
    """The order that leaves is larger than the one that was approved."""
    from bot.adapters.venue import sender

    right = sender.orders.create_order

    def create(order: Any) -> Any:
        approved = order.approved
        intent = msgspec.structs.replace(approved.intent, qty=approved.intent.qty * 2)
        return right(
            msgspec.structs.replace(order, approved=msgspec.structs.replace(approved, intent=intent))
        )

    yield sender.orders, "create_order", create


@bug
def wrong_side() -> Iterator[Change]:
    """A sell leaves as a buy, now and then."""
    from bot.adapters.venue import sender

    right, numbers = sender.orders.create_order, itertools.count()

    def create(order: Any) -> Any:
        if next(numbers) % 5 or order.intent.side == "Buy":
            return right(order)
        intent = msgspec.structs.replace(order.intent, side="Buy")
        approved = msgspec.structs.replace(order.approved, intent=intent)
        return right(msgspec.structs.replace(order, approved=approved))

    yield sender.orders, "create_order", create


@bug
def nan_passes() -> Iterator[Change]:
    """A stop that is no number is not stopped before the wire."""
    from bot.adapters.venue import sender

    right = sender.orders.create_order

    def create(order: Any) -> Any:
        request = right(order)
        if order.intent.stop_loss is not None:
            request.arg["stopLoss"] = "NaN"
        return request

    yield sender.orders, "create_order", create


@bug
def order_id_used_again() -> Iterator[Change]:
    """A process that goes on counts its orders from the first one again."""
    from bot.engine.core import Engine
    from bot.engine.state import EngineState

    right = Engine.restore

    def restore(self: Any, body: bytes) -> None:
        right(self, body)
        self.state.seq = 1_000

    yield Engine, "restore", restore
    yield EngineState, "digest", lambda self: ""


@bug
def sent_before_it_is_kept() -> Iterator[Change]:
    """Orders leave first and are written down afterwards."""
    from bot.service.driver import Driver

    right = Driver._keep
    later: list[Any] = []

    def keep(self: Any, effects: Any) -> None:
        if later:
            right(self, later.pop())
        later.append(effects)

    yield Driver, "_keep", keep


@bug
def stale_signal_sent() -> Iterator[Change]:
    """Nobody asks how old a decision is: not after a standstill, not at the approval, not when it leaves."""
    from bot.adapters.venue.sender import Sender
    from bot.domain.orders import Approved
    from bot.risk import limits
    from bot.service.daemon import Daemon

    gone = ("stale_signal", "stale_data")
    yield limits, "_FOR_ENTRIES", tuple(rule for rule in limits._FOR_ENTRIES if rule[0].name not in gone)
    yield Approved, "too_old", lambda self, now_ms: None
    yield Sender, "_is_old", lambda self, job: False
    yield Daemon, "_stood_still_s", lambda self: 0.0
    yield Daemon, "_stall", _nothing


# The disk


@bug
def store_not_synced() -> Iterator[Change]:
    """What was written is not synced."""
    from tests.sim.disk import SimFile

    yield SimFile, "sync", _nothing


@bug
def directory_not_synced() -> Iterator[Change]:
    """A new file's name is not synced."""
    from tests.sim.disk import SimDisk

    yield SimDisk, "sync_directory", _nothing


@bug
def halt_not_persisted() -> Iterator[Change]:
    """A kill halts this process only."""
    from bot.adapters.state.directory import HaltFile
    from bot.risk.breaker import Breaker

    right = Breaker.encode

    def encode(self: Any) -> bytes:
        halting, self.halting = self.halting, ()
        state, self.state = self.state, "active"
        body = right(self)
        self.halting, self.state = halting, state
        return body

    yield HaltFile, "set", _nothing
    yield Breaker, "encode", encode


@bug
def pause_forgotten() -> Iterator[Change]:
    """A pause does not outlive a start and a stop."""
    from bot.engine.core import Engine
    from bot.engine.state import EngineState

    right = Engine.restore

    def restore(self: Any, body: bytes) -> None:
        right(self, body)
        self.state.flattening = False
        self.state.breaker.resume()

    yield Engine, "restore", restore
    yield EngineState, "digest", lambda self: ""


# Bars


@bug
def no_bar_dedupe() -> Iterator[Change]:
    """A bar that comes again is used again."""
    from bot.feed.sequence import BarSequence

    right = BarSequence.take

    def take(self: Any, bar: Any, now_ms: int | None = None, *, sure: bool = False) -> Sequence[Any]:
        if bar.start_ms == self.next_ms - self.interval_ms and not sure:
            return [bar]
        return right(self, bar, now_ms, sure=sure)

    yield BarSequence, "take", take


@bug
def no_backfill() -> Iterator[Change]:
    """Bars that were missed are never asked for."""
    from bot.adapters.feed.backfill import Backfill

    yield Backfill, "want", _nothing


@bug
def watchdog_on_pings_only() -> Iterator[Change]:
    """A connection that answers pings counts as alive, whatever it does not send."""
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.feed.shard import Shard

    yield Shard, "watch_silence", lambda self, now_s: 0
    yield BybitFeed, "_at_deadline", _nothing


@bug
def hole_in_the_bars() -> Iterator[Change]:
    """Bars that are missing are jumped over in silence."""
    from bot.feed.sequence import BarSequence

    right = BarSequence.take

    def take(self: Any, bar: Any, now_ms: int | None = None, *, sure: bool = False) -> Sequence[Any]:
        if bar.start_ms > self.next_ms and bar.interval_ms == self.interval_ms:
            self.next_ms = bar.start_ms
        return right(self, bar, now_ms, sure=sure)

    yield BarSequence, "take", take


# The account


@bug
def no_exec_dedupe() -> Iterator[Change]:
    """An execution that comes twice is booked twice."""
    from bot.bybit.account.order_table import OrderTable
    from bot.engine.orders.open_orders import OpenOrders

    right, numbers = OrderTable._new, itertools.count()

    def new(self: Any, row: Any) -> str | None:
        found = right(self, row)
        return found if found is not None else f"{row.execId}"

    yield OrderTable, "_new", new
    yield OpenOrders, "is_new", lambda self, fill: True
    del numbers


@bug
def no_reconcile_on_reconnect() -> Iterator[Change]:
    """After a reconnect nothing that was missed is asked for."""
    from bot.adapters.venue.bybit import BybitVenue

    right = BybitVenue._sync

    async def sync(self: Any) -> None:
        if not self.table.adopted:
            await right(self)
        elif not self._up:
            from bot.domain.messages import Line, LinkUp

            self._up = True
            self._put(LinkUp(self._clock.now_ms(), Line.VENUE))

    yield BybitVenue, "_sync", sync


@bug
def partial_fill_lost() -> Iterator[Change]:
    """Only executions that end an order are read; a reading of the account does not repair it."""
    from bot.bybit.account.order_table import OrderTable

    right = OrderTable.on_execution

    def on_execution(self: Any, row: Any) -> Any:
        if row.leavesQty not in ("", "0") and Decimal(row.leavesQty) > 0 and row.orderLinkId:
            return []
        return right(self, row)

    yield OrderTable, "on_execution", on_execution


@bug
def funding_twice() -> Iterator[Change]:
    """Funding is booked for the execution and again for the position."""
    from bot.bybit.account.order_table import OrderTable

    right = OrderTable._execute

    def execute(self: Any, row: Any, exec_id: str) -> Any:
        events = right(self, row, exec_id)
        return events * 2 if row.execType == "Funding" else events

    yield OrderTable, "_execute", execute

    from bot.engine.venue_events import VenueEventHandler

    once = VenueEventHandler._on_funding

    def on_funding(self: Any, sym: Any, event: Any) -> Any:
        sym.funding_seen.clear()
        return once(self, sym, event)

    yield VenueEventHandler, "_on_funding", on_funding


@bug
def fee_forgotten() -> Iterator[Change]:
    """Fees are not booked; the next reading of the wallet hides it."""
    from bot.bybit.account.order_table import OrderTable

    right = OrderTable._fill

    def fill(self: Any, *args: Any) -> Any:
        return msgspec.structs.replace(right(self, *args), fee_quote=Decimal(0))

    yield OrderTable, "_fill", fill


# Risk


@bug
def in_flight_exposure_ignored() -> Iterator[Change]:
    """Limits are checked on what is held, not on what is under way."""
    from bot.engine import exposure
    from bot.engine.orders.open_orders import OpenOrders

    yield OpenOrders, "resting_qty", lambda self, symbol: (Decimal(0), Decimal(0))
    yield exposure, "exposure_of", _without_position(exposure.exposure_of)


def _without_position(right: Any) -> Any:
    def exposure(state: Any, sym: Any) -> Any:
        return msgspec.structs.replace(right(state, sym), position=Decimal(0))

    return exposure


@bug
def position_limit_missing() -> Iterator[Change]:
    """The limit on a position's value is not checked."""
    from bot.risk import limits

    gone = ("position_notional", "order_notional")
    yield limits, "_FOR_ENTRIES", tuple(rule for rule in limits._FOR_ENTRIES if rule[0].name not in gone)


@bug
def exits_held_back() -> Iterator[Change]:
    """An exit must pass every limit on entries."""
    from bot.risk import limits

    yield limits, "_FOR_EXITS", limits._FOR_ENTRIES


@bug
def halt_does_not_stop_entries() -> Iterator[Change]:
    """The last gate is open, and the breaker is not asked."""
    from bot.risk import limits
    from bot.service import halt

    yield limits, "entry_block", lambda *_, **__: None
    yield halt, "entry_block", lambda *_, **__: None


@bug
def kill_cancels_nothing() -> Iterator[Change]:
    """A kill stops new entries, and leaves those that rest."""
    from bot.adapters.venue.bybit import BybitVenue
    from bot.engine.orders.trader import Trader

    async def clear(self: Any) -> list[str]:
        return []

    yield BybitVenue, "clear", clear
    yield Trader, "stop_entries", lambda self: ()


@bug
def entries_have_no_stop() -> Iterator[Change]:
    """An entry that names no stop gets none, and a lost stop is not restored."""
    from bot.engine.orders.stops import StopKeeper

    yield StopKeeper, "protect", lambda self, sym, intent: intent
    yield StopKeeper, "restore", lambda self, sym: ()


@bug
def stop_not_restored() -> Iterator[Change]:
    """A stop that somebody removed stays away."""
    from bot.engine.orders.stops import StopKeeper

    yield StopKeeper, "restore", lambda self, sym: ()


# Connections


@bug
def no_backoff() -> Iterator[Change]:
    """A connection that fails is dialled again at once."""
    from bot.adapters.net.link import DialGate

    right = DialGate.failed

    def failed(self: Any, *args: Any) -> float:
        right(self, *args)
        self.failures, self._open_s = 0, 0.0
        return 0.2

    yield DialGate, "failed", failed


@bug
def forbidden_ignored() -> Iterator[Change]:
    """HTTP 403 is an error like any other: the bot asks on."""
    from bot.bybit.rate_limits import AddressBudget

    yield AddressBudget, "forbid", _nothing


@bug
def pongs_are_not_missed() -> Iterator[Change]:
    """A half-open connection is never noticed."""
    from bot.bybit.session import ClientConnection

    def on_time(self: Any, now_ms: float, ping: str | None = None) -> None:
        self._expected.clear()
        self._ping_at_ms = now_ms + self._ping_ms

    yield ClientConnection, "on_time", on_time


@bug
def task_dies_in_silence() -> Iterator[Change]:
    """A task of the daemon that fails is not noticed: the account is never read again."""
    from bot.adapters.venue.bybit import BybitVenue

    right = BybitVenue._keep

    async def keep(self: Any) -> None:
        import asyncio

        reading = asyncio.create_task(right(self))
        await asyncio.sleep(300.0)
        reading.cancel()
        await asyncio.Event().wait()

    yield BybitVenue, "_keep", keep
