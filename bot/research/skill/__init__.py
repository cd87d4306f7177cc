"""How good a forecast is: baselines, scores with intervals, tests by name, and who of two is better.

Read ``evaluate.py`` first; ``baselines.py`` is what every figure is compared with, ``diagnostics.py`` says
what a forecast is good for, and ``succession.py`` judges a retrained model against the one in use.
"""
