from pathlib import Path

import pytest

from bot.cli import main


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
