"""What a user hands in by mistake: each is one line on stderr and exit 5, and nothing is traded on it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from bot.adapters.files import shipped
from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS
from bot.adapters.state.clock import WallClock
from bot.cli import main
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.synth import MarketRecipe, funding, market
from tests.adapters.series import write_table
from tests.helpers import T0

STEP_MS = 5 * MINUTE_MS
BARS = 300
ROW = 120
"""0-based row at which a fault is planted."""

Capture = pytest.CaptureFixture[str]
Table = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(interval_ms: int = STEP_MS, bars: int = BARS) -> Table:
    """Columns of an invented market, to be spoilt."""
    recipe = MarketRecipe(interval_ms=interval_ms, bars=bars, start_ms=T0)
    series = market(recipe, ["BTCUSDT"], seed=3)["BTCUSDT"]
    columns = dict(zip(("open", "high", "low", "close", "volume"), series.ohlcv.T.copy(), strict=True))
    return {"start_ms": series.start_ms.copy(), **columns, "turnover": series.turnover.copy()}


def written(columns: Table, suffix: str = ".parquet") -> str:
    return str(write_table(Path(f"bybit_linear_BTCUSDT_5m{suffix}"), dict(columns)))


def refused(capsys: Capture, *args: str, code: int = 5) -> str:
    """The one line a command ends with."""
    assert main(list(args)) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    return shown.err


def traded(capsys: Capture, *args: str) -> dict[str, object]:
    """What ``bot backtest`` says of a run that ends well, on one JSON object."""
    assert main(["backtest", *args, "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.count("\n") == 1
    told: dict[str, object] = json.loads(shown.out)
    return told


# Rows that cannot be


def unsorted(columns: Table) -> None:
    for column in columns.values():
        column[[ROW - 1, ROW]] = column[[ROW, ROW - 1]]


def duplicated(columns: Table) -> None:
    for column in columns.values():
        column[ROW] = column[ROW - 1]


def misaligned(columns: Table) -> None:
    columns["start_ms"][ROW] += 1_000


def high_below_low(columns: Table) -> None:
    columns["high"][ROW], columns["low"][ROW] = columns["low"][ROW], columns["high"][ROW]


def cell(name: str, value: float) -> Callable[[Table], None]:
    def spoil(columns: Table) -> None:
        columns[name][ROW] = value

    return spoil


BAD_ROWS = {
    "unsorted": (unsorted, "not sorted"),
    "duplicated": (duplicated, "repeats the row before"),
    "misaligned": (misaligned, "not a multiple of the interval"),
    "high below low": (high_below_low, "must enclose"),
    "nan open": (cell("open", np.nan), "open must be positive"),
    "nan close": (cell("close", np.nan), "close must be positive"),
    "nan volume": (cell("volume", np.nan), "volume must be >= 0"),
    "infinite high": (cell("high", np.inf), "high must be positive"),
    "negative low": (cell("low", -1.0), "low must be positive"),
    "zero low": (cell("low", 0.0), "low must be positive"),
    "negative volume": (cell("volume", -1.0), "volume must be >= 0"),
    "negative turnover": (cell("turnover", -1.0), "turnover must be >= 0"),
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_row_that_cannot_be_is_named_by_file_and_row(capsys: Capture, what: str, suffix: str) -> None:
    spoil, words = BAD_ROWS[what]
    columns = table()
    spoil(columns)
    path = written(columns, suffix)
    line = ROW + 1 + (suffix == ".csv")  # a CSV's header is its line 1
    for strategy in ("buy_and_hold", "vol_target"):
        told = refused(capsys, "backtest", "--data", path, "--strategy", strategy, "--json")
        assert f"{path}:{line}: " in told
        assert words in told
        assert "`bot data verify" in told


def test_every_command_that_reads_candles_refuses_a_bad_row(capsys: Capture) -> None:
    columns = table()
    columns["close"][ROW] = np.nan
    path = written(columns)
    for command in (
        ["backtest", "--data", path, "--report", "report.html"],
        ["run", "--feed", "replay", "--speed", "1e9", "--data", path],
        ["predict", "--data", path, "--out", "out.parquet"],
        ["evaluate", "--data", path],
        ["train", "--data", path, "--out", "model"],
    ):
        assert f"{path}:{ROW + 1}: " in refused(capsys, *command)
    assert [each.name for each in Path().iterdir()] == [path]


# Files that are not what they say


def parquet_bytes() -> bytes:
    return Path(written(table())).read_bytes()


def csv_text() -> str:
    return Path(written(table(), ".csv")).read_text()


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[], bytes]:
    return lambda: "\n".join(change(csv_text().splitlines())).encode()


def spoilt_byte() -> bytes:
    """As the program writes it: with a checksum for each page."""
    ohlcv = np.column_stack([table()[name] for name in ("open", "high", "low", "close", "volume")])
    path = Path("bybit_linear_BTCUSDT_5m.parquet")
    write_candles(path, Candles.make("BTCUSDT", STEP_MS, table()["start_ms"], ohlcv))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    return bytes(content)


BAD_FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty Parquet": (".parquet", lambda: b"", "is empty"),
    "truncated Parquet": (".parquet", lambda: parquet_bytes()[:-20], "not a readable Parquet file"),
    "first bytes of a Parquet": (".parquet", lambda: b"PAR1", "not a readable Parquet file"),
    "flipped bit in a Parquet": (".parquet", spoilt_byte, "not a readable Parquet file"),
    "text called Parquet": (".parquet", lambda: b"hello " * 100, "not a readable Parquet file"),
    "empty CSV": (".csv", lambda: b"", "is empty"),
    "blank CSV": (".csv", lambda: b"\n\n", "not a readable CSV file"),
    "header alone": (".csv", lines(lambda rows: [rows[0], ""]), "no rows"),
    "no header": (".csv", lines(lambda rows: rows[1:]), "lacks start_ms"),
    "semicolons": (".csv", lambda: csv_text().replace(",", ";").encode(), "lacks start_ms"),
    "other names": (".csv", lambda: csv_text().replace("close", "last").encode(), "lacks close"),
    "truncated CSV": (".csv", lambda: csv_text()[:-60].encode(), f"Row #{BARS + 1}"),
    "a row too long": (".csv", lines(lambda rows: [*rows[:9], rows[9] + ",1", *rows[10:]]), "Row #10"),
    "a word in a cell": (
        ".csv",
        lines(lambda rows: [*rows[:9], "x" + rows[9], *rows[10:]]),
        "csv:10: start_ms is not a number",
    ),
}


@pytest.mark.surface("data-files")
@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_is_no_candle_file_is_refused(capsys: Capture, what: str) -> None:
    suffix, content, words = BAD_FILES[what]
    path = Path(f"bybit_linear_BTCUSDT_5m{suffix}")
    path.write_bytes(content())
    told = refused(capsys, "backtest", "--data", str(path), "--strategy", "buy_and_hold", "--json")
    assert f"error: {path}" in told
    assert words in told


@pytest.mark.fault(93)
@pytest.mark.surface("data-files")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda columns: {k: v for k, v in columns.items() if k != "close"}, "lacks close"),
        (lambda columns: {**columns, "vwap": columns["close"]}, "has unknown 'vwap'"),
        (lambda columns: {**columns, "start_ms": columns["start_ms"] * 1.0}, "start_ms is double"),
        (lambda columns: {**columns, "start_ms": columns["start_ms"] * 1000}, "not a time in milliseconds"),
        (lambda columns: {**columns, "start_ms": columns["start_ms"] // 1000}, "not a multiple"),
        (lambda columns: {k: v[::3] for k, v in columns.items()}, "does the name say the right interval?"),
        (lambda columns: {k: v[:0] for k, v in columns.items()}, "no rows"),
    ],
)
def test_wrong_columns_units_and_intervals_are_refused(
    capsys: Capture, change: Callable[[Table], Table], words: str
) -> None:
    path = written(change(table()))
    told = refused(capsys, "backtest", "--data", path, "--strategy", "buy_and_hold", "--json")
    assert f"error: {path}" in told
    assert words in told


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (
            ["--start", "2030-01-01"],
            2,
            "from 2030-01-01T00:00Z to its end; the file covers 2025-01-01T00:00Z",
        ),
        (["--start", "99999999999999999"], 2, "is no time"),
        (["--fee-bps", "-5"], 3, "command line:costs.taker_bps: must be greater than or equal to 0"),
        (["--equity", "nan"], 3, "command line:account.equity_quote: must be a finite number"),
        (["--strategy", "ema_crss"], 2, "did you mean 'ema_cross'?"),
        (["--strategy", "ema_cross", "--param", "fst=1"], 2, "did you mean fast?"),
        (["--strategy", "ema_cross", "--param", "fast=many"], 2, "fast must be int"),
        (["--strategy", "nowhere:Mine"], 2, "cannot import nowhere"),
        (["--instrument", "none.json"], 5, "none.json: cannot be read"),
        (["--form", "chunked"], 2, "'chunked' is not one of"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_which(
    capsys: Capture, options: list[str], code: int, words: str
) -> None:
    data = ["--data", written(table()), "--strategy", "flat"]
    assert words in refused(capsys, "backtest", *data, *options, "--json", code=code)


def test_a_missing_file_and_a_silent_name_are_refused(capsys: Capture) -> None:
    missing = refused(capsys, "backtest", "--data", "bybit_linear_BTCUSDT_5m.parquet")
    assert "no such file" in missing
    shutil.move(written(table()), "mine.parquet")
    assert "rename it to" in refused(capsys, "backtest", "--data", "mine.parquet")


@pytest.mark.parametrize(
    ("times", "rates", "words"),
    [
        ([T0 + 1, T0], [0.0001, 0.0001], "parquet:2: "),
        ([T0, T0], [0.0001, 0.0001], "parquet:2: "),
        ([T0], [np.nan], "parquet:1: "),
        ([T0], [1.0], "parquet:1: "),
        ([T0 // 1000], [0.0001], "parquet:1: "),
    ],
)
def test_a_bad_funding_file_beside_the_candles_is_refused(
    capsys: Capture, times: list[int], rates: list[float], words: str
) -> None:
    path = written(table())
    write_funding(
        "bybit_linear_BTCUSDT_funding.parquet", Funding("BTCUSDT", np.array(times), np.array(rates))
    )
    told = refused(capsys, "backtest", "--data", path, "--strategy", "flat", "--json")
    assert f"BTCUSDT_funding.{words}" in told
    assert main(["backtest", "--data", path, "--strategy", "flat", "--funding", "none", "--json"]) == 0


# A model that does not fit


@pytest.fixture
def model(folder: Path) -> Path:
    """A copy of the model that ships."""
    return Path(shutil.copytree(shipped.model_path(), folder / "model", copy_function=shutil.copyfile))


def resigned(model: Path, **changes: object) -> None:
    """Change the manifest and sign it again, so that what is refused is the change itself."""
    document = json.loads((model / MANIFEST).read_text())
    del document["manifest_hash"]
    document |= changes
    document["manifest_hash"] = checkpoint._document_hash(document)
    (model / MANIFEST).write_text(json.dumps(document))


def reweighted(model: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = dict(safetensors.numpy.load((model / WEIGHTS).read_bytes()))
    arrays["head.weight"] = np.ascontiguousarray(change(arrays["head.weight"].copy()))
    content = safetensors.numpy.save(arrays)
    (model / WEIGHTS).write_bytes(content)
    resigned(model, hash=hashlib.sha256(content).hexdigest())


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 0x01
    path.write_bytes(content)


def of_other_features(model: Path) -> None:
    features = json.loads((model / MANIFEST).read_text())["features"]
    resigned(model, features={**features, "hash": "0" * 64})


BAD_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no directory": (shutil.rmtree, "no model directory"),
    "no weights": (lambda model: (model / WEIGHTS).unlink(), WEIGHTS),
    "no manifest": (lambda model: (model / MANIFEST).unlink(), MANIFEST),
    "a bit of the weights": (lambda model: flipped(model / WEIGHTS), "the model is damaged"),
    "a bit of the manifest": (lambda model: flipped(model / MANIFEST), MANIFEST),
    "half a manifest": (lambda model: (model / MANIFEST).write_text('{"format": 1,'), "not JSON"),
    "another interval": (lambda model: resigned(model, interval_ms=900_000), "interval_ms 900000"),
    "other features": (of_other_features, "defined differently"),
    "too short a warm-up": (lambda model: resigned(model, warmup_bars=1), "warmup_bars 1"),
    "another shape": (lambda model: reweighted(model, lambda w: w[:, :-1]), "has shape"),
    "another type": (lambda model: reweighted(model, lambda w: w.astype(np.float64)), "float64"),
    "a weight that is NaN": (
        lambda model: reweighted(model, lambda w: np.where(w == w.max(), np.nan, w).astype(np.float32)),
        "not finite",
    ),
}


@pytest.mark.fault(78)
@pytest.mark.parametrize("what", BAD_MODELS)
def test_a_model_that_does_not_fit_is_refused(capsys: Capture, model: Path, what: str) -> None:
    spoil, words = BAD_MODELS[what]
    path = written(table())
    spoil(model)
    for command in (
        ["backtest", "--data", path, "--json"],
        ["run", "--feed", "replay", "--speed", "1e9", "--data", path, "--json"],
        ["predict", "--data", path, "--out", "out.parquet"],
        ["evaluate", "--data", path, "--json"],
    ):
        told = refused(capsys, *command, "--model", "model")
        assert "error: model" in told
        assert words in told
    assert not Path("out.parquet").exists()


def test_candles_of_another_interval_than_the_models_are_refused(capsys: Capture) -> None:
    shutil.move(written(table(15 * MINUTE_MS)), "bybit_linear_BTCUSDT_15m.parquet")
    data = ["--data", "bybit_linear_BTCUSDT_15m.parquet"]
    for command in (["backtest"], ["predict", "--out", "out.parquet"], ["evaluate"]):
        told = refused(capsys, *command, *data)
        assert "15m" in told
        assert "5m" in told


# What is odd and handled


def test_the_same_candles_in_csv_make_the_same_fills(capsys: Capture) -> None:
    runs = [
        traded(capsys, "--data", written(table(), suffix), "--strategy", "ema_cross")
        for suffix in (".parquet", ".csv")
    ]
    assert runs[0]["fills_sha256"] == runs[1]["fills_sha256"]
    assert runs[0]["fills"]


def test_missing_turnover_changes_nothing(capsys: Capture) -> None:
    whole = traded(capsys, "--data", written(table()), "--strategy", "ema_cross")
    columns = table()
    del columns["turnover"]
    assert traded(capsys, "--data", written(columns), "--strategy", "ema_cross")["fills"] == whole["fills"]


def test_nothing_is_filled_on_bars_without_volume(capsys: Capture) -> None:
    columns = table()
    columns["volume"][:] = columns["turnover"][:] = 0.0
    told = traded(capsys, "--data", written(columns), "--strategy", "buy_and_hold")
    assert told["orders"]
    assert (told["fills"], told["final_equity"]) == (0, 10_000)


def test_a_candle_that_has_not_closed_is_left_out_and_told(capsys: Capture) -> None:
    columns = table()
    columns["start_ms"][-1] = (WallClock().now_ms() + DAY_MS) // STEP_MS * STEP_MS
    closed = {name: column[:-1] for name, column in columns.items()}
    unclosed = traded(capsys, "--data", written(columns), "--strategy", "buy_and_hold")
    told = unclosed["warnings"]
    assert isinstance(told, list)
    assert any("left out 1 bar(s) that close after" in warning for warning in told)
    without = traded(capsys, "--data", written(closed), "--strategy", "buy_and_hold")
    assert unclosed["fills_sha256"] == without["fills_sha256"]
    assert unclosed["bars"] == BARS - 1
    columns = table(bars=5_000)
    columns["start_ms"][-1] = (WallClock().now_ms() + DAY_MS) // STEP_MS * STEP_MS
    assert main(["predict", "--data", written(columns), "--out", "out.parquet"]) == 0
    assert "left out 1 bar(s)" in capsys.readouterr().err
    assert pq.read_metadata("out.parquet").num_rows == 4_999


def test_a_hole_is_told(capsys: Capture) -> None:
    columns = {name: np.delete(column, np.s_[50:90]) for name, column in table().items()}
    warnings = traded(capsys, "--data", written(columns), "--strategy", "flat")["warnings"]
    assert "BTCUSDT: 1 hole in the candles, the longest of 40 bars" in warnings  # type: ignore[operator]


def test_a_good_file_with_funding_is_not_refused(capsys: Capture) -> None:
    series = market(MarketRecipe(interval_ms=STEP_MS, bars=BARS, start_ms=T0), ["BTCUSDT"], seed=3)["BTCUSDT"]
    path = Path("bybit_linear_BTCUSDT_5m.parquet")
    write_candles(path, Candles.make("BTCUSDT", STEP_MS, series.start_ms, series.ohlcv, series.turnover))
    write_funding("bybit_linear_BTCUSDT_funding.parquet", Funding("BTCUSDT", *funding(series, 3)))
    assert traded(capsys, "--data", str(path), "--strategy", "buy_and_hold")["funding"]
