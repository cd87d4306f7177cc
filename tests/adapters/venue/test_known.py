"""Engine and venue adapter at the local exchange: what is ours, what is foreign, what a restart must know."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.adapters.venue.account import read_executions
from bot.domain.errors import VenueError
from bot.domain.market import DAY_MS
from bot.domain.messages import (
    CancelOrder,
    Effect,
    Filled,
    Line,
    LinkUp,
    OrderCancelled,
    PlaceOrder,
    ProcessStarted,
    Quote,
    Reconciled,
    SetStops,
    Synced,
    Transferred,
)
from bot.domain.orders import Approved
from bot.engine.core import Engine
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Mischief, Trader, exchange_with, venue_at
from tests.engine.scripted import remote

D = Decimal
EMPTY = b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","nextPageCursor":"","list":[]}}'


class Bot:
    """An engine that takes every event of a venue, and sends its effects there."""

    def __init__(self, engine: Engine, trader: Trader) -> None:
        self.engine, self.trader = engine, trader
        self.effects: list[Effect] = []
        self.taken = 0

    def take(self) -> None:
        while self.taken < len(self.trader.events):
            event = self.trader.events[self.taken]
            self.taken += 1
            self.act(self.engine.handle(event))

    def act(self, effects: Sequence[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, PlaceOrder | CancelOrder | SetStops):
                self.trader.venue.submit(effect)

    def enter(self, qty: str, **changes: Any) -> str:
        """Send an order as the engine would, without its limits."""
        intent = self.trader.intent(qty, **changes)
        order_id = f"bot1-{self.engine.state.seq}-{self.engine.state.next_leg()}"
        self.engine.state.orders.add(order_id, intent, self.engine.state.now_ms)
        self.act([PlaceOrder(order_id, Approved(intent))])
        return order_id

    def judge(self) -> None:
        """Let a quote come, by which the breaker judges the account."""
        price = float(self.trader.price())
        self.act(self.engine.handle(Quote(self.engine.state.now_ms, "BTCUSDT", price, price)))

    @property
    def words(self) -> list[str]:
        return [words for each in self.effects if isinstance(each, Reconciled) for words in each.differences]

    @property
    def ours(self) -> Decimal:
        return self.engine.state.symbols["BTCUSDT"].position.qty

    @property
    def foreign(self) -> Decimal:
        return self.engine.state.symbols["BTCUSDT"].foreign_qty

    async def readings(self, more: int, within_s: float = 12.0) -> None:
        """Take events until so many more readings of the account came."""
        wanted = len(self.trader.told(Synced)) + more
        await self.until(lambda: len(self.trader.told(Synced)) >= wanted, within_s)

    async def until(self, done: Any, within_s: float = 8.0) -> None:
        def taken() -> object:
            self.take()
            return done()

        await self.trader.until(taken, within_s)


def fresh(**changes: Any) -> Engine:
    return remote({}, name="bot1", protective_stop_frac=D("0.1"), **changes)


@asynccontextmanager
async def bot_at(
    exchange: ExchangeServer, state: Path, engine: Engine | None = None, **changes: Any
) -> AsyncIterator[Bot]:
    """A bot that trades; with ``engine`` the next process of one that ran before."""
    here = fresh()
    if engine is not None:
        here.restore(engine.snapshot())
        here.handle(ProcessStarted(here.state.now_ms, 2))
        for line in (Line.START, Line.FEED):
            here.handle(LinkUp(here.state.now_ms, line))
    changes = {"reconcile_ms": 1_000, "known": here.state.known_account} | changes
    async with venue_at(exchange, state, **changes) as trader:
        bot = Bot(here, trader)
        bot.take()
        yield bot


def by_hand(exchange: ExchangeServer, side: str, qty: str, link: str = "by-hand") -> None:
    exchange.accounts.by_key["test-key"].create(
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": side,
            "orderType": "Market",
            "qty": qty,
            "orderLinkId": link,
        }
    )


def move_money(exchange: ExchangeServer, amount: int) -> None:
    exchange.accounts.by_key["test-key"].apply_money(
        {
            "adjustType": int(amount < 0),
            "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": str(abs(amount))}],
        }
    )


# What is ours


@pytest.mark.fault(41)
async def test_a_position_made_by_hand_before_the_start_is_neither_sold_nor_given_a_stop(
    tmp_path: Path,
) -> None:
    async with exchange_with() as exchange:
        by_hand(exchange, "Buy", "0.5")
        async with bot_at(exchange, tmp_path) as bot:
            assert bot.words == ["BTCUSDT foreign 0.5: not ours, no entries in BTCUSDT"]
            await bot.readings(2)
            assert (bot.ours, bot.foreign, bot.trader.held()) == (0, D("0.5"), D("0.5"))
            assert not bot.trader.desk.engine.position("BTCUSDT", 0).stop_loss
            assert not any(isinstance(each, PlaceOrder | SetStops) for each in bot.effects)
            by_hand(exchange, "Sell", "0.5", "by-hand-2")
            await bot.until(lambda: not bot.foreign)
            assert bot.engine.state.breaker.state == "active"


async def test_a_start_that_refuses_foreign_positions_names_them(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        by_hand(exchange, "Buy", "0.5")
        with pytest.raises(VenueError, match="position in BTCUSDT that no order of ours opened"):
            async with bot_at(exchange, tmp_path, foreign_positions="refuse"):
                pass


async def test_without_its_state_a_bot_knows_its_own_position_by_its_orders(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        by_hand(exchange, "Buy", "0.5")
        by_hand(exchange, "Buy", "0.2", "bot1-7-0")
        by_hand(exchange, "Sell", "0.1", "by-hand-2")
        async with bot_at(exchange, tmp_path) as bot:
            assert (bot.ours, bot.foreign) == (D("0.2"), D("0.4"))


@pytest.mark.fault(29)
async def test_an_order_that_was_hidden_beyond_its_proof_of_absence_is_ours_again(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 300, "order_timeout_ms": 150}
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path, **changes) as bot:
        trader = bot.trader
        await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])
        faults.on_out = lambda c, topic, text: (
            [] if topic in ("op:order.create", "order", "execution") else None
        )
        hidden = ("/v5/order/realtime", "/v5/order/history", "/v5/execution/list")
        faults.on_answered = lambda request, body: EMPTY if request.path in hidden else body
        limit = trader.limit("0.05", "0.97")
        order_id = bot.enter("0.05", order_type="Limit", price=limit.price, time_in_force="GTC")
        await bot.until(lambda: trader.told(OrderCancelled))
        assert trader.told(OrderCancelled)[0].reason == "NeverExisted"
        assert not bot.engine.state.orders.live
        faults.on_out = lambda *_: None
        faults.on_answered = lambda request, body: body
        await bot.until(lambda: f"order {order_id} ours none venue Buy 0.05" in bot.words)
        assert bot.engine.state.reconciled["returned"] == 1
        assert trader.venue.table.returned == 1
        await bot.until(lambda: not bot.engine.state.orders.live)
        assert trader.desk.engine.open_orders("BTCUSDT") == []
        assert bot.engine.state.breaker.state == "active"


@pytest.mark.fault(29)
@pytest.mark.fault(33)
async def test_a_fill_of_an_order_that_was_given_up_is_ours_and_counted_once(tmp_path: Path) -> None:
    faults = Mischief()
    changes = {"recv_window_ms": 300, "order_timeout_ms": 150}
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path, **changes) as bot:
        trader = bot.trader
        await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])
        faults.on_out = lambda c, topic, text: [] if topic in ("op:order.create", "order") else None
        hidden = ("/v5/order/realtime", "/v5/order/history", "/v5/execution/list")
        faults.on_answered = lambda request, body: EMPTY if request.path in hidden else body
        limit = trader.limit("0.05", "0.97")
        order_id = bot.enter("0.05", order_type="Limit", price=limit.price, time_in_force="GTC")
        await bot.until(lambda: trader.told(OrderCancelled))
        trader.trade_through(trader.price() * D("0.96"))
        await bot.until(lambda: bot.ours)
        faults.on_out = lambda *_: None
        faults.on_answered = lambda request, body: body
        await bot.readings(2)
        assert (bot.ours, bot.foreign, trader.held()) == (D("0.05"), 0, D("0.05"))
        assert trader.filled(order_id) == D("0.05")
        assert bot.engine.state.breaker.state == "active"


@pytest.mark.fault(33)
@pytest.mark.parametrize("rows_hidden", [False, True])
async def test_executions_that_come_after_the_position_count_once_and_halt_nothing(
    tmp_path: Path, rows_hidden: bool
) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path) as bot:
        trader = bot.trader
        await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])
        late = ("execution", "order") if rows_hidden else ("execution",)
        faults.on_out = lambda c, topic, text: [(7.0, text)] if topic in late else None
        faults.on_answered = lambda r, b: EMPTY if r.path == "/v5/execution/list" else b
        order_id = bot.enter("0.05")
        await bot.until(lambda: trader.venue.counts["adrift"] and len(trader.told(Synced)) > 1)
        assert (bot.ours, bot.foreign) == (0, 0)
        assert trader.venue.table.positions.get("BTCUSDT", D(0)) == 0
        await bot.until(lambda: trader.filled(order_id) == D("0.05"), within_s=12)
        assert (bot.ours, bot.foreign, trader.held()) == (D("0.05"), 0, D("0.05"))
        assert trader.venue.table.positions == {"BTCUSDT": D("0.05")}
        faults.on_answered = lambda r, b: b
        await bot.readings(2)
        assert (bot.ours, bot.foreign) == (D("0.05"), 0)
        cash = bot.engine.state.cash
        parts = {event.fill.exec_id: event.fill.fee_quote for event in trader.told(Filled)}
        assert (cash.adjusted, cash.fees) == (0, sum(parts.values()))
        assert bot.engine.state.breaker.state == "active"


@pytest.mark.fault(33)
async def test_a_stop_whose_executions_come_late_is_booked_once_and_halts_nothing(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path) as bot:
        trader = bot.trader
        stop = (trader.price() * D("0.9")).quantize(D("0.1"))
        bot.enter("0.05", stop_loss=stop)
        await bot.until(lambda: bot.ours == D("0.05"))
        await bot.readings(1)
        known = len(trader.told(Filled))
        faults.on_out = lambda c, topic, text: [(6.0, text)] if topic == "execution" else None
        faults.on_answered = lambda r, b: EMPTY if r.path == "/v5/execution/list" else b
        trader.trade_through(stop - 1)
        await bot.until(lambda: trader.venue.counts["adrift"] and trader.held() == 0)  # it may fill in parts
        await bot.until(lambda: len(trader.told(Filled)) > known, within_s=12)
        faults.on_answered = lambda r, b: b
        await bot.readings(2)
        assert (bot.ours, bot.foreign) == (0, 0)
        assert trader.venue.table.positions["BTCUSDT"] == 0
        assert bot.engine.state.cash.adjusted == 0
        assert bot.engine.state.breaker.state == "active"


# A known account


@pytest.mark.fault(42)
@pytest.mark.fault(19, 49)
@pytest.mark.invariant(13)
async def test_what_a_bot_missed_while_it_was_down_is_booked_once(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        async with bot_at(exchange, tmp_path / "a") as bot:
            stop = (bot.trader.price() * D("0.9")).quantize(D("0.1"))
            bot.enter("0.2", stop_loss=stop)
            await bot.until(lambda: bot.ours == D("0.2"))
            await bot.readings(1)
            resting = bot.enter(
                "0.1",
                order_type="Limit",
                price=bot.trader.limit(frac="0.97").price,
                time_in_force="GTC",
            )
            await bot.until(lambda: bot.engine.state.orders.live[resting].state.value == "open")
            trader, engine = bot.trader, bot.engine
        exchange.accounts.on_funding("BTCUSDT", exchange.market.now_ms(), D("0.001"))
        trader.trade_through(trader.price() * D("0.96"))  # the resting order fills: long 0.3
        by_hand(exchange, "Buy", "0.05")
        move_money(exchange, -10_000)
        async with bot_at(exchange, tmp_path / "b", engine) as bot:
            await bot.readings(1)
            engine = bot.engine
            state = engine.state
            assert (bot.ours, bot.foreign, bot.trader.held()) == (D("0.3"), D("0.05"), D("0.35"))
            assert not state.orders.live
            assert state.cash.funding < 0
            assert state.cash.initial == 100_000
            assert [each.amount_quote for each in bot.trader.told(Transferred)] == [D(-10_000)]
            assert state.cash.balance == bot.trader.told(Synced)[-1].account.wallet_quote
            assert abs(state.cash.adjusted + 10_000) < 5  # and the fee of the trade by hand
            assert state.breaker.state == "active"
            assert bot.trader.venue.counts["adrift"] == 0
        fees, exec_ids = engine.state.cash.fees, set(engine.state.orders.seen)
        async with bot_at(exchange, tmp_path / "c", engine) as bot:  # nothing is booked again
            await bot.readings(1)
            assert (bot.ours, bot.foreign) == (D("0.3"), D("0.05"))
            state = bot.engine.state
            assert (state.cash.fees, set(state.orders.seen)) == (fees, exec_ids)
            assert bot.trader.told(Transferred) == []
            assert bot.trader.venue.counts["adrift"] == 0


async def test_an_order_that_was_kept_and_never_sent_ends_after_the_restart(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        async with bot_at(exchange, tmp_path / "a") as bot:
            engine = bot.engine
            engine.state.orders.add("bot1-99-0", bot.trader.limit(), engine.state.now_ms)
        async with bot_at(exchange, tmp_path / "b", engine, recv_window_ms=300) as bot:
            engine = bot.engine
            assert "bot1-99-0" in engine.state.orders.live  # counted until its absence is proven
            await bot.until(lambda: not engine.state.orders.live)
            assert bot.trader.told(OrderCancelled)[0].reason == "NeverExisted"


async def test_a_month_of_executions_is_read_in_spans_that_the_venue_answers(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path, reconcile_ms=60_000) as bot:
        by_hand(exchange, "Buy", "0.05")
        rest = bot.trader.rest
        faults.requests.clear()
        found = await read_executions(rest, rest.time.now_ms() - 30 * DAY_MS)
        assert sum(D(row.execQty) for row in found) == D("0.05")
        asked = [
            parse_qs(urlsplit(path).query)
            for _, path in faults.requests
            if path.startswith("/v5/execution/list")
        ]
        spans = {(each["startTime"][0], each.get("endTime", ["now"])[0]) for each in asked}
        assert len(spans) == 5


# Money


@pytest.mark.parametrize("amount", [-30_000, 40_000])
async def test_money_paid_in_or_out_is_neither_loss_nor_profit(tmp_path: Path, amount: int) -> None:
    async with exchange_with() as exchange, bot_at(exchange, tmp_path) as bot:
        bot.judge()
        assert bot.engine.state.breaker.peak_equity == 100_000
        move_money(exchange, amount)
        await bot.readings(2)
        breaker = bot.engine.state.breaker
        assert breaker.state == "active"
        assert breaker.peak_equity == bot.engine.state.equity == 100_000 + amount
        assert bot.words == [f"TRANSFER_{'IN' if amount > 0 else 'OUT'} {amount:+d}"]


async def test_a_log_that_cannot_be_read_makes_money_that_is_gone_a_loss(tmp_path: Path) -> None:
    faults = Mischief()
    faults.on_answered = lambda request, body: (
        b'{"retCode":10001,"retMsg":"no"}' if request.path.endswith("transaction-log") else body
    )
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path) as bot:
        bot.judge()
        move_money(exchange, -30_000)
        await bot.readings(2)
        assert bot.engine.state.breaker.reason == "drawdown"
        assert bot.trader.venue.counts["log_failed"] > 2


@pytest.mark.parametrize(
    ("wallet", "words"),
    [
        ('"-115.39953325"', "owes 115.39953325 USDT"),
        ('"0"', "has no USDT"),
        (None, "has no USDT"),
    ],
)
async def test_an_account_without_the_settle_coin_is_refused_at_once(
    tmp_path: Path, wallet: str | None, words: str
) -> None:
    faults = Mischief()

    def changed(request: Any, body: bytes) -> bytes:
        if not request.path.endswith("wallet-balance"):
            return body
        if wallet is None:
            return body.replace(b'"coin":"USDT"', b'"coin":"BTC"')
        return body.replace(b'"walletBalance":"100000"', b'"walletBalance":' + wallet.encode())

    faults.on_answered = changed
    async with exchange_with(faults) as exchange:
        with pytest.raises(VenueError, match=words):
            async with bot_at(exchange, tmp_path):
                pass


async def test_a_wallet_that_falls_below_zero_while_trading_halts_and_says_so(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, bot_at(exchange, tmp_path) as bot:
        faults.on_answered = lambda request, body: body.replace(
            b'"walletBalance":"100000"', b'"walletBalance":"-5"'
        )
        await bot.until(lambda: bot.engine.state.breaker.state == "halted", within_s=12)
        assert bot.engine.state.breaker.reason == "bad_equity"
        assert bot.words == ["wallet ours 100000 venue -5"]


# Another account


async def test_an_account_that_was_reset_begins_anew_and_says_so(tmp_path: Path) -> None:
    async with exchange_with() as exchange, bot_at(exchange, tmp_path / "a") as bot:
        engine = bot.engine
        bot.judge()
    async with (
        exchange_with(wallet_quote=D(50_000)) as exchange,
        bot_at(exchange, tmp_path / "b", engine) as bot,
    ):
        (words,) = bot.words
        assert "the account was reset: its wallet was 100000, is 50000" in words
        breaker = bot.engine.state.breaker
        assert (breaker.state, breaker.peak_equity) == ("active", 50_000.0)


async def test_another_account_behind_the_key_is_noticed(tmp_path: Path) -> None:
    async with exchange_with() as exchange, bot_at(exchange, tmp_path / "a") as bot:
        engine = bot.engine
        bot.judge()
    async with exchange_with(key="other", secret="other", more_keys={"test-key": "test-secret"}) as exchange:
        by_hand(exchange, "Buy", "0.5")
        async with bot_at(exchange, tmp_path / "b", engine) as bot:
            assert "account 100000002, was 100000001; levels of loss begin anew" in bot.words
            assert bot.foreign == D("0.5")
            assert bot.engine.state.breaker.state == "active"


async def test_a_loss_while_the_bot_was_down_is_no_reset(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        async with bot_at(exchange, tmp_path / "a", leverage=D(5)) as bot:
            engine = bot.engine
            bot.judge()
            bot.enter("2", stop_loss=(bot.trader.price() * D("0.86")).quantize(D("0.1")))
            await bot.until(lambda: bot.ours)
            await bot.readings(1)
            trader = bot.trader
        trader.trade_through(trader.price() * D("0.85"))  # through its stop
        async with bot_at(exchange, tmp_path / "b", engine, leverage=D(5)) as bot:
            assert not any("reset" in words for words in bot.words)
            assert bot.ours == bot.trader.held() < 2
            state = bot.engine.state
            assert state.breaker.peak_equity >= 100_000 > state.cash.balance  # the loss counts
            assert state.cash.realised < 0
