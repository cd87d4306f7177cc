"""Halts, which outlive the process: the gate before the venue, and the breaker at the next start."""

from collections.abc import Callable, Sequence

from bot.adapters.state.directory import HaltFile
from bot.domain.errors import BadInput, StoreFailed
from bot.domain.messages import MarketEvent, OrderRejected, PlaceOrder, RejectCause, VenueEffect, VenueEvent
from bot.ports import Store, Venue
from bot.risk.breaker import Breaker, Cause
from bot.risk.entries import EntryBlock, entry_block
from bot.risk.limits import Limits


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


def restored_breaker(
    store: Store, halt: HaltFile, limits: Limits, *, starts: int, starts_max: int, keep_levels: bool
) -> Breaker:
    """The breaker as the last run left it: halts and a pause stand; lines that were down are looked at anew.

    ``keep_levels`` is False where the account begins anew with each process (paper): its peak and its day
    then begin anew, too. More than ``starts_max`` ``starts`` halt it.

    Raises:
        StoreFailed: what was saved cannot be read.
    """
    old = _saved(store, limits)
    if old is None:
        breaker = Breaker()
    elif keep_levels:
        breaker = old
    else:
        breaker = Breaker()
        breaker.take_over(old)
    if halt.is_set():
        breaker.halt(Cause.OPERATOR)
    if starts > starts_max:
        breaker.halt(Cause.CRASH_LOOP)
    return breaker


def lift_halts(store: Store) -> tuple[str, ...]:
    """``bot unhalt`` without a daemon: forget halts and crashed starts; returns the halts' reasons.

    Raises:
        StoreFailed: what was saved cannot be read, or not be written.
    """
    breaker = _saved(store, Limits())
    store.forgive()
    if breaker is None or not breaker.halting:
        return ()
    lifted = breaker.halting
    breaker.unhalt()
    store.save_breaker(breaker.encode())
    return lifted


def _saved(store: Store, limits: Limits) -> Breaker | None:
    body = store.breaker()
    if body is None:
        return None
    try:
        return Breaker.restore(body, limits)
    except BadInput as error:
        raise StoreFailed(f"{error}; see what the account holds, then move the store file away") from error
