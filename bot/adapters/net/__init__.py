"""The network: websockets that stay connected, public and signed REST, and the queue into the daemon.

Owns connections, pacing, retries and the outcome of each request; knows no order and no bar. May import
``bybit`` for the wire format, and ``files`` and ``state``. Start with ``link.py`` (one websocket), then
``signed_rest.py`` (one request, one outcome) and ``inbox.py`` (the queue that the driver reads).
"""
