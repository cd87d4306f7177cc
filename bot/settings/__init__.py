"""The one settings tree: what can be set, its unit, its bounds, and where each value came from.

Precedence: command line > ``BOT_*`` environment > ``.env`` > the file given with ``-c`` > default. A nested
key is written ``BOT_RISK__MAX_LEVERAGE=2`` in the environment. Unknown keys and unknown ``BOT_*`` variables
are errors; a typo must not trade. Secrets come from the environment or a file that only its owner can
read, and are never printed. ``load`` is the entrance; ``config/default.toml`` is the tree as TOML. May
import ``bybit.hosts`` and ``domain``. Read ``tree.py`` first.
"""

from bot.settings.file import to_toml
from bot.settings.layers import load, variable
from bot.settings.tree import (
    FIELDS,
    HIDDEN,
    SECRETS,
    Account,
    Costs,
    Daemon,
    Execution,
    Feed,
    Fetch,
    Local,
    Log,
    Model,
    Risk,
    Section,
    Settings,
    Strategy,
    Venue,
)

__all__ = [
    "FIELDS",
    "HIDDEN",
    "SECRETS",
    "Account",
    "Costs",
    "Daemon",
    "Execution",
    "Feed",
    "Fetch",
    "Local",
    "Log",
    "Model",
    "Risk",
    "Section",
    "Settings",
    "Strategy",
    "Venue",
    "load",
    "to_toml",
    "variable",
]
