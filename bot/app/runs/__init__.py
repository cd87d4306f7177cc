"""One module for each kind of run: backtest, paced replay, live, the comparison of two runs, the demo.

Owns how a plan becomes a run and a run becomes a result. May import ``wiring``, ``inputs`` and ``candles``.
Start with ``backtest.py``, then ``live.py``; ``results.py`` says what a finished run was worth.
"""
