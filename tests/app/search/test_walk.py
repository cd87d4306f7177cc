"""A walk-forward: only the past chooses, and the result is the days that no choice has seen."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bot.app.runs.backtest import run_plan
from bot.app.search.processes.workers import Here, WorkerProcesses
from bot.app.search.search import Search
from bot.app.search.sweep import run_search
from bot.app.search.trial import daily_returns
from bot.app.search.walk import WalkForward, figures_of, run_walk, spans
from bot.app.search.words import walk_words
from bot.cli import main
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS
from tests.app.search.conftest import Searching

SIDE = "tests.app.search.strategies:Side"
T0 = 20_000 * DAY_MS


def walked(
    search: Search, place: Path, workers: int = 1, *, resume: bool = False, days: int = 10
) -> WalkForward:
    folds = spans(search, train_s=2 * days * 86_400, test_s=days * 86_400, gap_s=3_600, is_growing=False)
    with Here() if workers == 1 else WorkerProcesses(workers) as crew:
        return run_walk(search, folds, place, crew=crew, resume=resume, fresh=False)


def market(place: Path, drifts: list[float]) -> Path:
    """Hourly candles whose price goes by ``drifts`` a bar."""
    close = 60_000 * np.exp(np.cumsum(drifts))
    opened = np.concatenate([[60_000.0], close[:-1]])
    table = {
        "start_ms": T0 + 3_600_000 * np.arange(len(close)),
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.full(len(close), 1e4),
        "turnover": close * 1e4,
    }
    path = place / "bybit_linear_BTCUSDT_1h.parquet"
    parquet.write_table(pa.table(table), path)
    return path


def test_after_a_change_of_the_market_the_choice_follows(searching: Searching, tmp_path: Path) -> None:
    wiggle = [0.003 * (-1) ** i for i in range(40 * 24)]
    turned = [0.0004 + w for w in wiggle] + [-0.0004 + w for w in wiggle]
    data = market(tmp_path, turned)
    found = walked(searching("side=1,-1", data=data, strategy=SIDE), tmp_path)
    chosen = [step.chosen.params["side"] for step in found.steps if step.chosen]
    assert chosen[:2] == ["1", "1"]
    assert chosen[-1] == "-1"
    assert [len(found.returns), len(found.hold_returns)] == [50, 50]
    told = found.numbers()
    assert told["stability"]["same_choice_frac"] == pytest.approx(3 / 4)  # type: ignore[index]
    assert told["stability"]["chosen"]["side"] == {"1": chosen.count("1"), "-1": chosen.count("-1")}  # type: ignore[index]


def test_the_future_changes_no_step_of_the_past(searching: Searching, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    drifts = list(rng.normal(0, 0.005, 60 * 24))
    other = [*drifts[: 40 * 24], *rng.normal(0.001, 0.01, 20 * 24)]
    one, two = (
        walked(searching("side=1,-1", data=market(place, each), strategy=SIDE), place)
        for place, each in ((tmp_path / "a", drifts), (tmp_path / "b", other))
        if place.mkdir() is None
    )
    past = [at for at, step in enumerate(one.steps) if step.fold.test_to_ms <= T0 + 40 * DAY_MS]
    assert past
    assert [one.steps[at] for at in past] == [two.steps[at] for at in past]
    assert one.steps[-1] != two.steps[-1]


def test_the_result_is_the_backtests_of_the_tests_put_together(searching: Searching, tmp_path: Path) -> None:
    search = searching("hold=5,20,40")
    found = walked(search, tmp_path)
    joined = []
    for step in found.steps:
        assert step.chosen is not None
        fold = step.fold
        alone = replace(
            search.plan, params=step.chosen.params, start_ms=fold.test_from_ms, end_ms=fold.test_to_ms
        )
        joined.append(daily_returns(run_plan(alone)))
    assert np.array_equal(np.concatenate(joined), found.returns)
    assert found.metrics == figures_of(found.returns)
    assert found.metrics["days"] == 10 * len(found.steps)


@pytest.mark.parametrize("cut", [9, 13])
def test_a_walk_that_was_cut_off_ends_equal_on_any_workers(
    searching: Searching, tmp_path: Path, cut: int
) -> None:
    search = searching("hold=5,20")
    whole = walked(search, tmp_path)
    lines = whole.log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 3 * len(whole.steps)
    whole.log.write_bytes(b"".join(lines[:cut]))
    again = walked(search, tmp_path, workers=2, resume=True)
    assert again.remembered == cut - 1
    assert again.numbers() | {"remembered": 0, "returns": 0} == whole.numbers() | {"returns": 0}
    assert np.array_equal(again.returns, whole.returns)


def test_a_step_without_a_choice_earns_nothing(searching: Searching, tmp_path: Path) -> None:
    found = walked(searching("hold=3"), tmp_path)
    assert [step.test for step in found.steps] == [None] * len(found.steps)
    assert not found.returns.any()
    assert found.stability["steps_without_choice"] == len(found.steps)


def test_earlier_walks_of_the_same_strategy_count(searching: Searching, tmp_path: Path) -> None:
    walked(searching("hold=5,20"), tmp_path)
    assert walked(searching("hold=5,25"), tmp_path).earlier == 1
    assert walked(searching("hold=5,25"), tmp_path).earlier == 1


def test_a_sweep_before_makes_a_walk_less_believed(searching: Searching, tmp_path: Path) -> None:
    search = searching("side=1,-1", strategy=SIDE)
    before = walked(search, tmp_path)
    for found, count in ((search, 1), (searching("side=1", strategy=SIDE), 2)):
        with Here() as crew:
            run_search(found, tmp_path, crew=crew, resume=False, fresh=False)
        after = walked(search, tmp_path, resume=True)
        assert (after.earlier, after.earlier_sweeps) == (0, count)
    assert after.numbers()["deflated_sharpe"] < before.numbers()["deflated_sharpe"]  # type: ignore[operator]
    assert "2 sweeps before this count" in walk_words(after)[2]
    other = searching("hold=5,20")
    assert walked(other, tmp_path).earlier_sweeps == 0


def test_bars_that_the_model_was_trained_on_are_refused(searching: Searching, tmp_path: Path) -> None:
    assert main(["data", "synth", "--out", str(tmp_path), "--days", "18", "--price", "60000"]) == 0
    data = tmp_path / "synth_linear_BTCUSDT_5m.parquet"
    search = searching("max_leverage=0.1,0.2", data=data, strategy="performer")
    with pytest.raises(BadUsage, match="the model was trained to"):
        walked(search, tmp_path, days=1)


def test_the_command_tells_programs_and_people(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["walkforward", "--data", str(candles), "--strategy", "tests.app.search.strategies:Fragile"]
    words += ["--grid", "hold=5,20", "--train", "20d", "--test", "20d", "--workers", "1"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {
        "steps",
        "metrics",
        "buy_and_hold",
        "stability",
        "deflated_sharpe",
        "results_sha256",
    } <= told.keys()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 steps of 2 trials" in said
    assert "efficiency" in said
    assert main([*words[:-6], "--train", "80d", "--test", "20d"]) == 2
    assert "100.0 days" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sweep", "walkforward"])
@pytest.mark.parametrize(
    ("more", "words"),
    [(["--sampler", "grid", "--trials", "2"], "--trials"), (["--resume", "--fresh"], "--resume and --fresh")],
)
def test_options_of_a_search_that_contradict_each_other_are_refused(
    candles: Path, capsys: pytest.CaptureFixture[str], command: str, more: list[str], words: str
) -> None:
    spans_ = ["--train", "20d", "--test", "20d"] if command == "walkforward" else []
    given = [command, "--data", str(candles), "--strategy", "ema_cross", "--grid", "fast=3,6", *spans_, *more]
    assert main(given) == 2
    assert words in capsys.readouterr().err
