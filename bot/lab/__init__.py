"""Python for notebooks: what ``import bot`` offers, over the same plans and runs as the command line.

Owns the public names, their arguments and how a result looks in a notebook. It parses, calls ``bot.app`` and
shows, as ``bot.cli`` does for a terminal; a backtest has the same fills in both. May import ``bot.app`` and
everything below it. Read ``backtest.py`` first, then ``result.py``. ``bot/__init__.py`` lists the names
and imports a module of this package when one of its names is first used.
"""
