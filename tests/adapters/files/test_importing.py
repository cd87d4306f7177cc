"""Foreign candle files in the forms of known publishers and tools; each must give the same series."""

import gzip
import json
import zipfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from bot.adapters.files.candles import Candles
from bot.adapters.files.foreign.names import Said, agreed, said_by
from bot.adapters.files.foreign.sources import TableSource, find_sources
from bot.adapters.files.importing import Imported, Reading, import_candles
from bot.domain.errors import BadBar, BadFile
from tests.helpers import T0

STEP_MS = 300_000
NOW_MS = T0 + 1_000 * STEP_MS
Row = tuple[int, float, float, float, float, float]
ROWS: list[Row] = [
    (T0 + i * STEP_MS, 100.0 + i, 102.5 + i, 99.25 + i, 101.0 + i, 10.5 + i) for i in range(12)
]
HEADER = "time,open,high,low,close,volume"
BINANCE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)


def lines(rows: Iterable[Row], form: Callable[..., str], header: str = "") -> str:
    return "\n".join([*([header] if header else []), *(form(*row) for row in rows)]) + "\n"


def plain(t: int, *numbers: float) -> str:
    return ",".join(map(str, (t, *numbers)))


def binance(per_ms: int) -> Callable[..., str]:
    def form(t: int, o: float, h: float, low: float, c: float, v: float) -> str:
        return f"{t * per_ms},{o},{h},{low},{c},{v},{(t + STEP_MS) * per_ms - 1},{v * c},9,1,1,0"

    return form


def at(pattern: str, t: int) -> str:
    return datetime.fromtimestamp(t / 1000, UTC).strftime(pattern)


def imported(*paths: Path, **reading: object) -> Imported:
    return import_candles(
        find_sources(paths),
        "BTCUSDT",
        STEP_MS,
        Reading(**reading),  # type: ignore[arg-type]
        now_ms=NOW_MS,
    )


def rows_of(candles: Candles) -> list[Row]:
    return [(int(t), *bar) for t, bar in zip(candles.start_ms, candles.ohlcv.tolist(), strict=True)]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


