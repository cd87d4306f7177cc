"""Messages leave here: one address, one service of apprise (extra ``notify``), one answer.

Owns the only import of apprise. ``service.py`` sends one message and says in one line without secrets what
became of it. May import ``domain`` and ``logs``.
"""
