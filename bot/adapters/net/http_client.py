"""The one kind of HTTP client that this program opens towards a venue."""

from collections.abc import Callable

import aiohttp

import bot


def venue_http(
    timeout_ms: int, connector: Callable[[], aiohttp.BaseConnector] | None = None
) -> aiohttp.ClientSession:
    """Return a client without a proxy from the environment, without cookies, for plain bodies.

    Redirects are refused at each request. ``connector`` makes the connections; None: aiohttp's own.
    """
    return aiohttp.ClientSession(
        connector=None if connector is None else connector(),
        trust_env=False,
        auto_decompress=False,  # we ask for plain bodies, so a compressed one is an attack or a mistake
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"bot/{bot.__version__}", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=timeout_ms / 1000.0),
    )
