import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.feed.download import CandleDownload, fetch_funding, merge_funding, missing_ranges, windows
from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.state.clock import MachineTime, ReplayClock, WallClock
from bot.domain.errors import BadInput, Rejected, VenueError
from bot.domain.market import MINUTE_MS, Bar
from tests.adapters.exchange_rest import PublicExchange, serve
from tests.helpers import T0

HOURS_8 = 480 * MINUTE_MS


def minute(i: int, close: float = 100.0) -> Bar:
    return Bar("BTCUSDT", MINUTE_MS, T0 + i * MINUTE_MS, 100.0, 101.0, 99.0, close, 1.0, 100.0)


def exchange(bars: int = 2500) -> PublicExchange:
    """``bars`` closed minutes and the open one."""
    series = {bar.start_ms: bar for bar in map(minute, range(bars + 1))}
    return PublicExchange(series, T0 + bars * MINUTE_MS + 30_000, MINUTE_MS)


@asynccontextmanager
async def rest_of(market: PublicExchange, **pace: float) -> AsyncIterator[PublicRest]:
    """A client beside an exchange whose time stands still; its own pauses are real, and short."""
    settings = RequestPace(**({"requests_per_second": 100.0, "max_retries": 3} | pace))  # type: ignore[arg-type]
    async with (
        serve(market) as url,
        public_rest(url, ReplayClock(market.now_ms), settings, random.Random(1)) as rest,
    ):
        yield rest


async def download(market: PublicExchange, from_bar: int = 0, to_bar: int = 5000) -> CandleDownload:
    async with rest_of(market) as rest:
        job = CandleDownload(rest, "BTCUSDT", MINUTE_MS)
        await job.fill(T0 + from_bar * MINUTE_MS, T0 + to_bar * MINUTE_MS)
        return job


async def test_all_closed_bars_come_in_order_and_the_open_one_does_not() -> None:
    candles = (await download(exchange(2500))).candles()
    assert candles is not None
    assert len(candles) == 2500
    assert candles.gaps() == []
    assert candles.end_ms == T0 + 2500 * MINUTE_MS


async def test_the_machines_clock_decides_where_the_server_gives_no_time() -> None:
    market = exchange(50)
    market.say_time = False
    candles = (await download(market)).candles()
    assert candles is not None
    assert len(candles) == 50


async def test_no_page_asks_for_more_than_the_limit() -> None:
    market = exchange(2500)
    await download(market, to_bar=2500)
    spans = [
        (int(request.query["end"]) - int(request.query["start"])) // MINUTE_MS + 1
        for request in market.requests
    ]
    assert spans == [1000, 1000, 500]


@pytest.mark.fault(7)
async def test_a_row_outside_the_window_is_not_taken_twice() -> None:
    market = exchange(1500)

    def one_more(request: web.Request) -> web.Response:
        query = request.query
        rows = [
            [str(v) for v in (b.start_ms, b.open, b.high, b.low, b.close, b.volume, b.turnover)]
            for ms, b in sorted(market.bars.items())
            if int(query["start"]) - MINUTE_MS <= ms <= int(query["end"]) + MINUTE_MS
        ]
        return market.answer({"symbol": "BTCUSDT", "list": rows[::-1]})

    market.faults = [one_more, one_more]
    candles = (await download(market, from_bar=10, to_bar=1490)).candles()
    assert candles is not None
    assert (candles.first_ms, candles.end_ms) == (T0 + 10 * MINUTE_MS, T0 + 1490 * MINUTE_MS)
    assert candles.gaps() == []


@pytest.mark.fault(7)
async def test_an_empty_page_in_the_middle_is_asked_for_again() -> None:
    market = exchange(2500)
    market.faults = [
        lambda request: None,
        lambda request: market.answer({"symbol": "BTCUSDT", "list": []}),
    ]
    candles = (await download(market, to_bar=2500)).candles()
    assert candles is not None
    assert candles.gaps() == []
    assert len(candles) == 2500


async def test_bars_the_exchange_lacks_are_a_gap() -> None:
    market = exchange(100)
    for i in (40, 41):
        del market.bars[T0 + i * MINUTE_MS]
    candles = (await download(market)).candles()
    assert candles is not None
    assert candles.gaps() == [(T0 + 40 * MINUTE_MS, T0 + 42 * MINUTE_MS, 2)]


