"""REST endpoints of the local exchange: a query or a body in, a ``result`` out.

``public.py`` serves the market, ``private.py`` the signed paths, ``queries.py`` what an account can be
asked. Nothing here waits. May import ``market``, ``account`` and ``bybit``. Start with ``public.py``.
"""
