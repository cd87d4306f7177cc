"""The nouns: bars, instruments, orders, fills, messages. Imports nothing else of ``bot``.

Every value is checked when it is made, so no other code checks it again. Money is ``Decimal``; marks and
features are ``float``; ``money.to_decimal`` is the only function that turns a float into money. Read
``market.py`` first, then ``orders.py``, ``ledger.py`` and ``messages.py`` (the events that enter the engine
and the effects that leave it).
"""
