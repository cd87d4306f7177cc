"""A Bybit v5 server on loopback: ``bot/exchange`` behind the server role of ``bot/bybit``.

``server.py`` is the one server and the file to read first. ``market`` holds prices, ``account`` orders and
money, ``http`` and ``ws`` are the two ways in, ``faults`` what goes wrong on purpose; ``accounts.py`` keeps
one account per key. REST, websockets and the control socket share one clock. May import adapters and below.
"""
