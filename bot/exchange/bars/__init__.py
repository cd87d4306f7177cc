"""Prices from closed bars: finds WHEN something happens inside a bar, and at what price.

``rulebook`` and ``ledger`` decide what happens then. Read ``exchange`` first, then ``walk`` (the search for
the next moment) and ``path`` (the prices between a candle's four numbers).
"""
