"""The running program: everything around the one loop.

``driver.py`` is the loop (advance, decide, keep, send). ``history.py`` turns candle files into the events
that a feed would send, and ``backtest.py`` runs a history to its end and measures it. ``daemon.py`` runs
live; ``readiness.py`` says how far it has come. There is no "mode": a backtest, a replay and the daemon
differ in their feed, their venue and their clock.
"""
