"""The account at the venue: orders, positions, wallet, margin, fees, funding, liquidation, events.

This is the only bookkeeping: ``bars`` and ``quotes`` find the moment and the price, then call it.
Imports ``domain``, ``orders``, ``events``, ``terms`` and ``rulebook``. Read ``booking`` first (what an
execution does), then ``margin`` and ``liquidation``; ``book`` holds the state of one symbol.
"""
