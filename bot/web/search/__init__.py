"""The page of a search: ``data.py`` is what it shows, ``maps.py`` and ``drawings.py`` are its pictures."""
