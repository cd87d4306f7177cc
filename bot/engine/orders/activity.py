"""What one symbol is busy with: one value, and the table of what may follow what. Pure.

::

    state       the symbol
    Idle        has nothing that the engine must carry on
    Exiting     must still leave its position: every close sends the exit target again
    Replacing   waits until cancelled orders are gone, then pursues the new target
    Resting     carries a target out maker first (``execution.py``)
    Turning     has an entry that waits for exits: until the venue has taken that of a change of side, or
                until those of other symbols have freed the room that the entry needs

    event          comes when                            Idle       Exiting    Replacing  Resting    Turning
    Sent           the target's orders left, or it       standing   standing   standing   standing   standing
                   needs none
    Unchanged      live orders stay: they are the        standing   standing   standing   Resting    standing
                   target, or their outcome is unknown
    Replaced       live orders are cancelled for the     Replacing  Replacing  Replacing  Replacing  Replacing
                   target
    Rested         the target is carried out maker       Resting    Resting    Resting    Resting    Resting
                   first
    Turned         the entry of a target must wait for   Turning    Turning    Turning    Turning    Turning
                   exits that left
    Finished       maker-first execution has ended       -          -          -          standing   -
    Dropped        what waits is given up                Idle       Exiting    standing   standing   standing
    PositionClosed the position is flat or turned        Idle       Idle       Replacing  Resting    Turning

    standing   Exiting while an exit target is active, else Idle
    -          the event cannot happen here: ``advance`` raises Broken

An exit target stays active until the position is closed, even if one bar's volume cannot fill it. So
Replacing, Resting and Turning carry it along in ``exit`` and hand it on when they end.
"""

import msgspec

from bot.domain.errors import Broken
from bot.domain.orders import Intent
from bot.engine.orders.execution import MakerExecution
from bot.strategy.signal import Target


class Idle(msgspec.Struct, frozen=True, tag=True):
    """Nothing to carry on. Market orders and orders with a price of their own may still be live."""

    exit: None = None


class Exiting(msgspec.Struct, frozen=True, tag=True):
    """The exit target is active and none of its orders is replaced or carried out maker first."""

    exit: Target


class Replacing(msgspec.Struct, frozen=True, tag=True):
    """``target``, decided at the close ``decided_ms``, waits for the orders that it replaces.

    ``urgent`` targets are sent at the market.
    """

    target: Target
    decided_ms: int
    urgent: bool
    exit: Target | None


class Resting(msgspec.Struct, frozen=True, tag=True):
    """A target is carried out maker first; ``execution`` holds its progress."""

    execution: MakerExecution
    exit: Target | None


class Turning(msgspec.Struct, frozen=True, tag=True):
    """``entry`` is sent once the exits before it are taken.

    The exit of a change of side must be accepted or filled; if the venue refuses it, the entry waits for the
    next try. An entry without room waits until the exits of other symbols are filled or have ended.
    """

    entry: Intent
    exit: Target | None


Activity = Idle | Exiting | Replacing | Resting | Turning
IDLE = Idle()


class Sent(msgspec.Struct, frozen=True):
    """The orders of a target left for the venue, or the target needs none."""

    exit: Target | None


class Unchanged(msgspec.Struct, frozen=True):
    """The live orders stay: they are what the target asks for, or nobody knows yet what became of them."""

    exit: Target | None


class Replaced(msgspec.Struct, frozen=True):
    """The live orders are cancelled; ``target`` is pursued once they are gone."""

    target: Target
    decided_ms: int
    urgent: bool
    exit: Target | None


class Rested(msgspec.Struct, frozen=True):
    """A target is carried out maker first from here on."""

    execution: MakerExecution
    exit: Target | None


class Turned(msgspec.Struct, frozen=True):
    """Exits leave; ``entry`` follows them."""

    entry: Intent
    exit: Target | None


class Finished(msgspec.Struct, frozen=True):
    """The maker-first execution has nothing left to do."""


class Dropped(msgspec.Struct, frozen=True):
    """What waits or is carried out is given up; an active exit target stays."""


class PositionClosed(msgspec.Struct, frozen=True):
    """The position is flat or on the other side: the exit target has done its work."""


ActivityEvent = Sent | Unchanged | Replaced | Rested | Turned | Finished | Dropped | PositionClosed
FINISHED, DROPPED, POSITION_CLOSED = Finished(), Dropped(), PositionClosed()

_States = frozenset[type[Activity]]
_IDLE: _States = frozenset({Idle})
_EXITING: _States = frozenset({Exiting})
_STANDING: _States = frozenset({Idle, Exiting})
_REPLACING: _States = frozenset({Replacing})
_RESTING: _States = frozenset({Resting})
_TURNING: _States = frozenset({Turning})
_TARGET: dict[type[ActivityEvent], _States] = {
    Sent: _STANDING,
    Unchanged: _STANDING,
    Replaced: _REPLACING,
    Rested: _RESTING,
    Turned: _TURNING,
}
NEXT: dict[type[Activity], dict[type[ActivityEvent], _States]] = {
    Idle: {**_TARGET, Dropped: _IDLE, PositionClosed: _IDLE},
    Exiting: {**_TARGET, Dropped: _EXITING, PositionClosed: _IDLE},
    Replacing: {**_TARGET, Dropped: _STANDING, PositionClosed: _REPLACING},
    Resting: {
        **_TARGET,
        Unchanged: _RESTING,
        Finished: _STANDING,
        Dropped: _STANDING,
        PositionClosed: _RESTING,
    },
    Turning: {**_TARGET, Dropped: _STANDING, PositionClosed: _TURNING},
}


def advance(state: Activity, event: ActivityEvent) -> Activity:
    """Return what the symbol is busy with after ``event``.

    Raises:
        Broken: ``NEXT`` has no such step.
    """
    if type(event) not in NEXT[type(state)]:
        raise Broken(f"{type(event).__name__} cannot happen to a symbol that is {type(state).__name__}")
    match event:
        case Sent(active):
            return _standing(active)
        case Unchanged(active):
            return Resting(state.execution, active) if isinstance(state, Resting) else _standing(active)
        case Replaced():
            return Replacing(event.target, event.decided_ms, event.urgent, event.exit)
        case Rested(execution, active):
            return Resting(execution, active)
        case Turned(entry, active):
            return Turning(entry, active)
        case Finished() | Dropped():
            return _standing(state.exit)
        case PositionClosed():
            return _without_exit(state)


def _standing(active: Target | None) -> Idle | Exiting:
    return IDLE if active is None else Exiting(active)


def _without_exit(state: Activity) -> Activity:
    match state:
        case Idle() | Exiting():
            return IDLE
        case Replacing() | Resting() | Turning():
            return state if state.exit is None else msgspec.structs.replace(state, exit=None)
