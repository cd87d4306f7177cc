import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from bot.cli import main


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("candles")
    words = ["data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "4", "--out", str(folder)]
    assert main(words) == 0
    return str(folder / "synth_linear_BTCUSDT_5m.parquet")


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["backtest", "--strategy", "ema_cross", *words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_trades_and_equity_become_files_with_every_row(
    candles: str, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trades, equity = tmp_path / f"new/trades{suffix}", tmp_path / f"equity{suffix}"
    answer = told(
        capsys, "--data", candles, "--trades", str(trades), "--equity", str(equity), "--equity", "5000"
    )
    read = pyarrow.csv.read_csv if suffix == ".csv" else pyarrow.parquet.read_table
    closed, curve = read(str(trades)), read(str(equity))
    assert closed.num_rows == answer["trades"] > 10
    assert set(closed.column("entry_reason").to_pylist()) == {"cross_up"}
    made = sum(Decimal(str(each)) for each in closed.column("pnl_quote").to_pylist())
    assert float(made) == pytest.approx(answer["net_pnl"], abs=1e-9)
    assert curve.num_rows == answer["bars"]
    assert curve.column("equity").to_pylist()[0] == 5000
    assert curve.column("equity").to_pylist()[-1] == pytest.approx(answer["final_equity"])
    assert len(curve.column("hold").unique()) > 100


def test_json_carries_the_tables_that_are_asked_for(candles: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = told(capsys, "--data", candles, "--include", "orders", "--include", "fills")
    orders, fills = answer["tables"]["orders"], answer["tables"]["fills"]
    assert answer["tables"].keys() == {"orders", "fills"}
    assert (len(orders), len(fills)) == (answer["orders"], answer["fills"])
    assert {each["state"] for each in orders} == {"filled"}
    assert sum(Decimal(each["fee_quote"]) for each in fills) == Decimal(str(answer["fees"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trades", "trades.txt"], "must end in .csv or .parquet"),
        (["--equity", "curve.txt"], "neither a number of USDT nor a file"),
        (["--equity", "1", "--equity", "2"], "one number of USDT and one file"),
        (["--include", "trades"], "belongs to --json"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_before_the_run(
    candles: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", "--data", candles, *words]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert not out
    assert len(err.splitlines()) == 1
