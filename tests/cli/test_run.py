"""``bot run`` and ``bot backtest`` as programs: what they print, where, and the code they end with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.cli import main
from tests.helpers import T0

FIVE_MS = 300_000
REPLAY = ["run", "--feed", "replay", "--speed", "1e9", "--strategy", "buy_and_hold"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: no settings of anybody."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def candle_file(
    place: Path, closes: np.ndarray, rates: Funding | None = None, symbol: str = "BTCUSDT"
) -> str:
    opens = np.concatenate((closes[:1], closes[:-1]))
    rows = np.column_stack(
        [opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, np.full(len(closes), 1e6)]
    )
    path = place / f"made_linear_{symbol}_5m.parquet"
    start_ms = T0 + FIVE_MS * np.arange(len(closes), dtype=np.int64)
    write_candles(path, Candles.make(symbol, FIVE_MS, start_ms, rows.round(1)))
    if rates is not None:
        write_funding(place / "made_linear_BTCUSDT_funding.parquet", rates)
    return str(path)


FALL = np.concatenate((np.full(5, 50_000.0), np.linspace(50_000.0, 35_000.0, 40), np.full(5, 35_000.0)))


def test_a_run_that_risk_has_halted_says_all_and_ends_with_6(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, FALL)
    assert main([*REPLAY, "--data", path, "--json"]) == 6
    out, err = capsys.readouterr()
    assert json.loads(out)["risk_state"] == "halted"
    assert err.splitlines()[-1].startswith("error: risk halted the run (drawdown)")


def test_a_backtest_that_risk_has_halted_is_a_result_like_any(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, FALL)
    assert main(["backtest", "--strategy", "buy_and_hold", "--data", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["risk_state"] == "halted"


@pytest.mark.parametrize("command", [REPLAY, ["backtest", "--strategy", "buy_and_hold"]])
def test_stdout_is_one_json_object_and_nothing_else(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, np.full(20, 50_000.0))
    assert main([*command, "--data", path, "--json", "--report", "r.html"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["bars"] == 20
    assert Path("r.html").stat().st_size > 0


def test_rates_that_do_not_cover_the_candles_are_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Funding("BTCUSDT", np.array([T0 + 86_400_000]), np.array([0.0001]))
    path = candle_file(place, np.full(400, 50_000.0), known)
    assert main(["backtest", "--strategy", "flat", "--data", path, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("BTCUSDT has rates from 2025-01-02 00:00 to 2025-01-02 00:00 only" in w for w in warnings)


def test_a_symbol_whose_candles_end_before_the_others_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [candle_file(place, np.full(n, 50_000.0), symbol=s) for n, s in ((9, "BTCUSDT"), (20, "ETHUSDT"))]
    assert main(["backtest", "--strategy", "flat", "--data", *paths, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert [w for w in warnings if "candles end" in w] == [
        "BTCUSDT: candles end at 2025-01-01 00:45, before the others'; "
        "what was held then kept its last price to the end"
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_replay_behind_its_time_can_be_stopped(place: Path, number: int, code: int) -> None:
    path = candle_file(place, np.full(300_000, 50_000.0))
    words = ["--log-format", "json", *REPLAY, "--data", path, "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bot", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        assert any('"close"' in line for line in daemon.stderr)  # it is under way
        os.kill(daemon.pid, number)
        stdout, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == code
    numbers = json.loads(stdout)
    assert 0 < numbers["bars"] < 300_000
    assert numbers["final_equity"] == pytest.approx(10_000 + numbers["net_pnl"])
    assert any("stopped with open positions in BTCUSDT" in warning for warning in numbers["warnings"])
