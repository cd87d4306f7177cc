"""Checks the older segments of the journal, beside the run.

The state of a start comes from the newest segment and its snapshot, which are checked before it. What lies
before them is history: trades, fills, money of past months. A start does not wait for that, and damage there
is no reason to leave a position alone; but a person must know.
"""

import asyncio
from collections.abc import Callable, Mapping

from bot.adapters.state.journal import Journal
from bot.domain.errors import StoreFailed
from bot.journal.entries import Place

_REST_S = 0.1
"""Between two segments: the check shares its processor with the run."""
_NAMED_MAX = 3


class OlderSegments:
    """Reads each segment once, oldest first, in a thread; tells what is damaged.

    Args:
        journal: whose segments.
        last: the newest one that is read; later ones are being written.
        note: takes the note ``journal_damaged`` with ``reason`` and ``count``.
    """

    def __init__(
        self, journal: Journal, last: int, note: Callable[[str, Mapping[str, object]], None]
    ) -> None:
        self._journal = journal
        self._numbers = [number for number in journal.numbers() if number <= last]
        self._note = note
        self.checked = 0
        self.damaged: list[str] = []

    async def run(self) -> None:
        """Check them all, tell the damage, then wait for the end of the run."""
        before: Place | None = None
        for number in self._numbers:
            try:
                before = await asyncio.to_thread(self._journal.check, number, before)
            except StoreFailed as error:
                self.damaged.append(str(error))
                before = None
            self.checked += 1
            await asyncio.sleep(_REST_S)
        if self.damaged:
            left = len(self.damaged) - _NAMED_MAX
            more = [f"and {left} more, see `bot journal verify`"] if left > 0 else []
            words = "; ".join((*self.damaged[:_NAMED_MAX], *more))
            self._note("journal_damaged", {"reason": words, "count": len(self.damaged)})
        await asyncio.Event().wait()

    def facts(self) -> dict[str, object]:
        """Return what the status says of them."""
        return {
            "journal": {
                "older_segments": len(self._numbers),
                "checked": self.checked,
                "damaged": list(self.damaged),
            }
        }
