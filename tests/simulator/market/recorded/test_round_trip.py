"""Record an exchange, replay the recording, record again: the same frames."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.recordings import recorder as module
from bot.adapters.recordings.rows import FRAME
from bot.bybit.frames import KeptState
from bot.simulator.config import ExchangeConfig
from bot.simulator.server import running
from tests.adapters.recordings.taps import TOPICS, recording, rows, until

SPEED = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.02)


async def recorded(exchange: ExchangeConfig, out: Path, frames: int) -> None:
    async with running(exchange) as server, recording(server, out, rotate_ms=300) as recorder:
        await until(lambda: recorder.counts.frames >= frames)


def by_topic(out: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {topic: [] for topic in TOPICS}
    for row in rows(out):
        if row.sort == FRAME:
            found[json.loads(row.text)["topic"]].append(row.text.decode())
    return found


def state_at(out: Path, topic: str, before: str) -> dict[str, Any]:
    """What the frames of a topic add up to, before one of them."""
    state = KeptState()
    for text in by_topic(out)[topic]:
        if text == before:
            break
        state.apply(topic, text.encode())
    (snapshot,) = state.snapshots()
    return dict(json.loads(snapshot))


async def test_a_replayed_recording_is_recorded_again_to_the_last_letter(tmp_path: Path) -> None:
    """All but the two snapshots with which the book and the ticker of the second recording begin.

    Nobody recorded these: they are what the first recording's frames add up to at that moment.
    """
    once, again = tmp_path / "once", tmp_path / "again"
    invented = ExchangeConfig(port=0, symbols=("BTCUSDT",), speed=SPEED, ticks_per_s=50, history_bars=300)
    await recorded(invented, once, 500)
    await recorded(ExchangeConfig(port=0, recording=once, speed=SPEED, ticks_per_s=50), again, 250)
    first, second = by_topic(once), by_topic(again)
    for topic in TOPICS:
        found = second[topic]
        if topic.startswith(("orderbook", "tickers")):
            snapshot, *found = found
            assert json.loads(snapshot) == state_at(once, topic, found[0])
        at = first[topic].index(found[0])
        assert first[topic][at : at + len(found)] == found
        assert found
