"""Whichever act of the disk fails: nothing unkept has left, the bot halts, cancels leave, and it says so."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
from bot.domain.errors import StoreFailed
from bot.domain.messages import (
    CancelOrder,
    Effect,
    Event,
    OrderAccepted,
    OrderCancelled,
    PlaceOrder,
    VenueEffect,
    VenueEvent,
)
from bot.engine.core import Engine
from bot.service.daemon import Daemon
from bot.strategy.signal import Target, View
from tests.adapters.state.failing import FailingDisk
from tests.helpers import T0
from tests.service.daemon.test_daemon import Remote
from tests.service.daemons import make_parts, story

_NEVER = 1_000_000


class Requotes:
    """Rests below the market, at another price each bar, so that each close cancels and places."""

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0, limit_price=96.0 + view.bar.start_ms // 300_000 % 3)

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass


class Rests(Remote):
    """Accepts and cancels. Each order that arrives must outlive a power cut."""

    def __init__(self, disk: FailingDisk) -> None:
        super().__init__()
        self.orders: list[str] = []
        self._disk = disk

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        self.sent.append(effect)
        if isinstance(effect, PlaceOrder):
            kept = b"".join(
                path.read_bytes()[:size] for path, size in self._disk.synced.items() if path.exists()
            )
            assert f'"order_id":"{effect.order_id}"'.encode() in kept, "an order left before it was kept"
            assert not self._disk.failed, "an order left although the journal has failed"
            self.orders.append(effect.order_id)
            self._told.put_nowait(OrderAccepted(T0, effect.order_id))
        if isinstance(effect, CancelOrder):
            self._told.put_nowait(OrderCancelled(T0, effect.order_id, "CancelByUser"))
        return ()


def note_states(engine: Engine, disk: FailingDisk) -> list[str]:
    """Return a list that gets the digest of each state in which ``engine`` is until the disk fails.

    A recorder would miss some: it hears of an event before the engine handles it, and of effects only
    once they are kept.
    """
    were, handle = [engine.state.digest()], engine.handle

    def noted(event: Event) -> Sequence[Effect]:
        effects = handle(event)
        if not disk.failed:  # the halt that follows is in no journal
            were.append(engine.state.digest())
        return effects

    engine.handle = noted  # type: ignore[method-assign]
    return were


@pytest.mark.fault(64)
@pytest.mark.invariant(5)
@pytest.mark.invariant(14)
@pytest.mark.parametrize("for_good", [False, True])
async def test_whichever_act_of_the_disk_fails_the_bot_halts_and_goes_on_from_a_state_that_was(
    tmp_path: Path, for_good: bool
) -> None:
    assert not await _one(tmp_path / "whole", _NEVER, for_good=for_good)
    fails_at = 1
    while await _one(tmp_path / str(fails_at), fails_at, for_good=for_good):
        fails_at += 1
    assert fails_at > 60


async def _one(place: Path, fails_at: int, *, for_good: bool) -> bool:
    """Run a daemon whose disk fails; check that run and what the next start finds; return whether it failed.

    The states are those of this very run: the order of its events differs a little from run to run.
    """
    place.mkdir()  # noqa: ASYNC240 (nobody waits for it)
    disk = FailingDisk(fails_at, for_good=for_good)
    venue, cleared, daemon = Rests(disk), list[str](), None
    were: list[str] = []

    async def clear() -> list[str]:
        cleared.append("asked")
        return []

    error: StoreFailed | None = None
    try:
        chosen = {"venue": venue, "remote": venue, "clear": clear, "bars_max": 4, "strategy": Requotes()}
        halt = HaltFile(place, disk.disk)
        parts = make_parts(place, story(6), disk=disk.disk, halt=halt, **chosen)
        were = note_states(parts.engine, disk)
        daemon = Daemon(parts)
        async with asyncio.timeout(10):
            await daemon.run()
    except StoreFailed as caught:
        error = caught
    assert (error is not None) is disk.failed, fails_at
    cancelled = {each.order_id for each in venue.sent if isinstance(each, CancelOrder)}
    if error is not None:
        assert "No space left" in str(error), fails_at
        if daemon is not None:
            assert daemon.engine.state.breaker.state == "halted", fails_at
            assert cleared == ["asked"], fails_at
            assert set(daemon.engine.state.orders.live) <= cancelled, fails_at
            assert for_good or HaltFile(place).is_set(), fails_at
    disk.lose_unsynced()
    after = make_parts(place, [], strategy=Requotes(), remote=venue)
    after.keeper.release()
    state = after.engine.state
    assert daemon is None or state.digest() in were, fails_at
    assert error is not None or state.digest() == were[-1], "a clean stop lost events"
    assert error is not None or len(venue.orders) > 1
    assert set(venue.orders) <= set(state.orders.live) | cancelled, fails_at
    return disk.failed
