"""The feed against an exchange on this machine: parity with the files it replays, and faults."""

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bot.adapters.net.link import CLOSE_TIMEOUT_S
from bot.domain.errors import BadSettings, BotError, Rejected
from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.domain.messages import BarsClosed, Candle, FundingRate, Gap, LinkDown, LinkUp, MarkPrice, Quote
from bot.service.backtest.history import History
from bot.simulator.faults.hooks import FaultAction
from bot.simulator.ws.connection import Connection
from tests.adapters.feed.rig import (
    BARS_BEFORE,
    BEGIN_MS,
    CALM,
    FAST,
    SYMBOLS,
    Rig,
    Wire,
    fed,
    told,
    write_market,
)

START_MS = BEGIN_MS + 3 * HOUR_MS + 30_000  # in the middle of a bar
A, B = SYMBOLS


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    folder = tmp_path_factory.mktemp("tape")
    return folder, write_market(folder)


@pytest.fixture(scope="module")
def tape(market: tuple[Path, History]) -> Path:
    return market[0]


@pytest.fixture(scope="module")
def history(market: tuple[Path, History]) -> History:
    return market[1]


def assert_each_bar_once_and_as_in_the_file(rig: Rig, history: History) -> None:
    """Every symbol's bars are contiguous, each used once, and the file's to the bit."""
    for candles in history.candles:
        bars = rig.bars(candles.symbol)
        (first,) = candles.start_ms.searchsorted([bars[0].start_ms])
        assert bars == list(candles.bars(int(first), int(first) + len(bars)))


def assert_order_as_in_a_backtest(rig: Rig, history: History) -> None:
    """Closes and rates, joined over symbols, in the very sequence of ``History.events``."""
    closes = rig.closes()
    expected = list(history.events(closes[0].bars[0].start_ms, closes[-1].close_ms))
    here = told(rig.seen)
    assert here == told(expected)[: len(here)]
    assert len(here) >= len(told(expected)) - len(SYMBOLS)  # a rate at the very end may be on its way


async def test_warm_up_and_stream_tell_what_a_backtest_sees_to_the_bit(tape: Path, history: History) -> None:
    settlement_ms = BEGIN_MS + 8 * HOUR_MS
    config = replace(FAST, bars_before=400)
    async with fed(tape, start_ms=settlement_ms - 90_000, config=config) as rig:
        await rig.live(6)
    assert_order_as_in_a_backtest(rig, history)
    assert len(rig.closes()) >= 405
    rates = [event for event in rig.of(FundingRate) if isinstance(event, FundingRate)]
    assert [rate.ts_ms for rate in rates] == [BEGIN_MS] * 2 + [settlement_ms] * 2
    assert rig.feed.facts()["rates"] == 4


async def test_a_rate_settled_while_the_daemon_was_away_is_told_in_its_place(
    tape: Path, history: History
) -> None:
    settlement_ms = BEGIN_MS + 8 * HOUR_MS
    async with fed(tape, start_ms=settlement_ms - 200_000) as rig:
        rig.wire.refuse_ws = rig.wire.refuse_rest = True
        rig.wire.cut()
        await rig.at(settlement_ms + 4 * MINUTE_MS)
        rig.wire.refuse_ws = rig.wire.refuse_rest = False
        await rig.live(3)
    assert_order_as_in_a_backtest(rig, history)


@pytest.mark.fault(43)
async def test_nothing_is_live_before_the_feed_is_up(tape: Path) -> None:
    async with fed(tape, start_ms=START_MS) as rig:
        await rig.live(2)
    first = rig.seen.index(rig.closes(live=True)[0])
    assert isinstance(rig.seen[0], LinkDown)
    assert any(isinstance(event, LinkUp) for event in rig.seen[:first])
    assert len(rig.closes(live=False)) == BARS_BEFORE
    for closed in rig.closes(live=True):
        assert len(closed.bars) == 2
        assert 0 <= closed.seen_ms - closed.close_ms <= 300 * 60  # 60 ms of the machine's time


async def test_what_one_symbol_has_seen_before_a_restart_is_not_told_again(tape: Path) -> None:
    """One symbol had seen ten bars more than the other when the process ended."""
    from_ms = START_MS // MINUTE_MS * MINUTE_MS - 20 * MINUTE_MS
    config = replace(FAST, from_ms=from_ms, seen_ms={A: from_ms + 10 * MINUTE_MS})
    async with fed(tape, start_ms=START_MS, config=config) as rig:
        await rig.live(1)
    told = [[bar.symbol for bar in closed.bars] for closed in rig.closes(live=False)]
    assert told[:10] == [[B]] * 10
    assert {len(bars) for bars in told[10:]} == {2}


