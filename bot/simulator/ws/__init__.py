"""Websockets of the local exchange: public streams, private streams, the trade socket.

``connection.py`` is one client with its bounded queue. May import ``market``, ``account``, ``faults`` and
``bybit``. Start with ``connection.py``, then ``public.py``, ``private.py`` and ``trade.py``.
"""
