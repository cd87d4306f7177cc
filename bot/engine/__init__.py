"""The one decision maker: ``Engine.handle(event) -> effects``; synchronous, no I/O, clock or randomness.

Backtest, paper, live and recovery all call this one function; they differ only in where events come from
and where effects go. Read ``core.py`` first, then ``state.py`` (everything that changes), ``book.py``
(our orders) and ``forecasting.py`` (bars to forecasts). May import the pure packages below it.
"""
