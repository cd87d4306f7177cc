"""A contract that stops trading while the bot runs: the others go on, and the engine hears of it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bot.domain.errors import BadSettings
from bot.domain.messages import Filled, Gap, InstrumentChanged, LinkUp
from bot.simulator.server import ExchangeServer
from tests.adapters.feed.rig import BEGIN_MS, FAST, Wire, fed, write_market
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


# A contract that the venue does not know any more


def delist(exchange: ExchangeServer, symbol: str) -> None:
    exchange.market.symbols.pop(symbol)


@pytest.mark.fault(38)
async def test_a_contract_that_is_gone_stops_alone_and_the_others_trade_on(tmp_path: Path) -> None:
    write_market(tmp_path)
    wire = Wire()
    async with fed(tmp_path, start_ms=BEGIN_MS, wire=wire) as rig:
        await rig.live(1)
        delist(rig.exchange, "BBBUSDT")
        wire.cut()
        await rig.until(lambda: bool(rig.of(InstrumentChanged)))
        await rig.until(lambda: len(rig.of(LinkUp)) == 2)
        await rig.live(12)  # long enough to give up on bars that are still expected
        assert rig.of(Gap) == []
        assert rig.feed._sequencer.missing(rig.closes(live=True)[-1].close_ms) == []
        (changed,) = rig.of(InstrumentChanged)
        assert changed.instrument.symbol == "BBBUSDT"  # type: ignore[attr-defined]
        assert changed.instrument.status == "Closed"  # type: ignore[attr-defined]
        assert {bar.symbol for bar in rig.closes(live=True)[-1].bars} == {"AAAUSDT"}
        assert rig.feed.config.symbols == ("AAAUSDT",)


@pytest.mark.parametrize("before", [True, False])
async def test_a_contract_that_ended_before_the_start_is_left_out_only_if_it_was_traded_before(
    tmp_path: Path, before: bool
) -> None:
    write_market(tmp_path)
    symbols = ("AAAUSDT", "BBBUSDT", "GONEUSDT")
    config = replace(FAST, symbols=symbols, traded_before=frozenset(symbols if before else ()))
    if not before:
        with pytest.raises(BadSettings, match="GONEUSDT"):
            async with fed(tmp_path, start_ms=BEGIN_MS, config=config):
                pass
        return
    async with fed(tmp_path, start_ms=BEGIN_MS, config=config) as rig:
        await rig.live(2)
        assert rig.feed.instruments["GONEUSDT"].status == "Closed"
        assert {bar.symbol for bar in rig.closes(live=True)[-1].bars} == {"AAAUSDT", "BBBUSDT"}


async def test_a_contract_that_only_waits_at_the_start_is_read_from_when_it_trades(tmp_path: Path) -> None:
    write_market(tmp_path)
    symbols = ("AAAUSDT", "BBBUSDT")
    config = replace(FAST, symbols=symbols, traded_before=frozenset(symbols), refresh_ms=50)
    async with fed(tmp_path, start_ms=BEGIN_MS, config=config, status={"BBBUSDT": "PreLaunch"}) as rig:
        await rig.live(1)
        assert rig.feed.config.symbols == symbols
        waiting = rig.feed.instruments["BBBUSDT"]
        assert (waiting.status, waiting.tick_size > 0) == ("PreLaunch", True)
        rig.exchange.market.set_instrument(msgspec.structs.replace(waiting, status="Trading"))
        await rig.until(lambda: rig.feed.instruments["BBBUSDT"].status == "Trading")
        await rig.live(3)
        assert {bar.symbol for bar in rig.closes(live=True)[-1].bars} == {*symbols}


async def test_the_venue_trades_on_when_a_contract_is_gone(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, instruments_ms=50) as trader:
        delist(exchange, "ETHUSDT")
        await trader.until(lambda: len(trader.told(InstrumentChanged)) == 3)
        changed = trader.told(InstrumentChanged)[-1].instrument
        assert (changed.symbol, changed.status) == ("ETHUSDT", "Closed")
        trader.place(trader.intent("0.01"))
        await trader.until(lambda: trader.told(Filled))


@pytest.mark.parametrize("before", [True, False])
async def test_the_venue_starts_without_a_contract_that_was_traded_before(
    tmp_path: Path, before: bool
) -> None:
    changes = {"symbols": ("BTCUSDT", "GONEUSDT"), "traded_before": {"GONEUSDT"} if before else ()}
    async with exchange_with() as exchange:
        if not before:
            with pytest.raises(BadSettings, match="GONEUSDT"):
                async with venue_at(exchange, tmp_path, **changes):
                    pass
            return
        async with venue_at(exchange, tmp_path, **changes) as trader:
            assert trader.venue.rules["GONEUSDT"].status == "Closed"
            trader.place(trader.intent("0.01"))
            await trader.until(lambda: trader.told(Filled))
