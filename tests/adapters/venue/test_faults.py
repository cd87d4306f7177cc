"""The venue adapter when the line, the answers or the clock fail: one outcome for each order, always true."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.clock import WallClock
from bot.domain.errors import VenueError
from bot.domain.messages import (
    CancelOrder,
    LinkDown,
    LinkUp,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    RejectCause,
    SetStops,
    StopsChanged,
    Synced,
)
from bot.simulator.faults.hooks import FaultAction
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Mischief, Trader, exchange_with, venue_at


def orders_at(trader: Trader, order_id: str) -> int:
    """How many orders the exchange ever took under an id."""
    return sum(kept.order.link_id == order_id for kept in trader.desk.ledger.orders._all.values())


async def socket_up(trader: Trader) -> None:
    await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])


# An answer that is lost


@pytest.mark.fault(27)
async def test_an_accepted_order_whose_answer_is_lost_becomes_exactly_one_order(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        await socket_up(trader)
        faults.on_out = lambda _, topic, text: (
            [] if topic in ("op:order.create", "order", "execution") else None
        )
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == Decimal("0.02"))
        assert trader.of(order_id)[0] == "OrderUnknown"
        assert orders_at(trader, order_id) == 1
        assert trader.held() == Decimal("0.02")
        assert trader.venue.table.live == {}


@pytest.mark.fault(17)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_order_whose_socket_dies_has_one_true_outcome(tmp_path: Path, when: str) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, recv_window_ms=300) as trader:
        await socket_up(trader)

        def die(connection: Any, text: str) -> str | None:
            if "order.create" not in text:
                return text
            asyncio.get_running_loop().call_soon(connection.abort)
            return None if when == "before" else text

        faults.on_in = die
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.told(OrderUnknown))
        await trader.until(lambda: len(trader.of(order_id)) == 2)
        if when == "before":
            assert trader.told(OrderCancelled)[0].reason == "NeverExisted"
            assert orders_at(trader, order_id) == 0
        else:
            assert trader.of(order_id) == ["OrderUnknown", "OrderAccepted"]
            assert orders_at(trader, order_id) == 1


@pytest.mark.fault(27)
async def test_a_request_that_never_arrived_is_gone_only_when_proven(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 600, "order_timeout_ms": 150}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_in = lambda _, text: None if "order.create" in text else text
        order_id = trader.place(trader.limit())
        took_s = await trader.until(lambda: trader.told(OrderCancelled))
        assert trader.of(order_id) == ["OrderUnknown", "OrderCancelled"]
        assert took_s > 0.7  # the receive window and its grace have passed
        rounds = [path for _, path in faults.requests if order_id in path and "realtime" in path]
        assert len(rounds) >= 3


@pytest.mark.fault(44)
@pytest.mark.parametrize("good", [True, False])
async def test_a_late_answer_is_evidence_all_the_same(tmp_path: Path, good: bool) -> None:
    faults = Mischief()
    changes = {"order_timeout_ms": 100, "absent_grace_ms": 60_000}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_rest = lambda request: FaultAction(status=502) if "realtime" in request.path else None
        faults.on_out = lambda _, topic, text: (
            [(0.3, text)] if topic == "op:order.create" else [] if topic == "order" else None
        )
        order_id = trader.place(trader.limit("0.01" if good else "400"))
        await trader.until(lambda: len(trader.of(order_id)) == 2)
        assert trader.of(order_id) == ["OrderUnknown", "OrderAccepted" if good else "OrderRejected"]


@pytest.mark.fault(30)
@pytest.mark.invariant(8)
async def test_no_answer_is_ever_taken_for_absence(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 200, "order_timeout_ms": 150, "reconcile_ms": 60_000}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_in = lambda _, text: None if "order.create" in text else text
        faults.on_rest = lambda request: FaultAction(status=502) if "history" in request.path else None
        order_id = trader.place(trader.limit())
        await asyncio.sleep(1.2)
        assert trader.of(order_id) == ["OrderUnknown"]
        assert order_id in trader.venue.table.live
        faults.on_rest = lambda request: None
        await trader.until(lambda: trader.told(OrderCancelled), within_s=8)


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "bad",
    [
        FaultAction(status=502, body=b"<html>", content_type="text/html"),
        FaultAction(status=200, body=b'{"retCode":0,"res'),
        FaultAction(status=200, body=b"<html>", content_type="text/html"),
        FaultAction(status=429),
        FaultAction(status=0),
    ],
)
@pytest.mark.parametrize("taken", [True, False])
async def test_an_order_by_rest_with_a_broken_answer_is_asked_for(
    tmp_path: Path, bad: FaultAction, taken: bool
) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange:
        faults.barred.add("trade")
        async with venue_at(exchange, tmp_path, recv_window_ms=200) as trader:
            if taken:
                faults.on_answered = lambda request, body: bad if request.path.endswith("create") else body
            else:
                faults.on_rest = lambda request: bad if request.path.endswith("create") else None
            order_id = trader.place(trader.limit())
            await trader.until(lambda: len(trader.of(order_id)) == 2)
            assert orders_at(trader, order_id) == taken
            end = "OrderAccepted" if taken else "OrderCancelled"
            assert (
                sorted(trader.of(order_id)) == sorted(["OrderUnknown", end]) or trader.of(order_id)[0] == end
            )


async def test_pushes_that_are_lost_are_asked_for(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        faults.on_out = lambda _, topic, text: [] if topic in ("order", "execution") else None
        order_id = trader.place(trader.intent("0.02"))
        took_s = await trader.until(lambda: trader.filled(order_id) == Decimal("0.02"))
        assert took_s < 1.0
        assert trader.venue.counts["questions"] >= 1


async def test_executions_that_come_late_keep_the_end_waiting(tmp_path: Path) -> None:
    faults = Mischief()
    late = {"execution": 0.1}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        faults.on_out = lambda _, topic, text: [(late[topic], text)] if topic in late else None
        order_id = trader.place(trader.intent("0.01"))
        await trader.until(lambda: trader.filled(order_id) == Decimal("0.01"))
        assert trader.told(OrderCancelled) == []
        assert trader.venue.table.live == {}


# Refusals that are not final


@pytest.mark.fault(23)
async def test_a_rate_limited_order_is_sent_again_while_it_is_young(tmp_path: Path) -> None:
    faults = Mischief()
    limited = b'{"retCode":10006,"retMsg":"Too many visits.","result":{},"retExtInfo":{},"time":0}'
    left = [2]

    def refuse(request: Any) -> FaultAction | None:
        if not request.path.endswith("order/create") or not left[0]:
            return None
        left[0] -= 1
        return FaultAction(body=limited)

    async with exchange_with(faults) as exchange:
        faults.barred.add("trade")
        async with venue_at(exchange, tmp_path, recv_window_ms=4_000) as trader:
            faults.on_rest = refuse
            order_id = trader.place(trader.limit())
            await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"], within_s=5)
            assert orders_at(trader, order_id) == 1


async def test_an_order_that_is_never_taken_for_its_time_is_signed_again_once(tmp_path: Path) -> None:
    faults = Mischief()
    stale = b'{"retCode":10002,"retMsg":"invalid request","result":{},"retExtInfo":{},"time":0}'
    tries: list[str] = []

    def refuse(request: Any) -> FaultAction | None:
        if request.path.endswith("order/create"):
            tries.append(request.headers["X-BAPI-TIMESTAMP"])
            exchange.clock.skew_ms += 50  # the venue's clock steps, so a new signature has a new time
            return FaultAction(body=stale)
        return None

    async with exchange_with(faults) as exchange:
        faults.barred.add("trade")
        async with venue_at(exchange, tmp_path) as trader:
            faults.on_rest = refuse
            order_id = trader.place(trader.limit())
            await trader.until(lambda: trader.of(order_id))
            assert trader.told(OrderRejected)[0].code == 10002
            assert len(tries) == len(set(tries)) == 2


@pytest.mark.fault(24)
async def test_a_clock_that_steps_is_measured_again_and_the_order_lives(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, recv_window_ms=1_500) as trader:
        await socket_up(trader)
        exchange.clock.skew_ms = -2_500
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        assert trader.venue.counts["create_clock"] == 1
        assert orders_at(trader, order_id) == 1


@pytest.mark.fault(24)
@pytest.mark.surface("time")
async def test_a_clock_beyond_its_limit_stops_entries_until_it_is_right(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, reconcile_ms=100) as trader:
        exchange.clock.skew_ms = 5_000
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        exchange.clock.skew_ms = 0
        await trader.until(lambda: len(trader.told(LinkUp)) == 2)


@pytest.mark.fault(59)
@pytest.mark.parametrize("socket", [True, False])
async def test_what_cannot_leave_in_time_is_told_as_not_sent(tmp_path: Path, socket: bool) -> None:
    faults = Mischief()
    if not socket:
        faults.barred.add("trade")
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, recv_window_ms=200) as trader:
        if socket:
            await socket_up(trader)
        trader.rest.budget.limited("create", asyncio.get_running_loop().time() * 1000.0 + 600.0)
        ids = [trader.place(trader.limit("0.01", "0.8")) for _ in range(5)]
        await trader.until(lambda: len(trader.told(OrderRejected)) == 5)
        assert all(event.cause is RejectCause.NOT_SENT for event in trader.told(OrderRejected))
        await asyncio.sleep(0.5)
        assert [orders_at(trader, order_id) for order_id in ids] == [0] * 5


@pytest.mark.fault(59)
@pytest.mark.fault(59, 82)
@pytest.mark.invariant(11)
@pytest.mark.parametrize("socket", [True, False])
async def test_an_entry_that_waited_until_its_signal_was_old_is_not_sent_and_an_exit_is(
    tmp_path: Path, socket: bool
) -> None:
    faults = Mischief()
    if not socket:
        faults.barred.add("trade")
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        if socket:
            await socket_up(trader)
        trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        now_ms = WallClock().now_ms()
        trader.rest.budget.limited("create", asyncio.get_running_loop().time() * 1000.0 + 300.0)
        entry = trader.place(trader.intent("0.01", decided_ms=now_ms - 900), leave_by_ms=now_ms + 100)
        exit_ = trader.place(trader.intent("0.02", side="Sell", reduce_only=True, decided_ms=now_ms - 900))
        await trader.until(lambda: trader.filled(exit_) == Decimal("0.02"))
        (refused,) = trader.told(OrderRejected)
        assert (refused.order_id, refused.cause) == (entry, RejectCause.NOT_SENT)
        age, limit = re.findall(r"(\d+) ms", refused.reason)
        assert "stale_signal" in refused.reason
        assert int(age) > int(limit) == 1_000
        assert orders_at(trader, entry) == 0


# Lines that break


@pytest.mark.fault(18, 19)
async def test_a_fill_during_an_outage_is_known_as_soon_as_the_line_is_back(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        limit = trader.limit("0.05", "0.95")
        order_id = trader.place(limit)
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        faults.cut("private", "trade")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        assert limit.price is not None
        trader.trade_through(limit.price * Decimal("0.99"))
        assert trader.held() == Decimal("0.05")
        await asyncio.sleep(0.4)
        assert trader.filled() == 0
        faults.mend()
        ups = trader.venue.counts["private_ups"]
        await trader.until(lambda: trader.venue.counts["private_ups"] > ups)
        took_s = await trader.until(lambda: trader.filled(order_id) == Decimal("0.05"))
        assert took_s < 0.5
        await trader.until(lambda: len(trader.told(LinkUp)) == 2)
        names = [type(event).__name__ for event in trader.events]
        assert names.index("Filled") < len(names) - names[::-1].index("LinkUp")
        assert trader.told(Synced)[-1].account.holdings[0].qty == Decimal("0.05")


async def test_an_order_cancelled_during_an_outage_is_told(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        faults.cut("private")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        trader.desk.cancel({"category": "linear", "symbol": "BTCUSDT", "orderLinkId": order_id})
        await asyncio.sleep(0.05)
        faults.mend()
        await trader.until(lambda: trader.told(OrderCancelled))


async def test_the_private_line_falls_silent_and_is_replaced(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        faults.on_out = lambda connection, topic, text: [] if connection.stream == "private" else None
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        faults.on_out = lambda connection, topic, text: None
        await trader.until(lambda: len(trader.told(LinkUp)) == 2)


async def test_exits_go_by_rest_while_the_sockets_are_down(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        faults.cut("private", "trade")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        exit_id = trader.place(trader.intent("0.02", side="Sell", reduce_only=True))
        await trader.until(lambda: trader.held() == 0)
        await trader.until(lambda: trader.filled(exit_id) == Decimal("0.02"))


async def test_a_cancel_whose_answers_are_lost_is_repeated_until_the_order_is_gone(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        await socket_up(trader)
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        left = [2]

        def swallow(connection: Any, text: str) -> str | None:
            if "order.cancel" in text and left[0]:
                left[0] -= 1
                return None
            return text

        faults.on_in = swallow
        trader.venue.submit(CancelOrder(order_id, "BTCUSDT"))
        await trader.until(lambda: trader.told(OrderCancelled), within_s=5)


@pytest.mark.fault(32)
async def test_a_cancel_that_lost_the_race_tells_the_fill(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        limit = trader.limit("0.05", "0.97")
        order_id = trader.place(limit)
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        faults.on_out = lambda _, topic, text: [] if topic in ("order", "execution") else None
        assert limit.price is not None
        trader.trade_through(limit.price * Decimal("0.99"))
        trader.venue.submit(CancelOrder(order_id, "BTCUSDT"))
        await trader.until(lambda: trader.filled(order_id) == Decimal("0.05"))
        assert trader.told(OrderCancelled) == []


async def test_stops_whose_answer_is_lost_are_set_all_the_same(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        left = [1]

        def swallow(request: Any, body: bytes) -> bytes | FaultAction:
            if request.path.endswith("trading-stop") and left[0]:
                left[0] -= 1
                return FaultAction(status=502)
            return body

        faults.on_answered = swallow
        stop = (trader.price() * Decimal("0.9")).quantize(Decimal("0.1"))
        trader.venue.submit(SetStops("BTCUSDT", stop, None))
        await trader.until(
            lambda: trader.told(StopsChanged) and trader.told(StopsChanged)[-1].stop_loss == stop
        )
        await asyncio.sleep(0.4)
        assert trader.told(OrderRejected) == []
        assert trader.desk.engine.position("BTCUSDT", 0).stop_loss == stop


@pytest.mark.fault(96)
async def test_a_key_that_is_revoked_ends_the_venue_with_one_line(tmp_path: Path) -> None:
    async def trade(exchange: ExchangeServer) -> None:
        async with venue_at(exchange, tmp_path, reconcile_ms=100):
            exchange.accounts._gate._keys.clear()
            await asyncio.sleep(0.6)

    async with exchange_with() as exchange:
        with pytest.raises(VenueError, match="10003") as caught:
            await trade(exchange)
    assert caught.value.exit_code == 4


# What a proof and a reading need


async def test_a_round_that_fails_begins_the_proof_of_an_absence_anew(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 200, "order_timeout_ms": 100}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_in = lambda _, text: None if "order.create" in text else text
        rounds: list[bool] = []
        spoilt = [2]

        def history(request: Any, body: bytes) -> bytes | FaultAction:
            nonlocal rounds
            if not request.path.endswith("order/history"):
                return body
            late = trader.rest.time.now_ms() > trader.venue.table.live[order_id].sent_ms + 300
            if late and len(rounds) == 1 and spoilt[0]:
                spoilt[0] -= 1
                return FaultAction(
                    body=b'{"retCode":10001,"retMsg":"not now","result":{},"retExtInfo":{},"time":0}'
                )
            rounds += [late] if late else []
            return body

        faults.on_answered = history
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.told(OrderCancelled), within_s=8)
        assert spoilt == [0]
        assert len(rounds) >= 4


@pytest.mark.fault(29)
@pytest.mark.invariant(8)
async def test_no_order_is_absent_while_the_position_says_otherwise(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 100, "order_timeout_ms": 100, "absent_grace_ms": 0}
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await socket_up(trader)
        faults.on_out = lambda _, topic, text: [] if topic == "execution" else None
        buy(trader, "by-hand", "0.03")  # its executions do not reach us
        faults.on_in = lambda _, text: None if "order.create" in text else text
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.venue.counts["questions"] >= 6)
        assert trader.of(order_id) == ["OrderUnknown"]
        trader.venue._sync_wanted.set()  # as the timer would
        await trader.until(lambda: trader.told(OrderCancelled))
        assert trader.filled() == Decimal("0.03")


async def test_a_fill_in_a_message_that_cannot_be_read_is_known_at_once(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        limit = trader.limit("0.05", "0.95")
        order_id = trader.place(limit)
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        faults.on_out = lambda _, topic, text: (
            [(0.0, text.replace('"execQty":"', '"execQty":"x'))] if topic == "execution" else []
        )
        assert limit.price is not None
        trader.trade_through(limit.price * Decimal("0.99"))
        assert await trader.until(lambda: trader.filled(order_id) == Decimal("0.05")) < 1.0


@pytest.mark.fault(18)
async def test_a_reading_without_the_private_line_lets_nothing_in(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, reconcile_ms=50) as trader:
        faults.cut("private")
        await trader.until(lambda: len(trader.told(LinkDown)) == 2)
        ups = len(trader.told(LinkUp))
        await asyncio.sleep(0.4)
        assert len(trader.told(LinkUp)) == ups


async def test_a_fill_in_the_middle_of_the_first_reading_is_part_of_it(tmp_path: Path) -> None:
    faults = Mischief()
    bought = False
    async with exchange_with(faults) as exchange:

        def interfere(request: Any, body: bytes) -> bytes:
            nonlocal bought
            if not bought and "settleCoin" in request.query_string and "position" in request.path:
                bought = True
                exchange.accounts.by_key["test-key"].create(market_buy("bot1-500-0", "0.03"))
            return body

        faults.on_answered = interfere
        async with venue_at(exchange, tmp_path) as trader:
            (synced,) = trader.told(Synced)
            assert [each.qty for each in synced.account.holdings] == [Decimal("0.03")]
            assert trader.venue.table.positions["BTCUSDT"] == trader.held()
            await asyncio.sleep(0.05)
            assert trader.filled() == 0


@pytest.mark.fault(39)
async def test_more_orders_than_a_page_holds_are_all_known(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        desk = exchange.accounts.by_key["test-key"]
        for n in range(130):
            rest = {"orderType": "Limit", "price": "50000", "timeInForce": "GTC"}
            desk.create(market_buy(f"bot1-{n}-0", "0.01") | rest)
        async with venue_at(exchange, tmp_path) as trader:
            assert len(trader.told(Synced)[0].account.orders) == 130


def market_buy(link_id: str, qty: str) -> dict[str, object]:
    return {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Market",
        "qty": qty,
        "orderLinkId": link_id,
    }


def buy(trader: Trader, link_id: str, qty: str) -> None:
    trader.desk.create(market_buy(link_id, qty))
