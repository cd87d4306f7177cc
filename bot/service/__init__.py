"""The running program: wirings around the one loop.

``driver.py`` is the loop (record, handle, record, dispatch), ``history.py`` turns candle files into the
events a feed would send, ``backtest.py`` runs a history to its end and measures it. No wiring knows a
mode: a backtest, a paced replay and the daemon differ in their feed, their venue and their clock.
"""
