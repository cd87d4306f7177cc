"""Features: causal functions of closed candles, one definition with two executors.

Owns what a model reads: the operators (``ops``), their compiled streaming form (``vm``, ``program``), the
named sets (``spec``), live rows (``stream``), rows of a whole series (``matrix``) and scaling (``scale``).
May import ``domain``, numpy and numba; knows no model, file or clock. Read ``spec.py`` first: it lists what
is computed; then ``ops.py`` for how.
"""
