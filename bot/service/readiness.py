"""How far the daemon has come: a few facts, the notices that change them, and the word they add up to. Pure.

The first row that holds names the state::

    word          holds while
    stopping      a stop was asked for
    starting      the daemon's tasks do not run yet
    recovering    the account of a remote venue is not read yet
    warming       the feed has not handed over its history, or no symbol is warm
    catching_up   events still wait too long: the history's backlog is not done
    stalled       the process stood still, and no close came in time since
    feed_down     the feed has lost its data
    cold          no symbol is warm any more, after a hole in the bars
    trading       none of the above

A daemon decides on closes once it has started: from the first time that only ``trading`` would hold. Later
states hold entries back and never exits.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Literal

import msgspec

State = Literal[
    "starting",
    "recovering",
    "warming",
    "trading",
    "paused",
    "reducing",
    "halted",
    "stalled",
    "stopping",
]
"""``state`` of ``bot status``: the word below, and what the operator or a limit has set."""


class Notice(Enum):
    """What the daemon's loop notices."""

    RUNNING = "running"
    """The tasks run, sockets may be open."""
    ACCOUNT_READ = "account_read"
    """The first reading of the venue's account was adopted."""
    FEED_UP = "feed_up"
    """The feed has handed over every bar until now."""
    FEED_DOWN = "feed_down"
    """The feed has lost its data."""
    WARM = "warm"
    """At least one symbol is warm."""
    COLD = "cold"
    """No symbol is warm."""
    KEEPING_UP = "keeping_up"
    """Events are taken as they come; none waits long."""
    STALL = "stall"
    """The process, or its machine, stood still: whatever happened meanwhile may be unknown."""
    LIVE_CLOSE = "live_close"
    """A close was decided on in time."""
    STOP = "stop"
    """A stop was asked for."""


class Word(Enum):
    """The state in one word; its value is part of ``bot status``."""

    STOPPING = "stopping"
    STARTING = "starting"
    RECOVERING = "recovering"
    WARMING = "warming"
    CATCHING_UP = "catching_up"
    STALLED = "stalled"
    FEED_DOWN = "feed_down"
    COLD = "cold"
    TRADING = "trading"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the start and of the feed."""

    account_read: bool
    """Begins True for a venue in this process."""
    running: bool = False
    history_read: bool = False
    warm: bool = False
    started: bool = False
    """True from the first moment on at which nothing held the start back."""
    stalled: bool = False
    feed_up: bool = False
    stopping: bool = False

    @property
    def may_start(self) -> bool:
        """True if all that a first decision needs is there."""
        return self.running and self.account_read and self.history_read and self.warm

    @property
    def word(self) -> Word:
        """The first row of ``ROWS`` that holds."""
        return next(word for word, holds in ROWS if holds(self))


ROWS: tuple[tuple[Word, Callable[[Readiness], bool]], ...] = (
    (Word.STOPPING, lambda now: now.stopping),
    (Word.STARTING, lambda now: not now.running),
    (Word.RECOVERING, lambda now: not now.account_read),
    (Word.WARMING, lambda now: not now.started and not (now.history_read and now.warm)),
    (Word.CATCHING_UP, lambda now: not now.started),
    (Word.STALLED, lambda now: now.stalled),
    (Word.FEED_DOWN, lambda now: not now.feed_up),
    (Word.COLD, lambda now: not now.warm),
    (Word.TRADING, lambda now: True),
)

CHANGES: Mapping[Notice, Mapping[str, bool]] = {
    Notice.RUNNING: {"running": True},
    Notice.ACCOUNT_READ: {"account_read": True},
    Notice.FEED_UP: {"history_read": True, "feed_up": True},
    Notice.FEED_DOWN: {"feed_up": False},
    Notice.WARM: {"warm": True},
    Notice.COLD: {"warm": False},
    Notice.KEEPING_UP: {},
    Notice.STALL: {"stalled": True},
    Notice.LIVE_CLOSE: {"stalled": False},
    Notice.STOP: {"stopping": True},
}
"""Notice → the facts that it sets. ``KEEPING_UP`` also starts the daemon if nothing else holds it back."""


def advance(now: Readiness, notice: Notice) -> Readiness:
    """Return what is known after ``notice``. Every notice may come at any time; repeats change nothing."""
    changes = CHANGES[notice]
    if notice is Notice.KEEPING_UP and now.may_start:
        changes = {"started": True}
    if all(getattr(now, name) == value for name, value in changes.items()):
        return now
    return msgspec.structs.replace(now, **changes)
