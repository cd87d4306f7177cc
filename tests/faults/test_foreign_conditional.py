"""Conditional orders that somebody else has placed in the account: they rest at no price of the book."""

import json
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from bot.adapters.venue.kill import clear_orders
from bot.domain.errors import BotError
from bot.domain.messages import Synced
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Trader, exchange_with, venue_at
from tests.simulator.client import Wire

CONDITIONAL: dict[str, Mapping[str, object]] = {
    "buy above": {"side": "Buy", "orderType": "Market", "triggerDirection": 1, "trigger_frac": 1.1},
    "sell below": {"side": "Sell", "orderType": "Market", "triggerDirection": 2, "trigger_frac": 0.9},
    "limit above": {"side": "Buy", "orderType": "Limit", "triggerDirection": 1, "trigger_frac": 1.1},
    "by mark": {
        "side": "Buy",
        "orderType": "Market",
        "triggerDirection": 1,
        "trigger_frac": 1.1,
        "triggerBy": "MarkPrice",
    },
}


async def put(exchange: ExchangeServer, symbol: str, words: Mapping[str, object], name: str = "") -> str:
    """Place the order by hand, with the account's key; returns its id at the exchange."""
    last = float(exchange.market.last(symbol))
    frac = float(str(words["trigger_frac"]))
    price = str(round(last * frac, 1))
    body = {key: value for key, value in words.items() if key != "trigger_frac"}
    body |= {"category": "linear", "symbol": symbol, "qty": "0.1", "triggerPrice": price, "orderLinkId": name}
    if words["orderType"] == "Limit":
        body |= {"price": price}
    async with aiohttp.ClientSession() as http:
        answer = await Wire(exchange, http).post("/v5/order/create", body)
    assert answer["retCode"] == 0, json.dumps(answer)
    return str(answer["result"]["orderId"])


def counted(trader: Trader) -> int:
    return trader.told(Synced)[-1].account.foreign_orders


@pytest.mark.fault(40)
@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT"])  # one that we trade, one that we do not
@pytest.mark.parametrize("name", ["", "somebody-1", "bo-1-1-0"])
async def test_conditional_orders_of_others_are_counted_at_the_start_and_left_alone(
    symbol: str, name: str, tmp_path: Path
) -> None:
    async with exchange_with() as exchange:
        ids = {
            await put(exchange, symbol, words, name and f"{name}{number}")
            for number, words in enumerate(CONDITIONAL.values())
        }
        async with venue_at(exchange, tmp_path) as trader:
            assert counted(trader) == len(CONDITIONAL)
            order_id = trader.place(trader.limit())
            await trader.until(lambda: "OrderAccepted" in trader.of(order_id))
            await trader.venue.clear()
            assert await clear_orders(trader.rest, trader.venue.config.prefix) == []
            live = {order.order_id for order in trader.desk.engine.open_orders(symbol)}
            assert live == ids


@pytest.mark.fault(40)
@pytest.mark.parametrize("words", CONDITIONAL.values(), ids=CONDITIONAL)
async def test_a_start_that_refuses_others_refuses_their_conditional_orders(
    words: Mapping[str, object], tmp_path: Path
) -> None:
    async with exchange_with() as exchange:
        await put(exchange, "BTCUSDT", words)
        with pytest.raises(BotError, match="1 order not of ours"):
            async with venue_at(exchange, tmp_path, foreign="refuse"):
                pass


@pytest.mark.fault(40)
async def test_a_conditional_order_that_comes_later_is_counted_by_the_next_reading(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, reconcile_ms=150) as trader:
        assert counted(trader) == 0
        await put(exchange, "BTCUSDT", CONDITIONAL["buy above"])
        await trader.until(lambda: counted(trader) == 1)
