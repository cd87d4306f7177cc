"""The venue changes the funding interval while the feed runs: each rate comes at its hour, once."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.domain.messages import FundingRate, InstrumentChanged
from tests.adapters.feed.rig import BEGIN_MS, FAST, Rig, fed, write_market

A = "AAAUSDT"
QUOTED = replace(FAST, symbols=(A,), tickers=True)
SPEED = 1_200.0


def change(rig: Rig, interval_ms: int) -> None:
    rules = rig.exchange.market.instrument(A)
    rig.exchange.market.set_instrument(msgspec.structs.replace(rules, funding_interval_ms=interval_ms))


def hours(rig: Rig) -> list[float]:
    """The settlements told since the start, in hours."""
    rates = [event for event in rig.of(FundingRate) if isinstance(event, FundingRate)]
    return [(rate.ts_ms - BEGIN_MS) / HOUR_MS for rate in rates if rate.ts_ms > BEGIN_MS]


async def test_a_shorter_interval_is_read_at_once_and_every_hour_is_told_before_the_next(
    tmp_path: Path,
) -> None:
    write_market(tmp_path)
    begin_ms = BEGIN_MS + 4 * HOUR_MS + 40 * MINUTE_MS
    async with fed(tmp_path, start_ms=begin_ms, config=QUOTED, speed=2 * SPEED) as rig:
        change(rig, HOUR_MS)
        await rig.until(lambda: bool(rig.of(InstrumentChanged)))
        for hour in (5, 6):
            await rig.until(lambda hour=hour: hours(rig)[-1:] == [hour])  # type: ignore[misc]
            assert rig.exchange.market.now_ms() < BEGIN_MS + (hour + 1) * HOUR_MS
        change(rig, 8 * HOUR_MS)
        await rig.until(lambda: hours(rig)[-1] == 8)
    assert hours(rig) == [5, 6, 8]
    told = [event.instrument for event in rig.of(InstrumentChanged)]  # type: ignore[attr-defined]
    assert [rules.funding_interval_ms for rules in told] == [HOUR_MS, 8 * HOUR_MS]
    assert rig.feed.instruments[A].funding_interval_ms == 8 * HOUR_MS


async def test_hours_that_were_settled_while_the_stream_was_down_are_told_when_it_is_back(
    tmp_path: Path,
) -> None:
    write_market(tmp_path)
    async with fed(tmp_path, start_ms=BEGIN_MS + 40 * MINUTE_MS, config=QUOTED, speed=2 * SPEED) as rig:
        await rig.live(1)
        rig.wire.refuse_ws = True
        rig.wire.cut()
        change(rig, HOUR_MS)
        await rig.at(BEGIN_MS + 2 * HOUR_MS + 10 * MINUTE_MS)
        change(rig, 8 * HOUR_MS)  # it shrank and grew again, and nobody here saw it
        rig.wire.refuse_ws = False
        await rig.until(lambda: len(hours(rig)) == 2)
    assert hours(rig) == [1, 2]


@pytest.mark.parametrize("tickers", [False, True])
async def test_without_a_word_of_the_ticker_the_hours_are_found_over_rest(
    tmp_path: Path, tickers: bool
) -> None:
    write_market(tmp_path)

    def blank(connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        if not topic.startswith("tickers"):
            return None
        push = json.loads(text)
        push["data"] |= {"nextFundingTime": "", "fundingIntervalHour": ""}
        return [(0.0, json.dumps(push, separators=(",", ":")))]

    config = replace(QUOTED, tickers=tickers)
    async with fed(
        tmp_path, start_ms=BEGIN_MS + 10 * MINUTE_MS, config=config, speed=SPEED, wait=False
    ) as rig:
        rig.wire.on_push = blank
        await rig.up()
        change(rig, HOUR_MS)
        await rig.until(lambda: len(hours(rig)) >= 2)
    assert hours(rig)[:2] == [1, 2]


async def test_a_rate_is_told_once_though_rest_lists_it_again_and_again(tmp_path: Path) -> None:
    write_market(tmp_path)
    asked: list[str] = []

    def heard(request: web.Request, body: bytes) -> bytes:
        if request.path.endswith("funding/history"):
            asked.append(request.path_qs)
        return body

    async with fed(tmp_path, start_ms=BEGIN_MS + 50 * MINUTE_MS, config=QUOTED, speed=SPEED) as rig:
        rig.wire.on_answer = heard
        change(rig, HOUR_MS)
        await rig.until(lambda: len(hours(rig)) == 1)
        rig.wire.cut()
        await rig.until(lambda: len(hours(rig)) == 2)
    assert hours(rig) == [1, 2]
    assert len(asked) >= 3
