"""A search on a Dask cluster: a real scheduler and workers on loopback, in another working directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

import bot
from bot.adapters.files.candles import read_candles
from bot.app.search.processes import parcel
from bot.app.search.processes.cluster import Cluster, NoCluster
from bot.app.search.processes.parcel import Files, Parcel, Unequal, differences, program
from bot.app.search.processes.portable import from_bytes
from bot.app.search.processes.workers import Here, crew_for
from bot.app.search.sweep import run_search
from bot.app.search.trial import Job
from bot.cli import main
from bot.domain.errors import BadUsage, BotError
from tests.app.search.conftest import Searching
from tests.app.search.strategies import look_or_die
from tests.lab.market import candles as candles_of_a_market
from tests.lab.test_fitting import FEATURES, Least
from tests.lab.test_refit import Follow

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120.0


class Dask:
    """A scheduler and its workers."""

    def __init__(self, place: Path) -> None:
        self._place, self.workers = place, list[subprocess.Popen[bytes]]()
        told = place / "scheduler.json"
        self.scheduler = self._begin("scheduler", "--port", "0", "--scheduler-file", str(told))
        until_s = time.monotonic() + PATIENCE_S
        while not told.exists() or not told.read_bytes().endswith(b"}"):
            assert self.scheduler.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.02)
        self.address: str = json.loads(told.read_bytes())["address"]

    def work(self) -> None:
        self.workers.append(self._begin("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def _begin(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=self._place,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        for each in (*self.workers, self.scheduler):
            each.kill()
            each.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    found = Dask(tmp_path_factory.mktemp("dask"))
    try:
        yield found
    finally:
        found.end()


MINE = """
from tests.app.search.strategies import Fragile

class Mine(Fragile):
    pass
