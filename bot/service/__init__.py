"""The running program: everything around the one loop.

``driver.py`` is the loop (advance, decide, keep, send). ``backtest`` turns candle files into the events that
a feed would send, runs them to their end and measures the result. ``daemon`` runs live; ``readiness.py`` says
how far it has come, ``views`` what people see of it. There is no "mode": a backtest, a replay and the daemon
differ in their feed, their venue and their clock.
"""
