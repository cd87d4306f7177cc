"""A promoted model takes over between two bars of a running bot; a replay of the journal decides the same."""

import asyncio
import os
from collections import deque
from dataclasses import replace
from itertools import pairwise
from math import nan
from pathlib import Path

import msgspec
import pytest

from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.lineage import RECORD, Attempt, Lineage
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.recovery import account_folder
from bot.app.runs.live.succession import Succession, closes_of
from bot.app.runs.live.successors import begin_with, header_arguments, successor_of
from bot.app.state import journals
from bot.app.wiring import make_forecasters
from bot.domain.errors import BadInput, StoreFailed
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, FundingRate, ModelSwapped
from bot.features.bridge import NO_BRIDGE, Bridge
from bot.journal.entries import Marked
from bot.service.rewarming import Rewarming
from tests.app.runs.lives import Life, live, plan_on
from tests.app.runs.test_model_names import closes, orders
from tests.research import series

COUNT = 850
TURNING = "tests.app.runs.test_model_names:Turning"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series.saved_model(tmp_path_factory.mktemp("base"))


def promoted(plan: LivePlan, seed: int = 1) -> Checkpoint:
    """Promote another model in the line of the plan's; return it."""
    lineage, base = Lineage(plan.settings.state_dir / "models"), plan.base or plan.checkpoint
    made = checkpoint.load(series.saved_model(plan.settings.state_dir / "made", seed=seed))
    attempt = Attempt(ts_ms=0, verdict="promoted", reason="", incumbent=lineage.line(base.hash).current)
    return checkpoint.load(lineage.promote(base, made, plan.settings.state_dir / "made/model", attempt, 5))


@pytest.fixture
def plan(base: Path, tmp_path: Path) -> LivePlan:
    return plan_on(
        tmp_path / "state",
        strategy=TURNING,
        feed__interval="15m",
        model__path=base,
        venue__fills="bars",
    )


def begun(plan: LivePlan) -> LivePlan:
    return begin_with(plan, account_folder(plan))[0]


def rewarming(life: Life, plan: LivePlan, model: Checkpoint) -> Rewarming:
    (shadow,) = make_forecasters(model, plan.symbols).values()
    return Rewarming(life.standing.engine, plan.interval_ms, shadow, successor_of(plan, model))


def see(life: Life, warming: Rewarming, events: list[BarsClosed]) -> ModelSwapped | None:
    """Let the bot and the newer model see closes; return the first swap that is due."""
    for event in events:
        life.see([event])
        if (swap := warming.after(event)) is not None:
            return swap
    return None


def swapped(
    life: Life, plan: LivePlan, model: Checkpoint, past: list[BarsClosed], coming: BarsClosed
) -> None:
    """Warm a newer model while the bot sees a close, then let it take over."""
    warming = rewarming(life, plan, model)
    for each in past[:-3]:
        warming.see((each.bars, (nan, nan)))
    assert see(life, warming, [coming]) is None  # it has not read everything: the old one decides
    for each in past[-5:]:  # REST may bring bars twice
        warming.see((each.bars, (nan, nan)))
    warming.has_read()
    swap = warming.after(coming)
    assert swap is not None
    life.standing.engine.offer(warming.successor)
    life.keeper.name_model(header_arguments(life.standing.header.arguments, model))
    life.see([swap])


def succession(life: Life, plan: LivePlan, told: list[tuple[str, dict[str, object]]]) -> Succession:
    """The way of a promoted model into a bot that has seen no bar: nothing is asked over REST."""
    engine, arguments = life.standing.engine, life.standing.header.arguments
    return Succession(engine, plan, None, arguments, lambda *note: told.append(note))


async def test_a_model_that_is_damaged_on_the_disk_goes_on_in_memory(plan: LivePlan) -> None:
    newer, lineage = promoted(plan), Lineage(plan.settings.state_dir / "models")
    life, told = live(begun(plan)), []
    looks = succession(life, begun(plan), told)
    (lineage.folder / f"retrained-{newer.hash[:12]}" / "weights.safetensors").write_bytes(b"no weights")
    lineage.note(plan.checkpoint.hash, Attempt(ts_ms=1, verdict="refused", reason="worse"))
    await looks._look()
    assert looks.facts()["model_hash"] == newer.hash
    assert looks.facts()["model_coming_hash"] is None
    assert [name for name, _ in told] == ["model_not_taken"]
    life.stop()


async def test_trouble_with_a_promoted_model_is_over_once_it_is_rolled_back(plan: LivePlan) -> None:
    life, told = live(begun(plan)), []
    looks = succession(life, begun(plan), told)
    await looks._look()
    newer, lineage = promoted(plan), Lineage(plan.settings.state_dir / "models")
    (lineage.folder / f"retrained-{newer.hash[:12]}" / "weights.safetensors").write_bytes(b"no weights")
    await looks._look()
    assert "retrained-" in str(looks.facts()["model_trouble"])
    lineage.roll_back(plan.checkpoint.hash, 1, "")
    await looks._look()
    assert looks.facts()["model_trouble"] is None
    life.stop()


