"""``bot check warmup``: after how many bars the beginning is forgotten, against what a run reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import write_candles
from bot.cli import main
from tests.lab.market import candles

NAME = "bybit_linear_BTCUSDT_5m.parquet"

MINE = '''
import numpy as np
from bot.strategy import Target


class Window:
    """Long above the close of ``bars`` bars ago: it needs these bars, and no more."""

    def __init__(self, bars: int = 30):
        self.closes, self.bars = [], bars

    def on_bar(self, view):
        self.closes.append(view.bar.close)
        if len(self.closes) <= self.bars:
            return None
        return Target(view.worth(0.5) if self.closes[-1] > self.closes[-1 - self.bars] else 0.0)


class Forever:
    """Long above the mean of everything that it has ever seen."""

    def __init__(self):
        self.total, self.bars = 0.0, 0

    def on_bar(self, view):
        self.total, self.bars = self.total + view.bar.close, self.bars + 1
        return Target(self.total / self.bars / 1e9)


def features(candles):
    close = candles.ohlcv[:, 3]
    mean = np.empty(len(close))
    mean[0] = close[0]
    for i in range(1, len(close)):
        mean[i] = mean[i - 1] + 0.2 * (close[i] - mean[i - 1])
    window = np.full(len(close), np.nan)
    window[24:] = close[24:] / close[:-24]
    return {"ema": mean, "window": window}


def growing(candles):
    return candles.ohlcv[:, 4].cumsum()
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_candles(NAME, candles(900))
    Path("mine.py").write_text(MINE)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = main(["check", "warmup", "--data", NAME, *words, "--json"])
    out = capsys.readouterr()
    assert out.out, out.err
    return code, json.loads(out.out)


def test_a_strategy_with_a_window_needs_its_window(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = check(capsys, "--strategy", "mine.py:Window", "--param", "bars=100", "--starts", "2")
    assert (code, told["given_bars"]) == (0, 1_000)
    # The first bar after the start looks 100 bars back; the search stops within a hundredth of its bound.
    assert told["needed_bars"] in range(100, 110)
    assert "no proof" in told["proof"]


def test_a_strategy_that_never_forgets_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = check(capsys, "--strategy", "mine.py:Forever", "--starts", "1")
    assert (code, told["needed_bars"]) == (1, None)
    assert {each["field"] for each in told["differences"]} >= {"target.qty"}


def test_a_recursive_feature_needs_what_its_weight_needs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = check(capsys, "--features", "mine.py:features", "--tolerance", "1e-4")
    assert code == 0
    assert told["columns"]["window"] == 24
    # An error as large as the price shrinks by 0.8 a bar and is gone after ln(1e4) / -ln(0.8) = 41.3 bars.
    assert 5 < told["columns"]["ema"] <= np.ceil(np.log(1e4) / -np.log(0.8))
    assert told["needed_bars"] == max(told["columns"].values())


def test_a_sum_over_everything_never_forgets(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = check(capsys, "--features", "mine.py:growing")
    assert (code, told["needed_bars"], told["columns"]) == (1, None, {"value": None})


def test_people_read_the_bars_and_what_a_run_gives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "warmup", "--data", NAME, "--strategy", "ema_cross", "--starts", "1"]) == 0
    out = capsys.readouterr().out
    assert "results no longer depend on where the history begins after" in out
    assert "a run reads 1,000 before --start" in out


def test_a_strategy_that_says_nothing_after_any_start_was_not_compared_with_anything(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "warmup", "--data", str(place / NAME)]
    assert main([*words, "--strategy", "mine.py:Window", "--param", "bars=100000"]) == 0
    assert "it said nothing after any start: there was nothing to compare" in capsys.readouterr().out
    assert main([*words, "--strategy", "mine.py:Window"]) == 0
    assert "it said nothing" not in capsys.readouterr().out
