"""The control protocol of the daemon and of the local exchange: HTTP and JSON on a private unix socket.

Owns the socket file, the server and the client. Only the owner of the file (0600) can connect; connections
and message sizes are bounded. ``client.py`` imports neither asyncio nor aiohttp, because ``bot status`` must
start fast. May import ``domain`` and ``net``. Start with ``client.py``.

A person asks with ``curl --unix-socket .data/control.sock http://bot/status``.
"""
