"""A contract that stops trading while the bot runs: the others go on, and the engine hears of it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bot.domain.messages import InstrumentChanged
from tests.adapters.feed.rig import BEGIN_MS, FAST, fed, write_market
from tests.adapters.venue.live import exchange_with, venue_at


@pytest.mark.parametrize("status", ["Delivering", "Closed"])
async def test_the_feed_lives_and_tells_the_status(tmp_path: Path, status: str) -> None:
    write_market(tmp_path)
    async with fed(tmp_path, start_ms=BEGIN_MS, config=replace(FAST, refresh_ms=50)) as rig:
        rules = rig.feed.instruments["AAAUSDT"]
        rig.exchange.market.set_instrument(msgspec.structs.replace(rules, status=status))
        await rig.until(lambda: bool(rig.of(InstrumentChanged)))
        await rig.live(2)
        assert not rig.task.done()
        assert {event.instrument.status for event in rig.of(InstrumentChanged)} == {status}  # type: ignore[attr-defined]
        assert rig.feed.instruments["BBBUSDT"].status == "Trading"


@pytest.mark.parametrize("status", ["Delivering", "Closed"])
async def test_the_venue_tells_the_status(tmp_path: Path, status: str) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, instruments_ms=50) as trader:
        rules = exchange.market.symbols["BTCUSDT"].instrument
        exchange.market.set_instrument(msgspec.structs.replace(rules, status=status))
        await trader.until(lambda: len(trader.told(InstrumentChanged)) == 3)
        assert trader.told(InstrumentChanged)[-1].instrument.status == status
