"""Prices that come one by one: finds WHEN something happens from quotes, trades and marks.

What happens then is ``rulebook``'s and ``ledger``'s. Read ``exchange`` first, then ``depth``.
"""
