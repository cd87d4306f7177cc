"""The reference: what ``bot help TOPIC`` shows, made from the program itself wherever that is possible.

Each module has a ``page()``. Tables that a person must write, such as the words of log events, are held to
the program by ``tests/app/topics``. May import everything that ``bot.app`` may. Read ``page.py`` first. The
commands' page is made by ``bot/cli/help.py``, which alone knows them.
"""

import importlib

from bot.app.topics.page import Page

WRITTEN = "written"
"""The module of the topics that are texts."""
TOPICS: dict[str, tuple[str, str]] = {
    "settings": ("settings", "Every setting: type, unit, default, bounds, variable"),
    "strategy": ("strategies", "Your own strategy: View, Target, when it is called; the ones that ship"),
    "python": ("python", "`import bot` in a notebook: functions, arguments, results"),
    "own-models": (WRITTEN, "A model of your own: bot.fit, forecasts, features and horizons"),
    "backtests": (WRITTEN, "What a backtest assumes; luck, the future, and what is equal to a live run"),
    "fills": (WRITTEN, "When a limit order fills in a backtest: through its price, or by a queue"),
    "forecasts": ("forecasts", "Columns of a forecast and their units"),
    "limits": ("limits", "Every check and every cause of a halt; which act live, which in a backtest"),
    "search": ("search", "How a search is written, and what each figure of its judgement means"),
    "events": ("kept", "What a journal holds: events, effects, rows of an export"),
    "log": ("log", "Alerts and every other event of the log"),
    "metrics": ("measured", "Every name of /metrics"),
    "files": ("files", "Candles, funding, models, recordings, the state directory"),
    "faults": ("faults", "What a fault plan of `bot exchange` can do"),
    "exit-codes": ("codes", "What an exit code means"),
    "account": (WRITTEN, "An account that is not yours alone: foreign positions, transfers, resets"),
    "connections": (WRITTEN, "What happens when a line, an answer or a disk fails"),
    "models": (WRITTEN, "Which models ship, how they were made, what was tried and did not help"),
    "service": (WRITTEN, "Running for months: page, messages, guard, systemd, containers, drift"),
    "speed": (WRITTEN, "How fast it is: measurements beside those of the README, and how to repeat them"),
    "restarts": (WRITTEN, "What the bot keeps, and how it goes on; backups, upgrades, size on disk"),
    "runbook": ("runbook", "Halted, unknown order, stale feed, disk full and more: what to do"),
    "packages": ("packages", "Where a reader of the code finds what"),
}
"""Topic → its module and its line in ``bot help``."""


def read(topic: str) -> Page:
    """Return the page of a topic; its module is imported now.

    Raises:
        KeyError: there is no such topic.
    """
    name, _ = TOPICS[topic]
    module = importlib.import_module(f"bot.app.topics.{name}")
    page = module.page(topic) if name == WRITTEN else module.page()
    assert isinstance(page, Page)
    return page
