"""What frames add up to: books and tickers, and when neither is known."""

import json

import pytest

from bot.bybit.frames import KeptState
from bot.bybit.wire import Level
from bot.domain.errors import BadInput

BOOK, TICKER = "orderbook.50.BTCUSDT", "tickers.BTCUSDT"


def book(u: int, bids: list[Level], asks: list[Level], kind: str = "delta") -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": u, "seq": u}
    return json.dumps({"topic": BOOK, "type": kind, "ts": 1000 + u, "data": data, "cts": u}).encode()


def test_a_delta_changes_adds_and_removes_levels_and_the_best_come_first() -> None:
    state = KeptState()
    state.apply(BOOK, book(1, [("9", "1"), ("10", "2")], [("12", "1"), ("11", "1")], "snapshot"))
    assert state.apply(BOOK, book(2, [("10", "0"), ("9.5", "3")], [("11", "4")])) is None
    assert state.books[BOOK].levels() == ([("9.5", "3"), ("9", "1")], [("11", "4"), ("12", "1")])


def test_after_a_missed_frame_the_book_is_not_known_until_the_next_snapshot() -> None:
    state = KeptState()
    state.apply(BOOK, book(1, [("9", "1")], [("11", "1")], "snapshot"))
    assert state.apply(BOOK, book(3, [("9", "2")], [])) == (1, 3)
    assert state.snapshots() == []
    assert state.apply(BOOK, book(4, [("9", "3")], [])) is None  # one gap is one gap
    assert state.snapshots() == []
    state.apply(BOOK, book(1, [("8", "1")], [], "snapshot"))  # the venue restarted
    assert json.loads(state.snapshots()[0])["data"]["b"] == [["8", "1"]]


def test_a_ticker_is_its_snapshot_with_every_later_change_and_nothing_after_a_loss() -> None:
    state = KeptState()
    first = {
        "topic": TICKER,
        "type": "snapshot",
        "ts": 1,
        "cs": 7,
        "data": {"symbol": "BTCUSDT", "a": "1", "b": "2"},
    }
    later = {"topic": TICKER, "type": "delta", "ts": 2, "cs": 8, "data": {"symbol": "BTCUSDT", "b": ""}}
    for frame in (first, later):
        state.apply(TICKER, json.dumps(frame).encode())
    expected = {**later, "type": "snapshot", "data": {"symbol": "BTCUSDT", "a": "1", "b": ""}}
    assert json.loads(state.snapshots()[0]) == expected
    state.forget([TICKER])
    assert state.snapshots() == []


def test_a_frame_that_is_not_as_documented_is_bad_input() -> None:
    with pytest.raises(BadInput, match="orderbook"):
        KeptState().apply(BOOK, b'{"topic":"orderbook.50.BTCUSDT"}')