async def test_a_newer_model_of_another_kind_is_refused_once(plan: LivePlan) -> None:
    life, told = live(begun(plan)), []
    looks = succession(life, begun(plan), told)
    promoted(plan)
    manifest = msgspec.structs.replace(looks._model.manifest, interval_ms=60_000)
    looks._model = replace(looks._model, manifest=manifest)
    for _ in range(2):
        looks._pending = True
        await looks._look()
    assert [name for name, _ in told] == ["model_not_taken"]
    assert "is for other features, bars or horizons" in str(looks.facts()["model_trouble"])
    assert looks.facts()["model_coming_hash"] is None
    life.stop()


async def test_a_running_bot_knows_which_models_were_rolled_back(plan: LivePlan) -> None:
    life = live(begun(plan))
    looks = succession(life, begun(plan), [])
    newer, lineage = promoted(plan), Lineage(plan.settings.state_dir / "models")
    await looks._look()
    assert not looks.is_rolled_back(newer.hash)
    lineage.roll_back(plan.checkpoint.hash, 1, "")
    await looks._look()
    assert looks.is_rolled_back(newer.hash)
    assert looks.facts()["model_coming_hash"] is None
    promoted(plan)
    await looks._look()
    assert not looks.is_rolled_back(newer.hash)
    life.stop()


async def test_a_record_that_could_not_be_read_once_is_read_again(plan: LivePlan) -> None:
    life, told = live(begun(plan)), []
    looks = succession(life, begun(plan), told)
    await looks._look()
    newer, lineage = promoted(plan), Lineage(plan.settings.state_dir / "models")
    record = lineage.folder / RECORD
    whole, times = record.read_bytes(), (record.stat().st_atime_ns, record.stat().st_mtime_ns)
    record.write_bytes(b"?" * len(whole))
    os.utime(record, ns=times)
    with pytest.raises(StoreFailed):
        await looks._look()
    record.write_bytes(whole)
    os.utime(record, ns=times)  # it looks as it did
    await looks._look()
    assert looks.facts()["model_coming_hash"] == newer.hash
    life.stop()


def test_a_price_that_nobody_followed_fills_no_hole(plan: LivePlan) -> None:
    """From a model with a bridge to one without, then to one with a bridge again."""
    model = plan.checkpoint
    (forecaster,) = make_forecasters(model, plan.symbols).values()
    forecaster.restore(msgspec.structs.replace(forecaster.record(), last_close=(100.0,) * len(plan.symbols)))
    assert model.bridge == NO_BRIDGE
    successor = replace(successor_of(plan, model), bridge=Bridge((4, 8), 10))
    forecaster.succeed(successor, forecaster.swap(0, plan.interval_ms))
    assert forecaster.record().last_close == (0.0,) * len(plan.symbols)


def models_kept(life: Life) -> list[str]:
    """The model of each close with forecasts, in order."""
    entries = [each.entry for segment in life.standing.writer.journal.all() for each in segment.entries]
    return [each.model for each in entries if isinstance(each, Marked) and each.forecasts]


def differences(plan: LivePlan) -> set[object]:
    journal = journals.choose_journal(plan.settings.state_dir, None)
    return {each.difference for each in journals.replay(journal)}


async def test_a_promoted_model_takes_over_between_bars_and_the_journal_replays(plan: LivePlan) -> None:
    market = closes(0, COUNT)
    first = live(begun(plan))
    first.see(market[: COUNT - 40])
    newer = promoted(plan)
    cold = rewarming(first, plan, newer)
    for each in market[COUNT - 45 : COUNT - 40]:
        cold.see((each.bars, (nan, nan)))
    cold.has_read()
    assert cold.after(market[COUNT - 41]) is None  # it has seen the same last bars, but too few of them
    swapped(first, plan, newer, market[: COUNT - 40], market[COUNT - 40])
    first.see(market[COUNT - 39 : COUNT - 20])
    (alone,) = make_forecasters(newer, plan.symbols).values()  # as if it had always been the model
    told = [alone.step(each.bars, (nan, nan)) for each in market[: COUNT - 20]]
    assert [sym.view.forecast for sym in first.standing.engine.state.symbols.values()] == told[-1]
    old, new = plan.checkpoint.hash, newer.hash
    kept = models_kept(first)
    assert [here for here, after in pairwise(kept) if here != after] == [old]
    assert kept[-20:] == [old, *[new] * 19]  # no close without a forecast
    assert set(orders(first)) == {old, new}
    digest = first.standing.engine.state.digest()
    first.kill()

    second = live(begun(plan))  # the journal says which model it is: no warm-up, no halt
    assert (second.standing.known, second.standing.halts) == (True, [])
    assert second.standing.engine.state.forecasters[plan.interval_ms].model == new
    assert digest == _digest_before_start(second)
    second.see(market[COUNT - 20 :])
    second.stop()
    assert models_kept(second)[-20:] == [new] * 20
    assert differences(plan) == {None}
    assert journals.models_in_journals(plan.settings.state_dir) == {new}