async def test_a_range_before_the_first_bar_yields_what_there_is() -> None:
    candles = (await download(exchange(10), from_bar=-2000)).candles()
    assert candles is not None
    assert candles.first_ms == T0


async def test_nothing_in_range_is_nothing() -> None:
    assert (await download(exchange(10), from_bar=-50, to_bar=0)).candles() is None


async def test_a_second_run_fetches_only_what_is_missing_and_checks_the_last_bar() -> None:
    market = exchange(2500)
    have = (await download(market, to_bar=1200)).candles()
    market.requests.clear()
    async with rest_of(market) as rest:
        job = CandleDownload(rest, "BTCUSDT", MINUTE_MS, have=have)
        await job.fill(T0, T0 + 2500 * MINUTE_MS)
    assert int(market.requests[0].query["start"]) == T0 + 1199 * MINUTE_MS
    assert (job.fetched, job.replaced) == (1300, 0)
    candles = job.candles()
    assert candles is not None
    assert len(candles) == 2500


async def test_a_bar_stored_while_it_was_open_is_replaced() -> None:
    market = exchange(20)
    stored = exchange(20)
    stored.bars[T0 + 9 * MINUTE_MS] = minute(9, close=100.5)
    have = (await download(stored, to_bar=10)).candles()
    async with rest_of(market) as rest:
        job = CandleDownload(rest, "BTCUSDT", MINUTE_MS, have=have)
        await job.fill(T0, T0 + 20 * MINUTE_MS)
    candles = job.candles()
    assert candles is not None
    assert (job.replaced, candles.ohlcv[9, 3]) == (1, 100.0)


def html(status: int) -> web.Response:
    return web.Response(status=status, text="<html>502 Bad Gateway</html>", content_type="text/html")


async def test_bad_minutes_are_survived() -> None:
    market = exchange(100)
    market.fail(
        lambda: market.answer({}, 10006, "Too many visits."),
        lambda: html(502),
        lambda: web.Response(text="{", content_type="application/json"),
    )
    candles = (await download(market, to_bar=100)).candles()
    assert candles is not None
    assert len(candles) == 100
    assert len(market.requests) == 4


async def test_a_rate_limit_is_waited_for() -> None:
    market, began_s = exchange(10), time.monotonic()
    reset_ms = market.now_ms + 1_000
    market.fail(
        lambda: web.Response(status=429, headers={"X-Bapi-Limit-Reset-Timestamp": str(reset_ms)}),
        lambda: market.answer({}, 10006),
    )
    async with rest_of(market) as rest:
        await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 10 * MINUTE_MS)
    assert time.monotonic() - began_s >= 1.0 + 2.0


async def test_retries_end_and_what_came_is_kept() -> None:
    market = exchange(2500)
    market.faults = [lambda request: None] + [lambda request: html(503)] * 4
    async with rest_of(market) as rest:
        job = CandleDownload(rest, "BTCUSDT", MINUTE_MS)
        with pytest.raises(VenueError, match=r"HTTP 503.*gave up after 4 attempts"):
            await job.fill(T0, T0 + 2500 * MINUTE_MS)
    candles = job.candles()
    assert candles is not None
    assert len(candles) == 1000
    assert len(market.requests) == 5


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda: web.Response(status=403), "wait 10 minutes"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}), "redirect"),
        (
            lambda: web.json_response({"retCode": 10001, "retMsg": "Not supported symbols"}),
            "Not supported symbols",
        ),
    ],
)
async def test_a_refusal_is_not_repeated(answer: object, word: str) -> None:
    market = exchange(10)
    market.fail(answer)  # type: ignore[arg-type]
    async with rest_of(market) as rest:
        with pytest.raises(Rejected, match=word):
            await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 10 * MINUTE_MS)
    assert len(market.requests) == 1


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.net.public_rest.MAX_BODY_BYTES", 10_000)
    market = exchange(10)
    market.fail(lambda: web.Response(body=b"[" * 20_000))
    async with rest_of(market) as rest:
        with pytest.raises(VenueError, match="beyond 10000 bytes"):
            await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 10 * MINUTE_MS)


