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

    The last ``reserved`` of them are for urgent requests.
    """

    __slots__ = ("quota", "reserved", "taken", "until_ms", "window_ms")

    def __init__(self, quota: int, window_ms: float, reserved: int) -> None:
        self.quota = quota
        self.window_ms = window_ms
        self.reserved = reserved
        self.taken: deque[float] = deque(maxlen=quota)
        self.until_ms = -inf

    def wait_ms(self, now_ms: float, urgent: bool) -> float:
        """Return the milliseconds until a token is free; 0 if one is free now."""
        usable = self.quota if urgent else self.quota - self.reserved
        # A token is free if the one taken ``usable`` requests ago is free again.
        free_ms = self.taken[-usable] + self.window_ms if len(self.taken) >= usable else -inf
        return max(0.0, free_ms - now_ms, self.until_ms - now_ms)


class RateLimiter:
    """The rate limits of one account behind one address.

    Args:
        quotas: requests a second of each group.
        reserved: tokens of a group, or of ``ADDRESS``, that only urgent requests may take.

    Raises:
        ValueError: a reserve leaves nothing for other requests.
    """

    def __init__(self, quotas: Mapping[str, int] = QUOTAS, reserved: Mapping[str, int] = RESERVED) -> None:
        self._rules = {
            group: _Rule(quota, 1_000.0 + MARGIN_MS, reserved.get(group, 0))
            for group, quota in quotas.items()
        }
        self._rules[ADDRESS] = _Rule(ADDRESS_QUOTA, ADDRESS_WINDOW_MS + MARGIN_MS, reserved.get(ADDRESS, 0))
        for group, rule in self._rules.items():
            if not 0 <= rule.reserved < rule.quota:
                raise ValueError(
                    f"{group}: reserved tokens must be in [0, {rule.quota}), were {rule.reserved}"
                )

    def take(self, group: str, now_ms: float, urgent: bool = False) -> float:
        """Take a token of ``group`` and of the address: return 0.0, or the milliseconds to wait instead."""
        rules = (self._rules[group], self._rules[ADDRESS])
        wait_ms = max(rule.wait_ms(now_ms, urgent) for rule in rules)
        if wait_ms == 0.0:
            for rule in rules:
                rule.taken.append(now_ms)
        return wait_ms

    def limited(self, group: str, until_ms: float) -> None:
        """Stop ``group`` (or ``ADDRESS``) until ``until_ms``, urgent or not: the venue refused a request."""
        rule = self._rules[group]
        rule.until_ms = max(rule.until_ms, until_ms)
