"""Orders whose fate is open: asked about until the venue has said it, or is proven to know nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.account import Trace, read_position, trace
from bot.adapters.venue.config import VenueConfig
from bot.adapters.venue.order_table import OrderTable
from bot.adapters.venue.reconcile import Absence, by_time, is_as_meant, signed_qty
from bot.adapters.venue.rows import is_end
from bot.adapters.venue.tasks import spawn
from bot.domain.errors import BadInput, VenueError
from bot.domain.messages import VenueEvent
from bot.domain.money import ZERO
from bot.domain.orders import Intent

DUPLICATE = 110072
_MAX_PAUSE_S = 5.0


class Questions:
    """Asks the venue about orders, one task an order; network errors are never an answer.

    Attributes:
        open: the orders that are asked about.
    """

    def __init__(
        self,
        config: VenueConfig,
        table: OrderTable,
        rest: SignedRest,
        tell: Callable[[Iterable[VenueEvent]], None],
        now_ms: Callable[[], int],
        rng: random.Random,
        counts: Counter[str],
    ) -> None:
        self._config = config
        self._table = table
        self._rest = rest
        self._tell = tell
        self._now_ms = now_ms
        self._rng = rng
        self._counts = counts
        self._tasks: asyncio.TaskGroup | None = None
        self.open: dict[str, asyncio.Task[None]] = {}

    def use(self, tasks: asyncio.TaskGroup | None) -> None:
        """The group that the questions live in; None: nothing is asked any more."""
        self._tasks = tasks

    def ask(self, order_id: str, *, meant: Intent | None = None) -> None:
        """Keep asking about an order until its fate is known; ``meant``: only that order counts as ours."""
        if order_id in self.open:
            return
        task = spawn(self._tasks, self._pursue(order_id, meant))
        if task is not None:
            self.open[order_id] = task
            task.add_done_callback(lambda _: self.open.pop(order_id, None))

    async def settle(self, order_ids: Iterable[str]) -> None:
        """Return when the fate of all of these is known."""
        for order_id in order_ids:
            self.ask(order_id)
        while waiting := [self.open[order_id] for order_id in order_ids if order_id in self.open]:
            await asyncio.wait(waiting)

    async def look(self, order_id: str, meant: Intent | None = None) -> Trace | None:
        """Ask once and enter what the venue shows; None if the order is no longer open for us.

        Raises:
            VenueError: it did not answer, or not understandably.
        """
        order = self._table.live.get(order_id)
        if order is None:
            return None
        self._counts["questions"] += 1
        try:
            found = await trace(self._rest, order.symbol, order_id)
            self._enter(order_id, found, meant)
        except BadInput as error:
            raise VenueError(str(error)) from error
        return found

    def _enter(self, order_id: str, found: Trace, meant: Intent | None) -> None:
        table, row = self._table, found.row
        another = row is not None and meant is not None and not is_as_meant(row, meant)
        if another or self._is_older(found, order_id):
            text = "another order has this id"
            self._tell(table.refused(order_id, DUPLICATE, text, self._now_ms()))
            return
        events: list[VenueEvent] = []
        for execution in by_time(found.executions):
            events += table.on_execution(execution)
        if row is not None and not table.adopted:
            if is_end(row):
                table.forget(order_id)
        elif row is not None:
            events += table.on_order(row, self._now_ms())
        self._tell(events)

    def _is_older(self, found: Trace, order_id: str) -> bool:
        """Whether the id was used before we did: by a run whose state directory is lost."""
        order = self._table.live.get(order_id)
        if order is None or not order.since_ms:
            return False
        times = [execution.execTime for execution in found.executions]
        times += [found.row.createdTime] if found.row is not None else []
        before_ms = order.since_ms - self._config.overlap_ms
        return any(time.isdecimal() and int(time) < before_ms for time in times)

    async def _pursue(self, order_id: str, meant: Intent | None) -> None:
        config, table = self._config, self._table
        order = table.live.get(order_id)
        if order is None:
            return
        proof = Absence.of(order, config.recv_window_ms, config.absent_grace_ms, config.absent_spacing_ms)
        failures = 0
        while order_id in table.live:
            try:
                found = await self.look(order_id, meant)
                if found is None or (found.row is not None and not (table.adopted and order.unsettled)):
                    return
                if found.empty and proof.empty(
                    self._rest.time.now_ms(), position_agrees=await self._agrees(order.symbol)
                ):
                    self._counts["never_existed"] += 1
                    if not table.adopted:
                        table.forget(order_id)
                    self._tell(table.withdrawn(order_id, "NeverExisted", self._now_ms()))
                    return
                failures = 0
            except (VenueError, BadInput):
                proof.failed()
                failures += 1
                self._counts["look_failed"] += 1
            await asyncio.sleep(self._pause_s(failures))

    async def _agrees(self, symbol: str) -> bool:
        """Whether the venue's position is what our executions make: the second witness of an absence."""
        if not self._table.adopted:
            return True  # its position is about to be taken over
        rows = await read_position(self._rest, symbol)
        return sum((signed_qty(row) for row in rows), ZERO) == self._table.expected(symbol)

    def _pause_s(self, failures: int) -> float:
        spacing_s = self._config.absent_spacing_ms / 1000.0
        bound_s = min(spacing_s * 2**failures, max(_MAX_PAUSE_S, spacing_s)) if failures else spacing_s
        return spacing_s + self._rng.uniform(0.0, bound_s - spacing_s)
