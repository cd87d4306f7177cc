import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.bybit.codes import RateLimited, error_for, error_for_status
from bot.bybit.rest import (
    WIRE_INTERVALS,
    get_funding,
    get_klines,
    parse_funding,
    parse_klines,
    parse_launch,
    parse_mark_klines,
)
from bot.domain.errors import BadInput, Rejected, Retryable, VenueError
from bot.domain.market import INTERVALS_MS, MINUTE_MS

# Shapes of GET /v5/market/kline, /mark-price-kline and /funding/history in the v5 documentation.
ROW = ["1683472860000", "28959.94", "28970.63", "28940.26", "28945.63", "7.484936", "216697.2440694"]
OLDER = ["1683472800000", "28961.74", "28971.86", "28954.55", "28959.94", "5.222265", "151241.07920518"]


def answer(rows: list[object], symbol: str = "BTCUSDT", **envelope: object) -> bytes:
    whole = {"retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": 1683472900000} | envelope
    return json.dumps({"result": {"category": "linear", "symbol": symbol, "list": rows}} | whole).encode()


def test_klines_come_newest_first_and_are_handed_out_oldest_first() -> None:
    page = parse_klines(answer([ROW, OLDER]), "BTCUSDT", MINUTE_MS)
    assert [bar.start_ms for bar in page.bars] == [1683472800000, 1683472860000]
    newest = page.bars[1]
    assert (newest.open, newest.high, newest.low, newest.close) == (28959.94, 28970.63, 28940.26, 28945.63)
    assert (newest.volume, newest.turnover) == (7.484936, 216697.2440694)


@pytest.mark.fault(5)
def test_the_open_candle_is_not_closed() -> None:
    page = parse_klines(answer([ROW, OLDER], time=1683472860000 + MINUTE_MS - 1), "BTCUSDT", MINUTE_MS)
    assert [bar.start_ms for bar in page.closed(now_ms=2**62)] == [1683472800000]
    page = parse_klines(answer([ROW, OLDER], time=1683472860000 + MINUTE_MS), "BTCUSDT", MINUTE_MS)
    assert len(page.closed(now_ms=0)) == 2


def test_without_a_server_time_ours_decides() -> None:
    body = json.dumps({"retCode": 0, "result": {"list": [ROW]}}).encode()
    page = parse_klines(body, "BTCUSDT", MINUTE_MS)
    assert page.closed(now_ms=1683472860000 + MINUTE_MS - 1) == []
    assert len(page.closed(now_ms=1683472860000 + MINUTE_MS)) == 1


def test_nothing_in_range_is_an_empty_page() -> None:
    assert parse_klines(answer([]), "BTCUSDT", MINUTE_MS).bars == ()


def test_a_repeated_row_is_taken_once_and_a_contradiction_is_refused() -> None:
    assert len(parse_klines(answer([ROW, ROW, OLDER]), "BTCUSDT", MINUTE_MS).bars) == 2
    other = [*ROW[:5], "8", "9"]
    with pytest.raises(BadInput, match="two different bars"):
        parse_klines(answer([ROW, other]), "BTCUSDT", MINUTE_MS)


@pytest.mark.parametrize(
    ("row", "launch_ms"),
    [
        ({"launchTime": "1585526400000"}, 1_585_526_400_000),
        ({"launchTime": "0"}, None),
        ({"launchTime": ""}, None),
        ({}, None),  # spot
        ({"symbol": "ETHUSDT", "launchTime": "1585526400000"}, None),
    ],
)
def test_a_listing_is_read_or_unknown(row: dict[str, str], launch_ms: int | None) -> None:
    assert parse_launch(answer([{"symbol": "BTCUSDT", **row}]), "BTCUSDT") == launch_ms


@pytest.mark.parametrize("time", ["soon", "-1", "1e30"])
def test_a_listing_that_is_no_time_is_bad_input(time: str) -> None:
    with pytest.raises(BadInput):
        parse_launch(answer([{"symbol": "BTCUSDT", "launchTime": time}]), "BTCUSDT")


def test_mark_prices_have_no_volume() -> None:
    page = parse_mark_klines(answer([ROW[:5]]), "BTCUSDT", MINUTE_MS)
    assert (page.bars[0].volume, page.bars[0].turnover) == (0.0, None)


