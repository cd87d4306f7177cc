"""Model directories on disk and the ``Predictor`` port.

Owns the weights file with its manifest (``checkpoint``) and the predictors that read it (``predictor``).
May import ``files``, ``features`` and ``model``. Torch is imported only where a tensor is the subject.
Start with ``checkpoint.py``.
"""
