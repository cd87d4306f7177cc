"""A search: the same results on any number of workers, after any end, whatever a trial does."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.trials import TrialLog
from bot.app.search.processes.workers import Here, WorkerProcesses, WorkersDied
from bot.app.search.search import Search, hash_of
from bot.app.search.sweep import Sweep, run_search
from bot.app.search.trial import Job
from bot.cli import main
from bot.domain.errors import BadFile, BadUsage, Occupied
from tests.app.search.conftest import Searching
from tests.helpers import T0

FRAGILE = "tests.app.search.strategies:Fragile"
HOLDS = ("hold=5..40:5",)


def found(
    search: Search, place: Path, workers: int = 1, *, resume: bool = False, fresh: bool = False
) -> Sweep:
    with Here() if workers == 1 else WorkerProcesses(workers) as crew:
        return run_search(search, place, crew=crew, resume=resume, fresh=fresh)


def test_two_workers_find_what_one_finds(searching: Searching, tmp_path: Path) -> None:
    one = found(searching(), tmp_path / "one")
    with WorkerProcesses(2) as crew:
        next(crew.run(searching(), [Job(index=0, params={"hold": "33"})] * 4))  # nobody waits for the others
        two = run_search(searching(), tmp_path / "two", crew=crew, resume=False, fresh=False)
    assert [each.params["hold"] for each in one.outcomes] == [str(hold) for hold in range(5, 41, 5)]
    assert len({each.fills_sha256 for each in one.outcomes}) == 8
    assert (two.sha256, two.outcomes, two.selection) == (
        one.sha256,
        one.outcomes,
        one.selection,
    )
    assert one.best is not None
    assert one.best.figures["sharpe"] == max(each.figures["sharpe"] or 0 for each in one.outcomes)
    assert one.selection is not None
    assert (one.selection.trials, one.selection.days) == (8, 75)
    assert None not in (one.selection.overfit_probability, one.selection.spa_p_value)


@pytest.mark.parametrize("cut", [1, 5])
def test_a_search_that_was_cut_off_goes_on_to_the_same_end(
    searching: Searching, tmp_path: Path, cut: int
) -> None:
    whole = found(searching(), tmp_path)
    lines = whole.log.read_bytes().splitlines(keepends=True)
    whole.log.write_bytes(b"".join(lines[: cut + 1]) + lines[cut + 1][:40])
    with pytest.raises(BadUsage, match=f"after {cut} of 8 trials; --resume"):
        found(searching(), tmp_path)
    again = found(searching(), tmp_path, resume=True)
    assert (again.remembered, again.sha256, again.selection) == (
        cut,
        whole.sha256,
        whole.selection,
    )
    assert whole.log.read_bytes().splitlines(keepends=True) == lines


def test_a_search_is_begun_anew_when_that_is_asked_or_when_it_is_complete(
    searching: Searching, tmp_path: Path
) -> None:
    search = searching("hold=5,10")
    done = found(search, tmp_path)
    lines = done.log.read_bytes().splitlines(keepends=True)
    assert found(search, tmp_path).remembered == 0
    assert found(search, tmp_path, resume=True).remembered == 2
    done.log.write_bytes(b"".join(lines[:2]))
    assert found(search, tmp_path, fresh=True).remembered == 0
    assert done.log.read_bytes().splitlines(keepends=True) == lines
    with pytest.raises(BadUsage, match="no search with these"):
        found(searching("hold=7,9"), tmp_path, resume=True)


def test_a_worker_that_is_killed_loses_nothing(searching: Searching, tmp_path: Path) -> None:
    fixed = (f"marker={tmp_path / 'died'}",)
    search = searching("hold=5..40:5", "dies_at=15", param=fixed)
    killed = found(search, tmp_path / "a", workers=2)
    assert (tmp_path / "died").exists()
    assert killed.sha256 == found(search, tmp_path / "b").sha256  # the marker is there: nobody dies


def test_a_trial_that_kills_every_worker_ends_the_search_and_what_was_done_stays(
    searching: Searching, tmp_path: Path
) -> None:
    search = searching("hold=5..40:5", "dies_at=40")
    with pytest.raises(WorkersDied, match=r"hold=40.*dies_at=40.*--resume"):
        found(search, tmp_path, workers=2)
    (log,) = (tmp_path / "sweeps").iterdir()
    assert len(log.read_bytes().splitlines()) == 8  # a header and seven trials


def test_what_a_strategy_refuses_or_raises_is_the_outcome_of_its_trial(
    searching: Searching, tmp_path: Path
) -> None:
    sweep = found(searching("hold=3,4,5"), tmp_path)
    refused, raised, fine = sweep.outcomes
    assert "hold must not be 3" in str(refused.error)
    assert "a bug of the user's" in str(raised.error)
    assert fine.error is None
    assert sweep.best == fine
    assert sweep.numbers()["failed"] == 2
    assert [row["trial"] for row in sweep.numbers()["table"]] == [2, 0, 1]  # type: ignore[attr-defined]


def test_all_that_was_tried_before_counts(searching: Searching, tmp_path: Path) -> None:
    assert found(searching(), tmp_path).selection.earlier_trials == 0  # type: ignore[union-attr]
    narrow = found(searching("hold=20,21"), tmp_path)
    assert narrow.selection is not None
    assert narrow.selection.earlier_trials == 7  # 20 is tried again
    assert found(searching("hold=20,21"), tmp_path).selection == narrow.selection
    alone = found(searching("hold=20,21"), tmp_path / "elsewhere").selection
    assert (narrow.selection.deflated_sharpe or 0) < (alone.deflated_sharpe or 1)  # type: ignore[union-attr]


def test_draws_are_a_part_of_the_grid_and_equal_again(searching: Searching, tmp_path: Path) -> None:
    drawn = found(searching(trials=3, sampler="random", search_seed=2), tmp_path)
    whole = {each.params["hold"]: each.fills_sha256 for each in found(searching(), tmp_path).outcomes}
    assert len(drawn.outcomes) == 3
    assert all(whole[each.params["hold"]] == each.fills_sha256 for each in drawn.outcomes)


def test_another_objective_chooses_another_best(searching: Searching, tmp_path: Path) -> None:
    few = found(searching(objective="-trades"), tmp_path)
    assert few.best is not None
    assert few.best.figures["trades"] == min(each.figures["trades"] or 0 for each in few.outcomes)


@pytest.mark.parametrize(
    ("grid", "changes", "words"),
    [
        (("holds=1,2",), {}, "did you mean hold"),
        (("hold=1,2",), {"objective": "sharp"}, "did you mean sharpe"),
        (("hold=1,2",), {"param": ("hold=3",)}, "fixed by --param"),
        (("hold=1,2", "hold=3"), {}, "given twice"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused_before_its_first_trial(
    searching: Searching, grid: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadUsage, match=words):
        searching(*grid, **changes)


def test_a_log_has_one_writer_and_damage_in_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = TrialLog(path, {"format": 1}, anew=False)
    with pytest.raises(Occupied):
        TrialLog(path, {"format": 1}, anew=False)
    log.append({"index": 0})
    log.close()
    path.write_bytes(path.read_bytes().replace(b'"index"', b'"in'))
    with pytest.raises(BadFile, match=r"a\.jsonl:2"):
        TrialLog(path, {"format": 1}, anew=False)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_command_tells_programs_and_people(
    candles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    from pyarrow import csv, parquet

    monkeypatch.chdir(tmp_path)
    out = tmp_path / f"trials.{form}"
    words = [
        "sweep",
        "--data",
        str(candles),
        "--strategy",
        FRAGILE,
        "--grid",
        "hold=5,10,3",
        "--workers",
        "1",
    ]
    assert main([*words, "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {
        "trials",
        "best",
        "table",
        "deflated_sharpe",
        "overfit_probability",
        "results_sha256",
    } <= told.keys()
    table = csv.read_csv(out) if form == "csv" else parquet.read_table(out)
    assert table.num_rows == told["trials"] == 3
    assert (
        table["sharpe"].to_pylist()[0] == pytest.approx(told["table"][0]["metrics"]["sharpe"]) or told["best"]
    )
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "3 trials, 0 halted by risk, 1 without a result" in said
    assert "deflated Sharpe ratio of the best" in said
    assert main([*words[:-4], "--grid", "hold=3"]) == 1
    assert "hold must not be 3" in capsys.readouterr().err


def test_an_interrupted_search_says_how_to_go_on_and_does(candles: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bot", "sweep", "--data", str(candles), "--strategy", "ema_cross"]
    words += ["--grid", "fast=2..30", "--grid", "slow=61..90:10", "--workers", "2", "--json"]
    environ = {**os.environ, "BOT_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True
    ) as one:
        while not any(each.read_bytes().count(b"\n") > 3 for each in tmp_path.glob("sweeps/*.jsonl")):
            assert one.poll() is None
            time.sleep(0.05)
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=60)
    assert one.returncode == 130
    assert re.search(r"cut off after \d+ of 87 trials; --resume", err)
    done = subprocess.run([*words, "--resume"], env=environ, capture_output=True, text=True, timeout=240)
    told = json.loads(done.stdout)
    assert (told["trials"], told["remembered"] >= 3) == (87, True)


def test_a_halted_trial_is_measured_over_the_days_of_all_trials(
    searching: Searching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_RISK__MAX_DRAWDOWN_FRAC", "0.01")
    whole = found(searching("side=1,-1", strategy="tests.app.search.strategies:Side"), tmp_path)
    halted = [each for each in whole.outcomes if each.halted is not None]
    assert halted
    for each in halted:
        assert len(each.returns) < 75
        assert each.figures["length_days"] == pytest.approx(75, abs=0.02)
        earned = (*each.returns, *[0.0] * (75 - len(each.returns)))
        mean, spread = statistics.mean(earned), statistics.stdev(earned)
        assert each.figures["sharpe"] == pytest.approx(mean / spread * 365**0.5, rel=0.03)
    assert whole.selection is not None
    assert whole.best is not None
    assert whole.best.figures["sharpe"] == pytest.approx(whole.selection.best_sharpe, rel=0.03)


def test_limits_may_be_left_out_of_a_search(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("BOT_RISK__MAX_DRAWDOWN_FRAC", "0.01")
    side = ["--strategy", "tests.app.search.strategies:Side", "--grid", "side=1,-1", "--workers", "1"]
    halted = []
    for command in ("sweep", "walkforward"):
        for more in ([], ["--risk", "observe"]):
            spans = ["--train", "30d", "--test", "40d"] if command == "walkforward" else []
            assert main([command, "--data", str(candles), *side, *spans, *more]) == 0
            halted.append("halted (drawdown" in capsys.readouterr().out)
    assert halted == [True, False, True, False]


def test_what_changes_the_money_of_a_trial_makes_another_search(searching: Searching, tmp_path: Path) -> None:
    rates, fine = tmp_path / "bybit_linear_BTCUSDT_funding.csv", tmp_path / "bybit_linear_BTCUSDT_5m.csv"

    def hash_with(**options: object) -> str:
        search = searching("hold=5,10")
        recipe = replace(search.recipe, options={**search.recipe.options, **options})
        return hash_of(replace(search, recipe=recipe, plan=recipe.plan()).header)

    seen = {hash_with(), hash_with(risk="observe"), hash_with(intrabar="worst")}
    for value in (1, 2):  # other values under the same names
        rates.write_text(f"start_ms,rate\n{T0 + 8 * 3_600_000},0.000{value}\n")
        fine.write_text(f"start_ms,open,high,low,close,volume\n{T0},60000,60001,59999,60000,{value}\n")
        seen |= {hash_with(funding=str(rates)), hash_with(detail=(fine,))}
    assert len(seen) == 7
    assert hash_with() in seen
