"""The venue's rules, one function a rule: values in, a verdict out. Nothing here changes anything.

Numbers and words are Bybit's (v5 error codes; the texts vary there, so callers switch on the number).
Imports ``domain`` and ``orders`` only. Read ``admission`` first, then ``time_in_force`` (what an order does
when it arrives), ``triggers`` and ``stops`` (orders that wait), ``price_band`` and ``leverage``.
"""
