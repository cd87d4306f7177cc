"""What a run takes from the machine under it: time, chance, names, disk and sockets.

A simulation gives a machine of its own, on which the same daemon runs in virtual time.
"""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.state.clock import THIS_MACHINE, MachineTime, WallClock
from bot.adapters.state.disk import THIS_DISK, Disk

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The seams between a run and the machine it runs on.

    The event loop is the remaining seam: timers, websockets and the control socket use the running one.

    Args:
        time: the wall clock and the steady clock.
        disk: where everything goes that must outlive a power cut.
        pid: number of this process; two bots with one seed differ in their jitter by it.
        environ: where the service manager says how to reach it.
        locks: where accounts are locked against a second bot of this user; None: they are not.
        connector: makes the connector of an HTTP client; None: aiohttp's own.
    """

    time: MachineTime = THIS_MACHINE
    disk: Disk = THIS_DISK
    pid: int = field(default_factory=os.getpid)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    locks: Path | None = None
    connector: "Callable[[], aiohttp.BaseConnector] | None" = None

    @property
    def wall(self) -> WallClock:
        """UTC by this machine."""
        return WallClock(self.time)

    def jitter(self, seed: int) -> random.Random:
        """Return the chance of this process: two processes with one ``seed`` must not agree on it."""
        return random.Random(seed ^ self.pid)  # noqa: S311 (no secret depends on it)
