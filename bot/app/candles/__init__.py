"""Candle files as a user handles them: download, import, facts, invented ones.

Owns the jobs of ``bot data``. May import ``adapters`` and ``synth``. Start with ``download.py``.
"""
