"""A new segment begins beside the loop: events go on, and a kill at any moment loses none of them."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from bot.app.runs.live.building import make_engine
from bot.app.runs.live.plan import LivePlan
from bot.app.state import journals
from bot.domain.messages import BarsClosed, Command, Event, ModelSwapped, Quote
from bot.journal.entries import Closed
from bot.strategy.signal import Target, View
from tests.app.runs.lives import Life, live, plan_on, tape
from tests.app.runs.test_model_names import closes
from tests.app.runs.test_model_swap import TURNING, base, begun, differences, plan, promoted, rewarming
from tests.helpers import instrument
from tests.journal.test_lines import EVENT_EXAMPLES

__all__ = ["base", "plan"]
SMALL = 30_000


def is_close(event: Event) -> bool:
    return isinstance(event, BarsClosed | ModelSwapped)


def segment(life: Life) -> int:
    return life.standing.writer.end.segment


def ahead(
    life: Life, keep: Callable[[Callable[[], None]], None] = lambda begin: begin()
) -> "asyncio.Task[None]":
    return asyncio.ensure_future(life.keeper.write_ahead(keep))


async def until(life: Life, number: int) -> None:
    async with asyncio.timeout(10):
        while segment(life) < number:  # noqa: ASYNC110 (a thread writes, and nobody is told)
            await asyncio.sleep(0)


def see(life: Life, events: Iterable[Event]) -> Event:
    """See events until a segment is due; return the next one."""
    for event in events:
        if life.standing.writer.size >= SMALL:
            return event
        life.see([event])
    raise AssertionError("no segment was due")


@pytest.fixture
def paper(tmp_path: Path) -> LivePlan:
    return plan_on(tmp_path / "state")


async def test_events_between_two_closes_go_on_while_the_snapshot_is_written(paper: LivePlan) -> None:
    life, events = live(paper, segment_bytes=SMALL), iter(tape(400))
    task = ahead(life)
    await asyncio.sleep(0)
    event = see(life, events)
    while is_close(event):
        life.see([event])
        event = next(events)
    await asyncio.sleep(0)  # the snapshot has begun
    digest = life.standing.engine.state.digest()
    life.see([event])
    assert segment(life) == 1
    assert life.standing.engine.state.digest() != digest
    await until(life, 2)
    digest = life.standing.engine.state.digest()
    journal = life.standing.writer.journal
    last = journal.last()
    assert last is not None
    assert journal.snapshot(last.header).digest == digest  # of the present, not of when it began
    life.see(events)
    life.stop()
    task.cancel()
    assert differences(paper) == {None}


async def test_a_close_makes_what_was_written_ahead_useless(paper: LivePlan) -> None:
    life, events = live(paper, segment_bytes=SMALL), iter(tape(400))
    kept = []
    task = ahead(life, lambda begin: kept.append(segment(life)) or begin())
    await asyncio.sleep(0)
    event = see(life, events)
    await asyncio.sleep(0)
    while not is_close(event):
        life.see([event])
        event = next(events)
    life.see([event])  # while the thread writes, or just after
    assert (segment(life), kept) == (1, [])
    await until(life, 2)
    assert kept == [1]
    life.kill()
    task.cancel()
    again = live(paper)
    assert again.standing.halts == []
    again.stop()
    assert differences(paper) == {None}


@pytest.mark.parametrize("strategy", [TURNING, "tests.app.runs.test_segments:Forgets"])
async def test_what_forecasts_and_strategies_remember_is_that_of_the_last_close(
    strategy: str, base: Path, tmp_path: Path
) -> None:
    chosen = {"feed__interval": "15m", "model__path": base, "venue__fills": "bars"}
    plan = begun(plan_on(tmp_path / "state", strategy=strategy, **chosen))
    life, market = live(plan, segment_bytes=SMALL), iter(closes(0, 850))
    task = ahead(life)
    await asyncio.sleep(0)
    coming = see(life, market)
    await asyncio.sleep(0)  # a thread begins to write
    life.see([coming])
    now_ms = life.standing.engine.state.now_ms
    await until(life, 2)
    life.see([Quote(now_ms, "BTCUSDT", 100.0, 100.1)])
    digest, journal = life.standing.engine.state.digest(), life.standing.writer.journal
    last = journal.last()
    assert last is not None
    kept = journal.snapshot(last.header)
    assert kept is not None
    life.kill()
    again = live(plan, up=False, now_ms=now_ms)
    engine = make_engine(plan, {each: instrument(each) for each in plan.symbols}, "bot1")
    for closed in kept.history:
        engine.handle(msgspec.structs.replace(closed, live=False))
    engine.restore(bytes(kept.engine))
    assert engine.state.digest() == kept.digest
    engine.handle(Quote(now_ms, "BTCUSDT", 100.0, 100.1))
    assert engine.state.digest() == digest
    again.see(market)
    again.stop()
    task.cancel()
    assert differences(plan) == {None}


class Forgets:
    """A strategy without a state of its own: a start shows it the past closes again."""

    needs_forecast = True

    def on_bar(self, view: View) -> Target | None:
        return Target(view.worth(0.1) if view.bar.start_ms // 900_000 % 7 < 3 else 0.0, "turn")


async def test_bars_that_close_every_moment_end_a_segment_at_twice_its_size(paper: LivePlan) -> None:
    life = live(paper, segment_bytes=SMALL)
    task = ahead(life)
    await asyncio.sleep(0)
    sizes = []
    for event in tape(400, quotes=0):
        life.see([event])
        sizes.append(life.standing.writer.size)
    assert segment(life) > 2
    assert SMALL < max(sizes) < 2.2 * SMALL
    life.stop()
    task.cancel()
    assert differences(paper) == {None}


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_stop_or_a_kill_while_a_snapshot_is_written_loses_nothing(
    paper: LivePlan, goes_on: bool
) -> None:
    life, events = live(paper, segment_bytes=SMALL), iter(tape(400))
    task = ahead(life)
    await asyncio.sleep(0)
    see(life, events)
    await asyncio.sleep(0)
    account = life.account
    life.stop() if goes_on else life.kill()
    task.cancel()
    entries = list(life.standing.writer.journal.all())
    assert any(isinstance(each.entry, Closed) for each in entries[-1].entries) is goes_on
    again = live(paper, up=False)
    assert (again.standing.known, again.standing.halts) == (True, [])
    assert again.account == account
    again.stop()
    assert differences(paper) == {None}


async def test_a_kill_between_the_first_part_and_the_rest_of_a_swaps_snapshot_loses_nothing(
    plan: LivePlan,
) -> None:
    market = closes(0, 850)
    first, killed = live(begun(plan)), asyncio.Event()

    def kill(begin: Callable[[], None]) -> None:
        killed.set()
        first.kill()

    task = ahead(first, kill)
    await asyncio.sleep(0)
    first.see(market[:840])
    newer = promoted(plan)
    warming = rewarming(first, plan, newer)
    for each in market[:840]:
        warming.see((each.bars, (float("nan"),) * 2))
    warming.has_read()
    swap = warming.after(market[839])
    assert swap is not None
    first.standing.engine.offer(warming.successor)
    first.see([swap])
    async with asyncio.timeout(10):
        await killed.wait()
    task.cancel()
    folder = first.standing.writer.journal.folder
    assert journals.models_in_journals(plan.settings.state_dir) == {plan.checkpoint.hash, newer.hash}
    assert (folder / "000002.snapshot.json.new").stat().st_size > 1_000
    second = live(begun(plan), now_ms=market[839].close_ms, up=False)
    assert second.standing.halts == []
    assert segment(second) == 2
    second.see(market[840:])
    second.stop()
    assert differences(plan) == {None}


async def test_only_a_close_and_a_swap_change_what_is_written_ahead(plan: LivePlan) -> None:
    life = live(begun(plan))
    engine = life.standing.engine

    def first() -> bytes:
        return b"".join(engine.snapshot_ahead().first())

    life.see(closes(0, 30))
    before = first()
    orders = ("pause", "resume", "flatten", "halt", "unhalt")
    between = [Command(engine.state.now_ms, what) for what in orders]
    for event in (*EVENT_EXAMPLES, *between, *tape(2)):
        if not is_close(event):
            engine.handle(event)
            assert first() == before, event
    life.see(closes(30, 31))
    assert first() != before
    life.kill()
