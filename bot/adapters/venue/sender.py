"""The only place where orders leave. It enforces sequence and age; risk has approved the orders before.

The age of an entry is judged when it leaves: the permission of an entry ends at its ``leave_by_ms``.

Orders leave in the order they came, over the trade socket if it is up, else over REST. An order that waits
here until the venue would no longer take it is reported as never sent. An order that may have left and got no
answer is reported as unknown, and the status poller asks for it. Cancels and stops do not wait behind orders;
both are safe to repeat.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from bot.adapters.net.signed_rest import RequestOutcome, SignedRest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.venue.config import VenueConfig
from bot.adapters.venue.status_poller import OrderStatusPoller
from bot.adapters.venue.tasks import spawn
from bot.adapters.venue.trade_socket import TradeSocket
from bot.bybit import orders
from bot.bybit.account.reading import NO_STOPS
from bot.bybit.account.sync import AccountSync
from bot.bybit.codes import RequestAction, is_unfit
from bot.bybit.orders import Request
from bot.domain.errors import VenueError
from bot.domain.market import Instrument
from bot.domain.messages import (
    CancelOrder,
    OrderCancelled,
    PlaceOrder,
    RejectCause,
    SetStops,
    SetTrailing,
    StopsChanged,
    StopsRejected,
    VenueEffect,
)
from bot.domain.orders import fitted

CANCEL_TRIES = 6
STOPS_TRIES = 4
_AGAIN_S = 0.25


@dataclass(eq=False)
class _Job:
    """An order that waits to be sent; after ``by_s`` of the loop's time the venue would not take it.

    ``since_s``: when the close that led to it arrived (``Stopwatch``).
    """

    order: PlaceOrder
    by_s: float
    since_s: float | None = None
    signed_again: bool = False
    fitted: bool = False


class Sender:
    """Carries effects to the venue.

    Args:
        account: every outcome is entered there.
        poller: asks about orders of unknown fate.
        rest: signed requests.
        now_ms: the shell's clock, for the time of events.
        counts: what happened, by name.
        stopwatch: notes when orders leave over the trade socket.

    Attributes:
        trade: the trade socket, None where there is none.
        may_enter: called when an entry leaves; False keeps it here. It may have waited since its approval.
        fresh_rules: reads a contract's rules anew when an order does not fit them; None if that fails.
    """

    def __init__(
        self,
        config: VenueConfig,
        account: AccountSync,
        poller: OrderStatusPoller,
        rest: SignedRest,
        now_ms: Callable[[], int],
        counts: Counter[str],
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._config = config
        self._account = account
        self._table = account.table
        self._poller = poller
        self._rest = rest
        self._counts = counts
        self.trade: TradeSocket | None = None
        self.may_enter: Callable[[], bool] = lambda: True
        self.fresh_rules: Callable[[str], Awaitable[Instrument | None]] = _unknown_rules
        self._unwanted: set[str] = set()
        self._now_ms = now_ms
        self._stopwatch = stopwatch or Stopwatch()
        self._queue: deque[_Job] = deque()
        self._more = asyncio.Event()
        self._lanes: dict[str, asyncio.Lock] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[VenueEffect] = []

    @property
    def waiting(self) -> int:
        """Number of orders that have not left yet."""
        return len(self._queue)

    def put(self, effect: VenueEffect) -> None:
        """Take an effect; return at once."""
        match effect:
            case PlaceOrder(order_id):
                self._table.send(order_id, effect.intent, self._rest.time.now_ms())
                window_s = self._config.recv_window_ms / 1000.0
                by_s = asyncio.get_running_loop().time() + window_s
                job = _Job(effect, by_s, self._stopwatch.since_s)
                # With nothing before it, an order leaves within this call.
                if self._queue or not self._socket_ready or self._by_socket(job) > 0.0:
                    self._queue.append(job)
                    self._more.set()
            case _ if self._tasks is None:
                self._early.append(effect)
            case CancelOrder():
                if not self._withdraw(effect.order_id):
                    live = self._table.live
                    self._unwanted = {each for each in (*self._unwanted, effect.order_id) if each in live}
                    spawn(self._tasks, self._cancel(effect))
            case SetStops() | SetTrailing():
                spawn(self._tasks, self._set_stops(effect))

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            early, self._early = self._early, []
            for effect in early:
                self.put(effect)
            try:
                while True:
                    while self._queue:
                        await self._next()
                    self._more.clear()
                    await self._more.wait()
            finally:
                self._tasks = None

    # Orders

    async def _next(self) -> None:
        """Send the first order of the queue as soon as the budget allows; a task awaits its answer."""
        assert self._tasks is not None, "only run calls this"
        job = self._queue[0]
        if not self._socket_ready:
            self._dequeue(job)
            spawn(self._tasks, self._by_rest(job, orders.create_order(job.order)))
            return
        wait_s = self._by_socket(job) / 1000.0
        if wait_s and asyncio.get_running_loop().time() + wait_s < job.by_s:
            await asyncio.sleep(wait_s)
        elif wait_s:
            self._dequeue(job)
            self._not_sent(job, "its turn came too late")

    @property
    def _socket_ready(self) -> bool:
        return self._tasks is not None and self.trade is not None and self.trade.ready

    def _by_socket(self, job: _Job) -> float:
        """Write an order to the trade socket and return 0, or return the ms that the budget makes it wait.

        An order that must stay, or that came too late, is reported as not sent; that also returns 0.
        """
        assert self._tasks is not None, "the socket is ready"
        assert self.trade is not None, "the socket is ready"
        loop, request = asyncio.get_running_loop(), orders.create_order(job.order)
        if self._must_stay(job):
            self._dequeue(job)
            self._report_stayed(job)
            return 0.0
        wait_ms = self._rest.budget.take(request.cost, loop.time() * 1000.0)
        if wait_ms > 0.0:
            return wait_ms
        self._dequeue(job)
        if loop.time() >= job.by_s:
            self._not_sent(job, "its turn came too late")
        elif (answer := self.trade.send(request, "create")) is not None:
            self._stopwatch.left(job.since_s, self.trade.wrote_s)
            self._counts["sent"] += 1
            spawn(self._tasks, self._answered(job, answer))
        else:
            spawn(self._tasks, self._by_rest(job, request))
        return 0.0

    def _dequeue(self, job: _Job) -> None:
        """Take a job out of the queue, wherever it is by now."""
        if job in self._queue:
            self._queue.remove(job)

    async def _answered(self, job: _Job, answer: "asyncio.Future[RequestOutcome]") -> None:
        outcome = await answer
        if outcome.kind == "rate":
            self._rest.limit("create", outcome)
        await self._on_outcome(job, outcome)

    async def _by_rest(self, job: _Job, request: Request) -> None:
        """Send over REST. Orders of one symbol go one after the other: two connections could swap them."""
        async with self._lane(job.order.intent.symbol):
            if job.order.order_id not in self._table.live:
                return
            self._counts["sent_by_rest"] += 1
            outcome = await self._rest.send_once(
                request, "create", by_s=job.by_s, unless=lambda: self._must_stay(job)
            )
        if outcome.kind == "unsent" and self._must_stay(job):
            self._report_stayed(job)
        else:
            await self._on_outcome(job, outcome)

    async def _on_outcome(self, job: _Job, outcome: RequestOutcome) -> None:
        order_id, now_ms = job.order.order_id, self._now_ms()
        table, emit = self._table, self._account.emit
        self._counts[f"create_{outcome.kind}"] += 1
        match outcome.kind:
            case "ok":
                emit(table.accepted(order_id, _venue_id(outcome), now_ms))
                intent = job.order.intent
                if intent.order_type == "Market" or intent.time_in_force in ("IOC", "FOK"):
                    spawn(self._tasks, self._look_later(order_id))
            case "already_so":
                # The id is in use: it is ours if the order is as intended, else the order is refused.
                self._poller.ask(order_id, intent=job.order.intent)
            case "retry_unknown":
                emit(table.lost(order_id, now_ms))
                self._poller.ask(order_id)
            case "rate" | "unsent":
                await self._again(job, outcome)
            case "clock" if not job.signed_again:
                job.signed_again = True
                await self._again(job, outcome)
            case _ if is_unfit(outcome.code, outcome.text) and not job.fitted:
                await self._fit(job, outcome)
            case _:
                emit(table.refused(order_id, outcome.code, outcome.text or outcome.kind, now_ms))

    async def _again(self, job: _Job, outcome: RequestOutcome) -> None:
        """The venue has not taken the order. Send it once more, or report it as not sent if it is too old."""
        if outcome.kind == "clock":
            try:
                await self._rest.measure()
            except VenueError:
                outcome = RequestOutcome("unsent", outcome.code, "the venue's clock cannot be read")
            if self._is_old(job):  # more time has passed at the venue than here
                self._not_sent(job, "by the venue's clock its time is over", outcome.code)
                return
        elif outcome.kind == "unsent":
            await asyncio.sleep(_AGAIN_S)
        loop = asyncio.get_running_loop()
        if job.order.order_id not in self._table.live:
            return
        if self._rest.paused_s > 0.0 or loop.time() >= job.by_s:
            self._not_sent(job, outcome.text, outcome.code)
        else:
            await self._by_rest(job, orders.create_order(job.order))

    async def _fit(self, job: _Job, outcome: RequestOutcome) -> None:
        """Read the rules that the order does not fit, round it to them and send it once more.

        If the rules have not changed, or leave nothing to send, the refusal stands.
        """
        job.fitted = True
        intent = job.order.intent
        rules = await self.fresh_rules(intent.symbol)
        smaller = None if rules is None else fitted(intent, rules)
        if smaller is None or smaller == intent:
            await self._on_outcome(job, outcome)
            return
        self._counts["fitted"] += 1
        approved = msgspec.structs.replace(job.order.approved, intent=smaller)
        job.order = msgspec.structs.replace(job.order, approved=approved)
        await self._by_rest(job, orders.create_order(job.order))

    def _must_stay(self, job: _Job) -> bool:
        """True if the order must not leave now: it is withheld, or an entry that has waited too long."""
        return self._is_withheld(job) or job.order.approved.too_old(self._now_ms()) is not None

    def _report_stayed(self, job: _Job) -> None:
        """Report an order that must not leave."""
        if self._is_withheld(job):
            self._withhold(job)
        else:
            self._not_sent(job, job.order.approved.too_old(self._now_ms()) or "")

    def _is_withheld(self, job: _Job) -> bool:
        """True if the order was taken back, or if it is an entry and entries are stopped.

        While the venue bars this address nobody could ask what became of an entry, so none leaves.
        """
        is_stopped = self._rest.paused_s > 0.0 or not self.may_enter()
        return job.order.order_id in self._unwanted or (not job.order.intent.reduce_only and is_stopped)

    def _is_old(self, job: _Job) -> bool:
        """True if more than the receive window passed by the venue's clock since the order was given."""
        order = self._table.live.get(job.order.order_id)
        time = self._rest.time
        return order is not None and time.wall_ms(time.now_ms() - order.sent_ms) > self._config.recv_window_ms

    def _withhold(self, job: _Job) -> None:
        """Report an order as ended before it left."""
        order_id = job.order.order_id
        reason = "CancelByUser" if order_id in self._unwanted else "NotSent: entries are stopped"
        self._counts["withheld"] += 1
        self._account.emit(self._table.withdrawn(order_id, reason, self._now_ms()))

    def _not_sent(self, job: _Job, why: str, code: int = 0) -> None:
        """Report an order as refused, because its time is over and the venue has not seen it."""
        self._counts["not_sent"] += 1
        reason = f"NotSent: {why}" if why else "NotSent"
        self._account.emit(
            self._table.refused(job.order.order_id, code, reason, self._now_ms(), RejectCause.NOT_SENT)
        )

    def _withdraw(self, order_id: str) -> bool:
        """Take back an order that has not left yet."""
        for job in self._queue:
            if job.order.order_id == order_id:
                self._queue.remove(job)
                self._account.emit(self._table.withdrawn(order_id, "CancelByUser", self._now_ms()))
                return True
        return False

    async def _look_later(self, order_id: str) -> None:
        """Ask about an order that cannot rest if no row shows its end in time."""
        await asyncio.sleep(self._config.confirm_ms / 1000.0)
        if order_id in self._table.live:
            self._poller.ask(order_id)

    # Cancels and stops

    async def _cancel(self, effect: CancelOrder) -> None:
        """Cancel until the order's end is known. An order that is not in the table is cancelled once."""
        request = orders.cancel_order(effect.symbol, effect.order_id)
        followed = effect.order_id in self._table.live
        for _ in range(CANCEL_TRIES):
            if followed and effect.order_id not in self._table.live:
                return
            outcome = await self._send(request, "cancel")
            self._counts[f"cancel_{outcome.kind}"] += 1
            if not followed and outcome.kind not in ("retry_unknown", "rate", "unsent", "clock"):
                if outcome.kind == "gone":  # the engine still believes in it; all its fills were emitted
                    self._account.emit([OrderCancelled(self._now_ms(), effect.order_id, "Gone")])
                return
            if outcome.kind == "ok" and await self._ends(effect.order_id):
                return
            if outcome.kind in ("ok", "gone", "retry_unknown"):
                await self._look(effect.order_id)
            elif outcome.kind == "clock":
                await self._measure()
            await asyncio.sleep(_AGAIN_S)
        self._counts["cancel_failed"] += 1

    async def _look(self, order_id: str) -> None:
        try:
            await self._poller.look(order_id)
        except VenueError:
            self._counts["look_failed"] += 1

    async def _ends(self, order_id: str) -> bool:
        """True if a row shows the end of the order in time."""
        loop = asyncio.get_running_loop()
        by_s = loop.time() + self._config.confirm_ms / 1000.0
        while order_id in self._table.live:
            if loop.time() >= by_s:
                return False
            await asyncio.sleep(0.01)
        return True

    async def _set_stops(self, effect: SetStops | SetTrailing) -> None:
        """Set protective prices; a refusal is reported as ``StopsRejected``.

        A trailing stop follows a fill, and the position may end before it arrives: that is no refusal.
        """
        if isinstance(effect, SetTrailing):
            request = orders.trailing_stop(effect)
        else:
            request = orders.trading_stop(effect)
        async with self._lane(f"{effect.symbol}-stops"):
            for _ in range(STOPS_TRIES):
                outcome = await self._send(request, "stops")
                self._counts[f"stops_{outcome.kind}"] += 1
                if outcome.kind in ("ok", "already_so"):
                    self._confirm(effect)
                    return
                if outcome.kind == "clock":
                    await self._measure()
                elif outcome.kind not in ("retry_unknown", "rate", "unsent"):
                    break
                await asyncio.sleep(_AGAIN_S)
            if isinstance(effect, SetTrailing) and not self._table.positions.get(effect.symbol):
                return
            text = outcome.text or outcome.kind
            self._account.emit([StopsRejected(self._now_ms(), effect.symbol, outcome.code, text)])

    def _confirm(self, effect: SetStops | SetTrailing) -> None:
        """Report protective orders that the venue took; what it held beside them is as it was."""
        symbol, now_ms = effect.symbol, self._now_ms()
        stop, target, trailing = self._account.stops.get(symbol, NO_STOPS)
        if isinstance(effect, SetStops):
            stop, target = effect.stop_loss, effect.take_profit
        elif symbol not in self._account.stops:
            return  # the position's row will tell all of them
        else:
            trailing = effect.distance
        self._account.stops_set(StopsChanged(now_ms, symbol, stop, target, trailing))

    async def _send(self, request: Request, action: RequestAction) -> RequestOutcome:
        """Send something that is safe to repeat, over the trade socket if it is up, else over REST."""
        if self.trade is not None and self.trade.ready and request.op is not None:
            loop = asyncio.get_running_loop()
            budget, cost = self._rest.budget, request.cost
            while (wait_ms := budget.take(cost, loop.time() * 1000.0, True)) > 0.0:  # noqa: ASYNC110 (time)
                await asyncio.sleep(wait_ms / 1000.0)
            if (answer := self.trade.send(request, action)) is not None:
                outcome = await answer
                if outcome.kind == "rate":
                    self._rest.limit(request.cost, outcome)
                return outcome
        return await self._rest.send_once(request, action)

    async def _measure(self) -> None:
        try:
            await self._rest.measure()
        except VenueError:
            self._counts["unmeasured"] += 1

    def _lane(self, name: str) -> asyncio.Lock:
        return self._lanes.setdefault(name, asyncio.Lock())


async def _unknown_rules(symbol: str) -> Instrument | None:
    return None


def _venue_id(outcome: RequestOutcome) -> str:
    return outcome.order_id or (orders.parse_answer(outcome.body).order_id if outcome.body else "")
