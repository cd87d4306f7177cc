"""``bot report``: a live run from its journal, alone or over its backtest; finished results side by side.

``kept`` reads a run from a journal and records a backtest in the same form; ``same_bars`` runs the backtest;
``differences`` says where the fills differ and why; ``pages`` makes figures and the HTML. Start with
``kept.py``. ``finished`` reads results of any kind, ``side_by_side`` compares them.
"""
