"""The ports, implemented with real files, sockets and clocks.

Owns candle and funding files, downloads from the exchange's public REST, and the clocks. Everything
read here is checked at the door, so a value that comes out is a valid value. May import everything
below it (``settings``, ``bybit``, ``domain``), never ``service``, ``research`` or ``cli``.
Start with ``candles.py``; ``columns.py`` is the file format below it, ``fetch.py`` fills the files.
"""
