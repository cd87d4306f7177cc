"""A leak in the candles of a training is learned, and the alarms tell it; without it they are silent.

Features cannot see later bars, whoever defines them, so a leak comes from the file: bars that were cut too
late hold a part of the move after their close.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.cli import main
from tests.research import series

BARS = 9_000
TRAIN = [
    "--cut", "2025-02-15", "--stop-days", "14", "--epochs", "2", "--lanes", "2", "--window", "64",
    "--d-model", "8", "--layers", "1", "--features", "8", "--half-lives", "8,32",
]  # fmt: skip


def cut_too_late(candles: Candles) -> Candles:
    """Return bars whose close lies half a bar too late, and the next one's open with it."""
    rows = candles.ohlcv.copy()
    close = np.sqrt(rows[:, 3] * np.append(rows[1:, 3], rows[-1, 3]))
    opened = np.append(rows[0, 0], close[:-1])
    rows[:, 0], rows[:, 3] = opened, close
    rows[:, 1] = np.maximum.reduce([rows[:, 1], opened, close])
    rows[:, 2] = np.minimum.reduce([rows[:, 2], opened, close])
    return Candles.make(candles.symbol, candles.interval_ms, candles.start_ms, rows)


def alarms(place: Path, candles: Candles, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Train on the first bars of a file as a user does, evaluate on the later ones; return what alarms."""
    data, model = str(series.saved_candles(place, candles)), str(place / "model")
    assert main(["train", "--data", data, "--out", model, *TRAIN]) == 0
    assert main(["evaluate", "--data", data, "--model", model]) == 0
    said = capsys.readouterr().out.count("LEAK ALARM: ")
    assert main(["evaluate", "--data", data, "--model", model, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["files"]
    assert said == len(one["leak_alarm"])
    return {each.split()[0] for each in one["leak_alarm"]}


def test_a_model_that_was_trained_on_a_leak_sets_the_alarms_off(tmp_path, capsys):
    assert alarms(tmp_path, cut_too_late(series.candles(BARS)), capsys) >= {"ic_ret_15m", "direction_ret_15m"}


def test_the_same_training_without_the_leak_leaves_them_silent(tmp_path, capsys):
    assert alarms(tmp_path, series.candles(BARS), capsys) == set()
