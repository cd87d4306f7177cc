import json
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, write_candles
from bot.cli import main
from tests.helpers import T0

HOUR_MS = 3_600_000


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    data = tmp_path / "bybit_linear_BTCUSDT_5m.parquet"
    assert main(["backtest", "--data", str(data), "--report", str(place / "r.html")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "--report" in err
    assert len(err.splitlines()) == 1


def hourly(folder: Path, closes: np.ndarray, name: str = "bybit_linear_BTCUSDT_1h.parquet") -> str:
    """Write hourly candles that open at the last close; return the path."""
    opens = np.append(closes[0], closes[:-1])
    rows = np.column_stack(
        [opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, np.full(len(closes), 1e6)]
    )
    path = folder / name
    symbol = name.split("_")[2]
    write_candles(path, Candles.make(symbol, HOUR_MS, T0 + HOUR_MS * np.arange(len(closes)), rows))
    return str(path)


def fallen(folder: Path) -> str:
    """A fall of 40 % over twenty days, then the old price again: 4,000 hourly bars."""
    fall, rise = np.geomspace(40_000.0, 24_000.0, 480), np.geomspace(24_000.0, 40_000.0, 3_520)
    return hourly(folder, np.concatenate([fall, rise]).round(1))


HOLD = ["--strategy", "buy_and_hold", "--param", "leverage=0.9", "--funding", "none"]


def test_a_halt_stands_in_the_first_lines_of_terminal_json_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = fallen(tmp_path), tmp_path / "halted.html"
    assert main(["backtest", "--data", data, *HOLD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    halt = told["halt"]
    assert list(told)[:1] == ["halt"]
    assert (halt["cause"], halt["limit"], halt["setting"]) == ("drawdown", 0.2, "risk.max_drawdown_frac")
    assert told["metrics"]["total_return"] == pytest.approx(-0.2, abs=0.003)
    assert told["headline"]["bars"] < 300
    assert told["metrics"]["length_days"] == pytest.approx(told["headline"]["bars"] / 24)
    assert main(["backtest", "--data", data, *HOLD, "--report", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    when = halt["time"].replace("T", " ").removesuffix("Z")
    assert lines[0].startswith(f"halted by risk at {when} UTC: drawdown: equity ")
    assert lines[0].endswith("limit 0.2 (risk.max_drawdown_frac)")
    assert "BTCUSDT stayed open" in lines[1]
    assert "--risk observe" in lines[1]
    html = page.read_text()
    assert html.index(f"halted by risk at {when} UTC: drawdown") < html.index("on 10,000.00 after all costs")


def test_observed_limits_are_told_first_and_the_run_goes_on_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fallen(tmp_path)
    assert main(["backtest", "--data", data, *HOLD, "--risk", "observe", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["halt"], told["risk"], told["headline"]["bars"]) == (None, "observe", 4_000)
    assert told["metrics"]["total_return"] == pytest.approx(0.0, abs=0.01)
    (drawdown,) = [row for row in told["limits"] if row["limit"] == "drawdown"]
    assert (drawdown["count"], drawdown["bound"], drawdown["forces"]) == (2, 0.2, "halted")  # 0.8, 0.64
    assert main(["backtest", "--data", data, *HOLD, "--risk", "observe"]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "risk only observed; no limit acted:"
    assert second.startswith("risk.max_drawdown_frac halts: 2 times, first 2025-01-")