def test_funding_is_handed_out_oldest_first() -> None:
    rows = [
        {"symbol": "ETHPERP", "fundingRate": "0.0001", "fundingRateTimestamp": "1672041600000"},
        {"symbol": "ETHPERP", "fundingRate": "-0.0002", "fundingRateTimestamp": "1672012800000"},
    ]
    settled = parse_funding(answer(rows), "ETHPERP")
    assert [(item.ts_ms, item.rate) for item in settled] == [
        (1672012800000, -0.0002),
        (1672041600000, 0.0001),
    ]


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", ""])
def test_a_rate_that_is_no_finite_number_is_refused(rate: str) -> None:
    row = {"symbol": "ETHPERP", "fundingRate": rate, "fundingRateTimestamp": "1672041600000"}
    with pytest.raises(BadInput):
        parse_funding(answer([row]), "ETHPERP")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b"null",
        b'{"retCode": "0"}',
        b'{"retMsg": "OK"}',
        b'{"retCode": 0, "result": {}}',
        b'{"retCode": 0, "result": null}',
        b'{"retCode": 0, "result": ' + b"[" * 100_000,
        b"\xff\xfe",
        answer([ROW], symbol="ETHUSDT"),
        answer([ROW[:6]]),
        answer([[*ROW, "1"]]),
        answer([["nan", *ROW[1:]]]),
        answer([[ROW[0], "NaN", *ROW[2:]]]),
        answer([[ROW[0], "1e999", *ROW[2:]]]),
        answer([[ROW[0], "1_0", *ROW[2:]]]),
        answer([[ROW[0], "", *ROW[2:]]]),
        answer([[ROW[0], None, *ROW[2:]]]),
        answer([[ROW[0], ROW[1], ROW[3], ROW[2], *ROW[4:]]]),  # high < low
        answer([["1683472860001", *ROW[1:]]]),  # off the grid
        answer([["9" * 30, *ROW[1:]]]),
    ],
)
def test_what_is_not_the_documented_answer_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        parse_klines(body, "BTCUSDT", MINUTE_MS)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_an_answer_is_bars_bad_input_or_a_refusal(data: st.DataObject) -> None:
    body = bytearray(answer([ROW, OLDER]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        bars = parse_klines(bytes(body), "BTCUSDT", MINUTE_MS).bars
    except (BadInput, VenueError):
        return
    assert all(bar.symbol == "BTCUSDT" and bar.start_ms % MINUTE_MS == 0 for bar in bars)


@pytest.mark.parametrize(
    ("code", "leaf"),
    [(10006, RateLimited), (10016, Retryable), (10000, Retryable), (10001, Rejected), (10009, Rejected)],
)
def test_a_retcode_raises_its_error(code: int, leaf: type[VenueError]) -> None:
    with pytest.raises(leaf, match=str(code)) as caught:
        parse_klines(answer([], retCode=code, retMsg="Too many\nvisits"), "BTCUSDT", MINUTE_MS)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_an_unknown_retcode_is_not_retried() -> None:
    assert type(error_for(123456, "what")) is VenueError


def test_the_text_of_a_wrong_signature_is_never_shown() -> None:
    assert "canary" not in str(error_for(10004, "error sign! origin_string[canary]"))


@pytest.mark.parametrize(
    ("status", "leaf"),
    [
        (429, RateLimited),
        (500, Retryable),
        (503, Retryable),
        (403, Rejected),
        (302, Rejected),
        (404, Rejected),
    ],
)
def test_an_http_status_raises_its_error(status: int, leaf: type[VenueError]) -> None:
    assert isinstance(error_for_status(status), leaf)
    assert error_for_status(200) is None


def test_requests_are_the_documented_ones() -> None:
    assert get_klines("BTCUSDT", 5 * MINUTE_MS, 1, 2).target == (
        "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=5&start=1&end=2&limit=1000"
    )
    assert get_klines("BTCUSDT", INTERVALS_MS["1d"], 1, 2, prices="mark-price-kline").target == (
        "/v5/market/mark-price-kline?category=linear&symbol=BTCUSDT&interval=D&start=1&end=2&limit=1000"
    )
    assert get_funding("BTCUSDT", 1, 2).target == (
        "/v5/market/funding/history?category=linear&symbol=BTCUSDT&startTime=1&endTime=2&limit=200"
    )


def test_every_interval_has_a_wire_name() -> None:
    assert set(WIRE_INTERVALS) == set(INTERVALS_MS.values())


def test_a_symbol_cannot_add_parameters() -> None:
    assert "symbol=A%26limit%3D1&" in get_klines("A&limit=1", MINUTE_MS, 1, 2).target