@pytest.mark.fault(2)
@pytest.mark.invariant(10)
@pytest.mark.parametrize(
    ("outage_ms", "speed"), [(8_000, 60.0), (30 * MINUTE_MS, 600.0)], ids=["8 s", "30 min"]
)
@pytest.mark.parametrize("rest_too", [False, True])
async def test_bars_of_an_outage_are_all_used_once_in_order_before_the_next_decision(
    outage_ms: int, speed: float, rest_too: bool, tape: Path, history: History
) -> None:
    patient = replace(FAST, close_deadline_ms=1_000)  # a busy machine must not part a close
    async with fed(tape, start_ms=START_MS, speed=speed, config=patient) as rig:
        await rig.live(1)
        begin_ms = rig.closes()[-1].close_ms + MINUTE_MS - 4_000  # over a close
        await rig.at(begin_ms)
        rig.wire.refuse_ws, rig.wire.refuse_rest = True, rest_too
        rig.wire.cut()
        await rig.at(begin_ms + outage_ms)
        rig.wire.refuse_ws = rig.wire.refuse_rest = False
        await rig.live(2)
    assert_order_as_in_a_backtest(rig, history)
    down, up = rig.of(LinkDown)[-1], rig.of(LinkUp)[-1]
    assert rig.seen.index(down) < rig.seen.index(up)
    in_between = [e for e in rig.seen[rig.seen.index(down) : rig.seen.index(up)] if isinstance(e, BarsClosed)]
    assert not any(closed.live for closed in in_between)
    assert len(in_between) >= max(1, outage_ms // MINUTE_MS)
    assert rig.feed.facts()["gaps"] == 0


async def test_a_new_connection_is_caught_up_at_once_and_up_only_then(tape: Path, history: History) -> None:
    """No deadline of a close helps here: the reconnect itself asks for what it may have missed."""
    config = replace(FAST, close_deadline_ms=5_000)
    async with fed(tape, start_ms=START_MS, speed=120.0, config=config) as rig:
        await rig.live(1)
        begin_ms = rig.closes()[-1].close_ms
        rig.wire.refuse_ws = True
        rig.wire.cut()
        await rig.at(begin_ms + 2 * MINUTE_MS + 30_000)
        rig.wire.refuse_ws = False
        await rig.until(lambda: len(rig.of(LinkUp)) == 2, timeout_s=2.0)
        before_up = rig.seen[: rig.seen.index(rig.of(LinkUp)[-1])]
        await rig.live(1)
    told_before = [e.close_ms for e in before_up if isinstance(e, BarsClosed)]
    assert told_before[-2:] == [begin_ms + MINUTE_MS, begin_ms + 2 * MINUTE_MS]
    assert_order_as_in_a_backtest(rig, history)


async def test_a_mute_server_is_noticed_and_replaced(tape: Path, history: History) -> None:
    """TCP stays up, nothing comes any more, pongs neither."""
    wire = Wire()
    async with fed(tape, start_ms=START_MS, speed=120.0, wire=wire) as rig:
        await rig.live(1)
        deaf = set(wire.connections)
        wire.on_push = lambda connection, topic, text: [] if connection in deaf else None
        begun_s = asyncio.get_running_loop().time()
        await rig.until(lambda: len(rig.of(LinkUp)) == 2)
        down_s, up_s = rig.when(rig.of(LinkDown)[-1]) - begun_s, rig.when(rig.of(LinkUp)[-1]) - begun_s
        assert not [c for c in rig.closes(live=True) if begun_s < rig.when(c) < begun_s + up_s]
        await rig.live(2)
    # 0.4 s for ping and pong (0.1 s of ticks), goodbye, wait; the defaults' sum is in test_link.
    assert down_s <= (FAST.ping_ms + FAST.pong_timeout_ms + 100) / 1000.0 + 2 * CLOSE_TIMEOUT_S + 0.3
    assert up_s <= down_s + 0.5
    assert_order_as_in_a_backtest(rig, history)


@pytest.mark.fault(1, 20)
async def test_a_topic_that_stops_while_pongs_go_on_is_subscribed_anew(tape: Path, history: History) -> None:
    wire, stopped, renewed = Wire(), [True], []

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [] if topic == f"kline.1.{B}" and stopped[0] else None

    def said(connection: Connection, text: str) -> str:
        if "unsubscribe" in text:
            renewed.append(text)
            stopped[0] = False
        return text

    config = replace(CALM, silence_ms=1_000)
    async with fed(tape, start_ms=START_MS, config=config, wire=wire) as rig:
        await rig.live(1)
        wire.on_push, wire.on_said = push, said
        await rig.until(lambda: bool(renewed))
        await rig.until(lambda: len(rig.closes(live=True)[-1].bars) == 2)
        await rig.live(2)
        facts = rig.feed.facts()
    assert (facts["renewals"], facts["reconnects"]) == (1, 0)
    assert [len(json.loads(text)["args"]) for text in renewed] == [1]
    alone = [closed for closed in rig.closes(live=True) if len(closed.bars) == 1]
    assert alone  # the other symbol was decided on meanwhile, the silent one was not
    assert_each_bar_once_and_as_in_the_file(rig, history)


async def test_a_topic_that_stays_silent_costs_the_connection_once(tape: Path, history: History) -> None:
    wire = Wire()

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [] if topic == f"kline.1.{B}" else None

    cause = f"{B}: silent though subscribed anew"
    config = replace(CALM, silence_ms=300, close_deadline_ms=FAST.close_deadline_ms)
    async with fed(tape, start_ms=START_MS, config=config, wire=wire) as rig:
        await rig.live(1)
        wire.on_push = push
        await rig.until(lambda: rig.lost_to(cause) == 1)
        await rig.live(5)
        assert rig.lost_to(cause) == 1
        # REST brings the silent symbol's bars meanwhile
        await rig.until(lambda: rig.bars(B)[-1].start_ms >= rig.bars(A)[-1].start_ms - 5 * MINUTE_MS)


async def test_all_topics_silent_is_a_dead_connection(tape: Path, history: History) -> None:
    wire = Wire()
    async with fed(tape, start_ms=START_MS, config=CALM, wire=wire) as rig:
        await rig.live(1)
        deaf = set(wire.connections)
        wire.on_push = lambda c, topic, text: [] if c in deaf and topic.startswith("kline") else None
        await rig.until(lambda: len(rig.of(LinkUp)) == 2)
        await rig.live(2)
        assert wire.dials == 2
    assert rig.lost_to("no confirmed candle") == 1
    assert_each_bar_once_and_as_in_the_file(rig, history)


def altered(text: str) -> str:
    """The same confirmed candle with another volume."""
    return re.sub(r'"volume":"[^"]*"', '"volume":"0.5"', text)


@pytest.mark.fault(3)
@pytest.mark.invariant(10)
async def test_repeats_and_contradictions_are_counted_and_not_used(tape: Path, history: History) -> None:
    wire = Wire()

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        if '"confirm":true' in text:
            return [(0.0, text), (0.0, text), (0.01, altered(text))]
        return None

    wire.on_push = push
    async with fed(tape, start_ms=START_MS, wire=wire) as rig:
        await rig.live(4)
        await rig.until(lambda: rig.feed.facts()["conflicts"] >= 6)
        facts = rig.feed.facts()
    assert facts["repeats"] >= facts["conflicts"] >= 6
    assert facts["conflicts_lost"] == 0  # REST agrees with what was used
    assert_order_as_in_a_backtest(rig, history)


@pytest.mark.fault(3)
async def test_a_first_confirmation_that_rest_contradicts_is_reported(tape: Path) -> None:
    wire = Wire()

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [(0.0, altered(text)), (0.0, text)] if '"confirm":true' in text else None

    wire.on_push = push
    async with fed(tape, start_ms=START_MS, wire=wire) as rig:
        await rig.until(lambda: rig.feed.metrics.conflicts_lost >= 2)
        assert rig.bars(A)[-1].volume == 0.5  # the first counts, whatever comes later


@pytest.mark.invariant(17)
async def test_a_confirmation_that_never_comes_is_fetched_and_not_traded_on(
    tape: Path, history: History
) -> None:
    wire, lost = Wire(), []

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic == f"kline.1.{B}" and '"confirm":true' in text and not lost:
            lost.append(text)
            return []
        return None

    async with fed(tape, start_ms=START_MS, speed=120.0, wire=wire) as rig:
        await rig.live(1)
        wire.on_push = push
        await rig.until(lambda: bool(lost))
        await rig.live(4)
    start_ms = json.loads(lost[0])["data"][0]["start"]
    late = [closed for closed in rig.closes(live=False)[BARS_BEFORE:] if closed.bars[0].symbol == B]
    assert [closed.bars[0].start_ms for closed in late][:1] == [start_ms]
    same = next(closed for closed in rig.closes(live=True) if closed.close_ms == start_ms + MINUTE_MS)
    assert [bar.symbol for bar in same.bars] == [A]
    assert same.seen_ms - same.close_ms >= FAST.barrier_ms * 120  # waited for as long as was agreed
    assert_each_bar_once_and_as_in_the_file(rig, history)


async def test_a_late_confirmation_skips_its_decision_but_not_the_next(tape: Path, history: History) -> None:
    wire, delayed = Wire(), []

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic == f"kline.1.{B}" and '"confirm":true' in text and not delayed:
            delayed.append(text)
            return [(0.1, text)]
        return None

    config = replace(FAST, close_deadline_ms=400)
    async with fed(tape, start_ms=START_MS, speed=120.0, wire=wire, config=config) as rig:
        await rig.live(1)
        wire.on_push = push
        await rig.until(lambda: bool(delayed))
        await rig.live(3)
    start_ms = json.loads(delayed[0])["data"][0]["start"]
    by_close = {closed.close_ms: closed for closed in rig.closes(live=True)}
    assert len(by_close[start_ms + MINUTE_MS].bars) == 1
    assert len(by_close[start_ms + 2 * MINUTE_MS].bars) == 2
    assert rig.feed.metrics.bars_fetched == 0
    assert_each_bar_once_and_as_in_the_file(rig, history)


def without(body: bytes, missing_ms: set[int]) -> bytes:
    """A kline answer that lacks some rows."""
    answer = json.loads(body)
    answer["result"]["list"] = [row for row in answer["result"]["list"] if int(row[0]) not in missing_ms]
    return json.dumps(answer).encode()


@pytest.mark.fault(11)
async def test_bars_that_do_not_exist_are_a_gap_after_several_answers(tape: Path) -> None:
    wire, missing = Wire(), set[int]()

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic == f"kline.1.{B}" and '"confirm":true' in text and len(missing) < 2:
            missing.add(json.loads(text)["data"][0]["start"])
            return []
        return None

    def answer(request: web.Request, body: bytes) -> bytes | FaultAction:
        about_b = request.path.endswith("/kline") and request.query["symbol"] == B
        return without(body, missing) if about_b else body

    async with fed(tape, start_ms=START_MS, wire=wire) as rig:
        await rig.live(1)
        wire.on_push, wire.on_answer = push, answer
        await rig.until(lambda: bool(rig.of(Gap)))
        await rig.until(lambda: len(rig.closes(live=True)[-1].bars) == 2)
    (gap,) = [event for event in rig.of(Gap) if isinstance(event, Gap)]
    assert (gap.symbol, gap.from_ms, gap.to_ms) == (B, min(missing), max(missing) + MINUTE_MS)
    starts = [bar.start_ms for bar in rig.bars(B)]
    assert sorted(set(range(starts[0], starts[-1] + 1, MINUTE_MS)) - set(starts)) == sorted(missing)


async def test_rest_that_fails_is_no_proof_that_bars_do_not_exist(tape: Path, history: History) -> None:
    async with fed(tape, start_ms=START_MS) as rig:
        await rig.live(1)
        rig.wire.refuse_rest = rig.wire.refuse_ws = True
        rig.wire.cut()
        await rig.at(rig.closes()[-1].close_ms + 3 * MINUTE_MS)
        rig.wire.refuse_ws = False
        await rig.until(lambda: rig.feed.metrics.rest_failures >= 12)
        assert not rig.feed.up
        rig.wire.refuse_rest = False
        await rig.live(2)
    assert not rig.of(Gap)
    assert_each_bar_once_and_as_in_the_file(rig, history)


def refusal(ack: str) -> str:
    """The answer to a subscription, turned into its opposite."""
    return json.dumps(json.loads(ack) | {"success": False, "ret_msg": "busy"}, separators=(",", ":"))


@pytest.mark.fault(8, 16)
@pytest.mark.parametrize("word", ["nothing", "refusal"])
async def test_subscriptions_that_are_not_acknowledged_are_tried_again(
    word: str, tape: Path, history: History
) -> None:
    wire, refused = Wire(), []

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic != "op:subscribe" or len(refused) > 4:
            return None
        refused.append(text)
        return [(0.0, refusal(text))] if word == "refusal" else []

    wire.on_push = push
    async with fed(tape, start_ms=START_MS, wire=wire) as rig:
        await rig.live(2)
        assert wire.dials >= 2
    assert_each_bar_once_and_as_in_the_file(rig, history)


@pytest.mark.fault(8)
async def test_a_topic_refused_on_every_connection_ends_the_feed(tape: Path) -> None:
    wire = Wire()

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [(0.0, refusal(text))] if topic == "op:subscribe" else None

    wire.on_push = push
    with pytest.raises(BaseExceptionGroup) as caught:
        async with fed(tape, start_ms=START_MS, wire=wire) as rig:
            await rig.live(1)
    assert caught.group_contains(Rejected, match="refused again and again")
    assert wire.dials == 3


@pytest.mark.fault(94)
async def test_a_symbol_the_venue_does_not_trade_is_one_clear_error(tape: Path, history: History) -> None:
    config = replace(FAST, symbols=(A, "NOPEUSDT"))
    with pytest.raises(BadSettings, match="trades no linear USDT perpetual NOPEUSDT"):
        async with fed(tape, start_ms=START_MS, config=config):
            pass


async def test_nobody_there_at_the_start_is_one_clear_error(tape: Path, history: History) -> None:
    wire = Wire()

    async def never() -> None:
        async with fed(tape, start_ms=START_MS, wire=wire, wait=False) as rig:
            wire.refuse_rest = True
            await rig.task

    with pytest.raises(BotError, match="gave up after 1 attempt,"):
        await never()


@pytest.mark.fault(9)
async def test_hostile_messages_are_counted_and_nothing_else(tape: Path, history: History) -> None:
    wire = Wire()
    evil = ["", "{", "[" * 5000, '{"topic":"kline.1.AAAUSDT","ts":1,"data":[{}]}', "null", '{"op":"dance"}']

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        spoilt = re.sub(r'"low":"[^"]*"', '"low":"-1"', text)
        return [(0.0, spoilt if "low" in text else each) for each in evil] + [(0.0, text)]

    async with fed(tape, start_ms=START_MS, config=CALM, wire=wire) as rig:
        await rig.live(1)
        wire.on_push = push
        await rig.live(3)
        facts = rig.feed.facts()
    assert rig.losses == []
    assert facts["bad_bars"] > 0
    assert_order_as_in_a_backtest(rig, history)


async def test_the_venue_down_at_the_start_of_the_stream_is_waited_for(tape: Path, history: History) -> None:
    wire = Wire()
    wire.refuse_ws = True
    async with fed(tape, start_ms=START_MS, wire=wire, wait=False) as rig:
        await rig.until(lambda: wire.dials >= 3)
        assert not rig.of(LinkUp)
        wire.refuse_ws = False
        await rig.live(2)
    assert_order_as_in_a_backtest(rig, history)


async def test_tickers_and_open_candles_are_told_as_prices(tape: Path, history: History) -> None:
    def symbols_of(rig: Rig, kind: type[Quote] | type[MarkPrice] | type[Candle]) -> set[str]:
        return {event.symbol for event in rig.seen if isinstance(event, kind)}

    async with fed(tape, start_ms=START_MS, speed=60.0, config=replace(FAST, tickers=True)) as rig:
        for kind in (Quote, MarkPrice, Candle):
            await rig.until(lambda kind=kind: symbols_of(rig, kind) == set(SYMBOLS))
        await rig.live(1)
    for candle in rig.of(Candle):
        assert isinstance(candle, Candle)
        before = [c for c in rig.closes() if rig.seen.index(c) < rig.seen.index(candle)]
        assert candle.start_ms >= before[-1].close_ms


async def test_each_connection_carries_its_share(tape: Path, history: History) -> None:
    async with fed(tape, start_ms=START_MS, config=replace(CALM, symbols_per_connection=1)) as rig:
        await rig.live(2)
        assert rig.wire.dials == 2
        rig.wire.connections[0].abort()  # one of two: its symbol's bars come late or in time, never twice
        await rig.until(lambda: len(rig.of(LinkUp)) == 2)
        await rig.live(2)
    assert_each_bar_once_and_as_in_the_file(rig, history)


async def test_no_price_is_stamped_later_than_now(tape: Path) -> None:
    wire = Wire()
    config = replace(FAST, tickers=True)

    def push(connection: Connection, topic: str, text: str) -> list[tuple[float, str]] | None:
        return [(0.0, re.sub(r'"ts":\d+', '"ts":4102444800000', text))]

    async with fed(tape, start_ms=START_MS, speed=60.0, config=config, wire=wire) as rig:
        wire.on_push = push
        await rig.live(2)
        now_ms = rig.clock.now_ms()
    prices = [event for event in rig.seen if isinstance(event, Candle | Quote | MarkPrice)]
    assert {type(event) for event in prices} == {Candle, Quote, MarkPrice}
    assert all(event.ts_ms <= now_ms for event in prices)
