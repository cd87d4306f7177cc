"""The meaning of a ``retCode`` or an HTTP status for the bot: one table from number to kind and words.

Bybit's texts change, so only the number decides; ``refusal_cause`` has the one exception. https://bybit-exchange.github.io/docs/v5/error
"""

import re
from typing import Literal

import msgspec

from bot.domain.errors import Rejected, Retryable, VenueError
from bot.domain.messages import RejectCause

RequestAction = Literal["create", "cancel", "amend", "stops", "query", "setup"]
"""The action of the request. ``setup`` is leverage, position mode or margin mode."""

CodeKind = Literal[
    "ok",
    "already_so",  # nothing to change; for a duplicate link id look the order up
    "gone",  # the order is no longer open: look up whether it was filled
    "retry_unknown",  # retry after a pause; a write may have been executed, so look it up first
    "rate",  # not executed; retry after the reset, or after a second or two
    "clock",  # not executed; measure the clock offset and sign again
    "credentials",  # the key or the account is wrong: stop and tell the operator
    "refused",  # these parameters will never be accepted
    "no_money",  # the size is too large for the account
    "market_state",  # the symbol does not trade now, or only reducing is allowed
    "bug",  # our own mistake
]


class Forbidden(Rejected):
    """HTTP 403: every request is refused, for ten minutes or for ever."""


class RateLimited(Retryable):
    """Too many requests.

    ``reset_ms`` is the server's time when the next may be sent, if the server said so.
    """

    reset_ms: int | None = None


class WrongClock(Retryable):
    """The request's time is outside the venue's window: measure the clock offset and sign again."""


class CodeMeaning(msgspec.Struct, frozen=True):
    """The meaning of one code after one action: a kind to act on, and words to show."""

    code: int
    kind: CodeKind
    words: str


SECRET_TEXT = 10004
"""The text of this code repeats the signed text, including the key. It is never shown."""

_GONE = "the order does not exist or is no longer open"
_PRE_MARKET = "the contract is in its pre-market phase"
_TERMS = "the account has not signed the terms of this kind of contract; sign them on the venue's website"
_TABLE: dict[CodeKind, dict[int, str]] = {
    "ok": {0: "ok"},
    "retry_unknown": {
        429: "system protection",
        10000: "server timeout",
        10016: "server error or restart",
        10019: "the server restarts: open a new connection",
        10429: "system protection",
        110079: "the order is being processed",
        170001: "server error",
        170007: "server timeout",
        170032: "server error",
        170146: "order creation timed out",
        170147: "order cancellation timed out",
        170234: "server error",
        500000: "server error",
    },
    "rate": {
        10006: "too many visits",
        10018: "too many visits from this address",
        10403: "too many requests from this address",
        20003: "too many requests on this connection",
        170005: "too many new orders",
        170222: "too many requests",
    },
    "clock": {
        10002: "the request's time lies outside the venue's window",
        -1: "the request's time lies outside the venue's window",
    },
    "credentials": {
        10003: "the key is not valid on this host",
        10004: "the signature is wrong",
        10005: "the key lacks permission",
        10007: "authentication failed",
        10008: "the account is banned",
        10009: "this address's region is blocked",
        10010: "the key is bound to another address",
        10024: "compliance rules",
        10027: "trading is banned for this account",
        10028: "not for this kind of account",
        100028: "not for this kind of account",
        33004: "the key has expired",
        -2015: "the key has expired",
        110066: "trading is not allowed for this account",
        110123: _TERMS,
        110124: "the account is in a cooling-off period: it may trade again when this period is over",
        110125: _TERMS,
    },
    "already_so": {
        34040: "the stops are set already",
        110025: "the position mode is set already",
        110026: "the margin mode is set already",
        110027: "the margin is set already",
        110043: "the leverage is set already",
        110072: "the order's link id is used: look the order up",
        170141: "the order's link id is used: look the order up",
    },
    "gone": {
        110001: _GONE,
        110008: "the order is finished or cancelled",
        110010: "the order is cancelled",
        170139: "the order is filled",
        170142: "the order is cancelled",
        170213: _GONE,
    },
    "refused": {
        10001: "the request's parameters are wrong, or the symbol is unknown",
        110003: "the price is out of range",
        110009: "too many conditional orders",
        110017: "reduce-only: nothing to reduce",
        110020: "too many open orders",
        110024: "the position mode cannot change with a position",
        110028: "the position mode cannot change with open orders",
        110057: "these stops are not allowed",
        110058: "these stops are not allowed",
        110059: "these stops are not allowed",
        110060: "these stops are not allowed",
        110061: "too many stops",
        110064: "less than the filled quantity",
        110092: "the price is already above the rising trigger",
        110093: "the price is already below the falling trigger",
        110094: "below the minimum order value",
        110120: "beyond the price limit",
        110121: "beyond the price limit",
        30208: "beyond the highest price",
        30209: "beyond the lowest price",
        170124: "the amount is too large",
        170132: "the price is too high",
        170133: "the price is too low",
        170134: "the price has too many decimals",
        170135: "the quantity is too large",
        170136: "the quantity is too small",
        170137: "the quantity has too many decimals",
        170140: "below the minimum order value",
        170148: "the amount has too many decimals",
        170192: "the price is too high",
        170193: "the price is too high",
        170194: "the price is too low",
        170371: "the size is out of range",
        170372: "the size is out of range",
        170381: "the size is out of range",
        170382: "the size is out of range",
        3400045: "the margin mode cannot change",
        110073: "the margin mode cannot change",
        181010: "the time range is too long",
    },
    "no_money": {
        110004: "not enough money",
        110006: "not enough money",
        110007: "not enough money",
        110011: "the position would be liquidated at once",
        110012: "not enough money",
        110013: "the leverage is above the risk limit's maximum",
        110014: "not enough money for the margin",
        110039: "the position would be liquidated at once",
        110040: "the position would be liquidated at once",
        110044: "not enough money",
        110045: "not enough money",
        110046: "the position would be liquidated at once",
        110051: "not enough money",
        110052: "not enough money",
        110053: "not enough money",
        110085: "beyond the risk limit",
        110086: "beyond the risk limit",
        110089: "beyond the risk limit",
        110090: "beyond the risk limit at this leverage",
        170033: "not enough money",
        170131: "not enough money",
    },
    "market_state": {
        30228: "new positions are closed: the contract is delisted",
        110021: "the open-interest limit is reached",
        110023: "only reducing is allowed",
        110042: "only reducing is allowed",
        110063: "settlement is in progress",
        110074: "the contract is not live",
        **dict.fromkeys((*range(110095, 110100), *range(110101, 110104)), _PRE_MARKET),
        110100: "demo trading has no pre-market contracts",
        110118: "no liquidity",
        170031: "the symbol does not trade",
        170151: "the symbol does not trade",
        170157: "the symbol does not trade",
        170159: "the symbol does not trade",
    },
    "bug": {
        10014: "a duplicate request",
        10017: "unknown path or method",
        10029: "the symbol is not on the key's list",
        10404: "unknown op",
        20006: "the request's id is used",
        110018: "unknown account",
        110019: "the order id is missing",
        110037: "unknown order",
        **dict.fromkeys((*range(181000, 181010), 181011, 181012), "a parameter is wrong or missing"),
    },
}
MEANINGS: dict[int, CodeMeaning] = {
    code: CodeMeaning(code, kind, words) for kind, codes in _TABLE.items() for code, words in codes.items()
}


