"""The scripts behind figures of the documentation count what they say."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts/bench"
STOPS = runpy.run_path(str(SCRIPTS / "stops.py"))
VOL_TARGET = runpy.run_path(str(SCRIPTS / "vol_target.py"))


def test_a_stop_fills_at_the_first_bar_beyond_it_and_a_gap_fills_at_its_open() -> None:
    made = STOPS["Trades"](
        day=np.array([1, 1, 2]),
        opened=np.array([[0.0, -0.01, -0.05], [0.0, -0.03, 0.0], [0.0, 0.0, 0.0]]),
        worst=np.array([[0.0, -0.02, -0.06], [0.0, -0.04, 0.0], [-0.01, -0.01, 0.0]]),
        last=np.array([0.1, 0.1, 0.04]),
        moved=np.array([0.01, 0.02, 0.03]),
        volatility={"forecast": np.array([0.01, 0.01, 0.01])},
    )
    told = STOPS["outcome"](made, "forecast", 2.0)
    assert told.stopped.tolist() == [True, True, False]
    assert told.result.tolist() == pytest.approx([-1.0, -1.5, 2.0])  # the third: 4 % at a stop of 2 %
    assert told.cost.tolist() == pytest.approx([0.055] * 3)
    assert STOPS["fitted"](made, "forecast") == pytest.approx(np.quantile([6.0, 4.0, 1.0], 0.7))


def test_trades_begin_at_the_close_and_never_cross_a_hole() -> None:
    close = 100.0 * np.exp(0.001 * np.arange(12))
    ohlc = np.column_stack((close, close, close, close))
    start_ms = 300_000 * np.r_[0:8, 20:24]
    market = ohlc, start_ms, {"forecast": np.ones(12)}
    made = STOPS["trades_of"](market, np.array([2, 4, 5]), np.array([1.0, -1.0, 1.0]), 3)
    assert made.last.tolist() == pytest.approx([0.003, -0.003])
    assert made.worst.tolist() == pytest.approx(np.array([[0.001, 0.002, 0.003], [-0.001, -0.002, -0.003]]))


def test_the_volatility_of_the_equity_is_told_over_the_target() -> None:
    step = 0.2 / np.sqrt(365 * 24)
    equity = np.exp(step * 1.1 * (np.arange(24 * 60) % 2))  # 22 % a year
    words = VOL_TARGET["words"](3_600_000 * np.arange(24 * 60), equity)
    assert words == (
        "1.100 of the target, 29 days missed by 0.100, a week missed by 0.100, a day missed by 0.100"
    )
