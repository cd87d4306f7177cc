"""Features: causal functions of closed candles. One definition, two ways to run it.

Owns the inputs of a model: the operators (``ops``), their compiled streaming form (``vm``, ``program``), the
named sets (``spec``), live rows (``stream``), rows of a whole series (``matrix``) and scaling (``scale``).
May import ``domain``, numpy and numba; knows no model, file or clock. Read ``spec.py`` first (the list of
features), then ``ops.py`` (how each is computed).
"""

import sys

import bot

# Python for notebooks has a function of the same name.
sys.modules[__name__].__class__ = bot.CallablePackage
