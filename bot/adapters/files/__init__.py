"""Files: candles and funding rates, their import and their faults, and what ships with the program.

Owns the formats of candle and funding files, every check of their rows, and atomic writing. May import
``domain`` and the pure packages, no other folder of ``adapters``. Start with ``candles.py``; ``columns.py``
is the file format below it, ``importing.py`` reads foreign files, ``facts.py`` says what a file holds.
"""
