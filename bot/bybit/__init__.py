"""Bybit v5 without I/O, in both roles: as the client (the bot) and as the server (`bot exchange`).

Imports the domain only. The caller owns sockets, time and retries. ``wire.py`` holds the rows as Bybit sends
them. Read ``public.py`` for how a session works (text in; values, text and deadlines out), ``orders.py`` for
requests as values, and ``serve.py`` for the server side. ``codes.py`` says what each ``retCode`` means,
``rate_limits.py`` when the next request may be sent, ``hosts.py`` which addresses may be used. ``account/``
keeps one account at a remote venue: its order table and its synchronisation.
"""