TEXTS: dict[str, tuple[str, str | bytes, dict[str, object]]] = {
    "Binance klines": ("a.csv", lines(ROWS, binance(1), BINANCE_HEADER), {}),
    "Binance klines without header": (
        "a.csv",
        lines(ROWS[:6], binance(1)) + lines(ROWS[6:], binance(1000)),
        {},
    ),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + lines(ROWS, binance(1000)).encode(), {}),
    "header in the middle": (
        "a.csv",
        lines(ROWS[:6], binance(1), BINANCE_HEADER) + lines(ROWS[6:], binance(1), BINANCE_HEADER),
        {},
    ),
    "semicolon and decimal comma": (
        "a.csv",
        HEADER.replace(",", ";") + "\n" + lines(ROWS, plain).replace(",", ";").replace(".", ","),
        {},
    ),
    "an index of pandas without a name": (
        "a.csv",
        lines(ROWS, lambda t, *n: f"{at('%Y-%m-%d %H:%M:%S', t)}+00:00," + ",".join(map(str, n)), HEADER[4:]),
        {},
    ),
    "Kaiko": (
        "a.csv",
        lines(
            ROWS,
            lambda t, *n: "btc-usdt," + plain(t, *n),
            "instrument,timestamp_start,price_open,price_high,price_low,price_close,volume_base",
        ),
        {},
    ),
    "names in another language": (
        "a.csv",
        lines(ROWS, plain, "Zeit,Eröffnung,Hoch,Tief,Schluss,Menge").encode("cp1252"),
        {
            "columns": {
                "start_ms": "Zeit",
                "open": "Eröffnung",
                "high": "Hoch",
                "low": "Tief",
                "close": "Schluss",
                "volume": "Menge",
            }
        },
    ),
    "CryptoDataDownload": (
        "a.csv",
        "https://www.CryptoDataDownload.com\n"
        + lines(
            ROWS[::-1],
            lambda t, o, h, low, c, v: (
                f"{t // 1000},{at('%Y-%m-%d %H:%M:%S', t)},BTC/USDT,{o},{h},{low},{c},{v},{v * c},3"
            ),
            "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
        ),
        {},
    ),
    "TradingView": (
        "a.csv",
        lines(
            ROWS, lambda t, *n: plain(t // 1000, *n) + ",NaN,1", "time,open,high,low,close,Volume,Plot,Plot"
        ),
        {},
    ),
    "TradingView ISO": (
        "a.csv",
        lines(ROWS, lambda t, *n: f"{at('%Y-%m-%dT%H:%M:%SZ', t)}," + ",".join(map(str, n)), HEADER),
        {},
    ),
    "OKX file": (
        "a.csv",
        lines(
            ROWS[::-1],
            lambda t, o, h, low, c, v: f"BTC-USDT-SWAP,{o},{h},{low},{c},{v * 100},{v},{v * c},{t},1",
            "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
        ),
        {},
    ),
    "Kraken": ("XBTUSDT_5.csv", lines(ROWS, lambda t, *n: plain(t // 1000, *n) + ",17"), {}),
    "MetaTrader 4": (
        "a.csv",
        lines(ROWS, lambda t, *n: f"{at('%Y.%m.%d,%H:%M', t)}," + ",".join(map(str, n))),
        {"naive_is_utc": True},
    ),
    "MetaTrader 5 in UTF-16": (
        "a.csv",
        lines(
            ROWS,
            lambda t, *n: f"{at('%Y.%m.%d,%H:%M:%S', t)}," + ",".join(map(str, n)) + ",0,2",
            "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>,<VOL>,<SPREAD>",
        )
        .replace(",", "\t")
        .replace("\n", "\r\n")
        .encode("utf-16"),
        {"naive_is_utc": True, "columns": {"volume": "<TICKVOL>"}},
    ),
    "Dukascopy": (
        "a.csv",
        lines(
            ROWS,
            lambda t, *n: f"{at('%d.%m.%Y %H:%M:%S.000', t)}," + ",".join(map(str, n)),
            "Gmt time,Open,High,Low,Close,Volume",
        ),
        {},
    ),
    "CRLF, blank lines and a remark": (
        "a.csv",
        "# mine\r\n" + lines(ROWS, plain, HEADER).replace("\n", "\r\n") + "\r\n# end\r\n",
        {},
    ),
    "ccxt list": ("a.json", json.dumps(ROWS), {}),
    "Bybit REST": (
        "a.json",
        json.dumps(
            {
                "retCode": 0,
                "result": {
                    "symbol": "BTCUSDT",
                    "list": [[str(x) for x in (*row, row[4] * row[5])] for row in ROWS[::-1]],
                },
                "retExtInfo": {},
                "time": 1,
            }
        ),
        {},
    ),
    "OKX REST": (
        "a.json",
        json.dumps(
            {
                "code": "0",
                "data": [
                    [str(x) for x in (*row[:5], row[5] * 100, row[5], row[4] * row[5], 1)]
                    for row in ROWS[::-1]
                ],
            }
        ),
        {},
    ),
    "Kraken REST": (
        "a.json",
        json.dumps(
            {
                "error": [],
                "result": {
                    "XXBTZUSD": [
                        [t // 1000, *(str(x) for x in n[:4]), "101", str(n[4]), 7] for t, *n in ROWS
                    ],
                    "last": 1,
                },
            }
        ),
        {},
    ),
    "list of objects": (
        "a.json",
        json.dumps([dict(zip(HEADER.split(","), row, strict=True)) for row in ROWS]),
        {},
    ),
    "freqtrade json.gz": ("BTC_USDT-5m.json.gz", gzip.compress(json.dumps(ROWS).encode()), {}),
    "csv.gz": ("a.csv.gz", gzip.compress(lines(ROWS, plain, HEADER).encode()), {}),
}


@pytest.mark.parametrize("dialect", TEXTS)
def test_a_dialect_gives_the_same_series(dialect: str, tmp_path: Path) -> None:
    name, content, reading = TEXTS[dialect]
    assert rows_of(imported(written(tmp_path / name, content), **reading).candles) == ROWS


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_freqtrades_feather_is_read(unit: str, tmp_path: Path) -> None:
    date = (
        pa.array([t for t, *_ in ROWS], pa.int64())
        .cast(pa.timestamp("ms", "UTC"))
        .cast(pa.timestamp(unit, "UTC"))
    )
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(HEADER.split(",")[1:], start=1)}
    table = pa.table({"date": date, **columns})
    path = tmp_path / "BTC_USDT_USDT-5m-futures.feather"
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:
        file.write_table(table)
    done = imported(path)
    assert rows_of(done.candles) == ROWS
    assert done.dialects == {"freqtrade feather": 1}
    assert said_by(find_sources([path])[0]) == Said("BTCUSDT", STEP_MS, "linear")


@pytest.mark.parametrize(
    "name",
    ["币安人生USDT-5m-2025-10.csv", "币安人生_USDT_USDT-5m-futures.csv", "bybit_linear_币安人生USDT_5m.csv"],
)
def test_names_of_other_publishers_may_hold_a_symbol_of_another_script(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not read")
    said = said_by(find_sources([tmp_path / name])[0])
    assert (said.symbol, said.interval_ms) == ("币安人生USDT", STEP_MS)


def test_months_in_archives_become_one_series_and_equal_overlaps_are_counted(tmp_path: Path) -> None:
    parts = (("12", ROWS[:8], 1), ("01", ROWS[5:], 1000))
    for month, rows, per_ms in parts:
        name = f"BTCUSDT-5m-2024-{month}"
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.csv", lines(rows, binance(per_ms)))
    done = imported(tmp_path / "BTCUSDT-5m-*.zip")
    assert rows_of(done.candles) == ROWS
    assert (done.dropped, done.replaced) == (3, 0)
    assert done.time_units == {"milliseconds": 8, "microseconds": 7}
    assert done.dialects == {"Binance klines without header": 2}
    assert agreed(find_sources([tmp_path / "*.zip"])) == Said("BTCUSDT", STEP_MS)


def test_rows_that_contradict_each_other_are_named_and_one_can_be_preferred(tmp_path: Path) -> None:
    other = [(t, o, h, low, c + 1, v) for t, o, h, low, c, v in ROWS[4:7]]
    first = written(tmp_path / "a.csv", lines(ROWS, plain, HEADER))
    second = written(tmp_path / "b.csv", lines(other, plain, HEADER))
    with pytest.raises(BadFile, match=r"a\.csv:6 and .*b\.csv:2 differ about .*3 such bars, the last at"):
        imported(first, second)
    assert rows_of(imported(first, second, prefer="first").candles) == ROWS
    last = imported(first, second, prefer="last")
    assert rows_of(last.candles) == ROWS[:4] + other + ROWS[7:]
    assert (last.dropped, last.replaced) == (0, 3)


@pytest.mark.parametrize(
    ("before", "bad", "named"),
    [
        ("", "x", "jan.csv:4: close is not a number: 'x'"),
        ("\n# a remark\n\n", "x", "jan.csv:7: close is not a number: 'x'"),
        (HEADER + "\n\n", "900", "jan.csv:6: "),
        ("\n", "1,2", "jan.csv:5: 7 cells, expected 6"),
    ],
)
def test_a_bad_value_is_named_with_archive_member_and_line(
    before: str, bad: str, named: str, tmp_path: Path
) -> None:
    good = lines(ROWS[:2], plain, HEADER)
    t, o, h, low, _, v = ROWS[2]
    text = good + before + f"{t},{o},{h},{low},{bad},{v}\n" + lines(ROWS[3:], plain)
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("2024/jan.csv", text)
    with pytest.raises((BadFile, BadBar)) as error:
        imported(path)
    assert str(error.value).startswith(f"{path}/2024/{named}")


def test_a_line_is_true_behind_a_block_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.files.foreign.tables.BLOCK_BYTES", 100)
    text = lines(ROWS[:8], plain, HEADER).replace("\n", "\n# r\n") + "1,2,3,4,x,6\n"
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(BadFile, match=r"a\.csv:19: "):
        imported(path)


def test_inverse_candles_are_refused_by_their_turnover_and_by_their_name(tmp_path: Path) -> None:
    text = lines(
        ROWS, lambda t, o, h, low, c, v: f"{t},{o},{h},{low},{c},{v},{v / c}", HEADER + ",quote_volume"
    )
    with pytest.raises(BadFile, match="inverse"):
        imported(written(tmp_path / "a.csv", text))
    with pytest.raises(BadFile, match="inverse"):
        said_by(TableSource(tmp_path / "BTCUSD_PERP-1h-2023-10-27.csv", "csv"))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.csv", lines([(T0, 1, 1, 1, 1, 1)], plain), "put a line of column names"),
        ("a.csv", HEADER.replace(",", ";") + f"\n{T0};94,000;94,000;94,000;94,000;1,500\n", "--decimal"),
        ("a.csv", HEADER + "\n", "no rows"),
        ("a.csv", "timestamp,symbol,side,size,price\n1735689600,BTCUSDT,Buy,1,9\n", "holds single trades"),
        ("a.csv", "name,colour\nbanana,yellow\n", "no line holds"),
        ("a.csv", "time,date,open,high,low,close,volume\n" + f"{T0},{T0},1,1,1,1,1\n", "may be"),
        ("a.json", "[[1735689600000, 1, 2]]", "no candle of a known exchange"),
        ("a.json", "[[1735689600000, 1, 2", "not a readable JSON"),
        ("a.feather", "ARROW1??", "not a readable feather"),
        ("a.zip", "PK??", "not a readable zip"),
        ("a.csv.gz", "no gz", "cannot be unpacked"),
        ("a.xls", "x", "must end in"),
        ("BTC_USDT-5m-mark.json", "[]", "holds mark"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(name: str, content: str, word: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, content)

    def read() -> None:
        agreed(find_sources([path]))
        imported(path)

    with pytest.raises(BadFile, match=word):
        read()


def test_files_of_two_symbols_or_intervals_are_not_joined(tmp_path: Path) -> None:
    names = ("BTCUSDT-5m-2024-01.csv", "ETHUSDT-5m-2024-01.csv")
    with pytest.raises(BadFile, match="differ in symbol"):
        agreed(find_sources([written(tmp_path / name, "x") for name in names]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("BTCUSDT-1m-2020-12-21.csv", Said("BTCUSDT", 60_000)),
        ("BTCUSDT_1_2021-01-01_2021-01-31.csv.gz", Said("BTCUSDT", 60_000)),
        ("XBTUSDT_60.csv", Said("XBTUSDT", 3_600_000)),
        ("Binance_BTCUSDT_2024_minute.csv", Said("BTCUSDT", 60_000)),
        ("BYBIT_BTCUSDT.P, 5.csv", Said("BTCUSDT", 300_000)),
        ("BINANCE_BTCUSDT, 240_1a2b3.csv", Said("BTCUSDT", 14_400_000)),
        ("Binance_BTCUSDT_d.csv", Said("BTCUSDT", 86_400_000)),
        ("BTC-USDT-SWAP-candlesticks-2024-01-01.csv", Said("BTCUSDT")),
        ("BTC_USDT-5m.feather", Said("BTCUSDT", STEP_MS, "spot")),
        ("notes.csv", Said()),
    ],
)
def test_a_publishers_name_says_symbol_and_interval(name: str, said: Said, tmp_path: Path) -> None:
    assert said_by(TableSource(tmp_path / name, "csv")) == said


def test_columns_with_names_in_another_language_are_named(tmp_path: Path) -> None:
    table = lines(ROWS, plain, "Zeit,Eröffnung,Hoch,Tief,Schluss,Menge")
    for encoding in ("utf-8", "cp1252"):
        path = written(tmp_path / "a.csv", table.encode(encoding))
        with pytest.raises(BadFile, match=r"none of the columns is start_ms \(there: Zeit, Eröffnung, Hoch"):
            imported(path)


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        (["BTCUSDT", "ETHUSDT"], "rows of several symbols: BTCUSDT in .*, ETHUSDT in"),
        (["ETH/USDT"], "its rows are of ETH/USDT, not of BTCUSDT; say --symbol ETHUSDT"),
    ],
)
@pytest.mark.parametrize("repair", [True, False])
def test_rows_of_another_symbol_are_refused_in_any_order(
    tmp_path: Path, symbols: list[str], words: str, repair: bool
) -> None:
    mixed = [f"{plain(*row)},{symbol}" for row in ROWS for symbol in symbols]
    path = written(tmp_path / "a.csv", "\n".join([f"{HEADER},pair", *mixed]))
    with pytest.raises(BadFile, match=words):
        imported(path, repair=repair)
