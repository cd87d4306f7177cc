import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web

from bot.adapters.feed.instruments import fetch_instruments, to_instrument, write_instruments
from bot.adapters.feed.requests import AT_ONCE, for_each
from bot.adapters.files.shipped import read_instruments
from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.state.clock import FollowedClock, WallClock
from bot.bybit.wire import InstrumentRow, LeverageFilter, LotSizeFilter, PriceFilter, RiskRow
from bot.domain.errors import BadInput, BadSettings, Rejected, VenueError
from bot.domain.market import HOUR_MS
from bot.simulator.config import AccessRules, ExchangeConfig
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import running

SYMBOLS = tuple(f"S{i:02d}USDT" for i in range(45))


def row(**changes: object) -> InstrumentRow:
    fields: dict[str, object] = {
        "symbol": "BTCUSDT",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "leverageFilter": LeverageFilter(minLeverage="1", maxLeverage="100.00", leverageStep="0.01"),
        "priceFilter": PriceFilter(minPrice="0.10", maxPrice="1999999.80", tickSize="0.10"),
        "lotSizeFilter": LotSizeFilter(
            maxOrderQty="1190",
            minOrderQty="0.001",
            qtyStep="0.001",
            maxMktOrderQty="500",
            minNotionalValue="5",
        ),
    }
    return InstrumentRow(**(fields | changes))  # type: ignore[arg-type]


def risk(limit: str, maintenance: str, initial: str, leverage: str, number: int = 1) -> RiskRow:
    return RiskRow(
        id=number,
        symbol="BTCUSDT",
        riskLimitValue=limit,
        maintenanceMargin=maintenance,
        initialMargin=initial,
        maxLeverage=leverage,
    )


@asynccontextmanager
async def rest_of(symbols: tuple[str, ...], faults: FaultHooks | None = None) -> AsyncIterator[PublicRest]:
    pace = RequestPace(requests_per_second=1000.0, max_retries=0, timeout_ms=2000)
    async with (
        running(ExchangeConfig(port=0, symbols=symbols), faults) as exchange,
        public_rest(exchange.http_url, WallClock(), pace, random.Random(1)) as rest,
    ):
        yield rest


def test_the_wires_rules_become_ours() -> None:
    found = to_instrument(row(fundingInterval=240), [])
    assert (found.tick_size, found.qty_step, found.max_market_qty) == (
        Decimal("0.10"),
        Decimal("0.001"),
        Decimal(500),
    )
    assert found.funding_interval_ms == 4 * HOUR_MS
    assert found.tiers[0].maintenance_frac == Decimal("0.005")


@pytest.mark.parametrize(("percent", "leverage"), [(1, "100"), (100, "100")])
def test_tiers_are_read_as_fractions_or_percents_and_do_not_jump(percent: int, leverage: str) -> None:
    def told(fraction: str) -> str:
        return str(Decimal(fraction) * percent)

    found = to_instrument(
        row(),
        [
            risk("4000000", told("0.01"), told("0.02"), "50.00", 2),
            risk("2000000", told("0.005"), told("0.01"), leverage, 1),
        ],
    )
    first, second = found.tiers
    assert (first.limit_quote, first.maintenance_frac) == (Decimal(2_000_000), Decimal("0.005"))
    assert (second.maintenance_frac, second.deduction_quote) == (Decimal("0.01"), Decimal(10_000))


def test_rules_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(BadInput):
        to_instrument(row(fundingInterval=0))
    with pytest.raises(BadInput, match="must rise"):
        to_instrument(row(), [risk("1", "0.01", "0.02", "50", 1), risk("2", "0.01", "0.02", "50", 2)])


async def test_all_that_trades_is_written_and_read_as_an_instrument_file(tmp_path: Path) -> None:
    path = tmp_path / "bybit_linear_instruments.json"
    async with rest_of(SYMBOLS) as rest:
        found = await fetch_instruments(rest)
        one = await fetch_instruments(rest, SYMBOLS[:1])
        with pytest.raises(BadSettings, match="NOPEUSDT"):
            await fetch_instruments(rest, ["NOPEUSDT"], tiers=False)
    assert tuple(sorted(found)) == SYMBOLS
    assert one[SYMBOLS[0]] == found[SYMBOLS[0]]
    assert write_instruments(path, found, "here") == []
    assert read_instruments(path) == found
    assert write_instruments(path, one, "again") == []
    assert read_instruments(path) == found  # the others' rules are kept


async def test_work_on_many_symbols_is_bounded_and_ends_with_the_first_error() -> None:
    under_way = most = done = 0

    async def work(symbol: str) -> None:
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        done += 1
        if symbol == "S20USDT":
            raise VenueError("no")

    with pytest.raises(VenueError, match="no"):
        await for_each(SYMBOLS, work)
    assert most == AT_ONCE
    assert done < len(SYMBOLS)


async def test_after_a_403_nothing_is_asked_for_ten_minutes() -> None:
    class Closed(FaultHooks):
        asked = 0

        def rest(self, request: web.Request) -> FaultAction | None:
            self.asked += 1
            return FaultAction(status=403)

    faults = Closed()
    async with rest_of(SYMBOLS[:1], faults) as rest:
        for _ in range(3):
            with pytest.raises(Rejected, match="403"):
                await fetch_instruments(rest)
    assert faults.asked == 1


async def test_the_exchanges_clock_is_followed_over_rest() -> None:
    clock = FollowedClock()
    pace = RequestPace(requests_per_second=1000.0, max_retries=0)
    start_ms = 1_764_547_200_000
    async with (
        running(ExchangeConfig(port=0, symbols=SYMBOLS[:1], start_ms=start_ms, speed=50.0)) as exchange,
        public_rest(exchange.http_url, WallClock(), pace, random.Random(1)) as rest,
    ):
        for _ in range(4):
            await rest.observe(clock)
        off_ms = clock.now_ms() - exchange.clock.now_ms()
    assert clock.speed == 50.0
    assert abs(off_ms) <= 50.0 * 20  # 20 ms of the machine's time


async def test_all_pages_of_more_than_500_contracts_are_read() -> None:
    names = tuple(f"C{n:03d}USDT" for n in range(620))
    rules = AccessRules(page_max=150)
    config = ExchangeConfig(port=0, symbols=names, ticks_per_s=0.1, rules=rules)
    async with (
        running(config) as exchange,
        public_rest(exchange.http_url, WallClock(), RequestPace(), random.Random(1)) as rest,
    ):
        found = await fetch_instruments(rest, tiers=False)
    assert tuple(sorted(found)) == names
