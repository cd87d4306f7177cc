"""Readers: one run as one self-contained HTML page. They own nothing.

May import ``domain``, ``metrics`` and what lies below ``service``; never the engine's insides. Pages
carry their own styles and scripts and load nothing from anywhere. Read ``report.py`` first (what a page
is made of), then ``templates/`` (how it is laid out), ``curves.py`` and ``charts.py`` (SVG from numbers);
``report.css`` and ``report.js`` are put into the page.
"""
