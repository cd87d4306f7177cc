"""Bybit v5 without I/O, in both roles: the client that the bot is, the server that `bot exchange` is.

Imports the domain only. The caller owns sockets, time and retries. ``wire.py`` has the rows as they travel;
read ``public.py`` for how a session works (texts in, values and texts out, deadlines), ``orders.py`` for
requests as values, ``serve.py`` for the other side. ``codes.py`` says what a ``retCode`` means for us,
``rates.py`` when the next request may go, ``hosts.py`` which addresses may be asked. ``account/`` keeps one
account at a remote venue: its order table and its synchronisation.
"""
