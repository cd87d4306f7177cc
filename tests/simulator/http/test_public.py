from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
import pytest_asyncio

from bot.bybit.rest import get_klines, parse_klines
from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.simulator.market.invented import symbols
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.server import running
from tests.simulator.bench import Door, config, door


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Door]:
    async with running(config()) as exchange, door(exchange) as opened:
        yield opened


@pytest_asyncio.fixture
async def ask_many() -> AsyncIterator[Door]:
    """Twenty symbols, quick to invent: hourly candles."""
    many = config(symbols=symbols(20), interval_ms=HOUR_MS)
    async with running(many) as exchange, door(exchange) as opened:
        yield opened


def symbol(ask: Door, name: str = "BTCUSDT") -> MarketSymbol:
    return ask.exchange.market.symbols[name]


async def test_the_time_is_told_three_times_and_agrees(ask: Door) -> None:
    answer = await ask.get("market/time")
    second, nano = answer["result"]["timeSecond"], answer["result"]["timeNano"]
    assert int(nano) // 10**9 == int(second)
    assert abs(int(nano) // 10**6 - answer["time"]) < 1000


async def test_a_kline_page_is_newest_first_with_the_open_candle_and_seven_texts(ask: Door) -> None:
    result = await ask.market("kline", symbol="BTCUSDT", interval="5", limit=3)
    assert (result["category"], result["symbol"]) == ("linear", "BTCUSDT")
    starts = [int(row[0]) for row in result["list"]]
    assert starts == sorted(starts, reverse=True)
    assert starts[0] <= ask.exchange.clock.now_ms() < starts[0] + 5 * MINUTE_MS
    assert all(isinstance(text, str) for row in result["list"] for text in row)
    assert len(result["list"][0]) == 7


async def test_200_candles_come_when_no_limit_is_given_and_1000_at_most(ask: Door) -> None:
    for params, rows in (({}, 200), ({"limit": 1000}, 1000), ({"limit": 9999}, 1000)):
        result = await ask.market("kline", symbol="BTCUSDT", interval="1", **params)
        assert len(result["list"]) == rows


async def test_our_own_client_reads_what_the_tape_holds(ask: Door) -> None:
    tape = symbol(ask).tape
    first = ask.exchange.clock.now_ms() // HOUR_MS * HOUR_MS - 10 * HOUR_MS
    url = ask.exchange.http_url + get_klines("BTCUSDT", MINUTE_MS, first, first + 599 * MINUTE_MS).target
    async with ask.http.get(url) as response:
        bars = parse_klines(await response.read(), "BTCUSDT", MINUTE_MS).bars
    rows = tape.rows(first, first + 600 * MINUTE_MS)
    assert [bar.start_ms for bar in bars] == rows.start_ms.tolist()
    assert [[bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars] == rows.ohlcv.tolist()
    assert [bar.turnover for bar in bars] == rows.turnover.tolist()


@pytest.mark.parametrize("which", ["mark", "index", "premium-index"])
async def test_price_candles_have_five_texts(ask: Door, which: str) -> None:
    result = await ask.market(f"{which}-price-kline", symbol="BTCUSDT", interval="1", limit=3)
    assert [len(row) for row in result["list"]] == [5, 5, 5]


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        ("kline", {"symbol": "NOSUCHUSDT", "interval": "1"}, "Not supported symbols"),
        ("kline", {"symbol": "BTCUSDT", "interval": "2"}, "Invalid period"),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": "yesterday"}, "start invalid"),
        ("kline", {"interval": "1"}, "symbol is required"),
        ("kline", {"category": "spot", "symbol": "BTCUSDT", "interval": "1"}, "Not supported symbols"),
        ("tickers", {}, "Category is required"),
        ("tickers", {"category": "futures"}, "Category is invalid"),
        ("funding/history", {"category": "linear", "symbol": "BTCUSDT", "startTime": "1"}, "endTime"),
        ("open-interest", {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "2h"}, "intervalTime"),
    ],
)
async def test_a_wrong_question_is_10001_with_its_reason(
    ask: Door, path: str, params: dict[str, str], text: str
) -> None:
    answer = await ask.get(f"market/{path}", **params)
    assert answer["retCode"] == 10001
    assert text in answer["retMsg"]
    assert answer["result"] == {}


