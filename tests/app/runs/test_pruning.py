"""Old market events go by size or by age; what recovery and the lists need stays."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.state.disk import THIS_DISK
from bot.adapters.state.journal import Journal
from bot.app.runs.live.recovery import account_folder
from bot.app.state import journals
from bot.domain.messages import BarsClosed, Quote
from bot.service.journaling import trim
from tests.app.runs.lives import fills_of, live, plan_on, tape

DAY_S = 86_400.0


async def test_segments_of_a_stated_age_lose_their_market_events_and_the_account_goes_on(
    tmp_path: Path,
) -> None:
    plan = plan_on(tmp_path)
    life = live(plan, segment_bytes=20_000)
    events = tape(60)
    life.see(events)
    account, now_ms = str(life.account), life.standing.engine.state.now_ms
    life.kill()
    journal, fills = Journal(account_folder(plan)), fills_of(plan)
    numbers = journal.numbers()
    assert len(numbers) > 6
    for number in numbers:  # the oldest is nine days old, the newest of today
        written_s = 1e9 - 9 * DAY_S * (numbers[-1] - number) / len(numbers)
        os.utime(journal.path(number), (written_s, written_s))
    assert trim(journal, 1 << 40, THIS_DISK) == 0
    old = [number for number in numbers if journal.path(number).stat().st_mtime < 1e9 - 5 * DAY_S]
    assert trim(journal, 1 << 40, THIS_DISK, older_than_s=1e9 - 5 * DAY_S) == len(old) > 1
    assert trim(journal, 1 << 40, THIS_DISK, older_than_s=1e9 - 5 * DAY_S) == 0
    kinds = {type(each.entry) for number in old for each in whole(journal, number)}
    assert not kinds & {Quote, BarsClosed}
    assert journals.verify(journal).condensed == len(old)
    assert trim(journal, 0, THIS_DISK, older_than_s=1e12) == len(numbers) - 2 - len(old)
    assert fills_of(plan) == fills
    again = live(plan, up=False, now_ms=now_ms)
    assert str(again.account) == account
    again.kill()


async def test_snapshots_count_as_part_of_what_is_kept(tmp_path: Path) -> None:
    """Of 200 symbols with a model a segment has 8 MB, and its snapshot 30."""
    plan = plan_on(tmp_path)
    life = live(plan, segment_bytes=20_000)
    life.see(tape(60))
    life.kill()
    journal = Journal(account_folder(plan))
    assert sum(each.stat().st_size for each in journal.folder.iterdir()) == sum(
        map(journal.size, journal.numbers())
    )
    keep_bytes = sum(map(journal.size, journal.numbers())) // 2
    assert trim(journal, keep_bytes, THIS_DISK) > 1
    assert sum(map(journal.size, journal.numbers())) <= keep_bytes


def whole(journal: Journal, number: int) -> list[object]:
    segment = journal.read(number)
    assert segment is not None
    return list(segment.entries)


@pytest.mark.parametrize(("keep_days", "condensed"), [(None, 0), (3, 3)])
async def test_the_daemon_prunes_by_age_whenever_a_segment_begins(
    tmp_path: Path, keep_days: int | None, condensed: int
) -> None:
    plan = plan_on(tmp_path)
    life = live(plan, segment_bytes=1 << 30)
    for _ in range(5):
        life.see(tape(2))
        life.keeper.begin()
    journal = life.standing.writer.journal
    later_s = journal.path(1).stat().st_mtime + 4 * DAY_S
    for number in journal.numbers()[3:]:
        os.utime(journal.path(number), (later_s, later_s))
    life.keeper._parts = replace(life.keeper._parts, keep_days=keep_days, wall_s=lambda: later_s)
    tidying = asyncio.create_task(life.keeper.tidy())
    async with asyncio.timeout(20):
        while sum(journal.is_condensed(number) for number in journal.numbers()) < condensed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
    tidying.cancel()
    assert [number for number in journal.numbers() if journal.is_condensed(number)] == [1, 2, 3][:condensed]
    life.kill()
