"""The gate before the venue: no entry leaves while the bot is halted, whatever was decided before."""

from collections.abc import Callable, Sequence

from bot.adapters.state.directory import HaltFile
from bot.domain.messages import MarketEvent, OrderRejected, PlaceOrder, RejectCause, VenueEffect, VenueEvent
from bot.ports import Venue
from bot.risk.breaker import Breaker
from bot.risk.entries import EntryBlock, entry_block


def entry_block_now(breaker: Breaker, halt: HaltFile) -> EntryBlock | None:
    """Return why no entry may leave this process now, or None; looks at the halt file on disk."""
    return entry_block(breaker.state, halt_file=halt.is_set())


class StepTimer:
    """Measures how long each step of the engine takes, from the event to its orders, and bounds it.

    Args:
        now_s: seconds of a steady clock.
        max_ms: the bound.

    Attributes:
        cut: steps that took longer and lost their entries.
    """

    def __init__(self, now_s: Callable[[], float], max_ms: int) -> None:
        self.cut = 0
        self._now_s = now_s
        self._max_ms = max_ms
        self._began_s: float | None = None
        self._is_cut = False

    def began(self) -> None:
        """Note that the engine is about to take an event."""
        self._began_s = self._now_s()
        self._is_cut = False

    def too_long(self) -> str | None:
        """Return why entries of the step are dropped, with time and limit; None while it is short enough."""
        if self._began_s is None:
            return None
        took_ms = (self._now_s() - self._began_s) * 1000.0
        if took_ms <= self._max_ms:
            return None
        self.cut += not self._is_cut
        self._is_cut = True
        return f"slow_step: {took_ms:.0f} ms after its event was taken, at most {self._max_ms} ms"


class EntryGate:
    """The one way to the venue. An entry that may not leave any more is refused here; exits always pass.

    ``bot kill`` leaves the halt file even when this process hangs; an order on its way meets it here. Time
    passes between the approval of an entry and this gate, so its age is judged here by the clock. A step of
    the engine that takes longer than ``step`` allows has decided on an old market: its entries are dropped.
    """

    def __init__(
        self,
        venue: Venue,
        breaker: Breaker,
        halt: HaltFile,
        on_halt: Callable[[], None],
        now_ms: Callable[[], int],
        step: StepTimer,
    ) -> None:
        self._venue = venue
        self._breaker = breaker
        self._halt = halt
        self._on_halt = on_halt
        self._now_ms = now_ms
        self._step = step

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Send an effect on, or refuse an entry."""
        if not isinstance(effect, PlaceOrder) or effect.intent.reduce_only:
            return self._venue.submit(effect)
        why = self._why_not(effect)
        if why is None:
            return self._venue.submit(effect)
        return (OrderRejected(self._now_ms(), effect.order_id, 0, why, RejectCause.NOT_SENT),)

    def _why_not(self, order: PlaceOrder) -> str | None:
        """Return why an entry may not leave now, None if it may."""
        block = entry_block_now(self._breaker, self._halt)
        if block is EntryBlock.HALT_FILE:
            self._on_halt()
        if block is not None:
            return f"no entry may leave: {block.value}"
        return order.approved.too_old(self._now_ms()) or self._step.too_long()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move."""
        return self._venue.advance(event)
