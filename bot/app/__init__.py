"""The composition root: where settings and files become objects that run.

Owns the choice of feed, venue, model, strategy and state directory (``wiring``, ``live``), the comparison
of a backtest with a live run (``parity``), and keys and addresses of a venue account (``account``). May
import everything except ``cli``; parses no argument and prints nothing. Start with ``wiring.py``, then
``live.py``.
"""
