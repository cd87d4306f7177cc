"""The account at the venue: orders, positions, wallet, margin, fees, funding, liquidation, events.

The only bookkeeping there is: ``bars`` and ``quotes`` find the moment and the price, then call this.
Imports ``domain``, ``orders``, ``events``, ``terms`` and ``rulebook``. Read ``booking`` first (what an
execution does), then ``margin`` and ``liquidation``; ``book`` holds what is known of one symbol.
"""
