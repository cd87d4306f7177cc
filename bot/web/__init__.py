"""Readers: one run as one self-contained HTML page, and the page of a running daemon. Nothing here decides.

May import ``service`` and everything below it, but not the engine's insides. For the report read
``report.py`` first (the sections of a page), then ``templates/`` (their layout), ``curves.py`` and
``charts.py`` (SVG from numbers); it contains its own styles and scripts and loads nothing. For the running
daemon read ``server/``; ``page/`` is what it serves.
"""
