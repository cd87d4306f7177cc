"""A recording as a market: what `bot record` has kept, at its times.

``player`` reads the files in order and hands each symbol its frames a little ahead of time, ``tape`` holds
the candles, ``symbol`` is the market's symbol: book, trades, marks and funding as they were recorded.
``replay`` puts them together. Nothing is computed from a later frame, except the candle of a minute that is
over. Start with ``player.py``.
"""
