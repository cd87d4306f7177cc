"""Taking back every order of ours at a venue, with nothing but signed REST: works without the daemon."""

import asyncio
import re

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.account import open_orders
from bot.bybit import orders, wire
from bot.domain.errors import VenueError

KILL_S = 10.0
_AGAIN_S = 0.2


async def clear_orders(rest: SignedRest, prefix: str, within_s: float = KILL_S) -> list[str]:
    """Cancel every working order of ours that could open a position; returns those that are left.

    What only reduces stays: protective stops, and exits. The account is read again until nothing is left or
    the time is up, because a cancel that was taken is not yet an order that is gone.

    Raises:
        VenueError: the account cannot be read, so nobody knows what is left.
    """
    own = re.compile(re.escape(prefix) + r"\d+-\d+-\d+")
    loop = asyncio.get_running_loop()
    by_s = loop.time() + within_s
    while True:
        rows = await open_orders(rest)
        left = [row for row in rows if own.fullmatch(row.orderLinkId) and not row.reduceOnly]
        if not left or loop.time() >= by_s:
            return [row.orderLinkId for row in left]
        await asyncio.gather(*(_cancel(rest, row, by_s) for row in left))
        await asyncio.sleep(_AGAIN_S)


async def _cancel(rest: SignedRest, row: wire.OrderFields, by_s: float) -> None:
    outcome = await rest.tell(orders.cancel_order(row.symbol, row.orderLinkId), "cancel", by_s=by_s)
    if outcome.kind == "clock":
        await rest.measure()
    elif outcome.kind == "credentials":
        raise rest.error(orders.cancel_order(row.symbol, row.orderLinkId), outcome)


async def survivors_of(rest: SignedRest, prefix: str, within_s: float = KILL_S) -> list[str]:
    """As ``clear_orders``; a venue that does not answer leaves one line that says so."""
    try:
        return await clear_orders(rest, prefix, within_s)
    except VenueError as error:
        return [f"unknown: {error}"]
