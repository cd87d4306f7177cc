"""The recorder at a local exchange: every frame once, in order, and a mark wherever something is missing."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.adapters.recordings import recorder as module
from bot.adapters.recordings.facts import recording_facts
from bot.adapters.recordings.files import recording_files
from bot.adapters.recordings.rows import Back, Begin, End, Lost, Missed, Rules
from bot.bybit.frames import KeptState
from bot.domain.errors import Rejected
from bot.simulator.config import ExchangeConfig
from bot.simulator.server import ExchangeServer, running
from tests.adapters.recordings.taps import TOPICS, Tap, frames, marks, recording, rows, states, until

CONFIG = ExchangeConfig(port=0, symbols=("BTCUSDT",), speed=30.0, ticks_per_s=50, history_bars=300)
BOOK = "orderbook.50.BTCUSDT"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.02)


@pytest.fixture
async def tap() -> Tap:
    return Tap()


@pytest.fixture
async def exchange(tap: Tap) -> AsyncIterator[ExchangeServer]:
    async with running(CONFIG, tap) as server:
        yield server


async def test_every_frame_is_there_once_in_order_with_the_rules(
    exchange: ExchangeServer, tap: Tap, tmp_path: Path
) -> None:
    async with recording(exchange, tmp_path) as recorder:
        await until(lambda: recorder.counts.frames >= 100)
    found = frames(tmp_path)
    assert found == tap.sent[: len(found)]
    assert len(tap.sent) - len(found) < 10  # what was on its way when it was stopped
    begin, rules, back, end = marks(tmp_path)
    assert isinstance(begin, Begin)
    assert begin.topics == TOPICS
    assert rules == Rules((exchange.market.instrument("BTCUSDT"),))
    assert back == Back(TOPICS)
    assert end == End("stopped")
    stamps = [row.received_us for row in rows(tmp_path)]
    assert stamps == sorted(stamps)
    facts = recording_facts(tmp_path)
    assert (facts.frames, facts.gaps, facts.problems) == (len(found), [], [])
    assert set(facts.topics) == set(TOPICS)


async def test_each_file_begins_with_the_state_that_its_frames_change(
    exchange: ExchangeServer, tmp_path: Path
) -> None:
    async with recording(exchange, tmp_path, rotate_ms=50) as recorder:
        await until(lambda: recorder.counts.files >= 5)
    state, checked = KeptState(), 0
    made = states(tmp_path)
    for row in rows(tmp_path):
        if row.sort == b"=":
            expected = json.loads(row.text)
            kept = {json.loads(text)["topic"]: json.loads(text) for text in state.snapshots()}
            assert kept[expected["topic"]] == expected
            checked += 1
        elif row.sort == b"{":
            assert state.apply(json.loads(row.text)["topic"], row.text) is None
    assert checked == len(made) == 2 * (recorder.counts.files - 1)


async def test_a_lost_connection_is_marked_and_its_time_is_a_gap(
    exchange: ExchangeServer, tmp_path: Path
) -> None:
    async with recording(exchange, tmp_path) as recorder:
        await until(lambda: recorder.counts.frames >= 20)
        await exchange.streams.close_all()
        await until(lambda: recorder.counts.gaps == 1)
        await until(lambda: recorder.is_up)
        seen = recorder.counts.frames
        await until(lambda: recorder.counts.frames >= seen + 20)
    lost = [mark for mark in marks(tmp_path) if isinstance(mark, Lost)]
    assert [mark.topics for mark in lost] == [TOPICS]
    (gap,) = recording_facts(tmp_path).gaps
    assert gap.topics == TOPICS
    assert gap.to_us is not None
    assert gap.to_us > gap.from_us
    books = [json.loads(text) for text in frames(tmp_path) if '"orderbook' in text]
    assert [book["type"] for book in books].count("snapshot") == 2


async def test_a_missed_frame_of_a_book_is_marked_and_the_book_is_read_anew(
    exchange: ExchangeServer, tap: Tap, tmp_path: Path
) -> None:
    dropped: list[int] = []

    def first_delta(topic: str, text: str) -> bool:
        if topic != BOOK or dropped or '"delta"' not in text:
            return False
        dropped.append(json.loads(text)["data"]["u"])
        return True

    async with recording(exchange, tmp_path) as recorder:
        tap.loses = first_delta
        await until(lambda: any(isinstance(m, Back) and m.topics == (BOOK,) for m in marks(tmp_path)))
        seen = recorder.counts.frames
        await until(lambda: recorder.counts.frames >= seen + 20)
    (missed,) = [mark for mark in marks(tmp_path) if isinstance(mark, Missed)]
    assert missed == Missed(BOOK, dropped[0] - 1, dropped[0] + 1)
    (gap,) = recording_facts(tmp_path).gaps
    assert gap.topics == (BOOK,)
    assert str(dropped[0]) in gap.reason


async def test_a_killed_recorder_and_the_next_one_leave_a_gap_between_them(
    exchange: ExchangeServer, tmp_path: Path
) -> None:
    async with recording(exchange, tmp_path) as recorder:
        await until(lambda: recorder.counts.frames >= 20)
    (file,) = recording_files(tmp_path)
    os.truncate(file, os.stat(file).st_size - 3)  # as a kill in the last write leaves it
    async with recording(exchange, tmp_path) as recorder:
        await until(lambda: recorder.counts.frames >= 20)
    facts = recording_facts(tmp_path)
    assert facts.torn_bytes > 0
    assert [(gap.topics, gap.reason) for gap in facts.gaps] == [(TOPICS, "the recorder was killed")]


async def test_a_topic_that_the_venue_refuses_is_an_error_if_none_is_left(
    exchange: ExchangeServer, tmp_path: Path
) -> None:
    with pytest.raises(Rejected, match=r"tickers\.NOUSDT is refused"):
        async with asyncio.timeout(30), recording(exchange, tmp_path, ("tickers.NOUSDT",)):
            pass
