"""The environment of a process that is told all it needs: our code can be found, and no setting is in it."""

import os
from pathlib import Path

import bot


def plain_environment() -> dict[str, str]:
    """Return this process's environment without settings, which may be secrets, with the way to our code."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("BOT_")}
    places = [str(Path(bot.__file__).parent.parent), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(places)}
