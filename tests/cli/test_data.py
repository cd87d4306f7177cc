import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import (
    Candles,
    funding_beside,
    read_candles,
    read_funding,
    write_candles,
    write_funding,
)
from bot.adapters.files.columns import location
from bot.app.candles.download import DownloadJob
from bot.app.context import Context
from bot.cli import main
from bot.cli.terminal.progress import progress_bar
from bot.domain.market import DAY_MS, Bar
from tests.adapters.exchange_rest import PublicExchange, serve
from tests.adapters.files.test_candles import funding
from tests.adapters.series import NAME, STEP_MS, candles, columns, write_table
from tests.helpers import T0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, object], str]:
    code = main(["data", *args, "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


def test_verify_says_what_a_file_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = candles(20)
    keep = [i for i in range(20) if i not in (5, 6, 12)]
    ohlcv = series.ohlcv[keep].copy()
    ohlcv[3, 4] = 0.0
    ohlcv[15:, :4] *= 1.5
    ohlcv[5:, :4] *= 2.0  # over a gap: no bar's return
    turnover = series.turnover[keep].copy()
    turnover[:2] = np.nan
    write_candles(folder / NAME, Candles.make("BTCUSDT", STEP_MS, series.start_ms[keep], ohlcv, turnover))
    code, told, _ = called(capsys, "verify", NAME)
    assert (code, told["problems"]) == (0, 0)
    fact = told["files"][0]  # type: ignore[index]
    assert {key: fact[key] for key in ("symbol", "interval", "rows", "first_ms", "last_ms")} == {
        "symbol": "BTCUSDT",
        "interval": "5m",
        "rows": 17,
        "first_ms": T0,
        "last_ms": T0 + 19 * STEP_MS,
    }
    assert (fact["gaps"], fact["missing_bars"], fact["longest_gap_bars"]) == (2, 3, 2)
    assert fact["longest_gap_from_ms"] == T0 + 5 * STEP_MS
    assert (fact["zero_volume_bars"], fact["missing_turnover_bars"]) == (1, 2)
    assert [bar["start_ms"] for bar in fact["stress_bars"]] == [T0 + 18 * STEP_MS]


def test_a_wick_that_no_market_made_is_told_by_the_import_and_listed_by_verify(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ohlcv = candles(20).ohlcv.copy()
    ohlcv[7, 1] *= 100.0
    ohlcv[9, 2] *= 0.5
    rows = [
        f"{ms},{','.join(map(str, row))}"
        for ms, row in zip(candles(20).start_ms, ohlcv.tolist(), strict=True)
    ]
    (folder / "wicks.csv").write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    assert (
        main(["data", "import", "wicks.csv", "--symbol", "BTCUSDT", "--interval", "5m", "--out", NAME]) == 0
    )
    assert (
        "wicks of more than 20 % within a bar: 2, the first at 2025-01-01 00:35 UTC"
        in capsys.readouterr().err
    )
    code, told, _ = called(capsys, "verify", NAME)
    assert code == 0
    fact = told["files"][0]  # type: ignore[index]
    assert [bar["start_ms"] for bar in fact["wick_bars"]] == [T0 + 7 * STEP_MS, T0 + 9 * STEP_MS]
    assert [bar["log_distance"] > 0 for bar in fact["wick_bars"]] == [True, False]
    assert fact["stress_bars"] == []


def test_verify_names_every_bad_row_and_exits_5(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = columns()
    table["close"][4] = np.nan
    table["start_ms"][9] += 1
    write_table(folder / NAME, table)
    write_funding(folder / "bybit_linear_BTCUSDT_funding.parquet", funding([0.1, 0.0001]))
    (folder / "bybit_linear_ETHUSDT_5m.parquet").write_bytes(b"PAR1")
    code, told, err = called(capsys, "verify", *sorted(path.name for path in folder.iterdir()))
    assert code == 5
    assert err.startswith("error: 4 problem(s) in 3 of 3 file(s)")
    rows = {fact["path"]: [p["row"] for p in fact["problems"]] for fact in told["files"]}  # type: ignore[attr-defined]
    assert rows == {
        NAME: [5, 10],
        "bybit_linear_BTCUSDT_funding.parquet": [1],
        "bybit_linear_ETHUSDT_5m.parquet": [0],
    }


def test_verify_for_people_has_a_table_and_a_line_for_each_problem(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = columns(40)
    table["low"][:30] = -1.0
    path = write_table(folder / NAME, table)
    assert main(["data", "verify", str(path)]) == 5
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:2] == ["file", "rows"]
    assert f"{location(path, 20)}: " in out
    assert f"{location(path, 21)}: " not in out
    assert "10 more; --json lists all" in out


def test_list_shows_the_data_directory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    assert "no candle files" in capsys.readouterr().out
    write_candles(folder / ".data/candles" / NAME, candles())
    (folder / ".data/candles/notes.txt").write_text("")
    code, told, _ = called(capsys, "list")
    assert code == 0
    assert [Path(fact["path"]).name for fact in told["files"]] == [NAME]  # type: ignore[attr-defined]


def foreign(folder: Path, header: str, rows: list[str]) -> str:
    (folder / "theirs.csv").write_text("\n".join([header, *rows]) + "\n")
    return "theirs.csv"


WHO = ("--symbol", "BTCUSDT", "--interval", "5m")
BINANCE = "open_time,open,high,low,close,volume,close_time,quote_volume,count"


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([str(T0), str(T0 + STEP_MS)], "milliseconds"),
        ([str(T0 // 1000), str((T0 + STEP_MS) // 1000)], "seconds"),
        ([f"{T0}000", f"{T0 + STEP_MS}000"], "microseconds"),
        (["2025-01-01T00:00:00Z", "2025-01-01T02:05:00+02:00"], "ISO 8601"),
    ],
)
def test_import_reads_other_names_and_units(
    folder: Path, capsys: pytest.CaptureFixture[str], times: list[str], unit: str
) -> None:
    name = foreign(folder, BINANCE, [f"{time},1,2,0.5,1.5,10,0,15,3" for time in times])
    code, told, _ = called(capsys, "import", name, *WHO, "--out", NAME)
    assert (code, told["rows"], told["time_unit"]) == (0, 2, unit)
    read = read_candles(folder / NAME)
    assert read.start_ms.tolist() == [T0, T0 + STEP_MS]
    assert read.ohlcv.tolist() == [[1.0, 2.0, 0.5, 1.5, 10.0]] * 2
    assert read.turnover.tolist() == [15.0, 15.0]


@pytest.mark.parametrize(("unit", "per_ms"), [("milliseconds", 1), ("microseconds", 1000)])
def test_import_knows_binances_dumps_without_a_header(
    folder: Path, capsys: pytest.CaptureFixture[str], unit: str, per_ms: int
) -> None:
    rows = [
        f"{start * per_ms},1,2,0.5,1.5,10,{(start + STEP_MS) * per_ms - 1},15,3,5,7,0"
        for start in (T0, T0 + STEP_MS)
    ]
    code, told, _ = called(capsys, "import", foreign(folder, rows[0], rows[1:]), *WHO, "--out", NAME)
    assert (code, told["rows"], told["time_unit"]) == (0, 2, unit)
    read = read_candles(folder / NAME)
    assert read.start_ms.tolist() == [T0, T0 + STEP_MS]
    assert read.turnover.tolist() == [15.0, 15.0]
    name = foreign(folder, rows[0], rows[1:])
    hour = ("--symbol", "BTCUSDT", "--interval", "1h", "--out", "their_linear_BTCUSDT_1h.csv")
    code, _, err = called(capsys, "import", name, *hour)
    assert (code, "column names" in err) == (5, True)


def test_import_knows_bybits_metatrader_dumps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["2025.01.01 00:00,1,2,0.5,1.5,10", "2025.01.01 00:05,1,2,0.5,1.5,10"]
    name = foreign(folder, rows[0], rows[1:])
    assert "say --utc" in called(capsys, "import", name, *WHO, "--out", NAME)[2]
    code, told, _ = called(capsys, "import", name, *WHO, "--utc", "--out", NAME)
    assert (code, told["rows"]) == (0, 2)
    assert read_candles(folder / NAME).start_ms.tolist() == [T0, T0 + STEP_MS]


GOOD = f"{T0},1,2,0.5,1.5,10"


@pytest.mark.parametrize(
    ("header", "rows", "options", "word"),
    [
        ("time,open,high,low,close,volume", ["2025-01-01 00:00,1,2,0.5,1.5,10"], (), "say --utc"),
        ("time,open,high,low,close,volume", ["01/02/2025,1,2,0.5,1.5,10"], (), "no time"),
        ("time,date,open,high,low,close,volume", [f"{T0},{GOOD}"], (), "start_ms may be 'time' or 'date'"),
        ("time,open,high,low,close,Volume BTC", [GOOD], (), "--column volume=NAME"),
        ("time,open,high,low,close,volume", [GOOD], ("--column", "volume=vol"), "no column 'vol'"),
        (GOOD, [GOOD], (), "column names"),
        (
            "time,open,high,low,close,volume",
            [GOOD, "17356902001,1,2,0.5,1.5,10"],
            (),
            "theirs.csv:3: 17356902001",
        ),
        (
            "time,open,high,low,close,volume",
            [GOOD.replace("1.5", '"1,5"')],
            (),
            "theirs.csv:2: close is not a number",
        ),
        ("time,open,high,low,close,volume", [GOOD.replace("0.5", "9")], (), "must enclose"),
        ("time,open,high,low,close,volume", [GOOD, GOOD], (), "--repair"),
        ("time,open,high,low,close,volume", [GOOD, GOOD.replace("10", "11")], ("--repair",), "differ about"),
        ("time,open,high,low,close,volume", ["12345,1,2,0.5,1.5,10"], (), "no time since 1973"),
    ],
)
def test_import_refuses_what_can_be_read_in_two_ways(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    header: str,
    rows: list[str],
    options: tuple[str, ...],
    word: str,
) -> None:
    code, _, err = called(capsys, "import", foreign(folder, header, rows), *WHO, *options, "--out", NAME)
    assert code == 5
    assert word in err
    assert not (folder / NAME).exists()


def test_import_can_be_told_the_column_and_the_zone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = foreign(folder, "date,open,high,low,close,Volume BTC", ["2025-01-01 00:00:00,1,2,0.5,1.5,10"])
    code, told, _ = called(
        capsys, "import", name, *WHO, "--utc", "--column", "volume=Volume BTC", "--out", NAME
    )
    assert (code, told["rows"]) == (0, 1)
    assert main(["data", "import", name, "--column", "vol=x"]) == 2
    assert main(["data", "import", name]) == 2


def test_import_asks_for_what_is_missing_and_for_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = foreign(folder, "date,open,high,low,close,volume", ["2025-01-01T00:00:00Z,1,2,0.5,1.5,10"])
    for given, asked in (
        ((), "say symbol and interval; give --symbol and --interval"),
        (("--symbol", "BTCUSDT"), "say interval; give --interval"),
        (("--interval", "5m"), "say symbol; give --symbol"),
    ):
        assert main(["data", "import", name, *given]) == 2
        assert capsys.readouterr().err.rstrip().endswith(asked)


@pytest.mark.parametrize("words", [("import",), ("verify",)])
def test_a_file_that_is_not_there_is_told_as_that_whatever_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert main(["data", *words, "mine.csv"]) == 5
    told = capsys.readouterr()
    assert "mine.csv: no such file" in told.out + told.err
    assert "does not say" not in told.out + told.err


def test_repair_sorts_and_drops_exact_repeats_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = columns(10)
    order = [3, 1, 0, 2, 4, 4, 5, 6, 7, 8, 9, 9]
    write_table(folder / NAME, {name: column[order] for name, column in table.items()})
    code, told, _ = called(capsys, "import", NAME, "--repair")
    assert code == 0
    assert (told["rows"], told["reordered"], told["dropped_repeats"]) == (10, 2, 2)
    assert read_candles(str(told["file"])).sha256 == candles(10).sha256
    code, _, err = called(capsys, "import", NAME, "--repair")
    assert (code, "--force" in err) == (2, True)
    assert called(capsys, "import", NAME, "--repair", "--force")[0] == 0


def test_import_leaves_out_a_bar_that_has_not_closed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    future = 4_000_000_200_000  # 2096
    rows = [GOOD, GOOD.replace(str(T0), str(future // STEP_MS * STEP_MS))]
    code, told, _ = called(
        capsys, "import", foreign(folder, "time,open,high,low,close,volume", rows), *WHO, "--out", NAME
    )
    assert (code, told["rows"], told["dropped_unclosed"]) == (0, 1, 1)


def test_synth_is_the_same_for_the_same_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        called(capsys, "synth", "--symbol", "AUSDT", "--days", "2", "--seed", seed, "--out", out)[1]["files"]
        for seed, out in (("1", "a"), ("1", "b"), ("2", "c"))
    ]
    hashes = [files[0]["sha256"] for files in told]  # type: ignore[index]
    assert hashes[0] == hashes[1] != hashes[2]
    candles_path = folder / "a/synth_linear_AUSDT_5m.parquet"
    assert read_candles(candles_path).sha256 == hashes[0]
    assert len(read_candles(candles_path)) == 2 * 288
    beside = funding_beside(candles_path)
    assert beside is not None
    assert len(read_funding(beside).rate) == 6
    assert main(["data", "verify", str(candles_path), str(beside)]) == 0


def test_synth_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--predictability=2", "--symbol=../b", "--start=2025-01-01T00:01", "--daily-vol=nan"):
        assert main(["data", "synth", option]) == 5, option
    assert capsys.readouterr().err.count("error: ") == 4


async def test_fetch_writes_files_and_continues(folder: Path) -> None:
    """In a process of its own, as a user calls it, against the documented endpoints on loopback."""
    bars = {
        T0 + i * STEP_MS: Bar("BTCUSDT", STEP_MS, T0 + i * STEP_MS, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0)
        for i in range(1501)
    }
    market = PublicExchange(bars, T0 + 1500 * STEP_MS + 1, STEP_MS, rates={T0 + 28_800_000: "0.0001"})

    async def fetch(url: str, *args: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "data", "fetch", "--symbol", "BTCUSDT", "--interval", "5m"),
            *("--start", "2025-01-01", "--end", "2025-01-08", "--json", *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"BOT_FETCH__BASE_URL": url, "BOT_FETCH__MAX_RETRIES": "1"},
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async with serve(market) as url:
        # the listing and the first page are answered
        market.faults = [lambda r: None] * 2 + [lambda r: market.answer({}, 10016)] * 2
        code, out, err = await fetch(url)
        assert (code, out) == (4, "")
        assert err.startswith("error: http://127.0.0.1")
        assert len(read_candles(folder / ".data/candles" / NAME)) == 1000
        del market.bars[T0 + 1200 * STEP_MS]
        code, _, err = await fetch(url)
        assert (code, "lacks 1 bar in 1 gap" in err) == (4, True)
        code, out, err = await fetch(url, "--allow-gaps")
        assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["notes"] == []
    files = told["files"]
    assert [(file["rows"], file["gaps"]) for file in files] == [(1499, 1), (1, None)]
    assert read_funding(files[1]["file"]).rate.tolist() == [0.0001]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("o_linear_BTCUSDT_15m.csv", (), "says interval 15m, but the rows are of 5m"),
        ("o_linear_ETHUSDT_5m.csv", (), "says symbol ETHUSDT, but the rows are of BTCUSDT"),
        ("o_spot_BTCUSDT_5m.csv", ("--market", "linear"), "says market spot, but the rows are of linear"),
        ("o_linear_BTCUSDT_5m.csv", ("--venue", "p"), "says venue o, but the rows are of p"),
        ("o_banana_BTCUSDT_5m.csv", (), "--market banana: is no market"),
        ("", ("--market", "banana"), "--market banana: is no market"),
    ],
)
def test_import_refuses_a_name_that_contradicts_the_rows(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, options: tuple[str, ...], words: str
) -> None:
    file = foreign(folder, "time,open,high,low,close,volume", [f"{T0},1,2,1,2,5"])
    out = ("--out", f"new/{name}") if name else ()
    code, _, err = called(capsys, "import", file, *WHO, *options, *out)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert not list(folder.rglob("*BTCUSDT*"))


def test_the_name_of_the_new_file_says_what_the_old_one_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = foreign(folder, "time,open,high,low,close,volume", [f"{T0},1,2,1,2,5"])
    code, _, _ = called(capsys, "import", file, "--out", "import_spot_ETHUSDT_5m.csv")
    assert code == 0
    assert read_candles("import_spot_ETHUSDT_5m.csv").market == "spot"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("12/31/2024 19:00;1;2;1;2;5", "write it as 2024-12-31T19:00Z"),
        (
            "2025-01-01T00:00Z;94.000,00;94.000,00;94.000,00;94.000,00;5",
            "take the separators of thousands out",
        ),
        (
            "2025-01-01T00:00Z;94,000.00;94,000.00;94,000.00;94,000.00;5",
            "take the separators of thousands out",
        ),
    ],
)
def test_import_says_what_to_change_in_a_cell_it_cannot_read(
    folder: Path, capsys: pytest.CaptureFixture[str], row: str, words: str
) -> None:
    code, _, err = called(capsys, "import", foreign(folder, "time;open;high;low;close;volume", [row]), *WHO)
    assert (code, words in err) == (5, True)


def test_import_warns_of_a_time_of_opens_that_is_named_like_a_close(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = foreign(folder, "timestamp_close,open,high,low,close,volume", [f"{T0},1,2,1,2,5"])
    assert main(["data", "import", file, *WHO, "--column", "start_ms=timestamp_close"]) == 0
    assert "note: timestamp_close was taken for the time when a bar opens" in capsys.readouterr().err


def test_a_symbol_of_another_script_can_be_imported_verified_and_invented(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = foreign(
        folder, "time,open,high,low,close,volume", [f"{T0},1,2,1,2,5", f"{T0 + STEP_MS},1,2,1,2,5"]
    )
    code, told, _ = called(capsys, "import", file, "--symbol", "币安人生usdt", "--interval", "5m")
    assert code == 0
    assert Path(str(told["file"])).name == "import_linear_币安人生USDT_5m.parquet"
    code, told, _ = called(capsys, "synth", "--symbol", "币安人生USDT", "--days", "1")
    assert code == 0
    code, told, _ = called(capsys, "verify")
    assert code == 0
    assert {each["symbol"] for each in told["files"]} == {"币安人生USDT"}  # type: ignore[attr-defined]


async def test_a_symbol_of_another_script_is_fetched(folder: Path) -> None:
    bars = {T0: Bar("币安人生USDT", DAY_MS, T0, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0)}
    market = PublicExchange(bars, T0 + DAY_MS + 1, DAY_MS)
    async with serve(market) as url:
        settings = Context().settings(
            {"fetch.base_url": url, "feed.symbols": "币安人生USDT", "feed.interval": "1d"}
        )
        job = DownloadJob(settings, T0, T0 + DAY_MS, "linear", "kline", False, progress_bar)
        done = await job.run(folder, every=False, funding=False, rules=False)
    assert read_candles(Path(str(done.files[0]["file"]))).symbol == "币安人生USDT"
    assert all("symbol=%E5%B8%81" in request.raw_path for request in market.requests)


async def test_a_symbol_without_a_known_listing_begins_thirty_days_ago_and_says_so(folder: Path) -> None:
    end_ms = T0 + 40 * DAY_MS
    days = range(T0, end_ms + 1, DAY_MS)
    bars = {ms: Bar("BTCUSDT", DAY_MS, ms, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0) for ms in days}
    async with serve(PublicExchange(bars, end_ms + 1, DAY_MS)) as url:
        settings = Context().settings(
            {"fetch.base_url": url, "feed.symbols": "BTCUSDT", "feed.interval": "1d"}
        )
        job = DownloadJob(settings, None, end_ms, "spot", "kline", False, progress_bar)
        done = await job.run(folder, every=False, funding=False, rules=False)
    (note,) = done.notes
    assert note.startswith("BTCUSDT: the last 30 days, because the exchange tells no listing")
    assert read_candles(Path(str(done.files[0]["file"]))).first_ms == end_ms - 30 * DAY_MS


def test_import_joins_files_and_says_in_one_line_what_it_recognised(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def day(name: str, first: int, bars: int) -> str:
        rows = [f"{T0 + i * STEP_MS};1,5;2;0,5;1,5;10" for i in range(first, first + bars)]
        (folder / name).write_text("\n".join(["Open time;Open;High;Low;Close;Volume", *rows]) + "\n")
        return name

    names = [day("BTCUSDT-5m-2025-01-02.csv", 6, 4), day("BTCUSDT-5m-2025-01-01.csv", 0, 5)]
    assert main(["data", "import", *names]) == 0
    told = capsys.readouterr().out
    assert told == (
        ".data/candles/import_linear_BTCUSDT_5m.parquet: 9 bars from 2025-01-01 00:00 UTC to "
        "2025-01-01 00:45 UTC, 1 gap (1 bar), out of 2 tables: columns by name with decimal comma (2); "
        "start_ms=Open time, open=Open, high=High, low=Low, close=Close, volume=Volume; "
        "times in milliseconds (9 rows)\n"
    )
    assert len(read_candles(folder / ".data/candles/import_linear_BTCUSDT_5m.parquet")) == 9


def test_import_makes_bars_of_a_day_of_single_trades_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["1735689600.0001,BTCUSDT,Buy,1,100", "1735690500.5,BTCUSDT,Buy,3,101"]
    (folder / "BTCUSDT2025-01-01.csv").write_text(
        "\n".join(["timestamp,symbol,side,size,price", *rows]) + "\n"
    )
    assert main(["data", "import", "BTCUSDT2025-01-01.csv"]) == 2
    assert "the name does not say interval; give --interval" in capsys.readouterr().err
    assert main(["data", "import", "BTCUSDT2025-01-01.csv", "--interval", "5m"]) == 0
    assert capsys.readouterr().out == (
        ".data/candles/import_linear_BTCUSDT_5m.parquet: 288 bars from 2025-01-01 00:00 UTC to "
        "2025-01-01 23:55 UTC, no gaps, out of 1 table: trades by name; start_ms=timestamp, price=price, "
        "volume=size; times in seconds (2 rows); 2 trades; 286 bars without a trade\n"
    )
    candles = read_candles(folder / ".data/candles/import_linear_BTCUSDT_5m.parquet")
    assert candles.ohlcv[[0, 1, 3, 287], 3:].tolist() == [[100, 1], [100, 0], [101, 3], [101, 0]]


def test_resample_writes_the_longer_bars_beside_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "synth", "--days", "2", "--out", ".", "--symbol", "BTCUSDT"]) == 0
    capsys.readouterr()
    name = "synth_linear_BTCUSDT_5m.parquet"
    code, told, _ = called(capsys, "resample", name, "--interval", "1h")
    assert code == 0
    (made,) = told["files"]  # type: ignore[misc]
    assert (made["file"], made["rows"], made["gaps"]) == ("synth_linear_BTCUSDT_1h.parquet", 48, 0)
    hours = read_candles(made["file"])
    assert (hours.sha256, funding_beside(made["file"])) == (made["sha256"], funding_beside(name))
    assert main(["data", "resample", name, "--interval", "1h"]) == 2
    assert "synth_linear_BTCUSDT_1h.parquet: is already there; --force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "interval", "words"),
    [
        (["a_linear_BTCUSDT_1h.parquet"], "1h", "has bars of this length or longer"),
        (["mine.parquet"], "1h", "the name must be VENUE_MARKET_SYMBOL_INTERVAL"),
        (["a_linear_BTCUSDT_5m.csv", "a_linear_BTCUSDT_1m.csv"], "1h", "two files would become"),
    ],
)
def test_resample_refuses_before_it_reads(
    files: list[str], interval: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "resample", *files, "--interval", interval]) == 2
    assert words in capsys.readouterr().err


def test_an_inverse_contract_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_FETCH__BASE_URL", "http://127.0.0.1:9")
    assert main(["data", "fetch", "--category", "inverse", "--symbol", "BTCUSD"]) == 2
    assert "counts in its coin" in capsys.readouterr().err


async def test_bars_of_a_local_exchange_go_to_files_of_their_own(folder: Path) -> None:
    bars = {
        T0 + i * DAY_MS: Bar("BTCUSDT", DAY_MS, T0 + i * DAY_MS, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0) for i in (0, 1)
    }
    words = (
        sys.executable,
        "-m",
        "bot",
        "data",
        "fetch",
        "--symbol",
        "BTCUSDT",
        "--interval",
        "1d",
        "--start",
    )
    async with serve(PublicExchange(bars, T0 + 2 * DAY_MS + 1, DAY_MS)) as url:
        process = await asyncio.create_subprocess_exec(
            *(
                *words,
                "2025-01-01",
                "--end",
                "2025-01-03",
                "--no-funding",
                "--exchange",
                url,
                "--out",
                str(folder),
            ),
            # an address of Bybit's data is not that of the local exchange
            env=os.environ | {"BOT_FETCH__BASE_URL": "http://127.0.0.1:9"},
        )
        await process.communicate()
    assert process.returncode == 0
    assert len(read_candles(folder / "local_linear_BTCUSDT_1d.parquet")) == 2


def test_the_address_of_a_local_exchange_contradicts_another_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["data", "fetch", "--network", "mainnet", "--exchange", "http://127.0.0.1:9"]
    assert main(words) == 2
    assert "--network says mainnet" in capsys.readouterr().err
