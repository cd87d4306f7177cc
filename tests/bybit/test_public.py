import json
from itertools import count

import pytest

from bot.bybit.public import (
    BadMessage,
    Kline,
    LinkLost,
    PublicSession,
    Subscribed,
    SubscribeFailed,
    TickerUpdate,
    TopOfBook,
)
from bot.bybit.serve import Ping, Subscribe, Unsubscribe, ack, handler_not_found, parse_client, pong
from bot.bybit.session import Patience
from bot.domain.errors import BadBar, BadInput
from tests.payloads import bybit as payloads
from tests.payloads.bybit import T0, text

KLINE, TICKERS, TOP = "kline.1.BTCUSDT", "tickers.BTCUSDT", "orderbook.1.BTCUSDT"


def session(*topics: str, group: int = 10) -> PublicSession:
    return PublicSession(
        topics or (KLINE, TICKERS, TOP),
        group=group,
        ids=(f"id{number}" for number in count()),
        patience=Patience(15_000, 8_000, 10_000),
    )


def asked(texts: list[str]) -> list[Subscribe]:
    found = [parse_client(text) for text in texts]
    assert all(isinstance(request, Subscribe) for request in found)
    return [request for request in found if isinstance(request, Subscribe)]


def accept(one: PublicSession, request: Subscribe, reason: str = "", now_ms: float = 1) -> list[object]:
    reply = ack("public", "subscribe", not reason, reason, request.req_id, "c")
    return list(one.receive(reply, now_ms))


def test_topics_are_asked_for_in_groups_and_acknowledged() -> None:
    one = session(*(f"kline.5.S{n}USDT" for n in range(23)))
    requests = asked(one.opened(0))
    assert [len(request.topics) for request in requests] == [10, 10, 3]
    assert len({request.req_id for request in requests}) == 3
    told = [topic for request in requests for message in accept(one, request) for topic in message.topics]
    assert told == [f"kline.5.S{n}USDT" for n in range(23)]
    assert one.deadline_ms() == 15_000  # nothing is due but the first ping


def test_a_refused_group_is_asked_for_topic_by_topic_and_the_bad_one_reported() -> None:
    one = session("kline.1.AUSDT", "kline.1.NOUSDT", "kline.1.BUSDT")
    (group,) = asked(one.opened(0))
    assert accept(one, group, handler_not_found("kline.1.NOUSDT")) == []
    singles = asked(one.texts())
    assert [request.topics for request in singles] == [(topic,) for topic in group.topics]
    messages = []
    for request in singles:
        (topic,) = request.topics
        messages += accept(one, request, handler_not_found(topic) if "NO" in topic else "")
    assert messages == [
        Subscribed(("kline.1.AUSDT",)),
        SubscribeFailed(("kline.1.NOUSDT",), "error:handler not found,topic:kline.1.NOUSDT"),
        Subscribed(("kline.1.BUSDT",)),
    ]
    assert one.texts() == []


def test_a_topic_that_is_there_already_counts_as_subscribed() -> None:
    one = session(KLINE)
    (request,) = asked(one.opened(0))
    assert accept(one, request, f"error:already subscribed,topic:{KLINE}") == [Subscribed((KLINE,))]


def test_an_acknowledgement_without_an_id_belongs_to_the_oldest_request() -> None:
    one = session(KLINE, TICKERS, group=1)
    one.opened(0)
    assert one.receive(text({**payloads.SUBSCRIBED, "req_id": ""}), 1) == (Subscribed((KLINE,)),)
    assert one.receive(text({**payloads.SUBSCRIBED, "req_id": None}), 1) == (Subscribed((TICKERS,)),)
    (extra,) = one.receive(text(payloads.SUBSCRIBED), 1)
    assert isinstance(extra, BadMessage)


def test_a_missing_acknowledgement_is_a_lost_link() -> None:
    one = session()
    one.opened(1_000)
    assert one.deadline_ms() == 11_000
    one.on_time(10_999)
    with pytest.raises(LinkLost, match=r"no answer to kline\.1\.BTCUSDT"):
        one.on_time(11_000)


def test_a_ping_goes_out_in_time_and_a_missing_pong_is_a_lost_link() -> None:
    one = session(KLINE)
    accept(one, *asked(one.opened(0)))
    one.on_time(14_999)
    assert one.texts() == []
    one.on_time(15_000)
    (sent,) = one.texts()
    ping = parse_client(sent)
    assert isinstance(ping, Ping)
    assert one.deadline_ms() == 23_000
    # Data do not count as a pong.
    one.receive(text(payloads.KLINE_OPEN), 20_000)
    one.on_time(22_999)
    with pytest.raises(LinkLost, match="no pong"):
        one.on_time(23_000)
    assert one.receive(pong("public", ping.req_id, "c", T0), 23_001) == ()
    one.on_time(23_002)
    assert one.deadline_ms() == 30_000


