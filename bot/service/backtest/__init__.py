"""A history to its end: the same driver and engine, with candle files for a feed and a clock that is told.

``run.py`` runs and measures; ``history.py`` makes the events that a feed would have sent, ``finer.py`` adds
finer candles, ``tape.py`` keeps the result, and ``holding.py`` is the benchmark beside it.
"""
