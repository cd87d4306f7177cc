"""Offline work: data sets, training, evaluation. Nothing here runs live.

Owns targets, purged splits and the packing of long streams into windows (``dataset``), the seeded training
loop (``train``), what LightGBM teaches it (``teacher``), the baselines that every figure is compared with
and the scores with their day-bootstrap intervals (``skill``), and the mathematics of a search (``search``).
May import everything below it: ``adapters``, ``features``, ``model``, ``metrics``, ``domain``. Read
``dataset.py`` first. What was tried, and what it gave: ``bot help models``.
"""
