"""Prices one by one: finds WHEN something happens from quotes, trades and marks.

``rulebook`` and ``ledger`` decide what happens then. Read ``exchange`` first, then ``depth``.
"""
