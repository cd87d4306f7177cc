import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bot.app.overlay.finished import curve_of, read_results
from bot.cli import main
from bot.domain.market import DAY_MS, HOUR_MS
from tests.app.runs.lives import live, plan_on, tape


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


def lived(state: Path) -> Path:
    """A state directory with the journal of a paper run."""

    async def run() -> None:
        life = live(plan_on(state))
        life.see(tape(30))
        life.stop()

    asyncio.run(run())
    return state


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
    assert "overfit_probability" not in out  # eight days are too few to know
    assert out.index("note: the spans differ") < out.index("total_return") < out.index("param fast")


def test_the_overfitting_of_searches_is_compared_and_an_older_file_has_none(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = altered(results["sweep"], tmp_path / "sweep.json", overfit_probability=0.25)
    older = json.loads(Path(results["walk"]).read_text())
    del older["overfit_probability"]
    (tmp_path / "walk.json").write_text(json.dumps(older))
    told = compared(capsys, results["all"], sweep, str(tmp_path / "walk.json"))["results"]
    assert [each["overfit_probability"] for each in told] == [None, 0.25, None]
    page = tmp_path / "page.html"
    assert main(["report", results["all"], sweep, "--out", str(page)]) == 0
    assert "Overfitting" in page.read_text("utf-8")


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
    for said in ("the candles differ", "2 was halted by risk", "no equity of 2: write a backtest with"):
        assert said in notes


def test_what_cannot_be_compared_is_one_line(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = altered(results["all"], tmp_path / "unknown.json", kind="evaluate")
    for files, code, said in (
        ([results["all"], results["all"]], 2, "the same result as"),
        ([results["all"]], 2, "one result cannot be compared"),
        (["paper-1", results["all"]], 2, "no account 'paper-1'"),
        (["paper-1", "paper-2"], 2, "no account 'paper-1'"),
        ([results["all"], "candles.parquet"], 2, "no account 'candles.parquet'"),
        ([results["all"], unknown], 5, "not a result that can be compared"),
        ([results["all"], str(tmp_path / "gone.json")], 5, "cannot be read"),
        ([results["all"], results["late"], "--out", str(tmp_path)], 2, "is a directory"),
    ):
        capsys.readouterr()
        assert main(["report", *files]) == code
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_curves_of_a_sweep_and_a_walk_forward_have_the_values_of_their_backtests(
    results: dict[str, str],
) -> None:
    told = {name: json.loads(Path(file).read_text()) for name, file in results.items()}
    same, sweep, walk = told["all"], told["sweep"], told["walk"]
    assert sweep["best"]["fills_sha256"] == same["fills_sha256"]
    by_close = {each["ts_ms"]: each["equity"] for each in same["tables"]["equity"]}
    curves = [curve_of(each) for each in read_results([results["sweep"], results["walk"]], Path())]
    assert len(curves[0]) == 9
    for ts_ms, value in curves[0][1:]:
        assert 10_000 * value == pytest.approx(by_close[ts_ms])
    days = range(walk["first_ms"], walk["headline"]["to_ms"] + 1, DAY_MS)
    assert [ts_ms for ts_ms, _ in curves[1]] == [*days]
    assert curves[1][-1][1] == pytest.approx(1 + walk["metrics"]["total_return"])


def test_curves_of_days_and_of_closes_are_measured_between_the_same_two_times(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first midnight after 13:00 of the first day to the last midnight before 23:00."""
    told = json.loads(Path(results["all"]).read_text())
    first_ms, to_ms = told["first_ms"], told["headline"]["to_ms"]
    closes = told["tables"]["equity"]
    part = [x for x in closes if first_ms + 13 * HOUR_MS <= x["ts_ms"] <= to_ms - HOUR_MS]
    cut = altered(results["all"], tmp_path / "cut.json", tables={"equity": part})
    by_close = {each["ts_ms"]: each["equity"] for each in part}
    expected = by_close[first_ms + 7 * DAY_MS] / by_close[first_ms + DAY_MS] - 1
    answer = compared(capsys, cut, results["sweep"])
    assert answer["common_returns"] == [pytest.approx(expected), pytest.approx(expected)]


def test_a_page_has_curves_figures_and_settings_of_results_and_a_run(
    results: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bot.toml").write_text(f'state_dir = "{lived(tmp_path / "state")}"\n')
    page, evil = tmp_path / "new" / "page.html", tmp_path / "<b>.json"
    evil.write_text(Path(results["late"]).read_text())
    bare = altered(results["all"], tmp_path / "bare.json", tables={})
    sources = ["paper-1", bare, results["all"], results["walk"], str(evil)]
    assert main(["--config", str(tmp_path / "bot.toml"), "report", *sources, "--out", str(page)]) == 0
    assert "1  run of random: paper-1" in capsys.readouterr().out
    text = page.read_text()
    assert "<b>.json" not in text
    for said in (
        "5 results side by side",
        "Not drawn: 2 bare.",
        "1: entries of the run got a protective stop",
        "no span is common to all",
    ):
        assert said in text
    for style in ("one", "two", "three", "four"):
        assert text.count(f'<path class="{style} line"') == 2  # equity and drawdown
        assert text.count(f'<span class="key {style}">') == 3  # with the list of results
    assert "https://" not in text
