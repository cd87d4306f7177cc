"""What users of a notebook get wrong: one line that names the argument, and no traceback through our code."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.domain.errors import BotError
from bot.features.indicators import close, ema, sma
from bot.lab.calling import utc_ms
from tests.lab.market import FIVE, T0, Breakout, candles

SERIES = candles(600)
FRAME = SERIES.to_pandas()
CROSS = bot.Rule(lambda p: (ema(close, p["fast"]), sma(close, p["slow"])))
GRID = {"fast": [4], "slow": [24]}


class Kinds:
    """Names numbers of other kinds than float."""

    def on_bar(self, view: bot.View) -> bot.Target:
        stop = Decimal(str(view.bar.close)) / 2
        return bot.Target(Decimal("0.1"), stop_loss=stop, take_profit=np.float32(2 * view.bar.close))  # type: ignore[arg-type]


def swept(**changes: Any) -> object:
    grid = changes.pop("grid", {"bars": [12]})
    return bot.sweep(SERIES, Breakout, grid, **{"workers": 1, "fresh": True, **changes})


def walked(**changes: Any) -> object:
    return bot.walkforward(SERIES, Breakout, {"bars": [12]}, **{"test": "1d", "workers": 1, **changes})


def backtested(**changes: Any) -> object:
    return bot.backtest(SERIES, Breakout, **changes)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: swept(workers="2"), "workers='2': must be a whole number"),
        (lambda: swept(trials=1.5), "trials=1.5: must be a whole number"),
        (lambda: swept(trials=0), "trials=0: must be at least 1"),
        (lambda: swept(objective=None), "objective=None: must be a text"),
        (lambda: swept(params=[3]), "params=[3]: must be a dict"),
        (lambda: swept(grid={5: [1]}), "grid: its names must be texts, one was 5"),
        (lambda: walked(train=None), "train=None: is no span of time; give '90d', '12h' or a timedelta"),
        (lambda: backtested(params="bars=3"), "params='bars=3': must be a dict"),
        (lambda: backtested(params={3: 3}), "params: its names must be texts, one was 3"),
        (lambda: backtested(config=5), "config=5: must be a path"),
        (lambda: backtested(limits="max_leverage=2"), "limits='max_leverage=2': must be a dict"),
        (lambda: backtested(detail=SERIES), "detail=<Candles BTCUSDT 5m: 600 bars"),
        (lambda: backtested(slipage_bps=3), "slipage_bps: no such argument; did you mean slippage_bps?"),
        (lambda: backtested(start=pd.NaT), "start=NaT: is no time"),
        (lambda: backtested(start=1735800000), "start=1735800000: looks like seconds; give ms since 1970"),
        (lambda: backtested().report(None), "path=None: must be a path"),  # type: ignore[attr-defined]
        (lambda: swept().report(5), "path=5: must be a path"),  # type: ignore[attr-defined]
        (lambda: swept().plot().save(None), "path=None: must be a path"),  # type: ignore[attr-defined]
        (lambda: walked(train=float("nan")), "train=nan: is no span of time; give '90d'"),
        (lambda: walked(train=float("inf")), "train=inf: is no span of time; give '90d'"),
        (lambda: swept(grid={}), "grid: needs at least one parameter and the values to try"),
        (lambda: swept(grid={"bars": []}), "grid: bars has no value; give a list such as"),
        (lambda: bot.backtest(SERIES.head(0), Breakout), "candles: hold no bar"),
        (lambda: bot.load_model(5), "path=5: must be a path"),  # type: ignore[arg-type]
        (lambda: bot.train(SERIES, "x", half_lives=5), "half_lives=5: must be a list"),  # type: ignore[arg-type]
        (lambda: bot.train(SERIES, "x", half_lives="16,64"), "half_lives='16,64': must be a list"),  # type: ignore[arg-type]
        (lambda: bot.fit(Breakout, SERIES, [close]), "must be a dict"),  # type: ignore[arg-type]
        (lambda: bot.screen(SERIES, bot.Rule(5), GRID), "enter: must be a function of a point of the grid"),  # type: ignore[arg-type]
        (
            lambda: bot.screen(SERIES, bot.Rule(lambda p: 1 / 0), GRID),
            ": ZeroDivisionError: division by zero",
        ),  # type: ignore[arg-type,return-value]
        (
            lambda: bot.screen(SERIES, bot.Rule(lambda p: close > sma(close, 5)), GRID),  # type: ignore[operator]
            "return the two indicators as a pair, not compared",
        ),
        (lambda: SERIES.between("2025-01-02"), "between: takes ms since 1970"),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_another_kind_is_one_clear_line(
    call: Callable[[], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    with pytest.raises(BotError) as error:
        call()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME[::-1], "row 2 is earlier than the row above it (598 more such rows); sort the rows by time"),
        (
            pd.concat([FRAME[:9], FRAME[8:20]]),
            "row 10 has the time of the row above it; take one of the two out",
        ),
        (FRAME[:1], "one bar does not say how long it is; give interval="),
    ],
)
def test_rows_out_of_order_are_named(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(BotError) as error:
        bot.read_candles(frame, symbol="BTCUSDT")
    assert said in str(error.value)


def test_a_file_without_a_name_takes_its_symbol_and_its_bars_say_how_long_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    FRAME.to_csv(path, index=False)
    found = bot.read_candles(tmp_path.glob("*.csv"), symbol="BTCUSDT")
    assert (len(found), found.interval_ms) == (600, FIVE)
    for words, call in {
        "its name does not say the symbol": lambda: bot.read_candles(path),
        "is a folder; give its files": lambda: bot.read_candles(tmp_path),
        "symbol=5: must be a text": lambda: bot.read_candles(path, symbol=5),  # type: ignore[arg-type]
    }.items():
        with pytest.raises(BotError, match=words):
            call()
    FRAME.assign(start_ms="x").to_csv(path, index=False)
    with pytest.raises(BotError, match=r"mine.csv:2: start_ms"):
        bot.read_candles(path, symbol="BTCUSDT")


def test_times_and_spans_of_numpy_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (np.int64(T0), np.datetime64(T0, "ms"), pd.Timestamp(T0, unit="ms")):
        assert utc_ms(given, "start") == T0
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    spans = [walked(train=each, fresh=True) for each in (np.timedelta64(1, "D"), timedelta(days=1), "1d")]
    assert len({each.results_sha256 for each in spans}) == 1  # type: ignore[attr-defined]


def test_a_target_takes_numbers_of_every_kind() -> None:
    result = bot.backtest(SERIES, Kinds)
    assert result.fills.num_rows
    with pytest.raises(BotError, match="a target's qty must be a number, was '1'"):
        bot.Target("1")  # type: ignore[arg-type]


class Texts:
    def on_bar(self, view: bot.View) -> bot.Target:
        return bot.Target("1")  # type: ignore[arg-type]


class Holes:
    """Long, but for two closes it does not know how much."""

    def __init__(self) -> None:
        self.bars = 0

    def on_bar(self, view: bot.View) -> bot.Target:
        self.bars += 1
        return bot.Target(float("nan") if self.bars in (20, 30) else view.worth(0.5))


def test_a_text_for_a_number_names_the_line_of_the_strategy() -> None:
    for given in (Texts, Texts()):
        with pytest.raises(
            bot.BotError, match=r"test_calling.py:\d+.*a target's qty must be a number, was '1'"
        ):
            bot.backtest(SERIES, given)


@pytest.mark.parametrize("call", [bot.backtest, bot.check_lookahead, bot.check_warmup])
def test_the_same_candles_twice_are_no_second_symbol(call: Any, tmp_path: Path) -> None:
    write_candles(tmp_path / "bybit_linear_BTCUSDT_5m.parquet", SERIES)
    file = tmp_path / "bybit_linear_BTCUSDT_5m.parquet"
    for given in ([SERIES, SERIES], [file, SERIES], [file, file]):
        with pytest.raises(BotError, match=r"same bars of BTCUSDT are given twice.*; give them once$"):
            call(given, Breakout)


def test_the_same_candles_twice_are_no_second_symbol_of_a_model() -> None:
    for call in (bot.evaluate, bot.train):
        with pytest.raises(BotError, match="same bars of BTCUSDT are given twice"):
            call([SERIES, SERIES], **({"out": "nowhere"} if call is bot.train else {}))  # type: ignore[operator]


def test_quantities_that_are_no_numbers_are_counted_in_a_warning() -> None:
    result = bot.backtest(SERIES, Holes)
    assert result.fills.num_rows
    (warning,) = [each for each in result.warnings if "no usable number" in each]
    assert warning.startswith("2 targets with a quantity or price")
    assert warning in result.numbers["warnings"]


def test_a_search_says_why_trials_have_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    assert "1 trial without a result, the first: " in repr(swept(grid={"bars": ["x", 12]}))
