"""The one settings tree: what can be set, its unit, its bounds, and where each value came from.

Precedence: command line > ``BOT_*`` environment > ``.env`` > the file given with ``-c`` > default. A nested
key is written ``BOT_RISK__MAX_LEVERAGE=2`` in the environment. An unknown key, and a ``BOT_*`` variable that
resembles a setting, are errors; a typo must not trade. Secrets come from the environment or a file that only
its owner can read, and are never printed. ``load`` is the entrance; ``config/default.toml`` is the tree as
TOML. May import ``bybit.hosts`` and ``domain``. Read ``tree.py`` first; the
fields stand in ``trading.py`` and ``running.py``.

pydantic is imported when a name below is first used, so that ``state_dir.py`` alone stays fast.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.settings.file import to_toml
    from bot.settings.forms import Section
    from bot.settings.layers import load
    from bot.settings.running import (
        DaemonSettings,
        FeedSettings,
        FetchSettings,
        JournalSettings,
        LocalSettings,
        LogSettings,
        NotifySettings,
        VenueSettings,
        WebSettings,
    )
    from bot.settings.trading import (
        AccountSettings,
        CostsSettings,
        ExecutionSettings,
        ModelSettings,
        RiskSettings,
        StrategySettings,
    )
    from bot.settings.tree import FIELDS, HIDDEN, SECRETS, Settings
    from bot.settings.variables import variable

__all__ = [
    "FIELDS",
    "HIDDEN",
    "SECRETS",
    "AccountSettings",
    "CostsSettings",
    "DaemonSettings",
    "ExecutionSettings",
    "FeedSettings",
    "FetchSettings",
    "JournalSettings",
    "LocalSettings",
    "LogSettings",
    "ModelSettings",
    "NotifySettings",
    "RiskSettings",
    "Section",
    "Settings",
    "StrategySettings",
    "VenueSettings",
    "WebSettings",
    "load",
    "to_toml",
    "variable",
]

_HOMES = {"to_toml": "file", "load": "layers", "variable": "variables"}
"""Where a name lives; in ``tree`` if it is not listed."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'tree')}"), name)
