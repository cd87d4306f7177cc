"""A remote venue of Bybit's kind as ``ports.Venue``: testnet, demo trading, or the exchange on this machine.

``submit`` hands an effect to the sender and returns; what comes of it arrives in the inbox. The private
stream tells what happens, but it repeats nothing: so after every connection, on a timer, and whenever a
message could not be read, the account is read whole by REST and held against our books. Until that is done
``LinkDown("venue")`` stands and nothing is entered.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bot.adapters.inbox import Inbox
from bot.adapters.link import Gate, Link
from bot.adapters.signed_rest import SignedRest
from bot.adapters.stopwatch import Stopwatch
from bot.adapters.venue_account import read_executions, read_position, read_standing
from bot.adapters.venue_config import VenueConfig
from bot.adapters.venue_kill import survivors_of
from bot.adapters.venue_market import VenueMarket
from bot.adapters.venue_orders import OrderTable
from bot.adapters.venue_questions import Questions
from bot.adapters.venue_reconcile import (
    Reading,
    Stops,
    account_of,
    adopt,
    adrift,
    by_time,
    open_questions,
    reconcile,
    stops_of,
    take_over,
)
from bot.adapters.venue_sender import Answers, Sender
from bot.adapters.venue_start import check_account, check_clock, check_key, prepare_symbols
from bot.adapters.venue_tasks import spawn
from bot.adapters.venue_trade import Behind, TradeLine
from bot.bybit import orders
from bot.bybit.codes import Forbidden, Kind
from bot.bybit.hosts import check_signed_url
from bot.bybit.private import (
    AuthFailed,
    Bad,
    Executions,
    Orders,
    Positions,
    PrivateMessage,
    PrivateSession,
    Ready,
    SubscribeFailed,
)
from bot.bybit.trade import Answer
from bot.bybit.wire import ExecutionRow, PositionPush
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
    Synced,
    VenueEffect,
    VenueEvent,
)
from bot.domain.money import ZERO
from bot.ports import Clock, Store

READ_TRIES = 8
"""Readings during which something was executed are of no one instant and are made anew."""
DRIFT_TRIES = 5
"""Readings before a position that no execution explains is believed."""
_RETRY_S = (0.2, 5.0)
_RULES_CODES = frozenset({110003, 110094, 110063, 110074, 110023, 110042, 30228})
"""Refusals that speak of rules or a status that have changed."""


class BybitVenue:
    """One account at one venue.

    Args:
        config: what and how patiently.
        rest: signed requests to the same account.
        clock: the shell's.
        rng: for waits; seeded by the caller.
        ids: names of requests, never used twice.
        store: read at the start, for the orders and executions of earlier processes. Whoever calls
            ``submit`` has put the order there before.
        stopwatch: told when orders leave.
    """

    def __init__(
        self,
        config: VenueConfig,
        rest: SignedRest,
        clock: Clock,
        rng: random.Random,
        ids: Iterator[str],
        store: Store,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        """What happened, by name; part of the status."""
        self.table = OrderTable(config.prefix, config.symbols)
        self.synced_ms = 0
        self._rest = rest
        self._clock = clock
        self._rng = rng
        self._ids = ids
        self._store = store
        self._inbox: Inbox | None = None
        self._up = False
        self._told: dict[str, Stops] = {}
        self._watched: set[str] = set()
        self._market = VenueMarket(config, rest, self._put, clock.now_ms, self.counts)
        self._ready = asyncio.Event()
        self._sync_wanted = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._questions = Questions(config, self.table, rest, self._tell, clock.now_ms, rng, self.counts)
        answers = Answers(
            self._tell, self._questions.ask, self._questions.look, self._stops_set, counts=self.counts
        )
        self._sender = Sender(config, self.table, rest, answers, clock.now_ms, stopwatch)

    # The port

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Send it in its turn; what comes of it arrives in the inbox."""
        self._sender.put(effect)
        return ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Note the feed's prices; a remote venue moves by itself."""
        if not self.config.feed_is_venue:
            self._market.feed(event)
        return ()

    async def run(self, inbox: Inbox) -> None:
        """Keep the account connected, read and guarded until cancelled.

        Raises:
            VenueError, BadSettings: the key, the clock or the account will not do; one line says why.
        """
        self._inbox = inbox
        self._put(LinkDown(self._clock.now_ms(), Line.VENUE))
        await self._start()
        private = self._private_link(Gate(self.config.link, self._rng, self.config.connect_budget))
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._questions.use(group)
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
        finally:  # timers may still come
            self._group = None
            self._questions.use(None)

    @property
    def may_enter(self) -> Callable[[], bool]:
        """Looked at when an entry leaves: False keeps it here. The one gate after all waiting."""
        return self._sender.may_enter

    @may_enter.setter
    def may_enter(self, allows: Callable[[], bool]) -> None:
        self._sender.may_enter = allows

    def look_again(self) -> None:
        """This process stood still: nothing is entered before the account was read anew."""
        self._set_down()
        self._sync_wanted.set()

    async def clear(self) -> list[str]:
        """Cancel every entry of ours and verify; returns what survived."""
        return await survivors_of(self._rest, self.config.prefix)

    def facts(self) -> Mapping[str, object]:
        """What the venue knows of itself, for the status."""
        trade = self._sender.trade
        return {
            "venue_up": self._up,
            "venue_offset_ms": round(self._rest.time.offset_wall_ms, 1),
            "venue_synced_ms": self.synced_ms,
            "venue_unknown_orders": len(self._questions.open),
            "venue_trade_socket": None if trade is None else trade.ready,
            "venue_foreign_fills": self.table.foreign_fills,
            "venue_duplicates": self.table.duplicates,
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
            await check_key(rest)
        await check_account(rest, config)
        await self._market.read_rules()
        await prepare_symbols(rest, config, self.rules)

    def _private_link(self, gate: Gate) -> Link[PrivateMessage]:
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

    def _trade_line(self, url: str) -> TradeLine:
        gate = Behind(self._ready, self.config.link, self._rng)
        return TradeLine(
            url, self._rest, self.config, ids=self._ids, rng=self._rng, gate=gate, late=self._on_late
        )

    def _begin(self, now_ms: float) -> tuple[PrivateSession, list[str]]:
        config, credentials = self.config, self._rest.credentials
        session = PrivateSession(
            credentials.key,
            credentials.secret,
            ids=self._ids,
            ping_ms=config.ping_ms,
            pong_timeout_ms=config.pong_timeout_ms,
            ack_timeout_ms=config.link.connect_timeout_ms,
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
                case Executions(_, rows):
                    for execution in rows:
                        if execution.category == "linear":
                            self._tell(self.table.on_execution(execution))
                case Orders(_, rows):
                    for order in rows:
                        if order.category == "linear":
                            self._tell(self.table.on_order(order, self._clock.now_ms()))
                case Positions(_, rows):
                    self._on_positions(rows)
                case AuthFailed(reason) | SubscribeFailed(_, reason):
                    self._on_refused(f"{self.config.urls.private_ws}: signing in failed: {reason}")
                case Bad(reason):
                    raise BadInput(reason)
        except BadInput:  # it may have been a fill
            self.counts["private_bad"] += 1
            self._sync_wanted.set()

    def _on_refused(self, reason: str) -> None:
        """The stream does not take us: at the start that is the end, later one more reason to dial again."""
        self.counts["private_refused"] += 1
        if self.table.adopted:
            self._link.reconnect(reason)
            spawn(self._group, self._ask_if_welcome())
        else:
            spawn(self._group, _fail(VenueError(reason)))

    async def _ask_if_welcome(self) -> None:
        """A stream that refuses does not say why: a key that is dead is the end, anything else passes."""
        try:
            await self._rest.ask(orders.account_info(), orders.parse_account_info)
        except VenueError as error:
            if isinstance(error, Rejected) and not isinstance(error, Forbidden):
                raise

    def _on_positions(self, rows: Iterable[PositionPush]) -> None:
        for row in rows:
            if row.category == "linear" and self.table.adopted:
                self._tell(stops_of(row, self._told, self.table, self._clock.now_ms()))

    def _on_down(self, reason: str) -> None:
        self.counts["private_downs"] += 1
        self._ready.clear()
        self._set_down()

    def _on_late(self, order_id: str, kind: Kind, answer: Answer) -> None:
        """An answer whose request was given up is evidence all the same."""
        self.counts["late_answers"] += 1
        now_ms = self._clock.now_ms()
        if answer.op != "order.create":
            return
        if kind == "ok":
            self._tell(self.table.accepted(order_id, answer.order_id, now_ms))
        elif kind not in ("retry_unknown", "already_so"):
            self._tell(self.table.refused(order_id, answer.code, answer.text or kind, now_ms))

    # Our books against the venue's

    async def _keep(self) -> None:
        failures = 0
        while True:
            await self._ready.wait()
            self._sync_wanted.clear()
            try:
                await self._sync()
                failures = 0
            except (VenueError, BadInput) as error:
                if isinstance(error, Rejected) and not isinstance(error, Forbidden):
                    raise
                failures += 1
                self.counts["sync_failed"] += 1
                self._set_down()
                low_s, high_s = _RETRY_S
                await asyncio.sleep(self._rng.uniform(low_s, min(low_s * 2**failures, high_s)))
                continue
            try:
                async with asyncio.timeout(self.config.reconcile_ms / 1000.0):
                    await self._sync_wanted.wait()
            except TimeoutError:
                pass

    async def _sync(self) -> None:
        """Read the account until it is of one instant and understood, tell it, and be up."""
        await check_clock(self._rest, self.config.max_clock_offset_ms)
        connections = self._link.ups
        reading = await (self._compare() if self.table.adopted else self._take_over())
        if not self._ready.is_set() or self._link.ups != connections:
            raise Retryable("the private stream went away during the reading")
        self.counts["syncs"] += 1
        self.synced_ms = reading.began_ms
        if not self._up:
            self._up = True
            self._put(LinkUp(self._clock.now_ms(), Line.VENUE))

    async def _take_over(self) -> Reading:
        table, config = self.table, self.config
        for order in self._store.orders().values():
            if order.order_id not in table.live:
                table.recall(order, self._rest.time.now_ms())
        seen_ms = self._store.executions_seen_ms()
        table.tell_after_ms = seen_ms or None
        while True:
            reading = await self._read(seen_ms)
            ask = adopt(table, reading)
            if not ask:
                break
            await self._questions.settle(ask)
        account = account_of(table, reading)
        strangers = [each.symbol for each in account.holdings if each.symbol not in table.symbols]
        if config.foreign == "refuse" and (account.foreign_orders or strangers):
            raise Rejected(
                f"the account holds {account.foreign_orders} orders that are not ours and positions in "
                f"{', '.join(strangers) or 'nothing else'}; clear them, or set venue.foreign to count"
            )
        self._put(Synced(reading.began_ms, take_over(table, reading, self._told), first=True))
        return reading

    async def _compare(self) -> Reading:
        table = self.table
        for attempt in range(DRIFT_TRIES):
            if attempt:
                await asyncio.sleep(0.1 * 2**attempt)
            reading = await self._read(0)
            plan = reconcile(table, reading, self._told, self._clock.now_ms())
            self._tell(plan.events)
            known = table.executions
            for order_id in plan.ask:
                await self._questions.look(order_id)
            for order_id in open_questions(table, reading):
                if order_id in plan.ask:
                    self._questions.ask(order_id)
            if not adrift(table, reading) and table.executions == known:
                break
        for symbol, (_, theirs) in adrift(table, reading).items():
            self.counts["adrift"] += 1
            table.positions[symbol] = theirs
        self._put(Synced(reading.began_ms, account_of(table, reading)))
        return reading

    async def _read(self, seen_ms: int) -> Reading:
        """All of the account at one instant: nothing was executed between the first query and the last."""
        table, rest = self.table, self._rest
        for _ in range(READ_TRIES):
            began_ms = rest.time.now_ms()
            # Since the last whole reading, not the last execution: the stream may have told of a later one.
            since_ms = (self.synced_ms or seen_ms or began_ms) - self.config.overlap_ms
            self._take(await read_executions(rest, since_ms))
            known = table.executions
            standing = await read_standing(rest)
            executions = await read_executions(
                rest, max(since_ms, table.last_execution_ms - self.config.overlap_ms)
            )
            self._take(executions)
            if table.executions == known:
                return Reading(
                    began_ms, standing.wallet_quote, standing.positions, standing.orders, tuple(executions)
                )
            self.counts["unsteady_readings"] += 1
        raise Retryable("the account did not hold still while it was read")

    def _take(self, rows: Sequence[ExecutionRow]) -> None:
        for row in by_time(rows):
            self._tell(self.table.on_execution(row))

    # Protection

    def _stops_set(self, told: StopsChanged) -> None:
        self._told[told.symbol] = (told.stop_loss, told.take_profit)
        self._put(told)

    def _watch_stop(self, symbol: str) -> None:
        """A position must have a stop soon after its first fill."""
        if symbol not in self._watched:
            self._watched.add(symbol)
            spawn(self._group, self._look_at_stops(symbol))

    def _is_naked(self, symbol: str) -> bool:
        held = self.table.positions.get(symbol, ZERO)
        return bool(held) and self._told.get(symbol, (None, None))[0] is None

    async def _look_at_stops(self, symbol: str) -> None:
        await asyncio.sleep(self.config.protect_ms / 1000.0)
        self._watched.discard(symbol)
        if not self._is_naked(symbol):
            return
        try:
            for row in await read_position(self._rest, symbol):
                self._tell(stops_of(row, self._told, self.table, self._clock.now_ms()))
        except (VenueError, BadInput):
            self.counts["look_failed"] += 1
        if self._is_naked(symbol):
            self.counts["naked"] += 1
            target = self._told.get(symbol, (None, None))[1]
            self._put(StopsChanged(self._clock.now_ms(), symbol, None, target))

    # Telling

    def _tell(self, events: Iterable[VenueEvent]) -> None:
        for event in events:
            self._put(event)
            if isinstance(event, Filled) and self.table.adopted:
                self._watch_stop(event.fill.symbol)
            elif isinstance(event, OrderRejected | StopsRejected) and event.code in _RULES_CODES:
                self._market.rules_wanted.set()
        self.counts["ended"] += len(self.table.ended())

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
    """The first error of ours in a group, else the first of any kind."""
    ours, _ = errors.split(BotError)
    inner = (ours or errors).exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
