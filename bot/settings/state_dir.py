"""Find the state directory fast: what ``bot status`` and ``bot kill`` need, without pydantic.

To make all settings takes longer than those commands may take. One key is enough to find the daemon, and
a mistake in any other key must not keep an operator from stopping it.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from bot.settings.text import read_text

PREFIX = "BOT_"
DOTENV = Path(".env")
STATE_DIR = Path(".data")
"""The default of ``state_dir``."""
_KEY = "state_dir"
_NEAR = 0.6
"""A key that is as similar to ``state_dir`` as this may be a misspelling of it."""


def find_state_dir(config: Path | None) -> Path | None:
    """Return ``state_dir`` from the layers; None where only ``load`` can tell.

    ``load`` must tell where ``.env`` names it, where a key or variable may be a misspelling of it, and where
    it refuses what is named.
    """
    import tomllib

    try:
        dotenv = read_text(DOTENV) if DOTENV.exists() else ""
        file = tomllib.loads(read_text(config)) if config is not None else {}
    except (OSError, ValueError):
        return None
    named = os.environ.get(PREFIX + _KEY.upper())
    others = set(_variables()) - {PREFIX + _KEY.upper()}
    others |= set(re.findall(rf"{PREFIX}\w+", dotenv, re.IGNORECASE))
    if any(_is_near(name.upper().removeprefix(PREFIX).lower()) for name in others):
        return None
    if any(_is_near(name) for name in file if name != _KEY):
        return None
    found = named if named is not None else file.get(_KEY, STATE_DIR)
    if not isinstance(found, str | Path) or not str(found).strip() or ".." in Path(found).parts:
        return None
    return Path(found)


def any_given(config: Path | None) -> bool:
    """Return True if the user has set anything: by a file, ``.env`` or a ``BOT_*`` variable."""
    return config is not None or DOTENV.exists() or bool(_variables())


def _variables() -> list[str]:
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def _is_near(name: str) -> bool:
    # ``data_dir`` is as similar, but a key of its own.
    return name != "data_dir" and bool(get_close_matches(_KEY, [name], cutoff=_NEAR))
