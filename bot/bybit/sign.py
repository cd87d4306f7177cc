"""HMAC signatures of requests and sessions, for the side that makes them and the side that checks them.

The signed text is exactly what is sent: the raw query string, the raw body, the header values.
https://bybit-exchange.github.io/docs/v5/guide#create-a-request
"""

import hashlib
import hmac

DEFAULT_RECV_WINDOW_MS = 5000
MAX_AHEAD_MS = 1000
"""Bybit refuses a request whose time is this far or further ahead of its own clock."""


def rest_signature(
    secret: str, ts_ms: int | str, key: str, recv_window_ms: int | str, payload: str | bytes
) -> str:
    """Return the signature of a REST request. ``payload``: the raw query of a GET, the raw body of a POST."""
    head = f"{ts_ms}{key}{recv_window_ms}".encode()
    return _hex(secret, head + (payload if isinstance(payload, bytes) else payload.encode()))


def ws_signature(secret: str, expires_ms: int | str) -> str:
    """Return the sign-in signature of a private or trade socket; ``expires_ms`` is of the venue's clock."""
    return _hex(secret, f"GET/realtime{expires_ms}".encode())


def verify(expected: str, given: str) -> bool:
    """Compare two signatures in constant time, so that the time does not show how far they agree."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _hex(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