async def test_instruments_come_in_pages_and_each_symbol_once(ask_many: Door) -> None:
    seen, cursor = [], ""
    while True:
        result = await ask_many.market("instruments-info", limit=15, **({"cursor": cursor} if cursor else {}))
        seen += [row["symbol"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
    assert sorted(seen) == sorted(ask_many.exchange.market.symbols)


async def test_a_cursor_is_taken_raw_or_escaped_once_more(ask_many: Door) -> None:
    cursor = (await ask_many.market("instruments-info", limit=15))["nextPageCursor"]
    raw = f"{ask_many.exchange.http_url}/v5/market/instruments-info?category=linear&limit=15&cursor="
    pages = []
    for text in (cursor, cursor.replace("%", "%25")):
        async with ask_many.http.get(raw + text) as response:
            pages.append((await response.json())["result"]["list"])
    assert pages[0] == pages[1]
    assert len(pages[0]) == 5


async def test_an_instrument_that_does_not_trade_is_shown_when_asked_for(ask: Door) -> None:
    rules = ask.exchange.market.instrument("SOLUSDT")
    ask.exchange.market.set_instrument(msgspec.structs.replace(rules, status="Closed"))
    names = [row["symbol"] for row in (await ask.market("instruments-info", limit=1000))["list"]]
    assert "SOLUSDT" not in names
    (row,) = (await ask.market("instruments-info", symbol="SOLUSDT"))["list"]
    assert row["status"] == "Closed"
    (row,) = (await ask.market("instruments-info", status="Closed"))["list"]
    assert row["symbol"] == "SOLUSDT"


async def test_the_ticker_agrees_with_book_candles_and_trades(ask: Door) -> None:
    (row,) = (await ask.market("tickers", symbol="BTCUSDT"))["list"]
    day = await ask.market("kline", symbol="BTCUSDT", interval="1", limit=1000)
    assert Decimal(row["bid1Price"]) < Decimal(row["ask1Price"])
    assert Decimal(row["lastPrice"]) in (Decimal(row["bid1Price"]), Decimal(row["ask1Price"]))
    assert float(row["highPrice24h"]) >= max(float(candle[2]) for candle in day["list"])
    assert float(row["lowPrice24h"]) <= min(float(candle[3]) for candle in day["list"])
    change = float(row["lastPrice"]) / float(row["prevPrice24h"]) - 1.0
    assert float(row["price24hPcnt"]) == pytest.approx(change, abs=1e-6)
    assert int(row["nextFundingTime"]) % (8 * HOUR_MS) == 0


async def test_all_tickers_come_without_a_symbol(ask_many: Door) -> None:
    assert len((await ask_many.market("tickers"))["list"]) == 20


async def test_the_book_has_the_levels_asked_for(ask: Door) -> None:
    for params, levels in (({}, 25), ({"limit": 200}, 200), ({"limit": 1}, 1)):
        book = await ask.market("orderbook", symbol="ETHUSDT", **params)
        bids, asks = ([Decimal(price) for price, _ in book[side]] for side in ("b", "a"))
        assert (len(bids), len(asks)) == (levels, levels)
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]


async def test_recent_trades_are_newest_first_and_unique(ask: Door) -> None:
    rows = (await ask.market("recent-trade", symbol="BTCUSDT", limit=50))["list"]
    times = [int(row["time"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert len({row["execId"] for row in rows}) == 50
    assert all(Decimal(row["size"]) > 0 for row in rows)


async def test_funding_history_is_on_its_grid_newest_first_and_within_the_range(ask: Door) -> None:
    rows = (await ask.market("funding/history", symbol="BTCUSDT", limit=5))["list"]
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert [a - b for a, b in pairwise(times)] == [8 * HOUR_MS] * 4
    assert times[0] <= ask.exchange.clock.now_ms()
    between = await ask.market("funding/history", symbol="BTCUSDT", startTime=times[3], endTime=times[1])
    assert [int(row["fundingRateTimestamp"]) for row in between["list"]] == times[1:4]


async def test_risk_limits_are_fractions_whose_product_with_leverage_is_one(ask: Door) -> None:
    rows = (await ask.market("risk-limit", symbol="BTCUSDT"))["list"]
    assert [row["isLowestRisk"] for row in rows] == [1] + [0] * (len(rows) - 1)
    for row in rows:
        assert float(row["initialMargin"]) * float(row["maxLeverage"]) == pytest.approx(1.0, rel=1e-3)


async def test_risk_limits_of_all_come_fifteen_symbols_a_page(ask_many: Door) -> None:
    result = await ask_many.market("risk-limit")
    assert len({row["symbol"] for row in result["list"]}) == 15
    assert result["nextPageCursor"]


async def test_open_interest_and_price_limits_are_told(ask: Door) -> None:
    rows = (await ask.market("open-interest", symbol="BTCUSDT", intervalTime="1h", limit=3))["list"]
    assert [int(rows[i]["timestamp"]) - int(rows[i + 1]["timestamp"]) for i in range(2)] == [HOUR_MS] * 2
    limits = await ask.market("price-limit", symbol="BTCUSDT")
    assert float(limits["sellLmt"]) < float(ask.exchange.market.last("BTCUSDT")) < float(limits["buyLmt"])


@pytest.mark.parametrize("category", ["spot", "inverse", "option"])
async def test_other_categories_are_empty_and_no_error(ask: Door, category: str) -> None:
    for path in ("instruments-info", "tickers"):
        answer = await ask.get(f"market/{path}", category=category)
        assert (answer["retCode"], answer["result"]["list"]) == (0, [])
