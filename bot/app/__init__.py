"""The composition root: where settings and files become objects that run.

``inputs.py`` reads what a run is made of, ``wiring.py`` builds engine, venue and tape. ``runs`` has one
module or package for each kind of run (``backtest``, ``replay``, ``live``, ``parity``, ``demo``),
``search`` those of many runs; ``candles`` has the jobs of ``bot data``, ``models`` those around models,
``venue`` what is done at a venue beside the daemon, ``state`` what reads a state directory. May import
everything except ``cli``; parses no argument and prints nothing. Start with ``wiring.py``, then
``runs/live/daemon.py``.
"""
