"""A remote venue as ``ports.Venue``: orders to sockets, answers to events.

Owns start-up checks, sending, requests for the status of orders, and the sockets of an account. May import
``net`` and ``bybit``, not ``feed``. Start with ``bybit.py``; ``sender.py`` is the only place where orders
leave. What rows and answers mean is decided in ``bot/bybit/account``.
"""
