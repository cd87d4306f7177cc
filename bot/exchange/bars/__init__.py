"""Closed bars: finds WHEN something happens inside a bar, and at what price.

What happens then is ``rulebook``'s and ``ledger``'s. Read ``exchange`` first, then ``walk`` (the search for
the next moment) and ``path`` (the road between a candle's four numbers).
"""