"""


def test_a_cluster_finds_what_one_process_finds_and_a_dead_worker_loses_nothing(
    searching: Searching, dask: Dask, tmp_path: Path
) -> None:
    fixed = (f"marker={tmp_path / 'died'}",)
    search = searching("hold=5..40:5", "dies_at=15", param=fixed)
    with (
        Cluster(dask.address, str, wait_s=0.0) as crew,
        pytest.raises(NoCluster, match=r"no worker for 0 s; start some.*--resume"),
    ):
        run_search(search, tmp_path / "a", crew=crew, resume=False, fresh=False)

    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)
        if len(said) == 1:
            dask.work()
            dask.work()

    with Cluster(dask.address, say, wait_s=PATIENCE_S) as crew:
        next(crew.run(search, [Job(index=0, params={"hold": "33"})] * 4))  # nobody waits for the others
        killed = run_search(search, tmp_path / "a", crew=crew, resume=False, fresh=False)
        lines = killed.log.read_bytes().splitlines(keepends=True)
        killed.log.write_bytes(b"".join(lines[:4]))
        again = run_search(search, tmp_path / "a", crew=crew, resume=True, fresh=False)
    assert [words.split(" on tcp")[0] for words in said[:1]] == ["no worker"]
    assert (tmp_path / "died").exists()
    with Here() as here:
        one = run_search(search, tmp_path / "b", crew=here, resume=False, fresh=False)
    assert killed.outcomes == one.outcomes
    assert (again.remembered, again.sha256) == (3, one.sha256)


def test_a_worker_that_dies_while_it_is_looked_at_loses_nothing(
    searching: Searching, dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "look", partial(look_or_die, str(tmp_path / "died")))
    dask.work()
    dask.work()
    search = searching("hold=5..15:5")
    with Cluster(dask.address, str, wait_s=PATIENCE_S) as crew:
        there = run_search(search, tmp_path / "a", crew=crew, resume=False, fresh=False)
    assert (tmp_path / "died").exists()
    with Here() as here:
        one = run_search(search, tmp_path / "b", crew=here, resume=False, fresh=False)
    assert there.outcomes == one.outcomes


def test_walk_forwards_with_models_that_are_refitted_are_the_same_on_a_cluster(
    dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dask.workers:
        dask.work()
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))

    def walked(strategy: str | type, grid: dict[str, list[object]], **more: Any) -> bot.WalkForwardResult:
        spans = {"train": "2d", "test": "1d", "fresh": True, "objective": "total_return"}
        return bot.walkforward(candles_of_a_market(), strategy, grid, **spans, **more)

    here, there = {"workers": 1}, {"cluster": dask.address}
    follow = (Follow, {"least": [0.0, 1e-5]}), {"params": {"model": bot.unfitted(Least, FEATURES)}}
    target = (
        ("vol_target", {"vol_target": [0.2, 0.4]}),
        {"params": {"base": "constant"}, "model": bot.unfitted(Least, FEATURES, target="rv_60m")},
    )
    for (strategy, grid), more in (follow, target):
        one, far = (walked(strategy, grid, **place, **more) for place in (here, there))
        assert far.results_sha256 == one.results_sha256
        assert far.returns.tolist() == one.returns.tolist()
        assert all(step["test"]["total_return"] for step in far.numbers["steps"])


def test_a_search_is_sent_or_says_what_is_missing_and_ends_with_its_scheduler(
    searching: Searching, candles: Path, dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dask.workers:
        dask.work()
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "alone.py"):
        Path(name).write_text(MINE)
    known = read_candles(candles).to_arrow()  # the workers have neither these nor the strategy file
    grid: dict[str, list[object]] = {"hold": [5, 10]}
    there = bot.sweep(bot.read_candles(known, symbol="BTCUSDT"), "mine.py:Mine", grid, cluster=dask.address)
    here = bot.sweep(bot.read_candles(known, symbol="BTCUSDT"), "mine.py:Mine", grid, workers=1)
    assert there.results_sha256 == here.results_sha256
    with pytest.raises(BotError, match=r"has not all that the search needs.*'alone'.*install it there"):
        bot.sweep(candles, "alone:Mine", grid, cluster=dask.address)
    with Cluster(dask.address, str) as crew, pytest.raises(NoCluster, match=r"scheduler is gone.*--resume"):
        run_search(
            searching("hold=5..40"),
            tmp_path,
            crew=crew,
            resume=False,
            fresh=False,
            progress=lambda done, best: dask.end() if done == 2 else None,
        )


def test_what_is_sent_has_no_secrets_and_other_candles_at_its_place_are_refused(
    searching: Searching, candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_VENUE__API_KEY", "a-key-of-the-venue")
    monkeypatch.setenv("BOT_VENUE__API_SECRET", "a-secret-of-the-venue")
    data = tmp_path / candles.name
    data.write_bytes(candles.read_bytes())
    search = searching(data=data)
    assert "a-key-of-the-venue" in search.plan.settings.secrets()
    packed = Parcel.pack(search, Files.of(search))
    assert b"of-the-venue" not in packed
    parcel = from_bytes(packed)
    assert isinstance(parcel, Parcel)
    assert parcel.unpack().history.candles[0].sha256 == search.plan.history.candles[0].sha256
    bars = read_candles(candles).to_arrow()
    parquet.write_table(bars.slice(1), data)
    with pytest.raises(Unequal, match="reads other candles"):
        parcel.unpack()


def test_a_cluster_that_cannot_be_meant_is_refused_in_one_line(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "--data", str(candles), "--strategy", "ema_cross", "--grid", "fast=5,6", "--cluster"]
    for address, told in (("host:8786", "must be the address"), ("tcp://host", "must be the address")):
        assert main([*words, address]) == 2
        assert told in capsys.readouterr().err
    assert main([*words, "tcp://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    assert "no Dask scheduler answers there" in said
    assert said.count("\n") == 1
    with pytest.raises(BadUsage, match="give one of them"):
        crew_for(("fast=5,6",), 2, cluster="tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadUsage, match=r"needs the extra `cluster`: scripts/install"):
        crew_for(("fast=5,6",), None, cluster="tcp://127.0.0.1:9")


def test_another_program_is_named() -> None:
    assert differences(program()) is None
    other = {**program(), "numpy": "0.1"}
    assert differences(other) == f"numpy {program()['numpy']} there, 0.1 here"
