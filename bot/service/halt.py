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


class EntryGate:
    """The one way to the venue. An entry that may not leave any more is refused here; exits always pass.

    ``bot kill`` leaves the halt file even when this process hangs; an order on its way meets it here.
    """

    def __init__(self, venue: Venue, breaker: Breaker, halt: HaltFile, on_halt: Callable[[], None]) -> None:
        self._venue = venue
        self._breaker = breaker
        self._halt = halt
        self._on_halt = on_halt

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Send an effect on, or refuse an entry."""
        if not isinstance(effect, PlaceOrder) or effect.intent.reduce_only:
            return self._venue.submit(effect)
        block = entry_block_now(self._breaker, self._halt)
        if block is None:
            return self._venue.submit(effect)
        if block is EntryBlock.HALT_FILE:
            self._on_halt()
        at_ms, why = effect.intent.decided_ms, f"no entry may leave: {block.value}"
        return (OrderRejected(at_ms, effect.order_id, 0, why, RejectCause.NOT_SENT),)

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the market move."""
        return self._venue.advance(event)
