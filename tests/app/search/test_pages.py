"""The page of a search says what the search found: the same figures as its JSON, in words."""

from pathlib import Path

import numpy as np
import pytest

from bot.app.search.pages import sweep_data, walk_data, write_page
from bot.app.search.processes.workers import Here
from bot.app.search.sweep import run_search
from bot.app.search.walk import run_walk, spans
from bot.cli import main
from bot.research.search.selection import probability_of_overfitting
from bot.web.search.data import Told
from tests.app.search.conftest import Searching


def told(judgement: object) -> dict[str, Told]:
    return {each.name: each for each in judgement}  # type: ignore[attr-defined]


def test_the_page_of_a_sweep_has_the_numbers_of_its_judgement(searching: Searching, tmp_path: Path) -> None:
    with Here() as crew:
        found = run_search(searching("hold=3,4,5,20,40"), tmp_path, crew=crew, resume=False, fresh=False)
    data, judged = sweep_data(found), found.selection
    assert judged is not None
    rows = told(data.head.judgement)
    assert (rows["Trials"].value, rows["Without a result"].value) == ("5", "2")
    assert rows["Deflated Sharpe ratio"].value == f"{judged.deflated_sharpe:.3f}"
    assert "may be luck" in rows["Deflated Sharpe ratio"].meaning
    assert rows["Probability of overfitting"].value == f"{judged.overfit_probability:.3f}"
    assert rows["Test against buy and hold"].value == f"{judged.spa_p_value:.3f}"
    assert found.best is not None
    assert (data.best, data.trials[0].number) == (found.best.index, found.best.index)
    assert [each.state for each in data.trials].count("failed") == 2
    assert "hold must not be 3" in data.trials[-2].ended
    assert data.curve is not None
    assert data.curve.equity[-1] - 1.0 == pytest.approx(found.best.figures["total_return"], abs=1e-9)
    assert data.curve.hold[-1] - 1.0 == pytest.approx(found.search.hold.unseen.buy_and_hold["total_return"])
    assert data.halves is not None
    assert data.halves.is_worse.mean() == pytest.approx(judged.overfit_probability)
    assert data.head.to_ms - data.head.from_ms > 70 * 86_400_000
    write_page(tmp_path / "new" / "page.html", found)
    assert "This may be luck." in (tmp_path / "new" / "page.html").read_text("utf-8")


def test_a_search_without_a_result_still_has_a_page(searching: Searching, tmp_path: Path) -> None:
    with Here() as crew:
        found = run_search(searching("hold=3,4"), tmp_path, crew=crew, resume=False, fresh=False)
    write_page(tmp_path / "page.html", found)
    assert "None of 2 trials has the figure" in (tmp_path / "page.html").read_text("utf-8")


def test_the_page_of_a_walk_forward_joins_its_tests(searching: Searching, tmp_path: Path) -> None:
    search = searching("hold=5,20")
    folds = spans(search, train_s=20 * 86_400, test_s=10 * 86_400, gap_s=0, is_growing=False)
    with Here() as crew:
        found = run_walk(search, folds, tmp_path, crew=crew, resume=False, fresh=False)
    data = walk_data(found)
    curve = data.curve
    assert len(curve.ts_ms) == len(curve.equity) == len(curve.hold) == len(found.returns) + 1
    assert (curve.ts_ms[0], curve.ts_ms[-1]) == (folds[0].test_from_ms, folds[-1].test_to_ms)
    assert curve.equity[-1] - 1.0 == pytest.approx(found.metrics["total_return"])
    step, shown = found.steps[1], data.steps[1]
    assert step.chosen is not None
    assert step.test is not None
    assert (shown.params, shown.trained, shown.tested) == (
        step.chosen.params,
        step.chosen.figures["sharpe"],
        step.test.figures["sharpe"],
    )
    assert told(data.head.judgement)["Trials"].value == str(2 * len(folds))
    write_page(tmp_path / "page.html", found)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count('<circle class="tested"') == 2 * page.count('class="choice"') == 2 * len(folds)
    trained = [each.returns for each in found.outcomes if each.index in (3, 4)]  # of the second step
    plain = probability_of_overfitting(np.array(trained).T)
    assert plain is not None
    assert (step.overfit, shown.overfit) == (plain.probability, plain.probability)
    mean = found.overfit_probability
    assert mean == pytest.approx(sum(each.overfit or 0.0 for each in found.steps) / len(folds))
    assert told(data.head.judgement)["Probability of overfitting"].value == f"{mean:.3f}"


@pytest.mark.parametrize("command", [["sweep"], ["walkforward", "--train", "20d", "--test", "10d"]])
def test_the_command_writes_the_page_and_refuses_a_bad_place_before_it_begins(
    candles: Path,
    tmp_path: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    words = [
        *command,
        "--data",
        str(candles),
        "--strategy",
        "ema_cross",
        "--grid",
        "fast=6,24",
        "--workers",
        "1",
    ]
    assert main([*words, "--report", "/proc/page.html"]) != 0
    assert "/proc/page.html" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    assert main([*words, "--report", str(tmp_path / "page.html")]) == 0
    assert f"report: {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert "What it is worth" in (tmp_path / "page.html").read_text("utf-8")
