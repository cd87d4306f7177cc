import contextlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.files.candles import (
    Candles,
    Funding,
    find_problems,
    funding_beside,
    inspect_candles,
    parse_name,
    read_candles,
    read_funding,
    write_candles,
    write_funding,
)
from bot.adapters.files.columns import location
from bot.domain.errors import BadBar, BadFile, BadUsage, NotWritten
from bot.domain.market import Bar
from tests.adapters.series import NAME, STEP_MS, candles, columns, write_table
from tests.helpers import T0

SUFFIXES = (".parquet", ".csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_reads_back_to_the_bit_with_the_same_hash(tmp_path: Path, suffix: str) -> None:
    written = candles(500)
    path = (tmp_path / NAME).with_suffix(suffix)
    write_candles(path, written)
    read = read_candles(path)
    np.testing.assert_array_equal(read.start_ms, written.start_ms)
    np.testing.assert_array_equal(read.ohlcv, written.ohlcv)
    np.testing.assert_array_equal(read.turnover, written.turnover)
    assert (read.symbol, read.interval_ms, read.sha256) == ("BTCUSDT", STEP_MS, written.sha256)
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("missing", [[3], [0, 19], list(range(20))])
def test_missing_turnover_is_nan_in_the_array_and_none_in_the_bar(
    tmp_path: Path, suffix: str, missing: list[int]
) -> None:
    table = columns()
    table["turnover"][missing] = np.nan
    ohlcv = np.column_stack([table[name] for name in ("open", "high", "low", "close", "volume")])
    path = (tmp_path / NAME).with_suffix(suffix)
    write_candles(path, Candles.make("BTCUSDT", STEP_MS, table["start_ms"], ohlcv, table["turnover"]))
    read = read_candles(path)
    assert np.flatnonzero(np.isnan(read.turnover)).tolist() == missing
    assert [i for i, bar in enumerate(read.bars()) if bar.turnover is None] == missing


@pytest.mark.parametrize("turnover", [pa.nulls(20), pa.nulls(20, pa.float64()), None])
def test_a_turnover_column_of_nulls_or_none_at_all_is_missing_turnover(
    tmp_path: Path, turnover: object
) -> None:
    table: dict[str, object] = dict(columns())
    del table["turnover"]
    if turnover is not None:
        table["turnover"] = turnover
    assert np.isnan(read_candles(write_table(tmp_path / NAME, table)).turnover).all()


def test_bars_are_the_rows_across_block_borders() -> None:
    series = candles(20_000)
    bars = list(series.bars(8000, 17_000))
    assert len(bars) == 9000
    for i in (0, 191, 192, 8999):
        row = series.ohlcv[8000 + i].tolist()
        assert bars[i] == Bar(
            "BTCUSDT", STEP_MS, T0 + (8000 + i) * STEP_MS, *row, float(series.turnover[8000 + i])
        )


def test_arrays_that_were_checked_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError):
        candles().ohlcv[0, 0] = -1.0


def test_gaps_are_data() -> None:
    keep = [0, 1, 2, 5, 6, 9]
    series = candles()
    holed = Candles.make("BTCUSDT", STEP_MS, series.start_ms[keep], series.ohlcv[keep])
    assert holed.gaps() == [
        (T0 + 3 * STEP_MS, T0 + 5 * STEP_MS, 2),
        (T0 + 7 * STEP_MS, T0 + 9 * STEP_MS, 2),
    ]
    assert candles().gaps() == []


def test_between_takes_the_bars_that_open_inside() -> None:
    series = candles()
    part = series.between(T0 + STEP_MS, T0 + 3 * STEP_MS)
    assert part.start_ms.tolist() == [T0 + STEP_MS, T0 + 2 * STEP_MS]
    assert (part.first_ms, part.end_ms) == (T0 + STEP_MS, T0 + 3 * STEP_MS)
    assert part.sha256 not in ("", series.sha256)
    assert series.between(None, None) is series
    with pytest.raises(
        BadUsage, match="from 2025-01-01T08:20Z to its end; the file covers 2025-01-01T00:00Z"
    ):
        series.between(T0 + 100 * STEP_MS)


