"""What a search will cost: a formula over what a slice took."""

import json
from pathlib import Path

import pytest

from bot.app.search.cost import Cost, cost_of, load_of_sweep
from bot.app.wiring import WARMUP_BARS
from bot.cli import main
from tests.app.search.conftest import Searching


def test_the_cost_grows_with_trials_symbols_and_days_and_shrinks_with_workers() -> None:
    cost = Cost(
        trials=500,
        bars=1000 * 1826 * 288,
        longest_bars=1000 * 1826 * 288,
        held_bars=1000 * 1826 * 288,
        workers=100,
        slice_bars=20_000,
        slice_cpu_s=0.1,
        trial_bytes=2_000_000,
        program_bytes=150_000_000,
        line_bytes=40_000,
    )
    assert cost.bar_cpu_us == pytest.approx(5.0)
    assert cost.cpu_s / 3600 == pytest.approx(500 * 525_888_000 * 5e-6 / 3600)
    assert cost.wall_s == cost.cpu_s / 100
    assert cost.worker_bytes == pytest.approx(150e6 + 525_888_000 * 300)
    assert cost.log_bytes == 20_000_000


def test_a_slice_tells_of_the_whole(searching: Searching) -> None:
    search = searching("hold=5..40:5")
    found = cost_of(search, 2, load_of_sweep(search))
    assert (found.trials, round(found.bars), found.slice_bars) == (8, 7200, 7200)
    assert 0.1 < found.bar_cpu_us < 1000
    assert 200 < (found.worker_bytes - found.program_bytes) / found.bars < 100_000
    assert 75 * 8 < found.line_bytes < 75 * 40 + 3000  # a return for each day, and the figures


def test_a_plan_runs_no_search(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "--data", str(candles), "--strategy", "ema_cross", "--grid", "fast=5,6"]
    words += ["--workers", "4"]
    assert main([*words, "--plan", "1000x1826", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["trials"], told["bars"]) == ("plan", 2, pytest.approx(1000 * 1826 * 96))
    assert told["wall_s"] == pytest.approx(told["trials"] * told["bars"] * told["bar_cpu_us"] / 1e6 / 4)
    assert main([*words, "--plan"]) == 0
    assert "2 trials of 7,200 bars" in capsys.readouterr().out
    assert main([*words, "--plan", "many"]) == 2
    assert "SYMBOLSxDAYS" in capsys.readouterr().err
    assert not (tmp_path / ".data").exists()


def test_the_plan_of_a_walk_forward_counts_each_span_with_its_warm_up(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["walkforward", "--data", str(candles), "--strategy", "tests.app.search.strategies:Fragile"]
    words += ["--grid", "hold=5,6,7", "--train", "20d", "--test", "10d", "--workers", "2"]
    assert main([*words, "--plan", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    steps, warmup = 5, WARMUP_BARS  # 75 days, 96 bars each
    assert told["trials"] == steps * (3 + 1)
    all_bars = steps * (3 * (20 * 96 + warmup) + 10 * 96 + warmup)
    assert told["bars"] == pytest.approx(all_bars / told["trials"])
    assert (told["longest_bars"], told["held_bars"]) == (pytest.approx(20 * 96 + warmup), 7_200)
    assert told["wall_s"] == pytest.approx(all_bars * told["bar_cpu_us"] / 1e6 / 2)
    assert main([*words, "--growing", "--plan", "10x100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trials"], told["held_bars"]) == (8 * 4, pytest.approx(10 * 100 * 96))
    assert told["longest_bars"] == pytest.approx(10 * (90 * 96 + warmup))
    assert main([*words, "--plan"]) == 0
    assert "20 trials of" in capsys.readouterr().out
    assert main([*words, "--plan", "1x20"]) == 2
    assert "one step needs 30.0 days" in capsys.readouterr().err
    assert not (tmp_path / ".data").exists()
