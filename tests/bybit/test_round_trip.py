"""Client and server use the same code for the wire: each reads what the other writes, without a socket."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bot.bybit import serve, wire
from bot.bybit.codes import meaning
from bot.bybit.orders import create_order, parse_answer, parse_executions, parse_orders, parse_positions
from bot.bybit.private import (
    ExecutionUpdates,
    OrderUpdates,
    PositionUpdates,
    PrivateSession,
    Ready,
    WalletUpdates,
)
from bot.bybit.public import Kline, PublicSession, Subscribed, SubscribeFailed, TickerUpdate, TopOfBook
from bot.bybit.rest import WIRE_INTERVALS
from bot.bybit.session import Patience
from bot.bybit.sign import verify, ws_signature
from bot.bybit.trade import Ready as TradeReady
from bot.bybit.trade import TradeResponse, TradeSession
from bot.domain.messages import PlaceOrder
from bot.domain.orders import Approved, Intent

PATIENCE = Patience(15_000, 8_000, 10_000)
words = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.text("abcXYZ019-_", min_size=1, max_size=12)
numbers = st.decimals(0, 10**9, places=4).map(str)
times_ms = st.integers(0, 2**53)
millis = times_ms.map(str)
symbols = st.sampled_from(["BTCUSDT", "ETHUSDT", "1000PEPEUSDT"])
sides = st.sampled_from(["Buy", "Sell"])


def ids() -> Iterator[str]:
    return (f"id{number}" for number in count())


def of(row: type[msgspec.Struct], **needed: st.SearchStrategy[object]) -> st.SearchStrategy[msgspec.Struct]:
    """Draw rows: all required fields, and any of the other texts, flags and numbers."""
    kinds = {str: words, bool: st.booleans(), int: st.integers(0, 10**6), wire.Count: times_ms}
    minor = {
        field.name: kinds[field.type]
        for field in msgspec.structs.fields(row)
        if not field.required and field.type in kinds and field.name not in needed
    }
    return st.fixed_dictionaries(needed, optional=minor).map(lambda fields: row(**fields))


order_fields = {
    "symbol": symbols,
    "orderId": names,
    "side": sides,
    "orderStatus": st.sampled_from(["New", "Filled", "BrandNew"]),
    "qty": numbers,
    "cumExecQty": numbers,
    "orderType": st.sampled_from(["Market", "Limit"]),
    "createdTime": millis,
    "updatedTime": millis,
    "cumFeeDetail": st.dictionaries(names, numbers, max_size=2),
}
execution_fields = {
    "symbol": symbols,
    "execFee": numbers,
    "execId": names,
    "execPrice": numbers,
    "execQty": numbers,
    "execType": st.sampled_from(["Trade", "Funding", "BustTrade"]),
    "orderId": names,
    "side": sides,
    "execTime": millis,
    "extraFees": st.just("") | st.lists(of(wire.ExtraFee), max_size=2),
}
position_fields = {"symbol": symbols, "side": sides | st.just(""), "size": numbers}
coin = of(wire.CoinRow, coin=names, equity=numbers, walletBalance=numbers)


def opened_private() -> PrivateSession:
    """Return a client that signed in at a server which checked its signature."""
    session = PrivateSession("key", "secret", ids=ids(), patience=PATIENCE)
    (sent,) = session.opened(0, 1_000)
    auth = serve.parse_client(sent)
    assert isinstance(auth, serve.Auth)
    assert verify(ws_signature("secret", auth.expires), auth.signature)
    session.receive(serve.auth_reply("private", True, auth.req_id, "c"), 1)
    (sent,) = session.texts()
    request = serve.parse_client(sent)
    assert isinstance(request, serve.Subscribe)
    assert session.receive(serve.ack("private", "subscribe", True, "", request.req_id, "c"), 2) == (Ready(),)
    return session


@given(
    st.lists(of(wire.OrderPush, **order_fields), max_size=3),
    st.lists(of(wire.ExecutionPush, **execution_fields), max_size=3),
    st.lists(of(wire.PositionPush, **position_fields, entryPrice=numbers), max_size=2),
    of(wire.WalletRow, coin=st.lists(coin, max_size=3)),
    times_ms,
)
def test_private_pushes_survive_server_and_client(orders, executions, positions, wallet, ts_ms) -> None:
    session = opened_private()
    for topic, rows, kind in (
        ("order", orders, OrderUpdates),
        ("execution", executions, ExecutionUpdates),
        ("position", positions, PositionUpdates),
        ("wallet", [wallet], WalletUpdates),
    ):
        push = serve.private_push(topic, rows, "id", ts_ms)
        assert session.receive(push, 3) == [kind(ts_ms, tuple(rows))]


@given(
    st.lists(of(wire.OrderRow, **order_fields), max_size=3),
    st.lists(of(wire.ExecutionRow, **execution_fields), max_size=3),
    st.lists(of(wire.PositionRow, **position_fields, avgPrice=numbers), max_size=2),
    names,
    times_ms,
)
def test_pages_come_back_as_they_were_written(orders, executions, positions, cursor, ts_ms) -> None:
    for rows, parse in ((orders, parse_orders), (executions, parse_executions), (positions, parse_positions)):
        page = parse(serve.envelope(serve.listing(rows, cursor, "linear"), time_ms=ts_ms))
        assert (page.rows, page.cursor) == (rows, cursor)


prices = st.floats(1e-9, 1e9)


@given(
    symbols,
    st.sampled_from(sorted(WIRE_INTERVALS)),
    st.lists(st.tuples(times_ms, *[prices] * 6, st.booleans()), min_size=1, max_size=3),
    times_ms,
)
def test_candles_keep_every_bit(symbol, interval_ms, candles, ts_ms) -> None:
    interval = WIRE_INTERVALS[interval_ms]
    rows = [
        wire.KlineRow(start, start + interval_ms - 1, interval, *map(repr, numbers), confirm, ts_ms)
        for start, *numbers, confirm in candles
    ]
    topic = f"kline.{interval}.{symbol}"
    session = PublicSession([topic], ids=ids(), patience=PATIENCE)
    session.opened(0)
    received = session.receive(serve.push(topic, rows, ts_ms), 1)
    # On the wire: open, close, high, low.
    assert received == [
        Kline(symbol, interval_ms, start, o, high, low, c, volume, turnover, confirm, ts_ms)
        for start, o, c, high, low, volume, turnover, confirm in candles
    ]


@given(
    symbols, st.lists(st.dictionaries(st.sampled_from(["bid", "ask", "last", "mark"]), prices), max_size=8)
)
def test_a_ticker_sent_as_deltas_becomes_the_whole_ticker(symbol, changes) -> None:
    topic = f"tickers.{symbol}"
    session = PublicSession([topic], ids=ids(), patience=PATIENCE)
    session.opened(0)
    wires = {"bid": "bid1Price", "ask": "ask1Price", "last": "lastPrice", "mark": "markPrice"}
    whole: dict[str, float] = {}
    for number, change in enumerate(changes):
        whole |= change
        row = wire.TickerRow(symbol=symbol, **{wires[name]: repr(price) for name, price in change.items()})
        push = serve.push(topic, row, number, kind="delta" if number else "snapshot", cs=number)
        assert session.receive(push, 1) == (TickerUpdate(symbol, number, **whole),)


@given(symbols, prices, prices, prices, prices, times_ms)
def test_the_top_of_the_book_keeps_every_bit(symbol, bid, bid_qty, ask, ask_qty, ts_ms) -> None:
    topic = f"orderbook.1.{symbol}"
    session = PublicSession([topic], ids=ids(), patience=PATIENCE)
    session.opened(0)
    book = wire.BookRow(symbol, [(repr(bid), repr(bid_qty))], [(repr(ask), repr(ask_qty))], 1, 2)
    push = serve.push(topic, book, ts_ms, cts_ms=ts_ms)
    assert session.receive(push, 1) == (TopOfBook(symbol, ts_ms, bid, bid_qty, ask, ask_qty),)


@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60)), st.integers(1, 12))
def test_every_topic_is_subscribed_or_reported_as_failed(known, unknown, group) -> None:
    """The server knows only some symbols and refuses any request that contains another."""
    bad = {f"tickers.S{number}USDT" for number in unknown}
    topics = sorted({f"tickers.S{number}USDT" for number in known} | bad)
    session = PublicSession(topics, group=group, ids=ids(), patience=PATIENCE)
    there, refused = set(), set()
    sent = session.opened(0)
    while sent:
        for said in sent:
            request = serve.parse_client(said)
            assert isinstance(request, serve.Subscribe)
            wrong = [topic for topic in request.topics if topic in bad]
            ret_msg = serve.handler_not_found(wrong[0]) if wrong else ""
            reply = serve.ack("public", "subscribe", not wrong, ret_msg, request.req_id, "c")
            for message in session.receive(reply, 1):
                (there if isinstance(message, Subscribed) else refused).update(message.topics)
                assert isinstance(message, Subscribed | SubscribeFailed)
        sent = session.texts()
    assert refused == bad
    assert there == set(topics) - bad
    assert session.deadline_ms() == PATIENCE.ping_ms


@given(
    symbols,
    sides,
    st.decimals("0.001", 10**6, places=3),
    st.none() | st.decimals("0.001", 10**6, places=3),
    names,
    st.sampled_from([0, 10001, 10016, 110007, 110072, 987654]),
    words,
    times_ms,
)
def test_an_order_and_its_answer_survive_both_transports(
    symbol, side, qty, stop, link_id, code, said, now_ms
) -> None:
    intent = Intent(symbol, side, qty, Decimal(1), 0, stop_loss=stop)
    request = create_order(PlaceOrder(link_id, Approved(intent)))
    session = TradeSession("key", "secret", ids=ids(), patience=PATIENCE)
    session.opened(0, 0)
    assert session.receive(serve.auth_reply("trade", True, None, "c"), 1) == (TradeReady(),)
    heard = serve.parse_client(session.request(request.op, request.arg, "r", now_ms, 5_000))
    assert isinstance(heard, serve.TradeRequest)
    assert (heard.op, heard.ts_ms, heard.recv_window_ms) == ("order.create", now_ms, 5_000)
    (arg,) = heard.args
    assert arg == msgspec.json.decode(request.body) == request.arg
    assert (Decimal(arg["qty"]), arg["orderLinkId"]) == (qty, link_id)
    found = wire.OrderIds("order-1", link_id) if code == 0 else None
    limit = serve.RateLimitHeaders(10, 9, now_ms)
    reply = serve.trade_reply(
        "order.create", heard.req_id, "c", code=code, text=said, data=found, limit=limit
    )
    (answer,) = session.receive(reply, 2)
    rest = parse_answer(serve.envelope(found, code, said, time_ms=now_ms), "order.create")
    assert isinstance(answer, TradeResponse)
    assert (answer.req_id, answer.reset_ms) == ("r", now_ms)
    assert msgspec.structs.replace(answer, req_id="", reset_ms=None) == rest
    assert (meaning(answer.code, action="create").kind == "ok") is bool(answer.order_id)