def _spoil(table: dict[str, np.ndarray], row: int, what: str) -> str:
    """Plant one fault at 0-based ``row``; returns a word the message must hold."""
    match what:
        case "unsorted":
            table["start_ms"][row] = table["start_ms"][row - 1] - STEP_MS
            return "not sorted"
        case "duplicated":
            for column in table.values():
                column[row] = column[row - 1]
            return "repeats"
        case "misaligned":
            table["start_ms"][row] += 1000
            return "not a multiple of the interval"
        case "NaN":
            table["close"][row] = np.nan
            return "close must be positive and finite, but is empty"
        case "infinite":
            table["high"][row] = np.inf
            return "high must be positive and finite, was inf"
        case "negative":
            table["low"][row] = -1.0
            return "low must be positive and finite, was -1.0"
        case "zero":
            table["open"][row] = 0.0
            return "open must be positive and finite, was 0.0"
        case "high<low":
            table["high"][row], table["low"][row] = table["low"][row], table["high"][row]
            return "must enclose"
        case "not enclosing":
            table["high"][row] = table["low"][row]
            return "must enclose"
        case "negative volume":
            table["volume"][row] = -1e-9
            return "volume must be >= 0"
        case "infinite turnover":
            table["turnover"][row] = np.inf
            return "turnover must be >= 0"
    raise AssertionError(what)


FAULTS = (
    "unsorted",
    "duplicated",
    "misaligned",
    "NaN",
    "infinite",
    "negative",
    "zero",
    "high<low",
    "not enclosing",
    "negative volume",
    "infinite turnover",
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", FAULTS)
def test_a_planted_fault_is_one_line_with_file_row_and_remedy(tmp_path: Path, what: str, suffix: str) -> None:
    table = columns()
    word = _spoil(table, 7, what)
    path = write_table((tmp_path / NAME).with_suffix(suffix), table)
    if what == "NaN" and suffix == ".csv":
        word = "close must be positive and finite"
    with pytest.raises(BadBar) as caught:
        read_candles(path)
    message = str(caught.value)
    assert message.startswith(location(path, 8) + ": "), message
    assert word in message
    assert "bot data verify" in message
    assert "\n" not in message
    assert caught.value.exit_code == 5


@settings(max_examples=150, deadline=None)
@given(
    faults=st.dictionaries(st.integers(1, 18), st.sampled_from(FAULTS), min_size=1, max_size=5),
    seed=st.integers(0, 5),
)
def test_every_planted_row_is_reported(faults: dict[int, str], seed: int) -> None:
    table = columns(seed=seed)
    for row in sorted(faults, reverse=True):  # backwards: a repeated row copies a good neighbour
        if row - 1 in faults and faults[row] in ("duplicated", "unsorted"):
            continue
        _spoil(table, row, faults[row])
    planted = {
        row + 1 for row in faults if not (row - 1 in faults and faults[row] in ("duplicated", "unsorted"))
    }
    ohlcv = np.column_stack([table[name] for name in ("open", "high", "low", "close", "volume")])
    problems = find_problems("BTCUSDT", STEP_MS, table["start_ms"], ohlcv, table["turnover"])
    assert planted <= {problem.row for problem in problems}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan]), min_size=6, max_size=6))
def test_the_vectorised_rules_are_the_rules_of_bar(values: list[float]) -> None:
    *ohlcv, turnover = values
    try:
        Bar("BTCUSDT", STEP_MS, T0, *ohlcv, None if np.isnan(turnover) else turnover)
        good = True
    except BadBar:
        good = False
    problems = find_problems("BTCUSDT", STEP_MS, np.array([T0]), np.array([ohlcv]), np.array([turnover]))
    assert (not problems) == good


def test_inspect_hands_back_every_problem_in_row_order(tmp_path: Path) -> None:
    table = columns()
    _spoil(table, 12, "NaN")
    _spoil(table, 3, "high<low")
    _spoil(table, 15, "duplicated")
    _, problems = inspect_candles(write_table(tmp_path / NAME, table))
    assert [problem.row for problem in problems] == [4, 13, 16]