def meaning(code: int, *, action: RequestAction) -> CodeMeaning:
    """Return the meaning of ``code`` after ``action``.

    After a write an unknown code means unknown outcome.
    """
    found = MEANINGS.get(code)
    if found is None:
        write = action in ("create", "cancel", "amend", "stops")
        return CodeMeaning(code, "retry_unknown" if write else "refused", "unknown code")
    if found.kind == "gone" and action not in ("cancel", "amend", "query"):
        return CodeMeaning(code, "refused", found.words)
    return found


NOTHING_TO_REDUCE = 110017
_MARKET_MOVED = frozenset({NOTHING_TO_REDUCE, 110092, 110093, 110118, 110120, 110121, 30208, 30209})
"""Refusals that say that the price is past a trigger or a limit, or that offers or the position are gone."""
_MOVED_TEXT = re.compile(r"base_price|(?:buy|sell): ?\[[^]]*\] invalid", re.IGNORECASE)
"""The words of 10001 for a stop on the wrong side of the price, and for a market without offers.

10001 stands for every wrong parameter, so here alone the text decides.
"""


UNFIT = frozenset({10001, 110003, 110094, 170124, *range(170134, 170138), 170140, 170148})
"""Refusals of a price, a quantity or a value: the order does not fit the contract's rules any more.

10001 stands for other parameters too; reading the rules then shows that nothing changed.
"""


def is_unfit(code: int, text: str) -> bool:
    """Return True if a refusal may mean that the rules of the contract have changed."""
    return code in UNFIT and refusal_cause(code, text) is RejectCause.VENUE


def is_other_mode(code: int, text: str) -> bool:
    """Return True if a refusal says that the symbol is in hedge mode, where our orders name no side."""
    return code == 10001 and "position idx not match" in text.lower()


def refusal_cause(code: int, text: str) -> RejectCause:
    """Return why the venue refused an order: the market moved, or something is wrong with the order."""
    missed = code in _MARKET_MOVED or (code == 10001 and _MOVED_TEXT.search(text) is not None)
    return RejectCause.MISSED if missed else RejectCause.VENUE


def error_for(code: int, text: str) -> VenueError:
    """Return the error for a ``retCode``. An unknown code is a plain ``VenueError``."""
    shown = "" if code == SECRET_TEXT else f": {printable(text)}"
    found = MEANINGS.get(code)
    if found is None:
        return VenueError(f"retCode {code}{shown}")
    line = f"retCode {code}, {found.words}{shown}"
    match found.kind:
        case "rate":
            return RateLimited(line)
        case "clock":
            return WrongClock(line)
        case "retry_unknown":
            return Retryable(line)
    return Rejected(line)


def error_for_status(status: int) -> VenueError | None:
    """Return the error for an HTTP status, None for 200.

    Business errors have status 200 and a ``retCode``.
    """
    if status == 200:
        return None
    if status == 429:
        return RateLimited("HTTP 429, system protection")
    if status == 403:
        return Forbidden(
            "HTTP 403: too many requests from this address (wait 10 minutes), or a blocked region"
        )
    if 300 <= status < 400:
        return Rejected(f"HTTP {status}: a redirect; Bybit never sends one, so a proxy answers instead")
    if status >= 500:
        return Retryable(f"HTTP {status}, server error")
    return Rejected(f"HTTP {status}")


def printable(text: str, limit: int = 120) -> str:
    """Return a text from outside on one line: cut to ``limit`` characters, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])
