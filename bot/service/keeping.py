"""What must be on disk before effects are sent: the breaker when it moved, and orders to a remote venue."""

import asyncio
from collections.abc import Sequence

from bot.adapters.net.stopwatch import Stopwatch
from bot.domain.messages import Effect, PlaceOrder, RiskChanged
from bot.engine.core import Engine
from bot.ports import Store


class DiskKeeper:
    """The daemon's ``ports.Keeper``.

    Args:
        engine: whose breaker and open orders are kept.
        keeps_orders: True for a remote venue. Orders at a venue in this process end with the process.
        stopwatch: receives how long the disk took.
    """

    def __init__(self, store: Store, engine: Engine, *, keeps_orders: bool, stopwatch: Stopwatch) -> None:
        self._store = store
        self._engine = engine
        self._keeps_orders = keeps_orders
        self._stopwatch = stopwatch

    def keep(self, effects: Sequence[Effect]) -> None:
        """Return once a moved breaker and new orders are on disk.

        Raises:
            StoreFailed: they cannot be kept, so the effects must not be sent.
        """
        if any(isinstance(effect, RiskChanged) for effect in effects):
            self.save_breaker()
        if not self._keeps_orders:
            return
        live = self._engine.state.orders.live
        orders = [live[effect.order_id] for effect in effects if isinstance(effect, PlaceOrder)]
        if orders:
            now_s = asyncio.get_running_loop().time
            began_s = now_s()
            self._store.sent(*orders)
            self._stopwatch.keeping.add(now_s() - began_s)

    def save_breaker(self) -> None:
        """Have the breaker on disk as it is now.

        Raises:
            StoreFailed: it cannot be kept.
        """
        self._store.save_breaker(self._engine.state.breaker.encode())
