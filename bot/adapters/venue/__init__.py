"""A remote venue as ``ports.Venue``: orders to sockets, answers to events.

Owns start-up checks, sending, open questions about orders, and reconciliation with the account. May import
``net`` and ``bybit``, not ``feed``. Start with ``bybit.py``; ``sender.py`` is the only place where orders
leave, ``order_table.py`` remembers them, ``reconcile.py`` compares them with the account.
"""
