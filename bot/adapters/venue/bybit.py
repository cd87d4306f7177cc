"""A remote venue of Bybit's kind as ``ports.Venue``: testnet, demo trading, or the exchange on this machine.

``submit`` passes an effect to the sender and returns; the answers arrive in the inbox. Every row of the
private stream and of REST goes into one ``AccountSync`` (``bot/bybit/account``). After every connection, on a
timer, and whenever a message could not be read, this adapter carries out the steps of a whole reading. Before
the first reading and after a lost connection ``LinkDown("venue")`` holds and no entry may leave.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from bot.adapters.net.inbox import Inbox
from bot.adapters.net.link import DialGate, Link
from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.account_lock import AccountLock
from bot.adapters.venue.account import read_account_rows, read_executions, read_money, read_position
from bot.adapters.venue.config import VenueConfig
from bot.adapters.venue.kill import survivors_of
from bot.adapters.venue.market import VenueMarket
from bot.adapters.venue.sender import Sender
from bot.adapters.venue.start import (
    check_account,
    check_clock,
    check_key,
    check_margin_mode,
    check_wallet,
    prepare_symbols,
)
from bot.adapters.venue.status_poller import OrderStatusPoller
from bot.adapters.venue.tasks import spawn
from bot.adapters.venue.trade_socket import GateBehind, TradeSocket
from bot.bybit import orders
from bot.bybit.account.order_table import OrderTable
from bot.bybit.account.reading import NO_STOPS, AccountReading
from bot.bybit.account.sync import (
    AccountSync,
    AskOnce,
    AwaitFates,
    KeepAsking,
    ReadAccount,
    ReadExecutions,
    ReadMoney,
    Steps,
    SyncAnswer,
    SyncStep,
    Wait,
)
from bot.bybit.codes import NOTHING_TO_REDUCE, CodeKind, Forbidden, is_other_mode, is_unfit
from bot.bybit.hosts import check_signed_url
from bot.bybit.private import (
    AuthFailed,
    BadMessage,
    ExecutionUpdates,
    OrderUpdates,
    PositionUpdates,
    PrivateMessage,
    PrivateSession,
    Ready,
    SubscribeFailed,
)
from bot.bybit.trade import TradeResponse
from bot.bybit.wire import ExecutionRow, TransactionRow
from bot.domain.account import KnownAccount
from bot.domain.errors import BadInput, BotError, Rejected, Retryable, VenueError
from bot.domain.market import Instrument
from bot.domain.messages import (
    Event,
    Filled,
    Line,
    LinkDown,
    LinkUp,
    MarketEvent,
    OrderRejected,
    StopsChanged,
    StopsRejected,
    VenueEffect,
    VenueEvent,
)
from bot.ports import Clock, OrderMemory

OnNote = Callable[[str, dict[str, object]], None]
"""Called with the name and the facts of an event that a person may want to know."""
_RETRY_S = (0.2, 5.0)
_STATUS_CODES = frozenset({110063, 110074, 110023, 110042, 30228})
"""Refusals that mean that the status of a contract has changed."""


class BybitVenue:
    """One account at one venue.

    Args:
        config: symbols, addresses and patience.
        rest: signed requests to the same account.
        clock: the shell's clock.
        rng: for waits; seeded by the caller.
        ids: names of requests, never used twice.
        store: read at the start for the orders and executions of earlier processes.
        stopwatch: notes when orders leave.
        known: returns what an earlier process knew of the account; None for an account never read. It is
            called once, when ``run`` begins.
        on_note: called with what a person may want to know.
    """

    def __init__(
        self,
        config: VenueConfig,
        rest: SignedRest,
        clock: Clock,
        rng: random.Random,
        ids: Iterator[str],
        store: OrderMemory,
        stopwatch: Stopwatch | None = None,
        known: Callable[[], KnownAccount | None] = lambda: None,
        on_note: OnNote | None = None,
    ) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        """Counts of what happened, by name; part of the status."""
        self.account = AccountSync(
            OrderTable(config.prefix, config.symbols),
            self._emit,
            self.counts,
            overlap_ms=config.overlap_ms,
            foreign=config.foreign,
            foreign_positions=config.foreign_positions,
        )
        """Everything known of the account: orders, executions, positions, stops."""
        self._rest = rest
        self._clock = clock
        self._rng = rng
        self._ids = ids
        self._store = store
        self.known = known
        self._is_known = False
        self._modes_due_s = 0.0
        self._lock: AccountLock | None = None
        self._on_note = on_note or (lambda event, facts: None)
        self._trouble = ""
        self._inbox: Inbox | None = None
        self._up = False
        self._watched: set[str] = set()
        self._market = VenueMarket(config, rest, self._put, clock.now_ms, self.counts)
        self._ready = asyncio.Event()
        self._sync_wanted = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._poller = OrderStatusPoller(config, self.account, rest, clock.now_ms, rng, self.counts)
        self._sender = Sender(config, self.account, self._poller, rest, clock.now_ms, self.counts, stopwatch)
        self._sender.fresh_rules = self._market.fresh_rules

    @property
    def table(self) -> OrderTable:
        """The order table of the account."""
        return self.account.table

    # The port

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Send the effect in its turn; the answers arrive in the inbox."""
        self._sender.put(effect)
        return ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Note the feed's prices. A remote venue moves by itself, so nothing is returned."""
        if not self.config.feed_is_venue:
            self._market.feed(event)
        return ()

    async def run(self, inbox: Inbox) -> None:
        """Keep the account connected, read and guarded until cancelled.

        Raises:
            VenueError, BadSettings: the key, the clock or the account cannot be used; one line says why.
        """
        self._inbox = inbox
        self._put(LinkDown(self._clock.now_ms(), Line.VENUE))
        private = self._private_link(
            DialGate(
                self.config.link, self._rng, self.config.connect_budget, address=self._rest.budget.address
            )
        )
        try:
            await self._start()
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._poller.use(group)
                if self.config.urls.trade_ws is not None:
                    self._sender.trade = self._trade_line(self.config.urls.trade_ws)
                    group.create_task(self._sender.trade.run())
                group.create_task(private.run())
                group.create_task(self._sender.run())
                group.create_task(self._keep())
                group.create_task(self._market.watch_rules())
                if not self.config.feed_is_venue:
                    group.create_task(self._market.watch_prices())
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:  # timers may still fire
            self._group = None
            self._poller.use(None)
            if self._lock is not None:
                self._lock.close()

    @property
    def may_enter(self) -> Callable[[], bool]:
        """Looked at when an entry leaves: False keeps it here. The one gate after all waiting."""
        return self._sender.may_enter

    @may_enter.setter
    def may_enter(self, allows: Callable[[], bool]) -> None:
        self._sender.may_enter = allows

    def look_again(self) -> None:
        """Stop entries until the account has been read again; called after this process stood still."""
        self._set_down()
        self._sync_wanted.set()

    async def clear(self) -> list[str]:
        """Cancel every entry of ours and verify; return the orders that are still there."""
        return await survivors_of(self._rest, self.config.prefix)

    def facts(self) -> Mapping[str, object]:
        """Return facts for the status."""
        trade = self._sender.trade
        return {
            "venue_up": self._up,
            "venue_offset_ms": round(self._rest.time.offset_wall_ms, 1),
            "venue_synced_ms": self.account.synced_ms,
            "venue_unknown_orders": len(self._poller.open),
            "venue_trade_socket": None if trade is None else trade.ready,
            "venue_foreign_fills": self.table.foreign_fills,
            "venue_duplicates": self.table.duplicates,
            "venue_prices_moved": self.table.prices_moved,
            "venue_sizes_moved": self.table.sizes_moved,
            "venue_fees_in_other_coins": self.table.fees_in_other_coins,
            "venue_amounts_unknown": self.table.amounts_unknown,
            "venue_orders_returned": self.table.returned,
            "venue_trouble": self._trouble or None,
            **{f"venue_{name}": count for name, count in sorted(self.counts.items())},
        }

    @property
    def rules(self) -> Mapping[str, Instrument]:
        """The contracts' rules at the venue, by symbol."""
        return self._market.rules

    # The start

    async def _start(self) -> None:
        config, rest = self.config, self._rest
        await check_clock(rest, config.max_clock_offset_ms)
        if config.kind != "demo":  # demo trading does not tell what a key may do
            self.account.uid = await check_key(rest)
        self._lock_account()
        await check_account(rest, config)
        await check_wallet(rest)
        known = self.known()
        self._is_known = known is not None
        if known is not None:  # before the stream begins: each new execution counts from here
            self.account.resume(known, rest.time.now_ms())
        await self._market.read_rules()
        await prepare_symbols(rest, config, self.rules)
        self._modes_due_s = asyncio.get_running_loop().time() + config.modes_ms / 1000.0

    def _lock_account(self) -> None:
        """Hold the account, so that a second bot of this user with our prefix does not start.

        Raises:
            Occupied: another one holds it.
        """
        config = self.config
        if config.lock_folder is None:
            return
        name = self.account.uid or hashlib.sha256(self._rest.credentials.key.encode()).hexdigest()
        try:
            self._lock = AccountLock(
                config.lock_folder, f"{self._rest.base_url} {name} {config.prefix}", config.holder
            )
        except OSError as error:
            self._on_note("account_not_locked", {"reason": str(error)})

    async def _look_at_modes(self) -> None:
        """Look again at margin mode, position mode and leverage, which a person may change at any time.

        Raises:
            VenueError: another margin mode, or hedge mode; entries wait until it is changed back.
        """
        loop, config = asyncio.get_running_loop(), self.config
        if loop.time() < self._modes_due_s:
            return
        await check_margin_mode(self._rest, config)
        for symbol in await prepare_symbols(self._rest, config, self.rules):
            self._on_note("leverage_changed", {"symbol": symbol, "set_again": str(config.leverage)})
        self._modes_due_s = loop.time() + config.modes_ms / 1000.0

    def _private_link(self, gate: DialGate) -> Link[PrivateMessage]:
        self._link: Link[PrivateMessage] = Link(
            check_signed_url(self.config.urls.private_ws),
            self._begin,
            on_value=self._on_value,
            on_up=lambda: None,
            on_down=self._on_down,
            rng=self._rng,
            policy=self.config.link,
            gate=gate,
        )
        return self._link

    def _trade_line(self, url: str) -> TradeSocket:
        gate = GateBehind(self._ready, self.config.link, self._rng, self._rest.budget.address)
        return TradeSocket(
            url, self._rest, self.config, ids=self._ids, rng=self._rng, gate=gate, late=self._on_late
        )

    def _begin(self, now_ms: float) -> tuple[PrivateSession, list[str]]:
        config, credentials = self.config, self._rest.credentials
        session = PrivateSession(
            credentials.key,
            credentials.secret,
            ids=self._ids,
            patience=config.patience,
            clean=credentials.clean,
        )
        return session, session.opened(now_ms, self._rest.time.now_ms())

    # What the private stream says

    def _on_value(self, value: PrivateMessage, _: float) -> None:
        try:
            match value:
                case Ready():
                    self.counts["private_ups"] += 1
                    self._ready.set()
                    self._sync_wanted.set()
                case ExecutionUpdates(_, rows):
                    for execution in rows:
                        if execution.category == "linear":
                            self.account.on_execution(execution)
                case OrderUpdates(_, rows):
                    for order in rows:
                        if order.category == "linear":
                            self.account.on_order(order, self._clock.now_ms())
                case PositionUpdates(_, rows):
                    for position in rows:
                        if position.category == "linear":
                            self.account.on_position(position, self._clock.now_ms())
                case AuthFailed(reason) | SubscribeFailed(_, reason):
                    self._on_refused(f"{self.config.urls.private_ws}: signing in failed: {reason}")
                case BadMessage(reason):
                    raise BadInput(reason)
        except BadInput:  # it may have been a fill
            self.counts["private_bad"] += 1
            self._sync_wanted.set()

    def _on_refused(self, reason: str) -> None:
        """End the run if the stream refuses the sign-in at the start; later dial again."""
        self.counts["private_refused"] += 1
        if self.table.adopted:
            self._link.reconnect(reason)
            spawn(self._group, self._ask_if_welcome())
        else:
            spawn(self._group, _fail(VenueError(reason)))

    async def _ask_if_welcome(self) -> None:
        """Ask over REST why the stream refused: a dead key ends the run, any other reason may pass."""
        try:
            await self._rest.ask(orders.account_info(), orders.parse_account_info)
        except VenueError as error:
            if isinstance(error, Rejected) and not isinstance(error, Forbidden):
                raise

    def _on_down(self, reason: str) -> None:
        self.counts["private_downs"] += 1
        self._modes_due_s = 0.0
        self._ready.clear()
        self._set_down()

    def _on_late(self, order_id: str, kind: CodeKind, answer: TradeResponse) -> None:
        """Enter an answer that came after its request was given up."""
        self.counts["late_answers"] += 1
        now_ms = self._clock.now_ms()
        if answer.op != "order.create":
            return
        if kind == "ok":
            self._emit(self.table.accepted(order_id, answer.order_id, now_ms))
        elif kind not in ("retry_unknown", "already_so"):
            self._emit(self.table.refused(order_id, answer.code, answer.text or kind, now_ms))

    # Our books against the venue's

    async def _keep(self) -> None:
        failures = 0
        while True:
            await self._ready.wait()
            self._sync_wanted.clear()
            try:
                await self._sync()
                if self._trouble:
                    self._trouble = ""
                    self._on_note("account_read", {"tries": failures})
                failures = 0
            except (VenueError, BadInput) as error:
                if isinstance(error, Rejected) and not isinstance(error, Forbidden):
                    raise
                failures += 1
                self.counts["sync_failed"] += 1
                self._set_down()
                self._on_trouble(str(error), failures)
                low_s, high_s = _RETRY_S
                await asyncio.sleep(self._rng.uniform(low_s, min(low_s * 2**failures, high_s)))
                continue
            try:
                async with asyncio.timeout(self.config.reconcile_ms / 1000.0):
                    await self._sync_wanted.wait()
            except TimeoutError:
                pass

    def _on_trouble(self, reason: str, tries: int) -> None:
        """Say once why the account cannot be read; the status keeps showing it."""
        if reason != self._trouble:
            self._trouble = reason
            self._on_note("account_unread", {"reason": reason, "tries": tries})

    async def _sync(self) -> None:
        """Read the account until it is of one instant and understood; then entries may leave."""
        await check_clock(self._rest, self.config.max_clock_offset_ms)
        await self._look_at_modes()
        connections = self._link.ups
        if not self.table.adopted and not self._is_known:
            self.account.recall(self._store.orders().values(), self._store.executions_seen_ms())
        reading = await self._carry_out(self.account.read(self._clock.now_ms(), self._rest.time.now_ms()))
        if not self._ready.is_set() or self._link.ups != connections:
            raise Retryable("the private stream went away during the reading")
        self.account.confirm(reading)
        self.counts["syncs"] += 1
        if not self._up:
            self._up = True
            self._put(LinkUp(self._clock.now_ms(), Line.VENUE))

    async def _carry_out(self, steps: Steps) -> AccountReading:
        """Carry out the steps of a reading, one after the other; return what it read."""
        step = next(steps)
        try:
            while True:
                answer = await self._answer(step)
                step = steps.send(answer)
        except StopIteration as ended:
            reading: AccountReading = ended.value
            return reading
        finally:
            steps.close()

    async def _answer(self, step: SyncStep) -> SyncAnswer:
        executions: Sequence[ExecutionRow] = ()
        rows = money = None
        match step:
            case ReadExecutions(since_ms):
                executions = await read_executions(self._rest, since_ms)
            case ReadAccount():
                rows = await read_account_rows(self._rest)
            case ReadMoney(since_ms):
                money = await self._read_money(since_ms)
            case AskOnce(order_id):
                await self._poller.look(order_id)
            case KeepAsking(order_id):
                self._poller.ask(order_id)
            case AwaitFates(order_ids):
                await self._poller.settle(order_ids)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case _:
                assert_never(step)
        return SyncAnswer(self._clock.now_ms(), self._rest.time.now_ms(), tuple(executions), rows, money)

    async def _read_money(self, since_ms: int) -> tuple[TransactionRow, ...] | None:
        """Read the transaction log; without it a transfer cannot be told from a loss."""
        try:
            return tuple(await read_money(self._rest, since_ms))
        except (VenueError, BadInput):
            self.counts["log_failed"] += 1
            return None

    # Protection

    def _watch_stop(self, symbol: str) -> None:
        """Check soon after a fill that the position has a stop."""
        if symbol not in self._watched:
            self._watched.add(symbol)
            spawn(self._group, self._look_at_stops(symbol))

    async def _look_at_stops(self, symbol: str) -> None:
        await asyncio.sleep(self.config.protect_ms / 1000.0)
        self._watched.discard(symbol)
        if not self.account.is_naked(symbol):
            return
        try:
            for row in await read_position(self._rest, symbol):
                self.account.on_position(row, self._clock.now_ms())
        except (VenueError, BadInput):
            self.counts["look_failed"] += 1
        if self.account.is_naked(symbol):
            self.counts["naked"] += 1
            _, target, trailing = self.account.stops.get(symbol, NO_STOPS)
            self._put(StopsChanged(self._clock.now_ms(), symbol, None, target, trailing))

    # Events

    def _emit(self, events: Iterable[VenueEvent]) -> None:
        for event in events:
            self._put(event)
            if isinstance(event, Filled) and self.table.adopted:
                self._watch_stop(event.fill.symbol)
            elif isinstance(event, OrderRejected | StopsRejected):
                self._on_refusal(event.code, event.reason)
        self.counts["ended"] += len(self.table.ended())
        if self.account.wants_reading:
            self._sync_wanted.set()

    def _on_refusal(self, code: int, text: str) -> None:
        """Read again what a refusal contradicts: modes, rules, or the position that an exit should reduce."""
        if is_other_mode(code, text):
            self._modes_due_s = 0.0
            self._sync_wanted.set()
        elif code in _STATUS_CODES or is_unfit(code, text):
            self._market.rules_wanted.set()
        elif code == NOTHING_TO_REDUCE:
            self._sync_wanted.set()

    def _put(self, event: Event) -> None:
        assert self._inbox is not None, "only run brings events"
        self._inbox.put(event)

    def _set_down(self) -> None:
        if self._up:
            self._up = False
            self._put(LinkDown(self._clock.now_ms(), Line.VENUE))


async def _fail(error: BotError) -> None:
    raise error


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first ``BotError`` of a group, else the first error of any kind."""
    ours, _ = errors.split(BotError)
    inner = (ours or errors).exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
