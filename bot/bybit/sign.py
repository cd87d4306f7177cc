"""HMAC signatures of requests and sessions, for the side that makes them and the side that checks them.

The signed text is what is on the wire: the raw query string, the raw body, header values as they were sent.
https://bybit-exchange.github.io/docs/v5/guide#create-a-request
"""

import hashlib
import hmac

DEFAULT_RECV_WINDOW_MS = 5000
MAX_AHEAD_MS = 1000
"""A request stamped this far ahead of the venue's clock, or further, is refused."""


def rest_signature(
    secret: str, ts_ms: int | str, key: str, recv_window_ms: int | str, payload: str | bytes
) -> str:
    """Signature of a REST request; ``payload`` is the raw query string of a GET, the raw body of a POST."""
    head = f"{ts_ms}{key}{recv_window_ms}".encode()
    return _hex(secret, head + (payload if isinstance(payload, bytes) else payload.encode()))


def ws_signature(secret: str, expires_ms: int | str) -> str:
    """Signature that opens a private or a trade socket; valid until ``expires_ms`` of the venue's clock."""
    return _hex(secret, f"GET/realtime{expires_ms}".encode())


def verify(expected: str, given: str) -> bool:
    """Whether two signatures are equal, in a time that does not tell how far they agree."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _hex(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
