"""The one decision maker: ``Engine.handle(event) -> effects``; synchronous, no I/O, clock or randomness.

Backtest, paper, live and recovery all call this one function. They differ only in where events come from
and where effects go. Read ``core.py`` first (events, prices, commands), then ``closes.py`` (the way of one
close), ``state.py`` (everything that changes), ``orders/trader.py`` (targets to orders),
``venue_events.py`` (what the venue reports; ``reconcile.py`` readings of the account) and
``forecasting.py`` (bars to forecasts). May import the pure packages below it.
"""
