"""A Bybit v5 server on loopback: ``bot/exchange`` behind the server role of ``bot/bybit``.

Market data come from candle files (``tape``, ``market``), accounts and orders from the rules of
``bot/exchange``; REST, websockets and the control socket share one clock. May import adapters and below.
Read ``app.py`` first.
"""
