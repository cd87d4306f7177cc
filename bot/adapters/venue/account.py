"""Reads an account over REST. A list is read to its last page, or the reading fails."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TypeVar

from bot.adapters.net.signed_rest import SignedRest
from bot.bybit import orders, wire
from bot.bybit.account.reading import AccountRows, OrderTrace
from bot.bybit.account.rows import executed_qty, number
from bot.bybit.orders import Page, Request
from bot.domain.errors import VenueError
from bot.domain.market import DAY_MS
from bot.domain.money import ZERO

MAX_PAGES = 1_000
"""A list with more pages than this is refused."""
HISTORY_MS = 7 * DAY_MS - 60_000
"""One request covers at most seven days."""
DEPTH_MS = 700 * DAY_MS
"""The venue keeps two years."""

Row = TypeVar("Row")


async def read_account_rows(rest: SignedRest) -> AccountRows:
    """Read wallet, positions and open orders.

    Raises:
        VenueError: an answer did not come, or was refused.
    """
    wallet = await rest.ask(orders.wallet(), orders.parse_wallet)
    positions = await pages(rest, orders.positions, orders.parse_positions)
    working = await open_orders(rest)
    held = tuple(row for row in positions if number(row.size))
    return AccountRows(balance_of(wallet), held, tuple(working))


async def open_orders(rest: SignedRest, symbol: str | None = None) -> list[wire.OrderRow]:
    """Read every open order. Without a filter the venue shows all kinds, also conditional ones and stops."""
    return await pages(rest, lambda cursor: orders.open_orders(symbol, cursor), orders.parse_orders)


async def read_executions(rest: SignedRest, since_ms: int) -> list[wire.ExecutionRow]:
    """Read the executions since ``since_ms`` of the venue's clock, newest first, of two years at most."""
    now_ms = rest.time.now_ms()
    rows: list[wire.ExecutionRow] = []
    for from_ms, to_ms in _weeks(since_ms, now_ms):
        rows = await _executions_between(rest, from_ms, to_ms) + rows
    return rows


async def _executions_between(rest: SignedRest, from_ms: int, to_ms: int | None) -> list[wire.ExecutionRow]:
    return await pages(
        rest, lambda cursor: orders.executions(from_ms, cursor, end_ms=to_ms), orders.parse_executions
    )


async def read_money(rest: SignedRest, since_ms: int) -> list[wire.TransactionRow]:
    """Read the transaction log since ``since_ms`` of the venue's clock, of two years at most."""
    rows: list[wire.TransactionRow] = []
    for span in _weeks(since_ms, rest.time.now_ms()):
        rows += await _money_between(rest, *span)
    return rows


async def _money_between(rest: SignedRest, from_ms: int, to_ms: int | None) -> list[wire.TransactionRow]:
    return await pages(
        rest, lambda cursor: orders.transactions(from_ms, cursor, end_ms=to_ms), orders.parse_transactions
    )


def _weeks(since_ms: int, now_ms: int) -> Iterator[tuple[int, int | None]]:
    """Divide the time since ``since_ms`` into spans that the venue answers; the last one has no end."""
    since_ms = max(since_ms, now_ms - DEPTH_MS, 0)
    while now_ms - since_ms > HISTORY_MS:
        yield since_ms, since_ms + HISTORY_MS
        since_ms += HISTORY_MS + 1
    yield since_ms, None


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


def balance_of(wallet: wire.WalletRow) -> Decimal:
    """Return the settle coin's balance: below 0 if the account owes it, 0 if the account has none."""
    coin = next((each for each in wallet.coin if each.coin == orders.SETTLE_COIN), None)
    return ZERO if coin is None else number(coin.walletBalance)
