"""May an entry leave now? One answer for the engine, the last gate of the process and the venue's sender.

Whatever holds entries back for the whole account ends up in the breaker: a pause, a halt, a line that is
down, a start or a stop under way, an account not yet read, a position without its stop. Beside it stands
the halt file alone, which ``bot kill`` leaves even when this process hangs. What holds back a single entry
(its size, its price, its age) is the business of ``limits.check``. Exits are never held back here.
"""

from enum import Enum
from typing import Literal

TradingState = Literal["active", "reducing", "halted"]
"""The breaker's state."""


class EntryBlock(Enum):
    """Why no entry may leave."""

    HALT_FILE = "halt_file"
    """``bot kill`` left its file in the state directory."""
    HALTED = "halted"
    """The breaker is halted until the operator lifts it."""
    REDUCING = "reducing"
    """The breaker allows exits alone; its causes come and go."""


def entry_block(breaker: TradingState, *, halt_file: bool = False) -> EntryBlock | None:
    """Return why no entry may leave, or None if entries may.

    It is asked when an entry is decided on, and again right before it leaves: it may have waited since.
    """
    if halt_file:
        return EntryBlock.HALT_FILE
    match breaker:
        case "active":
            return None
        case "halted":
            return EntryBlock.HALTED
        case "reducing":
            return EntryBlock.REDUCING
