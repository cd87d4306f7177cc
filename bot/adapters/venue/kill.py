"""Cancels every entry of ours at a venue over signed REST; works without the daemon."""

import asyncio
import re
from collections.abc import Callable

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.account import open_orders
from bot.bybit import orders, wire
from bot.domain.errors import VenueError

KILL_S = 10.0
_AGAIN_S = 0.2


async def clear_orders(
    rest: SignedRest, prefix: str, within_s: float = KILL_S, unless: Callable[[], bool] = lambda: False
) -> list[str]:
    """Cancel every open order of ours that could open a position; return those that are left.

    Orders that only reduce stay: protective stops and exits. The account is read again until nothing is left
    or the time is up, because an accepted cancel does not mean that the order is gone. ``unless`` is called
    before each round of cancels: True ends the work.

    Raises:
        VenueError: the account cannot be read, so nobody knows what is left.
    """
    loop = asyncio.get_running_loop()
    by_s = loop.time() + within_s
    while True:
        rows = await open_orders(rest)
        left = [row for row in rows if is_ours(row, prefix) and not row.reduceOnly]
        if not left or loop.time() >= by_s or unless():
            return [row.orderLinkId for row in left]
        await asyncio.gather(*(_cancel(rest, row, by_s) for row in left))
        await asyncio.sleep(_AGAIN_S)


def is_ours(row: wire.OrderFields, prefix: str) -> bool:
    """Return True for an order that a bot with this prefix has sent: ``bot3-120-0``."""
    return re.fullmatch(re.escape(prefix) + r"\d+-\d+-\d+", row.orderLinkId) is not None


async def _cancel(rest: SignedRest, row: wire.OrderFields, by_s: float) -> None:
    outcome = await rest.send_once(orders.cancel_order(row.symbol, row.orderLinkId), "cancel", by_s=by_s)
    if outcome.kind == "clock":
        await rest.measure()
    elif outcome.kind == "credentials":
        raise rest.error(orders.cancel_order(row.symbol, row.orderLinkId), outcome)


async def survivors_of(rest: SignedRest, prefix: str, within_s: float = KILL_S) -> list[str]:
    """Call ``clear_orders``; if the venue does not answer, return one line that says so."""
    try:
        return await clear_orders(rest, prefix, within_s)
    except VenueError as error:
        return [f"unknown: {error}"]
