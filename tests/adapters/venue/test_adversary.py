"""The venue adapter against an account and a wire that mean it no good: rare orders of rare events."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import VenueError
from bot.domain.messages import (
    CancelOrder,
    Filled,
    LinkDown,
    LinkUp,
    OrderCancelled,
    OrderRejected,
    RejectCause,
    Synced,
)
from bot.simulator.faults.hooks import FaultAction
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Mischief, Trader, exchange_with, kinds, venue_at


async def socket_up(trader: Trader) -> None:
    await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])


def by_hand(trader: Trader, side: str, qty: str, link_id: str = "") -> None:
    trader.desk.create(
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": side,
            "orderType": "Market",
            "qty": qty,
            "orderLinkId": link_id,
        }
    )


@pytest.mark.fault(19)
async def test_a_fill_missed_long_ago_is_found_though_a_later_one_was_seen_first(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, overlap_ms=100) as trader:
        faults.cut("private", "trade")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        by_hand(trader, "Buy", "0.03")
        await asyncio.sleep(0.3)  # longer ago than the overlap
        faults.on_rest = lambda request: held_up if request.path.endswith("time") else None
        held_up = FaultAction(status=502)
        faults.mend()
        ups = trader.venue.counts["private_ups"]
        await trader.until(lambda: trader.venue.counts["private_ups"] > ups)
        by_hand(trader, "Buy", "0.01")  # told by the stream, before the account is read
        await trader.until(lambda: trader.filled() == Decimal("0.01"))
        faults.on_rest = lambda request: None
        await trader.until(lambda: len(trader.told(Synced)) == 2, within_s=10)
        assert trader.filled() == trader.held() == Decimal("0.04")
        assert trader.venue.counts["adrift"] == 0


async def test_an_order_that_ended_during_a_reading_is_not_told_as_working(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        await socket_up(trader)
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        done = False

        def end_it(request: Any, body: bytes) -> bytes:
            nonlocal done
            if not done and request.path.endswith("order/realtime"):
                done = True
                trader.desk.cancel({"category": "linear", "symbol": "BTCUSDT", "orderLinkId": order_id})
            return body

        faults.on_answered = end_it
        faults.on_rest = lambda request: FaultAction(delay_s=0.05) if done else None  # the stream is faster
        trader.venue._sync_wanted.set()
        await trader.until(lambda: len(trader.told(Synced)) == 2)
        await trader.until(lambda: trader.told(OrderCancelled))
        assert kinds(trader.events)[-2:] == ["OrderCancelled", "Synced"]
        assert trader.told(Synced)[-1].account.orders == ()


async def test_the_cancel_of_an_order_that_is_no_more_says_so(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.venue.submit(CancelOrder("bot1-999-0", "BTCUSDT"))
        await trader.until(lambda: trader.told(OrderCancelled))
        assert trader.told(OrderCancelled)[0].order_id == "bot1-999-0"


@pytest.mark.fault(28)
async def test_an_older_order_under_the_same_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        desk = exchange.accounts.by_key["test-key"]
        desk.create(
            {
                "category": "linear",
                "symbol": "BTCUSDT",
                "side": "Buy",
                "orderType": "Market",
                "qty": "0.02",
                "orderLinkId": "bot1-1-0",
            }
        )
        await asyncio.sleep(0.6)
        async with venue_at(exchange, tmp_path, recv_window_ms=300, overlap_ms=100) as trader:
            await socket_up(trader)
            assert trader.held() == Decimal("0.02")
            order_id = trader.place(trader.intent("0.02"))
            assert order_id == "bot1-1-0"
            await trader.until(lambda: trader.of(order_id))
            await asyncio.sleep(0.3)
            assert trader.told(Filled) == []
            assert [event.code for event in trader.told(OrderRejected)] == [110072]
            assert trader.venue.table.positions["BTCUSDT"] == trader.held() == Decimal("0.02")


async def test_numbers_that_are_none_in_a_position_end_nothing(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 200, "order_timeout_ms": 100, "protect_ms": 50}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_answered = lambda request, body: (
            body.replace(b'"size":"', b'"size":"x') if request.path.endswith("position/list") else body
        )
        faults.on_out = lambda _, topic, text: [] if topic == "position" else None
        trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        faults.on_in = lambda _, text: None if "order.create" in text else text
        lost = trader.place(trader.limit())
        await asyncio.sleep(1.0)
        assert trader.of(lost) == ["OrderUnknown"]
        faults.on_answered = lambda request, body: body
        await trader.until(lambda: trader.told(OrderCancelled), within_s=8)


def sends(faults: Mischief) -> int:
    return sum(path.endswith("order/create") for _, path in faults.requests)


@pytest.mark.fault(56)
@pytest.mark.parametrize("socket", [True, False])
async def test_no_entry_leaves_once_entries_are_stopped_and_exits_do(tmp_path: Path, socket: bool) -> None:
    faults = Mischief()
    if not socket:
        faults.barred.add("trade")
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        if socket:
            await socket_up(trader)
        by_hand(trader, "Buy", "0.05")
        trader.rest.budget.limited("create", asyncio.get_running_loop().time() * 1000.0 + 200.0)
        entry = trader.place(trader.intent("0.02"))
        leave = trader.place(trader.intent("0.05", side="Sell", reduce_only=True))
        trader.venue.may_enter = lambda: False
        await trader.until(lambda: trader.filled(leave) == Decimal("0.05"))
        assert trader.of(entry) == ["OrderCancelled"]
        assert trader.told(OrderCancelled)[0].reason.startswith("NotSent")
        assert trader.held() == 0


@pytest.mark.fault(22)
async def test_while_the_address_is_barred_no_entry_leaves_and_a_cancel_takes_the_open_socket(
    tmp_path: Path,
) -> None:
    """Nobody could ask what became of the entry; REST and new connections wait for the end of the ban."""
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        await socket_up(trader)
        resting = trader.place(trader.limit())
        await trader.until(lambda: trader.of(resting))
        trader.rest.budget.address.forbid(asyncio.get_running_loop().time() * 1000.0)
        asked = len(faults.requests)
        entry = trader.place(trader.intent("0.02"))
        trader.venue.submit(CancelOrder(resting, "BTCUSDT"))
        await trader.until(lambda: len(trader.told(OrderCancelled)) == 2)
        assert {event.order_id for event in trader.told(OrderCancelled)} == {entry, resting}
        assert trader.held() == 0
        assert len(faults.requests) == asked


async def test_an_order_that_is_tried_again_is_not_sent_after_its_cancel(tmp_path: Path) -> None:
    faults = Mischief()
    faults.barred.add("trade")
    limited = b'{"retCode":10006,"retMsg":"Too many visits.","result":{},"retExtInfo":{},"time":0}'
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        faults.on_rest = lambda request: (
            FaultAction(body=limited) if request.path.endswith("create") else None
        )
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.venue.counts["create_rate"])
        trader.venue.submit(CancelOrder(order_id, "BTCUSDT"))
        faults.on_rest = lambda request: None
        before = sends(faults)
        await trader.until(lambda: trader.told(OrderCancelled), within_s=5)
        assert sends(faults) == before


@pytest.mark.fault(18)
async def test_a_key_that_is_revoked_while_the_line_is_down_ends_the_venue(tmp_path: Path) -> None:
    faults = Mischief()

    async def trade(exchange: ExchangeServer) -> None:
        async with venue_at(exchange, tmp_path) as trader:
            faults.cut("private", "trade")
            await trader.until(lambda: len(trader.told(LinkDown)) == 2)
            exchange.accounts._gate._keys.clear()
            faults.mend()
            await asyncio.sleep(1.5)

    async with exchange_with(faults) as exchange:
        with pytest.raises(VenueError, match="10003"):
            await trade(exchange)


@pytest.mark.fault(24)
async def test_an_order_whose_time_is_over_at_the_venue_is_not_signed_anew(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, recv_window_ms=1_500) as trader:
        await socket_up(trader)
        exchange.clock.skew_ms = 60_000  # as after a sleep of this machine: it is later than we think
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderRejected"])
        assert trader.told(OrderRejected)[0].cause is RejectCause.NOT_SENT
        later = trader.place(trader.limit())
        await trader.until(lambda: trader.of(later) == ["OrderAccepted"])


async def test_after_a_standstill_the_account_is_read_before_anything_is_entered(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.venue.look_again()
        await trader.until(lambda: len(trader.told(LinkUp)) == 2)
        assert kinds(trader.events)[-3:] == ["LinkDown", "Synced", "LinkUp"]
