"""Who may use the page: its hosts, its token, its cookie, and what becomes of wrong tries.

::

    link      a code in the address that the bot prints; works once, and sets the cookie
    cookie    made from the token; HttpOnly and SameSite=Strict, so no script and no other page has it
    header    ``X-Bot-Token`` or ``Authorization: Bearer`` with the token itself, for programs

Which hosts and origins may ask at all is the rule of ``adapters.net.browsers``.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bot.adapters.net.browsers import LOOPBACK, Headers, refusal
from bot.domain.errors import BadSettings

TOKEN_FILE = "web-token"  # noqa: S105 (a name)
"""Default name of the token's file in the state directory."""
TRIES_MAX = 10
"""Wrong tries within ``TRIES_WITHIN_S``; after that, codes and tokens are not even compared."""
TRIES_WITHIN_S = 60.0
COOKIE_AGE_S = 30 * 86_400
_LINKS_MAX = 8
_TOKEN_MIN = 16
_TOKEN_MAX = 512


class Access:
    """Judges requests.

    Args:
        token: the secret; whoever has it may steer the bot.
        names: hosts by which a browser may call this server.
        any_address: allow an IP address as host too: the server listens on all of them.
        now_s: a steady clock.
    """

    def __init__(
        self,
        token: str,
        now_s: Callable[[], float],
        names: frozenset[str] = LOOPBACK,
        *,
        any_address: bool = False,
    ) -> None:
        self._token = token.encode()
        self._names = names
        self._any_address = any_address
        self._now_s = now_s
        self._links: deque[str] = deque(maxlen=_LINKS_MAX)
        self._wrong_s: deque[float] = deque(maxlen=TRIES_MAX)
        digest = hashlib.sha256(self._token).hexdigest()
        self.cookie_name = f"bot-{digest[:8]}"
        """Two bots on one machine share their browser's cookies, so each has a name of its own."""
        self.cookie = hmac.new(self._token, b"the page's cookie", hashlib.sha256).hexdigest()

    def refusal(self, headers: Headers) -> str | None:
        """Say why a request may not be answered at all: a wrong host, or another page sent it."""
        names = self._names
        if self._any_address:
            names |= {host for host in map(_address, headers.getall("Host", [])) if host}
        return refusal(headers, names)

    def make_link(self) -> str:
        """Return a code that opens the page once. Only the latest eight codes are valid."""
        code = secrets.token_urlsafe(24)
        self._links.append(code)
        return code

    def takes_link(self, code: str) -> bool:
        """Use a code up; False if it is wrong or was used."""
        if self.too_many_tries:
            return False
        found = [each for each in self._links if hmac.compare_digest(each.encode(), code.encode())]
        for each in found:
            self._links.remove(each)
        return self._counted(bool(found))

    def knows_cookie(self, value: str | None) -> bool:
        """Return True for the cookie that ``takes_link`` led to."""
        if value is None:
            return False
        return self._counted(hmac.compare_digest(value.encode(), self.cookie.encode()))

    def knows_token(self, headers: Headers) -> bool:
        """Return True if the token is in a header."""
        given = [*headers.getall("X-Bot-Token", []), *map(_bearer, headers.getall("Authorization", []))]
        if not given or self.too_many_tries:
            return False
        return self._counted(any(hmac.compare_digest(each.encode(), self._token) for each in given))

    @property
    def too_many_tries(self) -> bool:
        """True while so many tries were wrong lately that no further one is looked at."""
        return len(self._wrong_s) == TRIES_MAX and self._now_s() - self._wrong_s[0] < TRIES_WITHIN_S

    def _counted(self, right: bool) -> bool:
        if not right:
            self._wrong_s.append(self._now_s())
        return right


def read_token(path: Path) -> str:
    """Return the token of a file; a missing file is made with a fresh one, for its owner alone.

    Raises:
        BadSettings: it cannot be read or made, others may read it, or it is too short.
    """
    try:
        with open(path, encoding="ascii") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise BadSettings(f"{path}: others may read the token; run `chmod 600 {path}`")
            token = file.read(_TOKEN_MAX + 1).strip()
    except FileNotFoundError:
        return _new_token(path)
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"{path}: the token cannot be read ({error}); delete it, or name another file"
        ) from None
    if not (_TOKEN_MIN <= len(token) <= _TOKEN_MAX and token.isprintable() and " " not in token):
        raise BadSettings(
            f"{path}: a token has {_TOKEN_MIN} to {_TOKEN_MAX} characters; delete it for a new one"
        )
    return token


def _new_token(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "x", encoding="ascii", opener=_private) as file:
            file.write(token + "\n")
    except OSError as error:
        raise BadSettings(
            f"{path}: the token cannot be written ({error.strerror}); set web.token_file"
        ) from None
    return token


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _address(host: str) -> str | None:
    """Return the host without its port if it is an IP address: no name of another page resolves to that."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
    return name.lower()