def _digest_before_start(life: Life) -> str:
    """Replay what the first process left, once more, and return the digest of its state."""
    from bot.app.runs.live.arguments import Arguments, plan_from
    from bot.app.runs.live.recovery import replay_segment

    journal = life.standing.writer.journal
    segment = [each for each in journal.all() if each.header.process == 1][-1]
    arguments = Arguments.decode(segment.header.arguments)
    done = replay_segment(segment, journal.snapshot(segment.header), arguments, plan_from(arguments))
    return done.engine.state.digest()


async def test_a_kill_between_the_swap_and_the_next_segment_loses_nothing(plan: LivePlan) -> None:
    market = closes(0, COUNT)
    first = live(begun(plan))
    first.see(market[: COUNT - 10])
    newer = promoted(plan)
    warming = rewarming(first, plan, newer)
    for each in market[: COUNT - 10]:
        warming.see((each.bars, (nan, nan)))
    warming.has_read()
    swap = warming.after(market[COUNT - 11])
    first.standing.engine.offer(warming.successor)
    first.driver.take(swap)  # written and handled; the keeper has not begun the next segment
    first.driver.take(market[COUNT - 10])
    first.kill()
    assert journals.models_in_journals(plan.settings.state_dir) == {plan.checkpoint.hash, newer.hash}
    second = live(begun(plan), now_ms=market[COUNT - 10].close_ms)
    assert second.standing.halts == []
    assert second.standing.engine.state.forecasters[plan.interval_ms].model == newer.hash
    second.see(market[COUNT - 9 :])
    assert set(models_kept(second)[-9:]) == {newer.hash}
    second.stop()
    assert differences(plan) == {None}


async def test_a_bot_begins_with_the_model_of_its_journal_and_a_fresh_one_with_the_newest(
    plan: LivePlan,
) -> None:
    first = live(begun(plan))
    first.see(closes(0, 30))
    first.kill()
    newer = promoted(plan)
    assert begun(plan).model.hash == plan.checkpoint.hash  # it warms the newer one and takes it live
    second = live(begun(plan))
    assert second.standing.halts == []
    second.kill()
    assert begun(replace(plan, fresh=True)).model.hash == newer.hash
    lineage = Lineage(plan.settings.state_dir / "models")
    lineage.roll_back(plan.checkpoint.hash, 1, "")
    assert begun(replace(plan, fresh=True)).model.hash == plan.checkpoint.hash


async def test_a_model_takes_over_only_if_it_was_offered_and_has_seen_the_same_bars(
    plan: LivePlan, base: Path
) -> None:
    (shadow,) = make_forecasters(checkpoint.load(base), plan.symbols).values()
    life = live(begun(plan))
    engine, swap = life.standing.engine, shadow.swap(0, plan.interval_ms)
    with pytest.raises(BadInput, match="was not offered"):
        engine.handle(swap)
    life.see(closes(0, 2))
    engine.offer(successor_of(plan, checkpoint.load(base)))
    with pytest.raises(BadInput, match="has not seen the same bars"):
        engine.handle(swap)
    life.kill()


def test_past_closes_carry_the_rate_that_was_settled_before_them() -> None:
    first, second = closes(0, 2)
    bars = {bar.symbol: deque([bar, after]) for bar, after in zip(first.bars, second.bars, strict=True)}
    rates = {"BTCUSDT": [FundingRate(first.close_ms, "BTCUSDT", 3)]}
    found = list(closes_of(bars, rates))
    assert [each[0] for each in found] == [first.bars, second.bars]
    assert str([each[1] for each in found]) == "[(nan, nan), (3.0, nan)]"


async def test_past_bars_are_shown_in_small_portions_between_which_the_loop_turns(plan: LivePlan) -> None:
    life, told = live(begun(plan)), []
    looks, newer = succession(life, begun(plan), told), promoted(plan)
    looks._warming = warming = rewarming(life, plan, newer)
    bars = {symbol: deque[Bar]() for symbol in plan.symbols}
    for each in closes(0, COUNT):
        for bar in each.bars:
            bars[bar.symbol].append(bar)
    showing, left = asyncio.ensure_future(looks._shown(warming, closes_of(bars, {}))), [2 * COUNT]
    while not showing.done():
        await asyncio.sleep(0)
        left.append(sum(map(len, bars.values())))
    assert await showing
    assert left[-1] == 0  # no bar is held longer than it is needed
    assert max(before - after for before, after in pairwise(left)) <= 128
    looks._forget()
    assert not await looks._shown(warming, closes_of({"BTCUSDT": deque(closes(0, 1)[0].bars[:1])}, {}))
    life.kill()
