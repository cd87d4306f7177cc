"""``bot kill`` where no daemon answers: halt by the file, and take the orders back at the venue."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.app.context import Context


def kill_without_daemon(
    context: "Context", state_dir: Path, venue: str | None, why: str
) -> Mapping[str, object]:
    """Take the orders back at the venue ourselves; the halt file must be set already.

    Raises:
        BadSettings: a wrong setting, or no keys.
        VenueError: the account cannot be read.
    """
    from bot.app.state.last_daemon import settings_of_last

    context.check_settings()
    settings = settings_of_last(context, state_dir, venue)
    if settings is None:
        from bot.app.state.left_behind import left_behind

        paper = [each for each in left_behind(state_dir, context.redactor) if each["mode"] == "paper"]
        return {
            "state": "halted",
            "daemon": why,
            "venue": "paper",
            "survivors": [],
            "positions": paper[0]["positions"] if paper else [],
            "exits": [],
        }
    from bot.app.venue.account import kill_and_look

    kind, left = settings.venue.kind, kill_and_look(settings)
    return {
        "state": "halted",
        "daemon": why,
        "venue": kind,
        "survivors": left.survivors,
        "positions": left.positions,
        "exits": left.exits,
    }
