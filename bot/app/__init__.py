"""The composition root: where settings and files become objects that run.

``inputs.py`` reads what a run is made of, ``wiring.py`` builds engine, venue and tape, ``live.py`` the
daemon. One module for each job of a command stands beside them (``backtest``, ``replay``, ``parity``,
``demo``, ``download``, ``training``, ``forecasting``, ``doctor``, ``exchange``). May import everything except
``cli``; parses no argument and prints nothing. Start with ``wiring.py``, then ``live.py``.
"""
