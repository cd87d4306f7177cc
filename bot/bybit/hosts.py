"""Where Bybit's public data live, and which other addresses may be asked for them.

Only unsigned requests use these hosts: nothing in this table can take an order.
"""

from typing import Literal
from urllib.parse import urlsplit

from bot.domain.errors import BadInput

Network = Literal["mainnet", "testnet"]

PUBLIC_REST: dict[Network, str] = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
}
PUBLIC_HOSTS = frozenset(
    {
        "api.bybit.com",
        "api.bytick.com",
        "api-testnet.bybit.com",
        "api-demo.bybit.com",
        # Accounts of these sites have hosts of their own; the public data are the same.
        *(f"api.bybit.{site}" for site in ("nl", "tr", "kz", "ae", "eu", "id")),
        "api.bybitgeorgia.ge",
    }
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def check_base_url(url: str) -> str:
    """``url`` without a final slash, if it is ``https`` to a Bybit host or ``http`` to this machine.

    Raises:
        BadInput: another host or scheme, or a URL with a path, a query or a user in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"must be a URL: {error}") from error
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadInput("must be scheme, host and port alone, for example https://api.bybit.com")
    if host in LOOPBACK_HOSTS and parts.scheme in ("http", "https"):
        return url.rstrip("/")
    if host in PUBLIC_HOSTS and parts.scheme == "https" and parts.port in (None, 443):
        return url.rstrip("/")
    raise BadInput("must be https to a Bybit host such as api.bybit.com, or http to 127.0.0.1")
