"""Asks the venue about orders whose fate is open, until a row shows it or the absence is proven."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.account import read_position, trace
from bot.adapters.venue.config import VenueConfig
from bot.adapters.venue.tasks import spawn
from bot.bybit.account.absence import AbsenceProof
from bot.bybit.account.reading import OrderTrace
from bot.bybit.account.sync import AccountSync
from bot.domain.errors import BadInput, VenueError
from bot.domain.orders import Intent

_MAX_PAUSE_S = 5.0


class OrderStatusPoller:
    """Asks about orders, one task an order. An error of the network is never an answer.

    Attributes:
        open: the orders it asks about.
    """

    def __init__(
        self,
        config: VenueConfig,
        account: AccountSync,
        rest: SignedRest,
        now_ms: Callable[[], int],
        rng: random.Random,
        counts: Counter[str],
    ) -> None:
        self._config = config
        self._account = account
        self._rest = rest
        self._now_ms = now_ms
        self._rng = rng
        self._counts = counts
        self._tasks: asyncio.TaskGroup | None = None
        self.open: dict[str, asyncio.Task[None]] = {}

    def use(self, tasks: asyncio.TaskGroup | None) -> None:
        """Set the group that runs the tasks; with None nothing is asked any more."""
        self._tasks = tasks

    def ask(self, order_id: str, *, intent: Intent | None = None) -> None:
        """Keep asking about an order until its fate is known; with ``intent`` only such an order is ours."""
        if order_id in self.open:
            return
        task = spawn(self._tasks, self._pursue(order_id, intent))
        if task is not None:
            self.open[order_id] = task
            task.add_done_callback(lambda _: self.open.pop(order_id, None))

    async def settle(self, order_ids: Iterable[str]) -> None:
        """Wait until it is known what became of each of these orders."""
        for order_id in order_ids:
            self.ask(order_id)
        while waiting := [self.open[order_id] for order_id in order_ids if order_id in self.open]:
            await asyncio.wait(waiting)

    async def look(self, order_id: str, intent: Intent | None = None) -> OrderTrace | None:
        """Ask once and enter what the venue shows; return None if the order is not open for us any more.

        Raises:
            VenueError: the venue did not answer, or not understandably.
        """
        order = self._account.table.live.get(order_id)
        if order is None:
            return None
        self._counts["questions"] += 1
        try:
            found = await trace(self._rest, order.symbol, order_id)
            self._account.on_trace(order_id, found, intent, self._now_ms())
        except BadInput as error:
            raise VenueError(str(error)) from error
        return found

    async def _pursue(self, order_id: str, intent: Intent | None) -> None:
        config, table = self._config, self._account.table
        order = table.live.get(order_id)
        if order is None:
            return
        proof = AbsenceProof.of(
            order, config.recv_window_ms, config.absent_grace_ms, config.absent_spacing_ms
        )
        failures = 0
        while order_id in table.live:
            try:
                found = await self.look(order_id, intent)
                if found is None or (found.row is not None and not (table.adopted and order.unsettled)):
                    return
                if found.empty and proof.empty(
                    self._rest.time.now_ms(), position_agrees=await self._agrees(order.symbol)
                ):
                    self._counts["never_existed"] += 1
                    self._account.never_existed(order_id, self._now_ms())
                    return
                failures = 0
            except (VenueError, BadInput):
                proof.failed()
                failures += 1
                self._counts["look_failed"] += 1
            await asyncio.sleep(self._pause_s(failures))

    async def _agrees(self, symbol: str) -> bool:
        if not self._account.table.adopted:
            return True  # the position has not been taken over yet
        return self._account.agrees(symbol, await read_position(self._rest, symbol))

    def _pause_s(self, failures: int) -> float:
        spacing_s = self._config.absent_spacing_ms / 1000.0
        bound_s = min(spacing_s * 2**failures, max(_MAX_PAUSE_S, spacing_s)) if failures else spacing_s
        return spacing_s + self._rng.uniform(0.0, bound_s - spacing_s)
