"""Bybit's public data as events: bars, funding rates, instruments.

Owns the websockets of a feed, warm-up and backfill over REST. May import ``net`` and ``files``, not
``venue``. Start with ``bybit.py``; ``shard.py`` is one websocket, ``backfill.py`` fetches what the
stream did not bring; the order of bars is decided in ``bot/feed``.
"""
