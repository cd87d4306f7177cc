"""The supervisor of a daemon: takes its entries back at the venue when it is dead or frozen.

Bybit's own dead-man's switch is not for ordinary accounts, so an entry that rests there would outlive a dead
bot unnoticed. Protective stops and other reduce-only orders stay. A daemon that lives keeps its orders.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bot.adapters.state.alive import Sign, SignOfLife
from bot.app.state.last_daemon import settings_of_last
from bot.app.venue.account import kill_at_venue
from bot.bybit.rate_limits import AddressBudget
from bot.domain.errors import BotError
from bot.service.process.vigil import Life, Vigil

if TYPE_CHECKING:
    from bot.app.context import Context

LOOK_EVERY_S = 0.5
SOON_S = 5.0
"""The venue is looked at once more after this: an order may have been on its way when the daemon died."""
AGAIN_S = 60.0
"""Time between two looks at the venue while the daemon stays away."""
RETRY_S = 10.0
"""Time until the next try if orders survived, or the venue did not answer."""

Clear = Callable[[Callable[[], bool]], list[str]]
"""Cancels entries unless the argument says so; returns the ids of those that are left."""


class Guard:
    """Looks at the sign of life, and acts once per death.

    Args:
        sign: the daemon's sign of life.
        clear: cancels its entries. Raises BotError if it cannot.
        log: structlog's.
        after_s: without a sign of life for longer, the daemon is frozen.
        now_s: a steady clock.

    Attributes:
        survivors: entries that were left after the last try; None before the first.
    """

    def __init__(
        self,
        sign: SignOfLife,
        clear: Clear,
        log: Any,
        after_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.survivors: list[str] | None = None
        self._sign = sign
        self._clear = clear
        self._log = log
        self._now_s = now_s
        self._vigil = Vigil(after_s)
        self._tries = 0
        self._due_s = 0.0

    def look(self) -> tuple[Life, Sign | None]:
        """Judge the daemon as it is now, by this sign of life."""
        sign = self._sign.read()
        exists = sign is not None and sign.process_exists
        return self._vigil.look(sign, self._now_s(), process_exists=exists), sign

    def step(self) -> Life:
        """Look once; if the daemon is dead or frozen, take its entries back when that is due."""
        life, sign = self.look()
        if life in (Life.DEAD, Life.FROZEN):
            if self._now_s() >= self._due_s:
                self.act(life, sign)
        elif life is Life.LIVES and self._tries:
            self._log.info("guard_daemon_lives")
            self._tries, self._due_s, self.survivors = 0, 0.0, None
        return life

    def act(self, life: Life, sign: Sign | None) -> None:
        """Cancel the entries of a daemon that gave its last sign with ``sign``; stop if it gives another."""
        self._tries += 1
        first = self._tries == 1
        if first:
            self._log.warning("guard_daemon_away", life=life.value, pid=None if sign is None else sign.pid)
        try:
            self.survivors = self._clear(lambda: self._sign.read() != sign)
        except BotError as error:
            self._log.error("guard_failed", reason=str(error))
            self._due_s = self._now_s() + RETRY_S
            raise
        if self._sign.read() != sign:
            self._log.info("guard_stands_back")  # what is left is the living daemon's
            self.survivors = None
        elif self.survivors:
            self._log.error("guard_survivors", survivors=self.survivors)
        elif first:
            self._log.info("guard_cleared")
        pause_s = RETRY_S if self.survivors else SOON_S if first else AGAIN_S
        self._due_s = self._now_s() + pause_s


def make_guard(context: "Context", state_dir: Path, venue: str | None, after_s: float) -> Guard:
    """Return a guard of the daemon on ``state_dir``."""
    address = AddressBudget()

    def clear(unless: Callable[[], bool]) -> list[str]:
        settings = settings_of_last(context, state_dir, venue)
        return [] if settings is None else kill_at_venue(settings, unless=unless, address=address)

    return Guard(SignOfLife(state_dir), clear, context.log, after_s)


def watch(guard: Guard) -> NoReturn:
    """Guard until a signal ends this process; a venue that does not answer is asked again."""
    while True:
        with contextlib.suppress(BotError):  # it has been logged
            guard.step()
        time.sleep(LOOK_EVERY_S)


def guard_once(guard: Guard) -> Mapping[str, object]:
    """Wait until it is certain whether the daemon lives; if not, take its entries back once.

    Raises:
        VenueError: the venue does not answer.
    """
    while (found := guard.look())[0] is Life.UNCERTAIN:
        time.sleep(LOOK_EVERY_S)
    life, sign = found
    if life in (Life.DEAD, Life.FROZEN):
        guard.act(life, sign)
    return {"daemon": life.value, "survivors": guard.survivors or []}
