"""Access to accounts: checks the key, the signature, the time and the rate of each request.

Signatures are checked over the received bytes, never over a rewritten form. The receive window belongs to the
network, so it is checked in wall time: on a clock that runs N times as fast, an exchange second lasts 1/N.
https://bybit-exchange.github.io/docs/v5/guide and .../rate-limit
"""

from collections import OrderedDict, deque
from collections.abc import Mapping

import msgspec

from bot.bybit.serve import Auth, RateLimitHeaders
from bot.bybit.sign import DEFAULT_RECV_WINDOW_MS, MAX_AHEAD_MS, rest_signature, verify, ws_signature
from bot.simulator.config import AccessRules

WINDOW_S = 1.0
"""Quotas count requests in a rolling second."""
LOGIN_AHEAD_MS = 10_000
"""How far ahead clients let a login expire."""
_IDS_KEPT = 20_000
_NUMBER_DIGITS = 19


class RequestRefused(Exception):
    """A refused request: its ``retCode``, its message, the HTTP status."""

    def __init__(self, code: int, text: str, *, status: int = 200, result: object = None) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.status = status
        self.result = {} if result is None else result


class Key(msgspec.Struct, frozen=True):
    """One key and what it may do. ``uid`` names the account behind it in ids of pushed messages."""

    key: str
    secret: str
    uid: int
    read_only: bool = False
    withdraw: bool = False
    """True if ``user/query-api`` shows the right to withdraw; a careful bot refuses such a key."""


ORDER_GROUPS = frozenset(
    {"create", "amend", "cancel", "cancel-all", "create-batch", "amend-batch", "cancel-batch"}
)
"""Endpoints whose quota depends on the user's level."""
QUOTAS: dict[str, int] = {
    "pre-check": 10,
    "realtime": 50,
    "history": 50,
    "executions": 50,
    "positions": 50,
    "closed-pnl": 50,
    "leverage": 10,
    "trading-stop": 10,
    "switch-mode": 10,
    "add-margin": 10,
    "auto-margin": 10,
    "wallet": 50,
    "account-info": 50,
    "transaction-log": 25,
    "fee-rate": 5,
    "margin-mode": 5,
    "collateral": 50,
    "query-api": 10,
    "coin-info": 50,
    "symbol-info": 50,
    "demo-money": 1,
    "settings": 10,
    "protection": 5,
}
"""Requests a second and account for all other endpoints; a batch of orders costs one for each order."""
_SPAN_S: dict[str, float] = {"demo-money": 60.0}


class Grant(msgspec.Struct, frozen=True):
    """The quota granted to one request: ``granted`` of the requested units, and its header values."""

    limit: RateLimitHeaders
    granted: int