@pytest.mark.fault(20)
def test_a_second_ping_does_not_forgive_the_first_ones_missing_pong() -> None:
    one = PublicSession(
        [KLINE],
        ids=iter("abcdef"),
        patience=Patience(5_000, 8_000, 10_000),
    )
    accept(one, *asked(one.opened(0)))
    one.on_time(5_000)
    one.on_time(10_000)
    assert len(one.texts()) == 2
    with pytest.raises(LinkLost, match="no pong"):
        one.on_time(13_000)


def test_a_group_with_a_topic_that_is_there_already_is_asked_for_one_by_one() -> None:
    one = session(KLINE, TICKERS)
    (group,) = asked(one.opened(0))
    assert accept(one, group, f"error:already subscribed,topic:{KLINE}") == []
    first, second = asked(one.texts())
    assert accept(one, first, f"error:already subscribed,topic:{KLINE}") == [Subscribed((KLINE,))]
    assert accept(one, second) == [Subscribed((TICKERS,))]


@pytest.mark.fault(21)
@pytest.mark.parametrize("kind", ["public", "spot", "option", "private"])
def test_every_dialect_of_pong_is_one(kind: str) -> None:
    one = session(KLINE)
    accept(one, *asked(one.opened(0)))
    one.on_time(15_000)
    assert one.receive(pong(kind, "id9", "c", T0), 15_001) == ()
    one.on_time(29_999)


def test_a_new_connection_forgets_the_old_one() -> None:
    one = session(TICKERS)
    one.opened(0)
    one.receive(text(payloads.TICKER_SNAPSHOT), 1)
    one.on_time(9_000)
    assert len(one.opened(50_000)) == 1
    assert one.deadline_ms() == 60_000
    (update,) = one.receive(text(payloads.TICKER_DELTA), 50_001)
    assert update == TickerUpdate("BTCUSDT", T0 + 200, bid=100.5, last=100.6)


def test_silent_topics_can_be_asked_for_again() -> None:
    one = session(KLINE)
    accept(one, *asked(one.opened(0)))
    one.renew([KLINE, "kline.1.OTHER"], 70_000)
    end, begin = (parse_client(sent) for sent in one.texts())
    assert isinstance(end, Unsubscribe)
    assert isinstance(begin, Subscribe)
    assert end.topics == begin.topics == (KLINE,)
    assert one.receive(ack("public", "unsubscribe", True, "", end.req_id, "c"), 70_001) == ()
    assert accept(one, begin) == [Subscribed((KLINE,))]


@pytest.mark.parametrize(
    "written",
    [
        text(payloads.KLINE_OPEN),
        text(payloads.KLINE_OPEN).encode(),
        json.dumps(payloads.KLINE_OPEN, indent=1),
        text(dict(reversed(payloads.KLINE_OPEN.items()))),
    ],
    ids=["text", "bytes", "with blanks", "in another order"],
)
def test_candles_keep_the_numbers_that_were_sent(written: str | bytes) -> None:
    one = session()
    one.opened(0)
    (candle,) = one.receive(written, 1)
    assert candle == Kline(
        "BTCUSDT", 60_000, T0, 100.5, 102.0, 99.5, 101.0, 7.316, 735.258, False, T0 + 31_500
    )
    assert isinstance(candle, Kline)
    bar = candle.bar()
    assert (bar.start_ms, bar.close_ms, bar.open, bar.turnover) == (T0, T0 + 60_000, 100.5, 735.258)


def test_a_symbol_of_another_script_is_asked_for_and_its_candle_is_read() -> None:
    topic = "kline.1.币安人生USDT"
    one = session(topic)
    assert accept(one, *asked(one.opened(0))) == [Subscribed((topic,))]
    (candle,) = one.receive(text(payloads.KLINE_OPEN | {"topic": topic}), 1)
    assert isinstance(candle, Kline)
    assert candle.symbol == "币安人生USDT"


def test_the_last_of_one_candle_and_the_first_of_the_next_come_in_one_message() -> None:
    row = payloads.KLINE_OPEN["data"][0]
    both = [{**row, "confirm": True}, {**row, "start": T0 + 60_000, "end": T0 + 119_999}]
    one = session()
    one.opened(0)
    first, second = one.receive(text({**payloads.KLINE_OPEN, "data": both}), 1)
    assert isinstance(first, Kline)
    assert isinstance(second, Kline)
    assert (first.start_ms, first.confirm) == (T0, True)
    assert (second.start_ms, second.confirm) == (T0 + 60_000, False)


def test_an_impossible_candle_fails_when_it_becomes_a_bar() -> None:
    row = {**payloads.KLINE_OPEN["data"][0], "high": "1"}
    one = session()
    one.opened(0)
    (candle,) = one.receive(text({**payloads.KLINE_OPEN, "data": [row]}), 1)
    assert isinstance(candle, Kline)
    with pytest.raises(BadBar):
        candle.bar()


