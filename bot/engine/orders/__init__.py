"""From a target to orders, and what becomes of them.

Read ``trader.py`` first. ``activity.py`` is the table of what one symbol is busy with; ``execution.py`` rests
at the touch before it takes, ``stops.py`` and ``takes.py`` keep stops and part profits at the venue,
``expiry.py`` ends entries, ``open_orders.py`` follows answers, ``retry.py`` and ``unknown.py`` say what
follows when one does not come. May import the engine's state, and the pure packages below the engine.
"""
