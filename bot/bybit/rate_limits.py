"""Rate limits: how long to wait before the next request, so that the venue never refuses one.

Bybit counts requests in rolling windows (per account and endpoint: 1 s; per address: 5 s). Each rule here
remembers when its last tokens were taken and frees each token one window later. A bucket that refills all at
once or evenly would allow nearly twice the quota within one window. Time is an argument: milliseconds of any
steady clock. https://bybit-exchange.github.io/docs/v5/rate-limit
"""

from collections import deque
from collections.abc import Mapping
from math import inf

ADDRESS = "address"
"""The rule that all requests from one address share."""

ADDRESS_QUOTA, ADDRESS_WINDOW_MS = 600, 5_000.0
CONNECT_QUOTA, CONNECT_WINDOW_MS = 500, 300_000.0
"""New websocket connections of one address."""
FORBIDDEN_PAUSE_MS = 600_000.0
"""After HTTP 403 Bybit wants no request from the address for ten minutes."""

QUOTAS: dict[str, int] = {
    "create": 10,
    "cancel": 10,
    "amend": 10,
    "stops": 10,
    "setup": 10,
    "orders": 50,
    "positions": 50,
    "account": 50,
    "transactions": 25,
    "key": 10,
    "fees": 5,
    "market": 100,
}
"""Requests a second of each group: Bybit's defaults for linear contracts. ``market`` is our own limit."""

RESERVED: dict[str, int] = {ADDRESS: 100, "orders": 10, "positions": 10, "cancel": 5, "stops": 5}
"""Tokens that only urgent requests may take, so that many ordinary requests never delay an exit."""

MARGIN_MS = 100.0
"""Each window is this much longer, because requests can come closer together on their way."""


class _Rule:
    """At most ``quota`` tokens in any ``window_ms``.

    The last ``reserved`` of them are for urgent requests. Before ``until_ms`` no token is given, before
    ``ordinary_until_ms`` only to urgent requests.
    """

    __slots__ = ("ordinary_until_ms", "quota", "reserved", "taken", "until_ms", "window_ms")

    def __init__(self, quota: int, window_ms: float, reserved: int) -> None:
        self.quota = quota
        self.window_ms = window_ms + MARGIN_MS
        self.reserved = reserved
        self.taken: deque[float] = deque(maxlen=quota)
        self.until_ms = self.ordinary_until_ms = -inf

    def wait_ms(self, now_ms: float, urgent: bool) -> float:
        """Return the milliseconds until a token is free; 0 if one is free now."""
        usable = self.quota if urgent else self.quota - self.reserved
        # A token is free if the one taken ``usable`` requests ago is free again.
        free_ms = self.taken[-usable] + self.window_ms if len(self.taken) >= usable else -inf
        until_ms = self.until_ms if urgent else max(self.until_ms, self.ordinary_until_ms)
        return max(0.0, free_ms - now_ms, until_ms - now_ms)


class AddressBudget:
    """What Bybit grants to one address of ours, over all its hosts: requests, connections, and bans.

    Public REST, signed REST and every websocket of a process share one. https://bybit-exchange.github.io/docs/v5/rate-limit

    Args:
        requests, connects: the most in 5 s and in 5 minutes.
        reserved: requests that only urgent ones may use: cancels, stops and questions about the account.
        forbidden_ms: how long nothing leaves after HTTP 403.

    Raises:
        ValueError: the reserve leaves nothing for other requests.
    """

    def __init__(
        self,
        requests: int = ADDRESS_QUOTA,
        connects: int = CONNECT_QUOTA,
        *,
        reserved: int = RESERVED[ADDRESS],
        forbidden_ms: float = FORBIDDEN_PAUSE_MS,
    ) -> None:
        _check_reserve(ADDRESS, requests, reserved)
        self._requests = _Rule(requests, ADDRESS_WINDOW_MS, reserved)
        self._connects = _Rule(connects, CONNECT_WINDOW_MS, 0)
        self._forbidden_ms = forbidden_ms
        self._barred_until_ms = -inf

    def wait_ms(self, now_ms: float, urgent: bool = False) -> float:
        """Return the milliseconds until the quota has a request left; a ban is asked for by ``barred_ms``."""
        return self._requests.wait_ms(now_ms, urgent)

    def take(self, now_ms: float, urgent: bool = False) -> float:
        """Take one request: return 0.0, or the milliseconds to wait instead."""
        wait_ms = self.wait_ms(now_ms, urgent)
        if wait_ms == 0.0:
            self._requests.taken.append(now_ms)
        return wait_ms

    def dial(self, now_ms: float) -> float:
        """Take one new connection and its request: return 0.0, or the milliseconds to wait instead."""
        connect_ms = self._connects.wait_ms(now_ms, urgent=False)
        wait_ms = max(self.barred_ms(now_ms), connect_ms, self.wait_ms(now_ms))
        if wait_ms == 0.0:
            self._connects.taken.append(now_ms)
            self._requests.taken.append(now_ms)
        return wait_ms

    def limited(self, until_ms: float, *, urgent_too: bool = True) -> None:
        """Stop requests until ``until_ms``, because the venue refused one; by default urgent ones, too."""
        rule = self._requests
        rule.ordinary_until_ms = max(rule.ordinary_until_ms, until_ms)
        if urgent_too:
            rule.until_ms = max(rule.until_ms, until_ms)

    def forbid(self, now_ms: float) -> None:
        """Note HTTP 403: no request and no connection may leave for the next ten minutes."""
        self._barred_until_ms = max(self._barred_until_ms, now_ms + self._forbidden_ms)

    def barred_ms(self, now_ms: float) -> float:
        """Return the milliseconds left of the ban after HTTP 403."""
        return max(0.0, self._barred_until_ms - now_ms)


class RateLimiter:
    """The rate limits of one account behind one address.

    Args:
        quotas: requests a second of each group.
        reserved: tokens of a group, or of ``ADDRESS``, that only urgent requests may take.
        address: the budget that others share; by default one of its own.

    Raises:
        ValueError: a reserve leaves nothing for other requests.
    """

    def __init__(
        self,
        quotas: Mapping[str, int] = QUOTAS,
        reserved: Mapping[str, int] = RESERVED,
        address: AddressBudget | None = None,
    ) -> None:
        for group, quota in quotas.items():
            _check_reserve(group, quota, reserved.get(group, 0))
        self._rules = {
            group: _Rule(quota, 1_000.0, reserved.get(group, 0)) for group, quota in quotas.items()
        }
        self.address = address or AddressBudget(reserved=reserved.get(ADDRESS, 0))

    def take(self, group: str, now_ms: float, urgent: bool = False) -> float:
        """Take a token of ``group`` and of the address: return 0.0, or the milliseconds to wait instead."""
        rule = self._rules[group]
        wait_ms = max(rule.wait_ms(now_ms, urgent), self.address.wait_ms(now_ms, urgent))
        if wait_ms == 0.0:
            rule.taken.append(now_ms)
            self.address.take(now_ms, urgent)
        return wait_ms

    def limited(self, group: str, until_ms: float) -> None:
        """Stop ``group`` (or ``ADDRESS``) until ``until_ms``, urgent or not: the venue refused a request."""
        if group == ADDRESS:
            self.address.limited(until_ms)
            return
        rule = self._rules[group]
        rule.until_ms = max(rule.until_ms, until_ms)


def _check_reserve(group: str, quota: int, reserved: int) -> None:
    if not 0 <= reserved < quota:
        raise ValueError(f"{group}: reserved tokens must be in [0, {quota}), were {reserved}")
