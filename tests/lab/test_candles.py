from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.adapters.files.frames import ArrowTable
from tests.lab.market import FIVE, candles, part, renamed

WHOLE = candles(300)


def frame() -> pd.DataFrame:
    return WHOLE.to_pandas()


def indexed(zone: str | None) -> pd.DataFrame:
    table = frame().rename(columns=str.title)
    times = pd.to_datetime(table.pop("Start_Ms"), unit="ms", utc=True)
    table.index = pd.DatetimeIndex(times).tz_convert(zone)
    table.index.name = None
    return table.assign(Signal="x")  # a column of the user's own


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(WHOLE.to_arrow(), id="arrow"),
        pytest.param(frame(), id="pandas"),
        pytest.param(indexed(None), id="an index without a zone is UTC"),
        pytest.param(indexed("Asia/Tokyo"), id="an index with a zone"),
        pytest.param(frame().rename(columns={"start_ms": "timestamp", "volume": "Vol"}), id="synonyms"),
        pytest.param(frame().assign(start_ms=WHOLE.start_ms // 1000), id="seconds"),
        pytest.param(frame().drop(columns="turnover"), id="no turnover"),
        pytest.param(frame().assign(date=1), id="our own name goes first"),
    ],
)
def test_a_table_in_memory_gives_the_candles_of_the_file(table: ArrowTable) -> None:
    read = bot.read_candles(table, symbol="BTCUSDT")
    assert read.sha256 == WHOLE.sha256
    assert repr(read) == "<Candles BTCUSDT 5m: 300 bars, 2025-01-01T00:00Z to 2025-01-02T01:00Z>"


def test_files_in_any_order_are_joined_and_a_shared_bar_counts_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"bybit_linear_BTCUSDT_5m_{n}.{kind}" for n, kind in ((1, "csv"), (2, "parquet"))]
    write_candles(paths[0], part(WHOLE, 0, 150))
    write_candles(paths[1], part(WHOLE, 140, 300))
    for given in ([*reversed(paths)], [str(each) for each in paths]):
        joined = bot.read_candles(given)
        assert joined.sha256 == WHOLE.sha256 == bot.read_candles(*given).sha256
        assert joined.path == f"{paths[0]} + 1 more"


def test_a_bar_that_is_open_yet_is_left_out() -> None:
    late = WHOLE.start_ms + (pd.Timestamp.now("UTC").value // 10**6 // FIVE * FIVE - int(WHOLE.start_ms[-1]))
    read = bot.read_candles(frame().assign(start_ms=late), symbol="BTCUSDT")
    assert len(read) == 299
    assert "left out 1 bar" in read.warnings[0]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([], "got no file and no table"),
        ([frame()], "symbol='BTCUSDT'"),
        ([{"a": 1}], "cannot read a dict"),
        (["nowhere.parquet"], "nowhere.parquet: no such file"),
        ([candles(9), candles(9, "ETHUSDT")], "ETHUSDT 5m cannot be joined with linear BTCUSDT 5m"),
        ([candles(9), candles(9, seed=2)], "differ about the bar that opens at 2025-01-01T00:00Z"),
    ],
)
def test_what_cannot_be_candles_is_told_in_one_line(sources: list[object], words: str) -> None:
    with pytest.raises(bot.BotError) as caught:
        bot.read_candles(sources)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def two_symbols() -> pd.DataFrame:
    both = pd.concat([frame().assign(pair="BTCUSDT"), frame().assign(pair="ETHUSDT")])
    return both.sort_values("start_ms")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (renamed(WHOLE, open="first"), "none of the columns is open"),
        (renamed(WHOLE, start_ms="time", turnover="date"), "start_ms may be 'time' or 'date'"),
        (frame().assign(close="x"), "column close is"),
        (frame().assign(start_ms="2025-01-01"), "times are"),
        (frame().assign(start_ms=pd.NaT), "a time is missing"),
        (frame()[:0], "no rows"),
        (frame().assign(high=1.0), "row 1"),
        (frame()[::-1], "sort the rows by time"),
        (frame().assign(close=np.nan), "row 1"),
        (pa.table({"x": [1]}), "none of the columns is start_ms"),
        (frame().assign(symbol="ETH/USDT"), "column symbol says ETH/USDT; give symbol='ETHUSDT'"),
        (two_symbols(), "column pair names 2 symbols (BTCUSDT, ETHUSDT)"),
    ],
)
def test_a_table_that_holds_no_candles_is_told_with_its_symbol(table: object, words: str) -> None:
    with pytest.raises(bot.BotError, match="BTCUSDT") as caught:
        bot.read_candles(table, symbol="BTCUSDT")  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_an_interval_that_no_two_bars_are_apart_is_refused() -> None:
    with pytest.raises(
        bot.BotError, match=r"no two bars are 1m apart, the smallest step is 5m; give the right"
    ):
        bot.read_candles(frame(), symbol="BTCUSDT", interval="1m")
    holes = frame().drop(index=range(5, 9))
    assert len(bot.read_candles(holes, symbol="BTCUSDT", interval="5m")) == len(holes)


@pytest.mark.parametrize("spelling", ["BTC/USDT:USDT", "btc-usdt", "tBTCUSD", "BTC-USDT-SWAP", "XBTUSDT"])
def test_a_symbol_may_be_spelled_as_publishers_do(spelling: str) -> None:
    assert len(bot.read_candles(frame().assign(symbol=spelling), symbol="BTCUSDT")) == len(frame())


def test_rows_of_ccxt_and_its_spelling_of_a_symbol_are_read() -> None:
    columns = ["start_ms", "open", "high", "low", "close", "volume"]
    array = frame()[columns].to_numpy()
    rows = [[int(row[0]), *row[1:]] for row in array.tolist()]
    for given in (rows, tuple(rows), array):
        read = bot.read_candles(given, symbol="BTC/USDT:USDT")
        assert read.symbol == "BTCUSDT"
        np.testing.assert_array_equal(read.ohlcv, WHOLE.ohlcv)
        np.testing.assert_array_equal(read.start_ms, WHOLE.start_ms)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2.0, 3.0]], "each row must be of 6 values"),
        ([[1] * 6, [1] * 5], "each row must be of 6 values"),
        ([[1, "x", 1, 1, 1, 1]], "no number"),
    ],
)
def test_rows_that_are_no_candles_are_told(rows: list[list[object]], words: str) -> None:
    with pytest.raises(bot.BotError, match=words):
        bot.read_candles(rows, symbol="BTCUSDT")


def test_a_span_of_days_is_read() -> None:
    day = bot.read_candles(frame(), symbol="BTCUSDT", start="2025-01-01T10:00", end="2025-01-01T12:00")
    assert (day.first_ms, day.end_ms) == (WHOLE.first_ms + 120 * FIVE, WHOLE.first_ms + 144 * FIVE)
    assert len(bot.read_candles(WHOLE, start="2024-01-01")) == len(WHOLE)
    with pytest.raises(bot.BotError, match=r"no bar opens from 2026-01-01T00:00Z to its end"):
        bot.read_candles(WHOLE, start="2026-01-01")
