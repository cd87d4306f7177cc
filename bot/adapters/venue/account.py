"""Reads an account over REST. A list is read to its last page, or the reading fails."""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from bot.adapters.net.signed_rest import SignedRest
from bot.bybit import orders, wire
from bot.bybit.account.reading import AccountRows, OrderTrace
from bot.bybit.account.rows import executed_qty, number
from bot.bybit.orders import Page, Request
from bot.domain.errors import BadInput, VenueError
from bot.domain.market import DAY_MS
from bot.domain.money import ZERO

MAX_PAGES = 1_000
"""A list with more pages than this is refused."""
HISTORY_MS = 7 * DAY_MS - 60_000
"""One request covers at most seven days."""

Row = TypeVar("Row")


async def read_standing(rest: SignedRest) -> AccountRows:
    """Read wallet, positions and open orders.

    Raises:
        VenueError: an answer did not come, or was refused.
    """
    wallet = await rest.ask(orders.wallet(), orders.parse_wallet)
    positions = await pages(rest, orders.positions, orders.parse_positions)
    working = await open_orders(rest)
    held = tuple(row for row in positions if number(row.size))
    return AccountRows(_balance(wallet), held, tuple(working))


async def open_orders(rest: SignedRest, symbol: str | None = None) -> list[wire.OrderRow]:
    """Read every open order. Without a filter the venue shows all kinds, also conditional ones and stops."""
    return await pages(rest, lambda cursor: orders.open_orders(symbol, cursor), orders.parse_orders)


async def read_executions(rest: SignedRest, since_ms: int) -> list[wire.ExecutionRow]:
    """Read the executions since ``since_ms`` of the venue's clock, of the last seven days at most."""
    since_ms = max(since_ms, rest.time.now_ms() - HISTORY_MS, 0)
    return await pages(rest, lambda cursor: orders.executions(since_ms, cursor), orders.parse_executions)


async def trace(rest: SignedRest, symbol: str, order_id: str) -> OrderTrace:
    """Read all that the venue knows of one order of ours: one round of the proof of an absence.

    Raises:
        VenueError: one of the endpoints did not answer, so the round proves nothing.
    """
    row = None
    for ask in (orders.order_by_link, orders.history_by_link):
        page = await rest.ask(ask(symbol, order_id), orders.parse_orders)
        row = next((each for each in page.rows if each.orderLinkId == order_id), None)
        if row is not None:
            break
    if row is not None and not executed_qty(row):
        return OrderTrace(row, ())

    def of_order(cursor: str) -> Request:
        return orders.executions_by_link(symbol, order_id, cursor=cursor)

    found = await pages(rest, of_order, orders.parse_executions)
    venue_id = row.orderId if row is not None else ""
    return OrderTrace(row, tuple(e for e in found if e.orderLinkId == order_id or e.orderId == venue_id))


async def read_position(rest: SignedRest, symbol: str) -> list[wire.PositionRow]:
    """Read the position rows of a symbol; the venue sends them even when flat."""
    return (await rest.ask(orders.position_of(symbol), orders.parse_positions)).rows


async def pages(
    rest: SignedRest, request: Callable[[str], Request], parse: Callable[[bytes], Page[Row]]
) -> list[Row]:
    """Read all rows of a list, page by page.

    Raises:
        VenueError: a page did not come, or there is no end.
    """
    rows: list[Row] = []
    cursor, seen = "", {""}
    for _ in range(MAX_PAGES):
        page = await rest.ask(request(cursor), parse)
        rows += page.rows
        cursor = page.cursor
        if not page.rows or cursor in seen:  # the cursor is set even on the last page
            return rows
        seen.add(cursor)
    raise VenueError(f"{rest.base_url}{request('').path}: more than {MAX_PAGES} pages")


def _balance(wallet: wire.WalletRow) -> Decimal:
    coin = next((each for each in wallet.coin if each.coin == orders.SETTLE_COIN), None)
    balance = ZERO if coin is None else number(coin.walletBalance)
    if balance < ZERO:
        raise BadInput(f"the wallet holds {balance} {orders.SETTLE_COIN}")
    return balance
