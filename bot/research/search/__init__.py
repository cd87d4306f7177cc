"""The mathematics of a search: what is tried, on which spans, and how much of the best is luck. Pure.

Read ``space.py`` (parameters to try) and ``selection.py`` (the best of many) first.
"""