class Quotas:
    """Counts per account and group over a rolling span of wall time."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules = rules
        self._seen: dict[tuple[int, str], deque[float]] = {}

    def take(self, uid: int, group: str, cost: int, *, wall_s: float, now_ms: int, speed: float) -> Grant:
        """Ask for ``cost`` units; a batch may be granted a part of them, a single request all or none."""
        quota = self._rules.order_quota if group in ORDER_GROUPS else QUOTAS[group]
        span_s = _SPAN_S.get(group, WINDOW_S)
        seen = self._seen.setdefault((uid, group), deque())
        while seen and seen[0] <= wall_s - span_s:
            seen.popleft()
        granted = min(cost, quota - len(seen)) if self._rules.rate_limits else cost
        granted = max(granted, 0)
        seen.extend([wall_s] * min(granted, quota))
        left = max(quota - len(seen), 0)
        wait_s = seen[0] + span_s - wall_s if granted < cost and seen else 0.0
        return Grant(RateLimitHeaders(quota, left, now_ms + int(wait_s * 1000.0 * speed + 0.999)), granted)


class AddressLimit:
    """Counts requests of one address over 5 s; more than ``most`` get HTTP 403 (None: no limit)."""

    SPAN_S = 5.0

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._seen: deque[float] = deque()

    def allows(self, wall_s: float) -> bool:
        """Count one more request; return False if it is too many."""
        if self._most is None:
            return True
        while self._seen and self._seen[0] <= wall_s - self.SPAN_S:
            self._seen.popleft()
        if len(self._seen) >= self._most:
            return False
        self._seen.append(wall_s)
        return True


class AccessGate:
    """Checks credentials of REST requests and websocket logins, and the times of socket requests."""

    def __init__(self, keys: Mapping[str, Key], rules: AccessRules) -> None:
        self._keys = keys
        self.rules = rules

    def rest(self, headers: Mapping[str, str], payload: bytes, *, now_ms: int, speed: float) -> Key:
        """Return the key of a request. ``payload`` is the raw query of a GET or the raw body of a POST.

        Raises:
            RequestRefused: 10003 unknown key, 10004 signature, 10002 stamp outside the window, 10001
                unreadable stamp; without a key, signature or stamp HTTP 401 (a switch of ``AccessRules``).
        """
        name, sign = headers.get("X-BAPI-API-KEY"), headers.get("X-BAPI-SIGN")
        stamp = headers.get("X-BAPI-TIMESTAMP")
        window = headers.get("X-BAPI-RECV-WINDOW")
        if not name or not sign or not stamp:
            status = 401 if self.rules.missing_headers == "http401" else 200
            raise RequestRefused(10003, "API key is invalid.", status=status)
        key = self._keys.get(name)
        if key is None and self.rules.key_before_signature:
            raise RequestRefused(10003, "API key is invalid.")
        if key is not None:
            self.window(stamp, window, now_ms=now_ms, speed=speed)
        if key is None or not verify(rest_signature(key.secret, stamp, name, window or "", payload), sign):
            head = f"{stamp}{name}{window or ''}".encode("utf-8", "replace")
            raise RequestRefused(
                10004, f"error sign! origin_string[{(head + payload).decode('utf-8', 'replace')}]"
            )
        return key

    def window(self, stamp: object, window: object, *, now_ms: int, speed: float) -> None:
        """Check a request's time and receive window (text or number) against the clock.

        Raises:
            RequestRefused: 10002 outside the window, 10001 unreadable.
        """
        sent_ms = _whole(stamp, "timestamp")
        window_ms = DEFAULT_RECV_WINDOW_MS if window in (None, "") else _whole(window, "recv_window")
        if now_ms - window_ms * speed <= sent_ms < now_ms + MAX_AHEAD_MS * speed:
            return
        raise RequestRefused(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{sent_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
        )

    def login(self, auth: Auth, *, now_ms: int, speed: float = 1.0) -> Key:
        """Whose ``{"op":"auth","args":[key, expires, signature]}`` this is.

        On a fast clock a login signed ten seconds ahead would expire before it arrives. So it may be late by
        as much machine time as it would have at the usual speed.

        Raises:
            RequestRefused: 10003 unknown key, 10004 signature, 10001 expired.
        """
        key = self._keys.get(auth.key)
        if key is None:
            raise RequestRefused(10003, "API key is invalid.")
        if not verify(ws_signature(key.secret, auth.expires), auth.signature):
            raise RequestRefused(10004, "error sign!")
        if _whole(auth.expires, "expires") <= now_ms - LOGIN_AHEAD_MS * max(speed - 1.0, 0.0):
            raise RequestRefused(10001, "Params Error")
        return key


class UsedIds:
    """Remembers used ids up to a bound; the oldest are forgotten first."""

    def __init__(self, most: int = _IDS_KEPT) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def add(self, name: str) -> None:
        """Add ``name``."""
        self._ids[name] = None
        while len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def discard(self, name: str) -> None:
        """Remove ``name``."""
        self._ids.pop(name, None)


def _whole(value: object, what: str) -> int:
    """Return a number of milliseconds that came as a number or as text.

    Raises:
        RequestRefused: 10001, it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_NUMBER_DIGITS:
        return value
    if isinstance(value, str) and len(value) <= _NUMBER_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    raise RequestRefused(10001, f"params error: {what} invalid")
