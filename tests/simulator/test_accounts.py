"""Accounts follow the market: what an order meets when a trade moves the price."""

from decimal import Decimal

import pytest

from bot.domain.market import MINUTE_MS
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.bars.queue import PACE_BARS
from bot.exchange.quotes.depth import Depth
from bot.exchange.terms import Terms
from bot.simulator.accounts import Accounts
from bot.simulator.market.loop import open_market
from tests.simulator.bench import START_MS, config

D = Decimal


@pytest.fixture
def accounts() -> Accounts:
    made = config(symbols=("BTCUSDT",), seed=3, start_ms=START_MS)
    market = open_market(made)
    return Accounts(market, market.clock, made)


def gap(accounts: Accounts, share: str) -> Decimal:
    """Trade once at ``share`` of the last price; returns the price."""
    market = accounts._market
    price = (market.last("BTCUSDT") * D(share)).quantize(D("0.1"))
    ts_ms = market.now_ms() + 1_000
    accounts.on_trade("BTCUSDT", ts_ms, price, D(1), Depth.touch(price, price + D("0.1")))
    accounts.on_mark("BTCUSDT", ts_ms, price, price)
    return price


@pytest.mark.parametrize("closes", [{"reduceOnly": True}, {"reduceOnly": True, "closeOnTrigger": True}, {}])
async def test_a_conditional_order_fills_behind_a_gap_of_ten_percent(
    accounts: Accounts, closes: dict[str, bool]
) -> None:
    desk, last = accounts.by_key["test-key"], accounts._market.last("BTCUSDT")
    wire = {"category": "linear", "symbol": "BTCUSDT", "orderType": "Market", "qty": "0.1"}
    if closes:
        desk.create({**wire, "side": "Buy"})
    trigger = str((last * D("0.98")).quantize(D("0.1")))
    made = desk.create({**wire, **closes, "side": "Sell", "triggerPrice": trigger, "triggerDirection": 2})
    price = gap(accounts, "0.9")
    order = desk.ledger.orders.find(made.orderId, "")
    assert order is not None
    assert (order.status, order.cum_exec_qty) == ("Filled", D("0.1"))
    assert order.cum_exec_value == price * D("0.1")


def test_an_account_knows_the_pace_of_the_bars_before_the_exchange_began() -> None:
    terms = Terms(limit_fills="queue")
    made = config(symbols=("BTCUSDT",), seed=3, start_ms=START_MS, fills="bars", terms=terms)
    market = open_market(made)
    engine = Accounts(market, market.clock, made).by_key["test-key"].engine
    assert isinstance(engine, BarExchange)
    pace = engine._books["BTCUSDT"].pace
    rows = market.symbols["BTCUSDT"].tape.rows(0, market.now_ms() // MINUTE_MS * MINUTE_MS)
    assert [volume for volume, _ in pace.bars] == rows.ohlcv[-PACE_BARS:, 4].tolist()
