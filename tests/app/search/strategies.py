"""Strategies of a user that misbehave in a search."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from bot.app.search.processes.parcel import Files, look
from bot.strategy import Target, View


class Fragile:
    """Long for ``hold`` of every 50 bars. One value kills its process, once or always; one raises."""

    def __init__(self, hold: int = 10, dies_at: int = -1, marker: str = "") -> None:
        self.hold, self._bars = hold, 0
        if hold == 3:
            raise ValueError("hold must not be 3")
        if hold == dies_at and not (marker and Path(marker).exists()):
            if marker:
                Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_bar(self, view: View) -> Target:
        self._bars += 1
        if self.hold == 4 and self._bars == 900:
            raise ZeroDivisionError("a bug of the user's")
        return Target(0.01 if self._bars % 50 < self.hold else 0.0)


class Side:
    """Holds ``size`` all the time: long (1) or short (-1)."""

    def __init__(self, side: int = 1, size: float = 0.01) -> None:
        self._target = Target(side * size)

    def on_bar(self, view: View) -> Target:
        return self._target


def look_or_die(marker: str, wanted: Mapping[str, str], files: Files | None) -> tuple[str | None, bool]:
    """Look at a worker as a search does; the first worker dies of it."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return look(wanted, files)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")