def test_a_bar_that_has_not_closed_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_candles(path, candles(3))
    now_ms = T0 + 3 * STEP_MS
    assert len(read_candles(path, now_ms=now_ms)) == 3
    assert read_candles(path, now_ms=now_ms).warnings == ()
    short = read_candles(path, now_ms=now_ms - 1)
    assert len(short) == 2
    assert "left out 1 bar(s) that close after 2025-" in short.warnings[0]
    with pytest.raises(BadFile, match="no bar is closed yet"):
        read_candles(path, now_ms=T0)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda t: t.pop("close"), "lacks close"),
        (lambda t: t.update(clsoe=t.pop("close")), "has unknown 'clsoe'"),
        (lambda t: t.update(open=[str(v) + "x" for v in t["open"]]), "open is not a number"),
        (lambda t: t.update(start_ms=t["start_ms"].astype(float)), "start_ms is double"),
        (lambda t: t.update(start_ms=t["start_ms"].astype("datetime64[ms]")), "start_ms is timestamp"),
        (lambda t: t.update({k: v[:0] for k, v in t.items()}), "no rows"),
        (lambda t: t.update(start_ms=pa.array([None, *t["start_ms"][1:]])), ":1: start_ms is missing"),
        (lambda t: t.update(start_ms=t["start_ms"] // 1000 * 300), "is not"),
        (lambda t: t.update(start_ms=t["start_ms"] * 1000), "not a time in milliseconds"),
    ],
)
def test_a_file_in_another_form_is_refused(tmp_path: Path, spoil: object, word: str) -> None:
    table: dict[str, object] = dict(columns())
    spoil(table)  # type: ignore[operator]
    with pytest.raises((BadFile, BadBar)) as caught:
        read_candles(write_table(tmp_path / NAME, table))
    assert word in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00\xff\xfe garbage", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_what_is_no_table_is_a_bad_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = (tmp_path / NAME).with_suffix(suffix)
    path.write_bytes(content)
    with pytest.raises(BadFile, match=str(path)):
        read_candles(path)


def test_a_file_cut_anywhere_is_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_candles(path, candles(200))
    whole = path.read_bytes()
    for size in range(1, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:size])
        with pytest.raises(BadFile):
            read_candles(path)


@pytest.mark.surface("data-files")
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_candles(path, candles(200))
    whole, expected = path.read_bytes(), read_candles(path).sha256
    for place in range(4, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with contextlib.suppress(BadFile, BadBar):
            assert read_candles(path).sha256 == expected


def test_missing_files_and_other_suffixes_are_bad_files(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        read_candles(tmp_path / NAME)
    (tmp_path / "bybit_linear_BTCUSDT_5m.json").write_text("{}")
    with pytest.raises(BadFile, match="must end in"):
        read_candles(tmp_path / "bybit_linear_BTCUSDT_5m.json")


def test_a_csv_cell_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    table: dict[str, object] = dict(columns())
    table["volume"] = ["12,5" if i == 4 else str(v) for i, v in enumerate(columns()["volume"])]
    path = write_table(
        (tmp_path / NAME).with_suffix(".csv"), {k: v for k, v in table.items() if k != "volume"}
    )
    text = path.read_text().replace(",turnover", ",turnover,volume")
    lines = [text.splitlines()[0]] + [f"{line},1.0" for line in text.splitlines()[1:]]
    lines[5] = lines[5].rpartition(",")[0] + ",about 5"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadBar, match=r"csv:6: volume is not a number: 'about 5'"):
        read_candles(path)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bybit_linear_AVAXUSDT_5m_2024.parquet", ("bybit", "linear", "AVAXUSDT", 300_000, "2024")),
        ("bybit_linear_ADAUSDT_1m_blocks.parquet", ("bybit", "linear", "ADAUSDT", 60_000, "blocks")),
        ("binance_spot_1000PEPEUSDT_1h.csv", ("binance", "spot", "1000PEPEUSDT", 3_600_000, "")),
        ("bybit_linear_BTC-26DEC25_1d.parquet", ("bybit", "linear", "BTC-26DEC25", 86_400_000, "")),
        ("bybit_linear_BTCUSDT_funding.parquet", None),
        ("bybit_linear_BTCUSDT_7m.parquet", None),
        ("bybit_linear_<script>_5m.parquet", None),
        ("BTCUSDT.parquet", None),
    ],
)
def test_the_name_says_venue_market_symbol_and_interval(name: str, parts: tuple[object, ...] | None) -> None:
    found = parse_name(name)
    assert (
        None if found is None else (found.venue, found.market, found.symbol, found.interval_ms, found.note)
    ) == parts
    assert found is None or str(found) == Path(name).stem


def test_funding_rates_among_candles_are_called_so(tmp_path: Path) -> None:
    path = tmp_path / "bybit_linear_BTCUSDT_funding.csv"
    path.write_text("start_ms,rate\n")
    with pytest.raises(BadFile, match="holds funding rates, not candles; leave it out"):
        read_candles(path)


def test_symbol_and_interval_can_be_given_where_the_name_is_silent(tmp_path: Path) -> None:
    path = write_table(tmp_path / "mine.parquet", dict(columns()))
    assert read_candles(path, "ETHUSDT", STEP_MS).symbol == "ETHUSDT"
    with pytest.raises(BadFile, match="does not say symbol and interval"):
        read_candles(path)
    with pytest.raises(BadFile, match="is no symbol"):
        read_candles(path, "eth\n<b>", STEP_MS)