def test_a_ticker_is_merged_from_its_snapshot_and_its_deltas() -> None:
    one = session()
    one.opened(0)
    (whole,) = one.receive(text(payloads.TICKER_SNAPSHOT), 1)
    assert whole == TickerUpdate(
        "BTCUSDT", T0 + 100, 100.4, 100.5, 100.5, 100.47, 100.4, 0.0001, T0 + 28_800_000, 28_800_000
    )
    (delta,) = one.receive(text(payloads.TICKER_DELTA), 2)
    assert delta == TickerUpdate(
        "BTCUSDT", T0 + 200, 100.5, 100.5, 100.6, 100.47, 100.4, 0.0001, T0 + 28_800_000, 28_800_000
    )
    # An empty text is a value: there is no bid.
    empty = {**payloads.TICKER_DELTA, "data": {"symbol": "BTCUSDT", "bid1Price": ""}}
    (update,) = one.receive(text(empty), 3)
    assert isinstance(update, TickerUpdate)
    assert (update.bid, update.ask) == (None, 100.5)
    # A later snapshot replaces everything.
    again = {**payloads.TICKER_SNAPSHOT, "data": {"symbol": "BTCUSDT", "ask1Price": "7"}}
    assert one.receive(text(again), 4) == (TickerUpdate("BTCUSDT", T0 + 100, ask=7.0),)


@pytest.mark.parametrize(
    ("hours", "interval_ms"),
    [("8", 28_800_000), ("1", 3_600_000), ("0.5", 1_800_000), ("", None), ("0", None), ("480", None)],
)
def test_the_interval_between_settlements_is_read_from_every_ticker(
    hours: str, interval_ms: int | None
) -> None:
    one = session()
    one.opened(0)
    one.receive(text(payloads.TICKER_SNAPSHOT), 1)
    changed = {**payloads.TICKER_DELTA, "data": {"symbol": "BTCUSDT", "fundingIntervalHour": hours}}
    (update,) = one.receive(text(changed), 2)
    assert isinstance(update, TickerUpdate)
    assert update.funding_interval_ms == interval_ms


def test_a_bad_delta_leaves_the_ticker_as_it_was() -> None:
    one = session()
    one.opened(0)
    (before,) = one.receive(text(payloads.TICKER_SNAPSHOT), 1)
    odd = {**payloads.TICKER_DELTA, "data": {"symbol": "BTCUSDT", "ask1Price": "8", "lastPrice": "nan"}}
    (bad,) = one.receive(text(odd), 2)
    assert isinstance(bad, BadMessage)
    same = {**payloads.TICKER_DELTA, "data": {"symbol": "BTCUSDT"}, "ts": T0 + 100}
    assert one.receive(text(same), 3) == (before,)


def test_the_top_of_the_book_may_lack_a_side() -> None:
    one = session()
    one.opened(0)
    assert one.receive(text(payloads.BOOK_TOP), 1) == (
        TopOfBook("BTCUSDT", T0 + 300, 100.4, 1.5, 100.5, 0.25),
    )
    empty = {**payloads.BOOK_TOP, "data": {"s": "BTCUSDT", "b": [], "a": [["1", "2"]], "u": 1, "seq": 2}}
    assert one.receive(text(empty), 1) == (TopOfBook("BTCUSDT", T0 + 300, None, None, 1.0, 2.0),)


@pytest.mark.parametrize(
    "message",
    [
        {**payloads.KLINE_OPEN, "topic": "kline.1.ETHUSDT"},
        {**payloads.KLINE_OPEN, "topic": "kline.5.BTCUSDT"},
        {**payloads.KLINE_OPEN, "data": [{**payloads.KLINE_OPEN["data"][0], "interval": "5"}]},
        {**payloads.KLINE_OPEN, "data": [{**payloads.KLINE_OPEN["data"][0], "close": "Infinity"}]},
        {**payloads.KLINE_OPEN, "data": [{**payloads.KLINE_OPEN["data"][0], "start": 10**30}]},
        {**payloads.TICKER_DELTA, "data": {"symbol": "ETHUSDT", "lastPrice": "1"}},
        {**payloads.TICKER_DELTA, "data": {"symbol": "BTCUSDT", "nextFundingTime": "soon"}},
        {**payloads.BOOK_TOP, "data": {**payloads.BOOK_TOP["data"], "s": "ETHUSDT"}},
        {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": T0, "data": []},
        {"op": "auth", "success": True},
        {"op": "pang"},
        {},
        [],
        "x" * 300_000,
    ],
)
def test_what_was_not_asked_for_or_cannot_be_read_is_counted_and_dropped(message: object) -> None:
    one = session()
    one.opened(0)
    found = one.receive(text(message), 1)
    assert len(found) == 1
    assert isinstance(found[0], BadMessage)


@pytest.mark.parametrize("topic", ["kline.7.BTCUSDT", "kline.1.", "orderbook.50.BTCUSDT", "order", ""])
def test_a_topic_that_cannot_be_read_is_refused_at_once(topic: str) -> None:
    with pytest.raises(BadInput, match="unknown public topic"):
        session(topic)
