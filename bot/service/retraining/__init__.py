"""A running daemon retrains its own model by schedule, in a process of its own at low priority.

``timetable.py`` says when, ``kept.py`` keeps that over a restart, ``worker.py`` runs the process and reads
what it says (``pipe.py``), ``watch.py`` puts them together. What the process does stands in
``bot.app.runs.live.retrainer``. The daemon takes a promoted model as any other: see ``succession.py`` there.
"""
