"""Readers: one run as one self-contained HTML page. This package owns no state.

May import ``domain``, ``metrics`` and everything below ``service``, but not the engine's insides. A page
contains its own styles and scripts and loads nothing. Read ``report.py`` first (the sections of a page), then
``templates/`` (their layout), ``curves.py`` and ``charts.py`` (SVG from numbers). ``report.css`` and
``report.js`` are copied into the page.
"""
