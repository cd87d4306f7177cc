"""``bot report``: a live run from its journal, alone or over a backtest of the same bars.

``kept`` reads a run from a journal and records a backtest in the same form; ``same_bars`` runs the backtest;
``differences`` says where the fills differ and why; ``pages`` makes figures and the HTML. Start with
``kept.py``.
"""