async def test_nobody_there_is_one_clear_error() -> None:
    async with public_rest(
        "http://127.0.0.1:9", ReplayClock(T0), RequestPace(max_retries=1), random.Random(1)
    ) as rest:
        with pytest.raises(VenueError, match="gave up after 2 attempts") as caught:
            await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + MINUTE_MS)
    assert caught.value.exit_code == 4


async def test_requests_are_spaced_and_carry_nothing_secret() -> None:
    market = exchange(5000)
    async with rest_of(market, requests_per_second=10.0) as rest:
        began_s = time.monotonic()
        await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 5000 * MINUTE_MS)
    assert len(market.requests) == 5
    assert time.monotonic() - began_s >= 0.399
    for request in market.requests:
        assert not [name for name in request.headers if "BAPI" in name.upper() or name == "Authorization"]
        assert request.headers["Accept-Encoding"] == "identity"


async def test_a_clock_that_is_set_back_holds_up_no_question() -> None:
    market, back_ms = exchange(10), 0
    machine = MachineTime(wall_ns=lambda: (market.now_ms - back_ms) * 1_000_000)
    async with (
        serve(market) as url,
        public_rest(url, WallClock(machine), RequestPace(), random.Random(1)) as rest,
        asyncio.timeout(60),
    ):
        await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 10 * MINUTE_MS)
        back_ms = 60 * MINUTE_MS
        market.fail(lambda: html(502))
        await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + 10 * MINUTE_MS)
    assert len(market.requests) == 3


async def test_mark_prices_have_their_own_path() -> None:
    market = exchange(10)
    async with rest_of(market) as rest:
        job = CandleDownload(rest, "BTCUSDT", MINUTE_MS, prices="mark-price-kline")
        await job.fill(T0, T0 + 10 * MINUTE_MS)
    candles = job.candles()
    assert candles is not None
    assert candles.ohlcv[:, 4].tolist() == [0.0] * 10
    assert market.requests[0].path == "/v5/market/mark-price-kline"


async def test_funding_is_paged_backwards_to_the_start() -> None:
    market = exchange(1)
    market.rates = {T0 + i * HOURS_8: f"{i / 1e6:.6f}" for i in range(450)}
    async with rest_of(market) as rest:
        funding = await fetch_funding(rest, "BTCUSDT", T0, T0 + 450 * HOURS_8)
        assert len(market.requests) == 3
        assert await fetch_funding(rest, "BTCUSDT", T0 - 10, T0) is None
    assert funding is not None
    assert funding.start_ms.tolist() == sorted(market.rates)
    assert funding.rate[449] == 0.000449
    merged = merge_funding(funding, funding)
    np.testing.assert_array_equal(merged.rate, funding.rate)


@given(
    have=st.sets(st.integers(0, 60)),
    begin=st.integers(0, 60),
    size=st.integers(1, 60),
    limit=st.integers(1, 9),
)
def test_windows_cover_exactly_what_is_missing(have: set[int], begin: int, size: int, limit: int) -> None:
    end = begin + size
    ranges = missing_ranges(np.array(sorted(have), np.int64) * 10, begin * 10, end * 10, 10)
    asked: list[int] = []
    for first, last in windows(ranges, 10, limit):
        assert (last - first) // 10 + 1 <= limit
        asked += range(first, last + 10, 10)
    assert asked == [i * 10 for i in range(begin, end) if i not in have]


@pytest.mark.fault(7)
async def test_a_page_that_contradicts_itself_is_not_believed() -> None:
    market = exchange(1)
    market.fail(
        *[
            lambda: market.answer(
                {"list": [[str(T0), "1", "1", "1", "1", "1", "1"], [str(T0), "2", "2", "2", "2", "1", "1"]]}
            )
        ]
        * 4
    )
    async with rest_of(market) as rest:
        with pytest.raises(VenueError, match="two different bars") as caught:
            await CandleDownload(rest, "BTCUSDT", MINUTE_MS).fill(T0, T0 + MINUTE_MS)
    assert isinstance(caught.value.__cause__, BadInput)