def test_a_name_with_too_short_an_interval_is_noticed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "bybit_linear_BTCUSDT_1m.parquet", dict(columns()))
    with pytest.raises(BadFile, match="no two bars are 1m apart, the smallest step is 5m"):
        read_candles(path)


@pytest.mark.parametrize("per_volume", [1 / 34_000, 0.001 * 34_000])
def test_a_turnover_that_is_not_in_usdt_is_refused(tmp_path: Path, per_volume: float) -> None:
    table = columns(60)
    for name in ("open", "high", "low", "close"):
        table[name] *= 340.0
    table["turnover"] = table["volume"] * per_volume
    with pytest.raises(BadFile, match=r"turnover ÷ volume is .* times the price: an inverse contract"):
        read_candles(write_table(tmp_path / NAME, table))


@pytest.mark.parametrize("symbol", ["BTCUSD", "BTCUSD-PERP"])
def test_candles_named_like_an_inverse_contract_are_refused_unless_spot(tmp_path: Path, symbol: str) -> None:
    table = columns() | {"turnover": [None] * 20}
    with pytest.raises(BadFile, match=r"inverse contract.*VENUE_spot_SYMBOL"):
        read_candles(write_table(tmp_path / f"bybit_linear_{symbol}_5m.csv", table))
    assert read_candles(write_table(tmp_path / f"x_spot_{symbol}_5m.csv", table)).symbol == symbol


def test_an_empty_cell_is_told_as_empty(tmp_path: Path) -> None:
    table = columns(5) | {"volume": [1, 2, None, 4, 5]}
    with pytest.raises(BadBar, match="volume must be >= 0 and finite, but is empty"):
        read_candles(write_table(tmp_path / NAME, table))


def test_a_start_after_the_end_is_called_so() -> None:
    with pytest.raises(BadUsage, match=r"the start, 2025-.*, must be before the end, 2025-"):
        candles().between(T0 + STEP_MS, T0)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / NAME
    write_candles(path, candles(5))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritten, match="No space"):
        write_candles(path, candles(9))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_too_many_rows_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    write_candles(path, candles(20))
    monkeypatch.setattr("bot.adapters.files.columns.MAX_ROWS", 19)
    with pytest.raises(BadFile, match="20 rows"):
        read_candles(path)


def funding(rates: list[float], first_ms: int = T0) -> Funding:
    return Funding("BTCUSDT", first_ms + 28_800_000 * np.arange(len(rates)), np.array(rates))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_funding_lies_beside_its_candles_and_reads_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bybit_linear_BTCUSDT_funding{suffix}"
    assert funding_beside(tmp_path / "bybit_linear_BTCUSDT_5m_2024.parquet") is None
    write_funding(path, funding([0.0001, -0.0003]))
    assert funding_beside(tmp_path / "bybit_linear_BTCUSDT_5m_2024.parquet") == path
    read = read_funding(path)
    assert (read.symbol, read.rate.tolist()) == ("BTCUSDT", [0.0001, -0.0003])
    assert read.start_ms.tolist() == [T0, T0 + 28_800_000]


@pytest.mark.parametrize("rate", [np.nan, np.inf, 0.06, -0.06])
def test_a_rate_that_cannot_be_a_fraction_is_named(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "bybit_linear_BTCUSDT_funding.parquet"
    write_funding(path, funding([0.0001, rate, 0.0001]))
    with pytest.raises(BadBar, match=r"parquet:2: settlement"):
        read_funding(path)


def test_settlements_in_seconds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bybit_linear_BTCUSDT_funding.parquet"
    write_funding(path, funding([0.0001], first_ms=T0 // 1000))
    with pytest.raises(BadBar, match="start_ms in milliseconds"):
        read_funding(path)


def test_unsorted_or_repeated_settlements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bybit_linear_BTCUSDT_funding.parquet"
    for times in ([T0, T0], [T0, T0 - 1]):
        write_funding(path, Funding("BTCUSDT", np.array(times), np.array([0.0, 0.0])))
        with pytest.raises(BadBar, match="parquet:2"):
            read_funding(path)


DATA = os.environ.get("TEST_DATA")


@pytest.mark.skipif(DATA is None, reason="TEST_DATA does not name a folder of real candles")
def test_every_real_file_reads(tmp_path: Path) -> None:
    files = sorted(Path(str(DATA)).glob("*.parquet"))
    assert files
    for path in files:
        if path.stem.endswith("_funding"):
            assert len(read_funding(path).rate) > 0
        else:
            assert len(read_candles(path)) > 0
