"""The composition root: where settings and files become objects that run.

``inputs.py`` reads what a run is made of, ``wiring.py`` builds engine, venue and tape. ``runs`` has one
module for each kind of run (``backtest``, ``replay``, ``live``, ``parity``, ``demo``), ``candles`` the jobs
of ``bot data``; ``training``, ``forecasting``, ``doctor`` and ``exchange`` are the jobs of their commands.
May import everything except ``cli``; parses no argument and prints nothing. Start with ``wiring.py``, then
``runs/live.py``.
"""
