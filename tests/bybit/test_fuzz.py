"""For any message a session returns values or a ``BadMessage``. It never raises and never stops."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import msgspec
import pytest

from bot.bybit import orders, private, public, serve, trade
from bot.bybit.session import BadMessage, Patience
from bot.domain.errors import BadInput, VenueError
from tests.payloads import bybit as payloads

MESSAGES = 100_000

PUBLIC = [
    payloads.KLINE_OPEN,
    payloads.TICKER_SNAPSHOT,
    payloads.TICKER_DELTA,
    payloads.BOOK_TOP,
    payloads.SUBSCRIBED,
    payloads.PONG,
]
PRIVATE = [
    payloads.private("order", payloads.ORDER, payloads.ORDER),
    payloads.private("execution", payloads.EXECUTION),
    payloads.private("position", payloads.POSITION),
    payloads.private("wallet", payloads.WALLET),
    payloads.AUTH_OK,
    payloads.SUBSCRIBED,
    payloads.PRIVATE_PONG,
]
TRADE = [
    payloads.TRADE_CREATED,
    payloads.TRADE_REFUSED_BY_GATE,
    payloads.TRADE_AUTH_OK,
    payloads.TRADE_PONG,
]
CLIENT = [
    payloads.TRADE_REQUEST,
    {"op": "ping", "req_id": 7},
    {"op": "subscribe", "args": ["kline.1.BTCUSDT"], "req_id": "x"},
    {"op": "unsubscribe", "args": ["kline.1.BTCUSDT"]},
    {"op": "auth", "args": ["key", payloads.T0, "signature"]},
]
SPLINTERS = [
    b"NaN",
    b"Infinity",
    b"-1e999",
    b'"nan"',
    b'"inf"',
    b'""',
    b"null",
    b"[]",
    b"{}",
    b"[[[[[[[[",
    b'{"a":' * 40,
    b"9" * 400,
    b"-1",
    b"1e5",
    b"true",
    b"\xff\xfe",
    b"\\ud800",
    b"\x00",
    b'"topic":"kline.1.BTCUSDT",',
    b'"topic":"order",',
    b'"op":"auth",',
    b'"retCode":10004,',
    b"\\",
    b'"',
    b",",
]


def mutants(seed: int, messages: Sequence[object]) -> Iterator[str | bytes]:
    """Yield damaged messages without end, every second one as text."""
    rng = random.Random(seed)
    sound = [payloads.text(message).encode() for message in messages]
    for number in count():
        body = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at = rng.randrange(len(body) + 1)
            match rng.randrange(6):
                case 0:
                    body[at : at + rng.randrange(1, 30)] = b""
                case 1:
                    body[at:at] = rng.choice(SPLINTERS)
                case 2:
                    body[at : at + 1] = bytes((rng.randrange(256),))
                case 3:  # a value: what stands between a colon and the next comma
                    start, end = body.find(b":", at) + 1, body.find(b",", at)
                    body[start : max(start, end)] = rng.choice(SPLINTERS)
                case 4:
                    body[at:at] = body[at : at + 40]
                case 5:
                    other = rng.choice(sound)
                    body[at:] = other[rng.randrange(len(other)) :]
        yield bytes(body) if number % 2 else body.decode("utf-8", "surrogateescape")


def ids() -> Iterator[str]:
    return (str(number) for number in count())


PATIENCE = Patience(1e12, 1e12, 1e12)


def public_session() -> Callable[[str | bytes], Sequence[object]]:
    session = public.PublicSession(
        ["kline.1.BTCUSDT", "tickers.BTCUSDT", "orderbook.1.BTCUSDT"], ids=ids(), patience=PATIENCE
    )
    session.opened(0)
    return lambda text: (session.receive(text, 1), session.texts())[0]


def private_session() -> Callable[[str | bytes], Sequence[object]]:
    session = private.PrivateSession("key", "secret-canary", ids=ids(), patience=PATIENCE)
    session.opened(0, 0)
    return lambda text: (session.receive(text, 1), session.texts())[0]


def trade_session() -> Callable[[str | bytes], Sequence[object]]:
    session = trade.TradeSession("key", "secret-canary", ids=ids(), patience=PATIENCE)
    session.opened(0, 0)
    return lambda text: (session.receive(text, 1), session.texts())[0]


@pytest.mark.fault(10, 21)
@pytest.mark.surface("messages")
@pytest.mark.parametrize(
    ("make", "messages", "seed"),
    [
        (public_session, PUBLIC, 1),
        (private_session, PRIVATE, 2),
        (trade_session, TRADE, 3),
        (lambda: lambda text: (serve.parse_client(text),), CLIENT, 4),
    ],
    ids=["public", "private", "trade", "server"],
)
def test_a_session_survives_a_hundred_thousand_damaged_messages(
    make: Callable[[], Callable[[str | bytes], Sequence[object]]], messages: Sequence[object], seed: int
) -> None:
    receive = make()
    seen: Counter[str] = Counter()
    for _, mutant in zip(range(MESSAGES), mutants(seed, messages), strict=False):
        for value in receive(mutant):
            seen[type(value).__name__] += 1
            if isinstance(value, BadMessage):
                assert value.reason
                assert value.reason.isprintable()
            elif isinstance(value, public.Kline | public.TickerUpdate | public.TopOfBook):
                numbers = msgspec.structs.astuple(value)
                assert all(math.isfinite(n) for n in numbers if isinstance(n, float)), value
    # The damage was real, and sound messages still went through in between.
    bad = seen["BadMessage"] + seen["BadClient"]
    assert bad > MESSAGES / 3
    assert sum(seen.values()) - bad > MESSAGES / 50, seen
    assert not any(isinstance(value, BadMessage) for value in receive(payloads.text(messages[0])))


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (orders.parse_orders, payloads.listed(payloads.ORDER, cursor="a%3A1")),
        (orders.parse_executions, payloads.listed(payloads.EXECUTION)),
        (orders.parse_positions, payloads.listed({**payloads.POSITION, "avgPrice": "1"})),
        (orders.parse_wallet, payloads.listed(payloads.WALLET)),
        (orders.parse_instruments, payloads.listed(payloads.INSTRUMENT)),
        (orders.parse_answer, payloads.answer({"orderId": "1", "orderLinkId": "2"})),
        (orders.parse_time, payloads.answer({"timeSecond": "1", "timeNano": "1000000000"})),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_damaged_answer_raises_an_error_of_the_tree(parse: Callable[[bytes], object], body: bytes) -> None:
    outcomes: Counter[str] = Counter()
    reasons: set[str] = set()
    for _, mutant in zip(range(5_000), mutants(5, [msgspec.json.decode(body)]), strict=False):
        raw = mutant if isinstance(mutant, bytes) else mutant.encode("utf-8", "surrogateescape")
        try:
            parse(raw)
            outcomes["read"] += 1
        except BadInput as error:
            reasons.add(str(error))
            outcomes["bad"] += 1
        except VenueError:
            outcomes["refused"] += 1
    assert outcomes["bad"] > 1_000
    assert all(reason.isprintable() for reason in reasons)
    assert outcomes["read"] > 100
