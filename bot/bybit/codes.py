"""What an answer's ``retCode`` or HTTP status means for us: one table from number to error leaf.

Texts are not stable, so only the number decides. https://bybit-exchange.github.io/docs/v5/error
"""

from bot.domain.errors import Rejected, Retryable, VenueError


class RateLimited(Retryable):
    """Too many requests. ``reset_ms`` is the server's time when the next one is welcome, if it said so."""

    reset_ms: int | None = None


RETRYABLE: dict[int, str] = {
    429: "system protection",
    10000: "server timeout",
    10016: "server error or restart",
    10429: "system protection",
    500000: "server error",
}
RATE_LIMITED: dict[int, str] = {
    10006: "too many visits",
    10018: "too many visits from this address",
    10403: "too many requests from this address",
}
REFUSED: dict[int, str] = {
    10001: "the request's parameters are wrong, or the symbol is unknown",
    10003: "the key is not valid on this host",
    10004: "the signature is wrong",
    10005: "the key lacks permission",
    10007: "authentication failed",
    10008: "the account is banned",
    10009: "this address's region is blocked",
    10010: "the key is bound to another address",
    10017: "no such path or method",
    10024: "compliance rules",
    10027: "trading is banned for this account",
    10029: "the symbol is not on the key's list",
    33004: "the key has expired",
}
SECRET_TEXT = 10004
"""Its text repeats what the server signed, the key among it: never shown."""


def error_for(code: int, text: str) -> VenueError:
    """The error that ``retCode`` stands for; a code we do not know is a plain ``VenueError``."""
    shown = "" if code == SECRET_TEXT else f": {printable(text)}"
    if code in RATE_LIMITED:
        return RateLimited(f"retCode {code}, {RATE_LIMITED[code]}{shown}")
    if code in RETRYABLE:
        return Retryable(f"retCode {code}, {RETRYABLE[code]}{shown}")
    if code in REFUSED:
        return Rejected(f"retCode {code}, {REFUSED[code]}{shown}")
    return VenueError(f"retCode {code}{shown}")


def error_for_status(status: int) -> VenueError | None:
    """The error of an HTTP status, None for 200. Business errors come with 200 and a ``retCode``."""
    if status == 200:
        return None
    if status == 429:
        return RateLimited("HTTP 429, system protection")
    if status == 403:
        return Rejected(
            "HTTP 403: too many requests from this address (wait 10 minutes), or a blocked region"
        )
    if 300 <= status < 400:
        return Rejected(f"HTTP {status}: a redirect, which Bybit never sends; something stands between")
    if status >= 500:
        return Retryable(f"HTTP {status}, server error")
    return Rejected(f"HTTP {status}")


def printable(text: str, limit: int = 120) -> str:
    """A foreign text cut to ``limit`` characters, on one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])
