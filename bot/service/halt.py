"""A halt outlives the process and needs none: what it stops, and what the next start makes of it."""

from collections.abc import Callable, Sequence

from bot.adapters.state.directory import HaltFile
from bot.domain.errors import BadInput, StoreFailed
from bot.domain.messages import MarketEvent, OrderRejected, PlaceOrder, VenueEffect, VenueEvent
from bot.ports import Store, Venue
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits


class Gate:
    """The one way to the venue: an entry passes only while no halt file lies in the state directory.

    ``bot kill`` leaves that file even when this process hangs; an order that was on its way meets it here.
    """

    def __init__(self, venue: Venue, halt: HaltFile, on_halt: Callable[[], None]) -> None:
        self._venue = venue
        self._halt = halt
        self._on_halt = on_halt

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Send it on, or refuse an entry."""
        if isinstance(effect, PlaceOrder) and not effect.intent.reduce_only and self._halt.is_set():
            self._on_halt()
            return (OrderRejected(effect.intent.decided_ms, effect.order_id, 0, "halted by `bot kill`"),)
        return self._venue.submit(effect)

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
        for cause in old.halting:
            breaker.halt(cause)
        if "paused" in old.reducing:
            breaker.pause()
    if halt.is_set():
        breaker.halt("operator")
    if starts > starts_max:
        breaker.halt("crash_loop")
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
