"""Does a result use the future, and when does it forget where its history begins?

A *subject* is a strategy, a model, or a function of candles. It is run on copies of the candle files:
unchanged, ended early, with another future, or begun later (``copies.py``). What it said at each close is a
``Table`` (``tables.py``); two tables are compared at the closes that both runs must agree on. Read
``lookahead.py`` first, then ``warmup.py``; ``subjects.py`` runs the subject.
"""
