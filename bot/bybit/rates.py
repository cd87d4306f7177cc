"""Rate budgets: how long to wait before the next request so that the venue never has to say no.

Bybit counts requests in rolling windows (per account and endpoint: 1 s; per address: 5 s), so each rule here
remembers when its last tokens went out and frees each of them a window later: a bucket that refills all at
once or evenly would let nearly twice the quota into one window. Time is an argument, milliseconds of any
steady clock. https://bybit-exchange.github.io/docs/v5/rate-limit
"""

from collections import deque
from collections.abc import Mapping
from math import inf

ADDRESS = "address"
"""The rule that all requests share."""

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
    "key": 10,
    "fees": 5,
    "market": 100,
}
"""Requests a second of each group, the defaults for linear contracts; ``market`` is our own bound."""

RESERVED: dict[str, int] = {ADDRESS: 100, "orders": 10, "positions": 10, "cancel": 5, "stops": 5}
"""Tokens that only urgent requests may take: a flood of the ordinary never delays a way out."""

MARGIN_MS = 100.0
"""A window is taken this much longer, for requests that draw closer on their way."""


class _Rule:
    """At most ``quota`` tokens in any ``window_ms``, the last ``reserved`` of them for the urgent."""

    __slots__ = ("quota", "reserved", "taken", "until_ms", "window_ms")

    def __init__(self, quota: int, window_ms: float, reserved: int) -> None:
        self.quota = quota
        self.window_ms = window_ms
        self.reserved = reserved
        self.taken: deque[float] = deque(maxlen=quota)
        self.until_ms = -inf

    def wait_ms(self, now_ms: float, urgent: bool) -> float:
        """0 if a token can be had now."""
        usable = self.quota if urgent else self.quota - self.reserved
        # The token taken ``usable`` requests ago must be back.
        free_ms = self.taken[-usable] + self.window_ms if len(self.taken) >= usable else -inf
        return max(0.0, free_ms - now_ms, self.until_ms - now_ms)


class Budget:
    """Budgets of one account behind one address.

    Args:
        quotas: requests a second of each group.
        reserved: how many tokens of a group, or of ``ADDRESS``, only urgent requests may take.

    Raises:
        ValueError: a reserve that leaves nothing for the others.
    """

    def __init__(self, quotas: Mapping[str, int] = QUOTAS, reserved: Mapping[str, int] = RESERVED) -> None:
        self._rules = {
            group: _Rule(quota, 1_000.0 + MARGIN_MS, reserved.get(group, 0))
            for group, quota in quotas.items()
        }
        self._rules[ADDRESS] = _Rule(ADDRESS_QUOTA, ADDRESS_WINDOW_MS + MARGIN_MS, reserved.get(ADDRESS, 0))
        for group, rule in self._rules.items():
            if not 0 <= rule.reserved < rule.quota:
                raise ValueError(f"{group}: {rule.reserved} of {rule.quota} tokens reserved")

    def take(self, group: str, now_ms: float, urgent: bool = False) -> float:
        """0.0 with a token of ``group`` and of the address taken, or how long to wait before asking again."""
        rules = (self._rules[group], self._rules[ADDRESS])
        wait_ms = max(rule.wait_ms(now_ms, urgent) for rule in rules)
        if wait_ms == 0.0:
            for rule in rules:
                rule.taken.append(now_ms)
        return wait_ms

    def limited(self, group: str, until_ms: float) -> None:
        """The venue said no: nothing of ``group`` (or of ``ADDRESS``) before ``until_ms``, urgent or not."""
        rule = self._rules[group]
        rule.until_ms = max(rule.until_ms, until_ms)
