"""The one decision maker: ``Engine.handle(event) -> effects``; synchronous, no I/O, clock or randomness.

Backtest, paper, live and recovery all call this one function. They differ only in where events come from
and where effects go. Read ``core.py`` first (events, prices, commands), then ``closes.py`` (the way of one
close), ``state.py`` (everything that changes), ``trader.py`` (targets to orders; ``execution.py`` maker
first, ``protection.py`` stops), ``venue_events.py`` (what the venue reports; ``reconcile.py`` readings of the
account), ``open_orders.py`` (our orders) and ``forecasting.py`` (bars to forecasts). May import the pure
packages below it.
"""
