import json
from pathlib import Path
from typing import Any

import pytest

from bot.cli import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One candle file, and a result of each kind."""
    folder = tmp_path_factory.mktemp("results")
    words = ["data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "8", "--out", str(folder)]
    assert main(words) == 0
    told = ["--data", str(folder / "synth_linear_BTCUSDT_5m.parquet"), "--strategy", "ema_cross", "--json"]
    search = ["--grid", "fast=6,12", "--workers", "1", "--config", str(folder / "bot.toml")]
    (folder / "bot.toml").write_text(f'state_dir = "{folder / "state"}"\n')
    made = {
        "all": ["backtest", *told, "--include", "equity"],
        "late": ["backtest", *told, "--include", "equity", "--start", "2025-01-04", "--fee-bps", "2"],
        "sweep": ["sweep", *told, *search],
        "walk": ["walkforward", *told, *search, "--train", "3d", "--test", "2d"],
    }
    for name, command in made.items():
        with pytest.MonkeyPatch.context() as patch:
            lines: list[str] = []
            patch.setattr("click.echo", lambda text="", lines=lines, **_: lines.append(str(text)))
            assert main(command) == 0
        (folder / f"{name}.json").write_text(lines[0])
    return {name: str(folder / f"{name}.json") for name in made}


def compared(capsys: pytest.CaptureFixture[str], *files: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["report", *files, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def altered(file: str, place: Path, **fields: object) -> str:
    place.write_text(json.dumps(json.loads(Path(file).read_text()) | fields))
    return str(place)


def test_a_backtest_a_sweep_and_a_walk_forward_stand_side_by_side(
    results: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["report", results["all"], results["sweep"], results["walk"]]) == 0
    out = capsys.readouterr().out
    assert "2 is the best of 2 trials on the same bars" in out
    assert out.index("note: the spans differ") < out.index("total_return") < out.index("param fast")


def test_other_spans_and_costs_are_named_and_the_common_span_is_measured(
    results: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = compared(capsys, results["all"], results["late"])
    assert [note.split(":")[0] for note in answer["notes"]] == ["the spans differ", "the costs differ"]
    assert answer["settings"]["costs.taker_bps"] == [5.5, 2]
    span = answer["common_span"]
    curve = json.loads(Path(results["all"]).read_text())["tables"]["equity"]
    inside = [each["equity"] for each in curve if span["from_ms"] <= each["ts_ms"] <= span["to_ms"]]
    assert len(inside) < len(curve)
    assert answer["common_returns"][0] == pytest.approx(inside[-1] / inside[0] - 1)


def test_other_candles_a_halt_and_a_missing_equity_are_named(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [{"symbol": "BTCUSDT", "interval": "5m", "sha256": "f" * 64}]
    other = altered(results["all"], tmp_path / "other.json", data=data, halt={"cause": "drawdown"}, tables={})
    notes = " | ".join(compared(capsys, results["all"], other)["notes"])
    for said in ("the candles differ", "2 was halted by risk", "no return on the common span for 2"):
        assert said in notes


def test_what_cannot_be_compared_is_one_line(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = altered(results["all"], tmp_path / "unknown.json", kind="evaluate")
    for files, code, said in (
        ([results["all"], results["all"]], 2, "the same result as"),
        ([results["all"]], 2, "one result cannot be compared"),
        (["paper-1", results["all"]], 2, "paper-1: not a result file"),
        ([results["all"], unknown], 5, "not a result that can be compared"),
        ([results["all"], str(tmp_path / "gone.json")], 5, "cannot be read"),
        ([results["all"], results["late"], "--out", "page.html"], 2, "has no page"),
    ):
        capsys.readouterr()
        assert main(["report", *files]) == code
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
