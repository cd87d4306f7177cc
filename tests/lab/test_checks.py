"""``bot.check_lookahead`` and ``bot.check_warmup``: a class of a notebook is checked as it is."""

import json
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles, write_candles
from bot.cli import main
from bot.domain.errors import BadUsage, StrategyFailed, TooFewBars
from tests.lab.market import Breakout, Broken, candles

WHOLE = candles(400)
LATER = dict(zip(WHOLE.start_ms.tolist(), np.append(WHOLE.ohlcv[1:, 3], 0.0), strict=True))
TABLE = WHOLE.ohlcv.copy()
NAME = "bybit_linear_BTCUSDT_5m.parquet"


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


class Forever:
    """Long above nothing: its size is the mean of all that it has seen."""

    def __init__(self) -> None:
        self.closes: list[float] = []

    def on_bar(self, view: bot.View) -> bot.Target:
        self.closes.append(view.bar.close)
        return bot.Target(sum(self.closes) / len(self.closes) / 1e9)


class Reader:
    """Opens the file of its candles, where it sees every later bar."""

    def __init__(self) -> None:
        self.last = float(bot.read_candles(NAME).ohlcv[-1, 3])

    def on_bar(self, view: bot.View) -> bot.Target:
        return bot.Target(view.worth(0.5) if self.last > view.bar.close else 0.0)


class Peeking:
    """Takes the next bar from a table of the notebook, which no check can change."""

    def on_bar(self, view: bot.View) -> bot.Target:
        at = int(np.searchsorted(WHOLE.start_ms, view.bar.start_ms))
        return bot.Target(view.worth(0.5) if TABLE[min(at + 1, 399), 3] > view.bar.close else 0.0)


class Shared:
    """Counts in a variable of the class, which outlives a run."""

    seen: ClassVar[deque[float]] = deque()

    def on_bar(self, view: bot.View) -> bot.Target:
        self.seen.append(view.bar.close)
        return bot.Target(len(self.seen) / 1e6)


def next_close(given: Candles) -> np.ndarray:
    return np.append(given.ohlcv[1:, 3], np.nan)


def last_close(given: Candles) -> np.ndarray:
    return given.ohlcv[:, 3]


def test_a_clean_class_is_clean_and_says_that_this_is_no_proof() -> None:
    found = bot.check_lookahead(WHOLE, Breakout, bars=12, cuts=3)
    assert (found.clean, found.findings, found.table.num_rows) == (True, (), 0)
    assert "no proof" in found.words
    assert "no proof" in repr(found)
    assert "no proof" in found._repr_html_()


def test_a_function_that_peeks_is_found_with_its_closes_and_values() -> None:
    found = bot.check_lookahead(WHOLE, features=next_close, cuts=3)
    assert not found.clean
    assert {each.kind for each in found.findings} == {"future"}
    assert found.table.column_names == ["kind", "close_ms", "symbol", "field", "before", "after"]
    assert found.table.num_rows > 0
    assert "cannot be believed" in repr(found)
    assert bot.check_lookahead(WHOLE, features=last_close, cuts=3).clean


def test_a_class_that_opens_the_file_of_its_candles_is_found() -> None:
    write_candles(NAME, WHOLE)
    assert not bot.check_lookahead(bot.read_candles(NAME), Reader, cuts=3).clean
    assert not bot.check_lookahead(NAME, Reader, cuts=3).clean


def test_a_table_of_the_notebook_that_a_class_reads_is_named() -> None:
    found = bot.check_lookahead(WHOLE, Peeking, cuts=3)
    (note,) = found.notes
    assert "TABLE" in note
    assert "WHOLE" in note
    assert f"note: {note}" in repr(found)
    assert bot.check_lookahead(WHOLE, Breakout, cuts=2).notes == ()


def test_a_variable_of_the_class_that_outlives_a_run_is_told() -> None:
    (found,) = bot.check_lookahead(WHOLE, Shared, cuts=3).findings
    assert found.kind == "chance"
    assert "keep in self what changes" in found.words


def test_the_command_and_the_function_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    write_candles(NAME, WHOLE)
    for which, call in (("lookahead", bot.check_lookahead), ("warmup", bot.check_warmup)):
        main(["check", which, "--data", NAME, "--strategy", "ema_cross", "--json"])
        told = json.loads(capsys.readouterr().out)
        ours = call(bot.read_candles(NAME), "ema_cross").numbers
        same: dict[str, Any] = {name: ours[name] for name in told if name not in ("words", "proof")}
        assert same == {name: told[name] for name in same}


def test_the_warm_up_of_a_class_is_counted() -> None:
    found = bot.check_warmup(WHOLE, Breakout, params={"bars": 30}, starts=1)
    assert found.clean
    assert "no proof" in found.words
    assert bot.check_warmup(WHOLE, features=last_close).numbers["needed_bars"] == 0


def test_a_class_that_never_forgets_is_found() -> None:
    found = bot.check_warmup(WHOLE, Forever, starts=1)
    (finding,) = found.findings
    assert (found.clean, finding.kind) == (False, "beginning")
    assert "before start; shorten what it remembers" in finding.words
    assert "target.qty" in found.table["field"].to_pylist()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"strategy": Breakout()}, BadUsage, "give the class"),
        ({"features": 3}, BadUsage, "must be a function of candles"),
        ({"features": last_close, "strategy": Breakout}, BadUsage, "checked alone"),
        ({"strategy": Breakout, "cuts": 0}, BadUsage, "cuts=0: must be 1 or more"),
        ({"strategy": Breakout, "last_bars": 10}, BadUsage, "last_bars=10: must be 60 or more"),
        ({"strategy": Broken}, StrategyFailed, "once"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        bot.check_lookahead(WHOLE, **given)
    assert "\n" not in str(raised.value)


def test_too_few_candles_are_told() -> None:
    with pytest.raises(TooFewBars, match="a check needs 60"):
        bot.check_lookahead(candles(20), Breakout)
