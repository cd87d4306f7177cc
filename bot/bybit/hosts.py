"""Bybit's addresses: the hosts for public data, and the few hosts that a signed request may reach.

The two lists never mix. ``PUBLIC_*`` serve market data to anybody and get unsigned requests only. ``SIGNED``
are the venues without real money: testnet, demo trading and this machine. The mainnet host is only in the
first list, so a signed request can never reach it. https://bybit-exchange.github.io/docs/v5/guide
"""

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from bot.domain.errors import BadInput

Network = Literal["mainnet", "testnet"]
SignedNetwork = Literal["testnet", "demo"]

PUBLIC_REST: dict[Network, str] = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
}
PUBLIC_WS: dict[Network, str] = {
    "mainnet": "wss://stream.bybit.com/v5/public/linear",
    "testnet": "wss://stream-testnet.bybit.com/v5/public/linear",
}
PUBLIC_HOSTS = frozenset(
    {
        "api.bybit.com",
        "api.bytick.com",
        "api-testnet.bybit.com",
        "api-demo.bybit.com",
        # These sites have their own hosts for accounts. The public data are the same.
        *(f"api.bybit.{site}" for site in ("nl", "tr", "kz", "ae", "eu", "id")),
        "api.bybitgeorgia.ge",
    }
)
SIGNED_HOSTS = frozenset(
    {
        "api-testnet.bybit.com",
        "stream-testnet.bybit.com",
        "api-demo.bybit.com",
        "stream-demo.bybit.com",
    }
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class SignedUrls(msgspec.Struct, frozen=True):
    """The three addresses of one account.

    None is derived from another. ``trade_ws`` None: no trade socket.
    """

    rest: str
    private_ws: str
    trade_ws: str | None


SIGNED: dict[SignedNetwork, SignedUrls] = {
    "testnet": SignedUrls(
        "https://api-testnet.bybit.com",
        "wss://stream-testnet.bybit.com/v5/private",
        "wss://stream-testnet.bybit.com/v5/trade",
    ),
    # Demo trading has no trade socket: https://bybit-exchange.github.io/docs/v5/demo
    "demo": SignedUrls("https://api-demo.bybit.com", "wss://stream-demo.bybit.com/v5/private", None),
}


def local_urls(base_url: str) -> SignedUrls:
    """Return the addresses of an exchange on this machine, from its REST address.

    Raises:
        BadInput: not a loopback address.
    """
    base_url = base_url.rstrip("/")
    ws = check_signed_url("ws" + base_url.removeprefix("http"))
    return SignedUrls(check_signed_url(base_url), f"{ws}/v5/private", f"{ws}/v5/trade")


def local_public_ws(base_url: str) -> str:
    """Return the public stream of an exchange on this machine, from its REST address.

    Raises:
        BadInput: not a loopback address.
    """
    return check_signed_url("ws" + base_url.rstrip("/").removeprefix("http")) + "/v5/public/linear"


def check_base_url(url: str) -> str:
    """Return ``url`` without a final slash if it is ``https`` to a Bybit host or ``http`` to this machine.

    Raises:
        BadInput: another host or scheme, or a URL with a path, a query or a user in it.
    """
    scheme, host, port = _parts(url, paths=("", "/"))
    if host in LOOPBACK_HOSTS and scheme in ("http", "https"):
        return url.rstrip("/")
    if host in PUBLIC_HOSTS and scheme == "https" and port in (None, 443):
        return url.rstrip("/")
    raise BadInput("must be https to a Bybit host such as api.bybit.com, or http to 127.0.0.1")


def check_signed_url(url: str) -> str:
    """Return ``url`` without a final slash if a signed request may go there: a test host, or this machine.

    A test host must use TLS.

    Raises:
        BadInput: another host, such as one that trades real money, or another scheme.
    """
    scheme, host, port = _parts(url, paths=("", "/", "/v5/private", "/v5/trade"))
    if host in LOOPBACK_HOSTS and scheme in ("http", "https", "ws", "wss"):
        return url.rstrip("/")
    if host in SIGNED_HOSTS and scheme in ("https", "wss") and port in (None, 443):
        return url.rstrip("/")
    raise BadInput(
        f"signed calls go only to testnet, demo (over TLS) or this machine, never to {host or 'no host'}"
    )


def _parts(url: str, paths: tuple[str, ...]) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"must be a URL: {error}") from error
    # URL parsers read these characters differently.
    odd = any(char <= " " or char in "?#\\\x7f" for char in url)
    if odd or parts.path not in paths or "@" in parts.netloc:
        raise BadInput("must be only scheme, host and port, for example https://api.bybit.com")
    return parts.scheme, host, port
