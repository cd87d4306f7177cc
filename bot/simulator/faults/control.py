"""The exchange's control socket, for tests and for people with curl.

::

    GET    /faults     faults in force and how often each kind has happened
    POST   /faults     put one in force now, e.g. {"kind": "stall", "on": "public", "for_s": 60}
    DELETE /faults     end all, put right what they changed
    GET    /stats      the exchange's clock and how many clients it has
    GET    /orders     microseconds from a confirmed candle to the next order, since the last such question

    curl --unix-socket .data/exchange.sock -d '{"kind": "reset"}' http://exchange/faults
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from bot.adapters.control.server import ControlServer, Question
from bot.domain.errors import BadInput
from bot.simulator.faults.order_timer import OrderTimer
from bot.simulator.faults.plan import parse_fault
from bot.simulator.faults.planned import PlannedFaults
from bot.simulator.faults.world import ExchangeWorld


class FaultControl:
    """Serves the control socket. Call ``start`` before use, ``stop`` after it; ``stop`` removes the file."""

    def __init__(
        self, path: Path, faults: PlannedFaults, world: ExchangeWorld, stats: Callable[[], dict[str, object]]
    ) -> None:
        self._faults = faults
        self._world = world
        self._stats = stats
        self._server = ControlServer(
            path,
            {
                "GET /faults": self._list,
                "POST /faults": self._post,
                "DELETE /faults": self._clear,
                "GET /stats": self._tell,
                "GET /orders": self._spans,
            },
        )
        faults.timer = self._timer = OrderTimer(faults.now_s)

    async def start(self) -> None:
        """Listen; only the owner of the file may connect.

        Raises:
            BotError: the place cannot be used.
        """
        await self._server.start()

    async def stop(self) -> None:
        """Close the socket and remove its file."""
        await self._server.stop()

    async def _list(self, asked: Question) -> Mapping[str, object]:
        running = [
            {"name": each.name, "happened": each.happened, **msgspec.to_builtins(each.fault)}
            for each in self._faults.faults
        ]
        return {"faults": running, "counts": dict(self._faults.counts)}

    async def _post(self, asked: Question) -> Mapping[str, object]:
        try:
            fault = parse_fault(json.loads(asked.body))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not a fault: {error}") from None
        self._world.check(fault)
        name = self._faults.post(fault)
        self._faults.step()
        return {"name": name}

    async def _clear(self, asked: Question) -> Mapping[str, object]:
        self._faults.clear()
        return {"faults": []}

    async def _tell(self, asked: Question) -> Mapping[str, object]:
        return self._stats()

    async def _spans(self, asked: Question) -> Mapping[str, object]:
        return {"confirm_to_order_us": self._timer.take()}
