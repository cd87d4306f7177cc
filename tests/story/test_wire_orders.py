"""Orders over a bad line: whatever is lost, repeated, delayed or cut, the end is the exchange's truth.

Checked at the end, in exact decimals: the position told is the exchange's; each of its executions was told
once; each order has at most one order at the exchange; and our engine's own book lives through the events.
"""

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.net.link import LinkPolicy
from bot.domain.messages import (
    CancelOrder,
    Filled,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    Synced,
)
from bot.engine.orders.open_orders import OpenOrders
from bot.simulator.faults.hooks import FaultAction
from tests.adapters.venue.live import Mischief, Trader, exchange_with, venue_at


def storm(faults: Mischief, rng: random.Random) -> None:
    """From now on about a tenth of everything goes wrong."""

    def out(connection: Any, topic: str, text: str) -> list[tuple[float, str]] | None:
        if connection.stream == "public":
            return None
        draw = rng.random()
        if draw < 0.1:
            return []
        if draw < 0.2:
            return [(0.0, text), (rng.uniform(0.0, 0.1), text)]
        return [(rng.uniform(0.0, 0.05), text)] if draw < 0.35 else None

    def before(request: Any) -> FaultAction | None:
        draw = rng.random()
        return FaultAction(status=502) if draw < 0.05 else FaultAction(delay_s=0.1) if draw < 0.1 else None

    def after(request: Any, body: bytes) -> bytes | FaultAction:
        return FaultAction(status=rng.choice((0, 502))) if rng.random() < 0.1 else body

    faults.on_out, faults.on_rest, faults.on_answered = out, before, after
    faults.on_in = lambda connection, text: None if rng.random() < 0.05 else text


def calm(faults: Mischief) -> None:
    fresh = Mischief()
    faults.on_out, faults.on_rest, faults.on_answered = fresh.on_out, fresh.on_rest, fresh.on_answered
    faults.on_in = fresh.on_in
    faults.mend()


async def trade_wildly(trader: Trader, faults: Mischief, rng: random.Random, steps: int) -> list[str]:
    placed: list[str] = []
    for _ in range(steps):
        draw = rng.random()
        side = rng.choice(("Buy", "Sell"))
        qty = f"0.0{rng.randint(1, 9)}"
        if draw < 0.35:
            placed.append(trader.place(trader.intent(qty, side=side)))
        elif draw < 0.7:
            away = Decimal(rng.randint(1, 20)) / 1000
            frac = str(1 - away if side == "Buy" else 1 + away)
            placed.append(trader.place(trader.limit(qty, frac, side=side)))
        elif draw < 0.85 and placed:
            trader.venue.submit(CancelOrder(rng.choice(placed), "BTCUSDT"))
        elif draw < 0.95:
            trader.trade_through(trader.price() * Decimal(rng.randint(985, 1015)) / 1000)
        else:
            faults.cut(*rng.choice((("private",), ("trade",), ("private", "trade"))))
            asyncio.get_running_loop().call_later(rng.uniform(0.05, 0.3), faults.mend)
        await asyncio.sleep(rng.uniform(0.0, 0.05))
    return placed


@pytest.mark.fault(19)
@pytest.mark.invariant(1, 3, 4)
@pytest.mark.parametrize("seed", range(3))
async def test_over_a_bad_line_every_order_comes_to_the_exchanges_truth(tmp_path: Path, seed: int) -> None:
    rng, faults = random.Random(seed), Mischief()
    changes: dict[str, Any] = {"recv_window_ms": 400, "order_timeout_ms": 150, "reconcile_ms": 200}
    changes |= {"leverage": Decimal(5), "connect_budget": ((1.0, 20),)}
    async with (
        exchange_with(faults, seed=seed) as exchange,
        venue_at(exchange, tmp_path, **changes) as trader,
    ):
        storm(faults, rng)
        placed = await trade_wildly(trader, faults, rng, 100)
        calm(faults)
        await trader.until(lambda: settled(trader), within_s=20)
        syncs = trader.venue.counts["syncs"]
        await trader.until(lambda: trader.venue.counts["syncs"] > syncs + 1 and settled(trader), within_s=20)
        check_truth(trader, placed)


def settled(trader: Trader) -> bool:
    """Up, nothing unknown, and nothing believed to rest that does not."""
    resting = {order.link_id for order in trader.desk.engine.open_orders(None)}
    return bool(trader.venue.facts()["venue_up"]) and set(trader.venue.table.live) == resting


def check_truth(trader: Trader, placed: list[str]) -> None:
    truth = {row.execId: row for row in trader.desk.ledger.executions}
    told = [event.fill for event in trader.told(Filled)]
    assert sorted(fill.exec_id for fill in told) == sorted(truth)
    for fill in told:
        row = truth[fill.exec_id]
        assert (str(fill.qty), str(fill.price), fill.order_id) == (
            row.execQty,
            row.execPrice,
            row.orderLinkId,
        )
    assert trader.venue.table.positions.get("BTCUSDT", Decimal(0)) == trader.held()
    links = [kept.order.link_id for kept in trader.desk.ledger.orders._all.values()]
    assert len(links) == len(set(links))
    assert set(links) <= set(placed)
    live_in_the_book(trader, placed)


def live_in_the_book(trader: Trader, placed: list[str]) -> None:
    book, answers = OpenOrders(), (OrderAccepted, OrderRejected, OrderCancelled, OrderUnknown)
    for order in trader.store.orders().values():
        book.add(order.order_id, order.intent)
    for event in trader.events:
        if isinstance(event, Filled) and book.is_new(event.fill):
            book.fill(event.fill)
        elif isinstance(event, answers):
            book.answer(event)
    assert set(book.live) == set(trader.venue.table.live)
    assert {each.qty for each in trader.told(Synced)[-1].account.holdings} <= {trader.held()}


@pytest.mark.invariant(17)
async def test_a_fill_in_an_outage_of_four_seconds_is_known_two_seconds_after_it(tmp_path: Path) -> None:
    """With the patience that ships: the line dials again by itself, seconds after it could."""
    faults = Mischief()
    shipped = {"link": LinkPolicy(), "ping_ms": 15_000, "pong_timeout_ms": 8_000}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **shipped) as trader:
        limit = trader.limit("0.05", "0.95")
        order_id = trader.place(limit)
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        loop = asyncio.get_running_loop()
        cut_s = loop.time()
        faults.cut("private", "trade")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        assert limit.price is not None
        trader.trade_through(limit.price * Decimal("0.99"))
        await asyncio.sleep(4.0 - (loop.time() - cut_s))
        assert trader.filled() == 0
        faults.mend()
        ups = trader.venue.counts["private_ups"]
        await trader.until(lambda: trader.venue.counts["private_ups"] > ups, within_s=20)
        took_s = await trader.until(lambda: trader.filled(order_id) == Decimal("0.05"))
        assert took_s < 2.0  # 20 to 60 ms are usual
        await trader.until(lambda: len(trader.told(LinkUp)) == 2)
