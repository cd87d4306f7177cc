"""Keep web pages away from ports and sockets of this machine.

A page in a browser may send requests to a local port, and with a name of its own that resolves to this
machine (DNS rebinding) it may also read the answers. Two headers that no page can change tell: ``Host`` is
the name in the page's address, ``Origin`` the page itself. A program that is no browser sends the name it
was given and no ``Origin``, or its own target as ``Origin``.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Protocol

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this machine in a ``Host`` header."""

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Headers(Protocol):
    """Headers of a request; a name has no case and may have several values."""

    def getall(self, key: str, default: list[str], /) -> Sequence[str]:
        """Return all values of ``key``."""
        ...


def refusal(headers: Headers, names: frozenset[str] = LOOPBACK) -> str | None:
    """Say why a request is refused; None if a program on this machine may have sent it.

    ``names`` are the hosts that a client may call this server by, whatever the port.
    """
    hosts = [host.lower() for host in headers.getall("Host", [])]
    if len(hosts) != 1 or (host := _HOST.fullmatch(hosts[0])) is None or host[1] not in names:
        return f"refused: the host must be {' or '.join(sorted(names))}"
    own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
    if any(origin.lower() not in own for origin in headers.getall("Origin", [])):
        return "refused: this server takes no requests of web pages"
    if any(site not in ("none", "same-origin") for site in headers.getall("Sec-Fetch-Site", [])):
        return "refused: this server takes no requests of web pages"
    return None
