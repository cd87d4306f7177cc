"""The nouns: bars, instruments, orders, fills, messages. Imports nothing of ours.

Every value is checked where it is made, so nobody downstream checks it again. Money is ``Decimal``,
marks and features are ``float``; ``money.to_decimal`` is the one crossing. Start with ``market.py``,
then ``orders.py``, ``ledger.py`` and ``messages.py`` (what enters and what leaves the engine).
"""
