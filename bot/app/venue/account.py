"""An account at a venue without a daemon: keys, addresses, and taking orders back."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.bybit.hosts import PUBLIC_REST
from bot.domain.errors import BadSettings, BotError, VenueError
from bot.domain.money import plain, plain_or_none

if TYPE_CHECKING:  # `bot kill` of a daemon that answers needs no HTTP client
    from bot.adapters.net.public_rest import PublicRest
    from bot.adapters.net.signed_rest import Credentials, SignedRest
    from bot.adapters.state.clock import FollowedClock
    from bot.bybit.rate_limits import AddressBudget
    from bot.bybit.wire import PositionFields
    from bot.settings import Settings

_KILL_TIMEOUT_MS = 4_000


def feed_url(settings: "Settings") -> str:
    """Return the REST address of the candles."""
    return settings.local.url if settings.feed.kind == "local" else PUBLIC_REST[settings.feed.kind]


def check_keys(settings: "Settings") -> None:
    """Refuse a remote venue without keys.

    Raises:
        BadSettings: no key or no secret.
    """
    venue = settings.venue
    if venue.api_key is None or venue.api_secret is None:
        raise BadSettings(
            f"venue.kind: {venue.kind} needs a key; set BOT_VENUE__API_KEY and BOT_VENUE__API_SECRET, or "
            "venue.api_key_file"
        )


def credentials(settings: "Settings") -> "Credentials":
    """Return key and secret; call ``check_keys`` before."""
    from bot.adapters.net.signed_rest import Credentials

    key, secret = settings.venue.api_key, settings.venue.api_secret
    assert key is not None, "checked with the pair"
    assert secret is not None, "checked with the pair"
    return Credentials(key.get_secret_value(), secret.get_secret_value())


_WITHOUT_NETWORK = "check the network; `bot exchange` and --feed local need none"


async def observe(rest: "PublicRest", clock: "FollowedClock", url: str, *, is_local: bool) -> None:
    """Set ``clock`` by the exchange's clock; ``url`` is the address of ``rest``.

    Raises:
        VenueError: it does not answer.
    """
    import aiohttp

    try:
        await rest.observe(clock)
        await rest.observe(clock)
    except (BotError, OSError, TimeoutError, aiohttp.ClientError) as error:
        hint = "start `bot exchange`, or set local.url" if is_local else _WITHOUT_NETWORK
        why = str(error) or type(error).__name__
        raise VenueError(f"{url} does not answer ({why}); {hint}") from error


def kill_at_venue(
    settings: "Settings",
    *,
    unless: Callable[[], bool] = lambda: False,
    address: "AddressBudget | None" = None,
) -> list[str]:
    """Cancel every order of ours that could open a position, without a daemon; return what is left.

    ``unless``: called before each round of cancels; True ends the work. ``address``: of this process, if it
    does this more than once.

    Raises:
        BadSettings: no keys.
        VenueError: the account cannot be read.
    """
    from bot.adapters.venue.kill import clear_orders

    async def clear() -> list[str]:
        async with signed_account(settings, _KILL_TIMEOUT_MS, address) as rest:
            return await clear_orders(rest, settings.venue.prefix, unless=unless)

    return asyncio.run(clear())


@dataclass(frozen=True)
class Left:
    """What a kill leaves at a venue. ``survivors`` are entries that could not be cancelled.

    ``positions`` and ``exits`` stay on purpose; None if the account could not be read after the kill.
    """

    survivors: list[str]
    positions: list[dict[str, object]] | None
    exits: list[str] | None


def kill_and_look(settings: "Settings") -> Left:
    """Do ``kill_at_venue``, then read what stays: positions with their stops, and working exits of ours.

    Raises:
        BadSettings: no keys.
        VenueError: the account cannot be read, so nobody knows what is left.
    """
    from bot.adapters.venue.account import read_account_rows
    from bot.adapters.venue.kill import clear_orders, is_ours

    async def kill() -> Left:
        async with signed_account(settings, _KILL_TIMEOUT_MS) as rest:
            survivors = await clear_orders(rest, settings.venue.prefix)
            try:
                rows = await read_account_rows(rest)
            except VenueError:
                return Left(survivors, None, None)
        exits = [
            row.orderLinkId for row in rows.orders if is_ours(row, settings.venue.prefix) and row.reduceOnly
        ]
        return Left(survivors, [_position(row) for row in rows.positions], exits)

    return asyncio.run(kill())


def _position(row: "PositionFields") -> dict[str, object]:
    from bot.bybit.account.reading import signed_qty, stops_of

    stop_loss, take_profit, trailing = stops_of(row)
    return {
        "symbol": row.symbol,
        "qty": plain(signed_qty(row)),
        "stop_loss": plain_or_none(stop_loss),
        "take_profit": plain_or_none(take_profit),
        "trailing_stop": plain_or_none(trailing or None),
    }


async def ask_key(settings: "Settings", *, timeout_ms: int) -> str:
    """Ask the venue about the key; return its answer in words.

    Raises:
        VenueError: the key is unknown or has the wrong rights, or the venue does not answer.
    """
    from bot.adapters.venue.start import check_clock, check_key

    async with signed_account(settings, timeout_ms) as rest:
        if settings.feed.kind != "local":
            await check_clock(rest, settings.venue.max_clock_offset_ms)
        if settings.venue.kind != "demo":
            await check_key(rest)
        return f"{rest.base_url} knows the key, and it may trade"


@contextlib.asynccontextmanager
async def signed_account(
    settings: "Settings", timeout_ms: int, address: "AddressBudget | None" = None
) -> AsyncIterator["SignedRest"]:
    """Open signed requests to the account, by the venue's time.

    Raises:
        BadSettings: no keys.
        VenueError: the venue does not answer.
    """
    from bot.adapters.net.public_rest import RequestPace, public_rest
    from bot.adapters.net.signed_rest import RestPolicy, signed_rest
    from bot.adapters.state.clock import FollowedClock, WallClock
    from bot.adapters.venue.config import VenueConfig
    from bot.bybit.rate_limits import AddressBudget, RateLimiter

    check_keys(settings)
    config = VenueConfig.of(settings)
    policy = RestPolicy(recv_window_ms=settings.venue.recv_window_ms, timeout_ms=timeout_ms, attempts=2)
    rng = random.Random()  # noqa: S311 (jitter)
    clock, address = FollowedClock(), address or AddressBudget()
    if settings.venue.kind == "local":
        async with public_rest(
            settings.local.url, WallClock(), RequestPace(max_retries=0), rng, address=address
        ) as public:
            await observe(public, clock, settings.local.url, is_local=True)
    budget = RateLimiter(address=address)
    async with signed_rest(
        config.urls.rest, credentials(settings), clock, rng, budget=budget, policy=policy
    ) as rest:
        await rest.measure()
        yield rest
