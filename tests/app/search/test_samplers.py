"""TPE: the same points on any number of workers and after any interruption, and none of them twice."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.app.search.pages import write_page
from bot.app.search.processes.workers import Here, WorkerProcesses
from bot.app.search.samplers import BATCH, STARTUP, Point, Tpe
from bot.app.search.search import Search
from bot.app.search.sweep import Sweep, run_search
from bot.app.search.walk import run_walk, spans
from bot.app.search.words import sampler_words, walk_words
from bot.cli import main
from bot.domain.errors import BadUsage
from bot.research.search.space import Axis, size
from tests.app.search.conftest import Searching

AXES = (
    Axis("low", tuple(str(n) for n in range(30, 0, -1))),
    Axis("high", tuple(str(n / 2) for n in range(20))),
    Axis("how", ("close", "open", "typical")),
)


def named(axes: Sequence[Axis], count: int, seed: int = 0) -> list[Point]:
    """The points that TPE names for a value that is best at low 7, high 4 and `open`."""
    tpe, points = Tpe(axes, count, seed), list[Point]()
    while batch := tpe.ask():
        assert len(batch) == min(BATCH, count - len(points))
        points += batch
        tpe.tell([badness(each) for each in batch])
    return points


def badness(point: Point) -> float:
    if point["how"] == "typical":
        return -float("inf")
    return -abs(float(point["low"]) - 7) - abs(float(point["high"]) - 4) - (point["how"] != "open")


def found(search: Search, place: Path, workers: int = 1, *, resume: bool = False) -> Sweep:
    with Here() if workers == 1 else WorkerProcesses(workers) as crew:
        return run_search(search, place, crew=crew, resume=resume, fresh=False)


def test_points_are_those_of_the_seed_and_the_later_ones_are_nearer_to_the_good_ones() -> None:
    points = named(AXES, 48)
    assert named(AXES, 48) == points
    assert named(AXES, 8, seed=1) != points[:8]
    assert len({tuple(each.values()) for each in points}) == 48
    assert all(each[axis.name] in axis.values for each in points for axis in AXES)
    values = [badness(each) for each in points]
    first, last = sorted(values[:STARTUP]), sorted(values[-STARTUP:])
    assert last[STARTUP // 2] > first[STARTUP // 2] + 3.0  # the medians


def test_a_small_grid_is_tried_whole() -> None:
    axes = (Axis("a", ("1", "2", "x")), Axis("b", tuple("12345")))
    tpe, points = Tpe(axes, 500, 0), list[Point]()
    while batch := tpe.ask():
        points += batch
        tpe.tell([float(each["b"]) for each in batch])
    assert len({tuple(each.values()) for each in points}) == len(points) == size(axes)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """TPE chooses from the second batch on."""
    monkeypatch.setattr("bot.app.search.samplers.STARTUP", 4)


@pytest.mark.usefixtures("eager")
def test_two_workers_and_an_interruption_find_what_one_finds(searching: Searching, tmp_path: Path) -> None:
    search = searching("hold=3..60:1", trials=12, sampler="tpe", search_seed=5)
    one = found(search, tmp_path / "one")
    assert len(one.outcomes) == 12
    assert one.selection is not None
    assert one.selection.trials == sum(each.error is None for each in one.outcomes)
    two = found(search, tmp_path / "two", workers=2)
    assert (two.sha256, two.outcomes, two.selection) == (one.sha256, one.outcomes, one.selection)
    lines = one.log.read_bytes().splitlines(keepends=True)
    one.log.write_bytes(b"".join(lines[:10]))
    again = found(search, tmp_path / "one", resume=True)
    assert (again.remembered, again.sha256) == (9, one.sha256)
    assert one.log.read_bytes().splitlines(keepends=True) == lines
    assert "not independent draws" in str(sampler_words(search))
    write_page(tmp_path / "page.html", one)
    assert "not independent draws" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_ranges_are_searched_and_an_interrupted_search_goes_on_to_the_same_end(
    searching: Searching, tmp_path: Path, sampler: str
) -> None:
    ranges = {"strategy": "tests.app.search.strategies:Side", "trials": 12, "sampler": sampler}
    search = searching("size=0.001..0.02:log", "side=1,-1", **ranges)
    assert search.header["axes"] == {"size": "0.001..0.02:log", "side": ["1", "-1"]}
    one = found(search, tmp_path / "one")
    sizes = [float(each.params["size"]) for each in one.outcomes]
    assert len(set(sizes)) > 6
    assert all(0.001 <= size <= 0.02 for size in sizes)
    lines = one.log.read_bytes().splitlines(keepends=True)
    one.log.write_bytes(b"".join(lines[:10]))
    assert found(search, tmp_path / "one", resume=True).sha256 == one.sha256
    write_page(tmp_path / "page.html", one)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "0.001..0.02:log" in page
    assert page.count("data-trial=") == 12


def test_a_range_for_whole_numbers_and_the_grid_are_refused_in_one_line(searching: Searching) -> None:
    with pytest.raises(BadUsage, match=r"hold=0\.5\.\.5: hold takes whole numbers"):
        searching("hold=0.5..5", trials=5, sampler="random")
    with pytest.raises(BadUsage, match=r"hold=5\.\.60:log: a range has no grid"):
        searching("hold=5..60:log")
    assert all(
        point["hold"].isdigit() for point in searching("hold=5..60:log", trials=9, sampler="random").points
    )


@pytest.mark.usefixtures("eager")
def test_each_step_of_a_walk_forward_searches_its_own_training(searching: Searching, tmp_path: Path) -> None:
    search = searching("hold=5..60:1", trials=9, sampler="tpe")
    folds = spans(search, train_s=30 * 86_400, test_s=20 * 86_400, gap_s=0, is_growing=False)

    def walked(place: Path, *, resume: bool = False) -> tuple[str, bytes, Path]:
        with Here() as crew:
            walk = run_walk(search, folds, place, crew=crew, resume=resume, fresh=False)
        assert walk.numbers()["trials"] == 9 * len(folds)
        assert "not independent draws" in walk_words(walk)[0]
        return str(walk.numbers()["results_sha256"]), walk.log.read_bytes(), walk.log

    sha256, lines, log = walked(tmp_path)
    log.write_bytes(b"".join(lines.splitlines(keepends=True)[:12]))
    assert walked(tmp_path, resume=True)[0] == sha256


def test_without_the_extra_one_line_says_what_to_install(
    candles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "optuna", None)
    words = [
        "sweep",
        "--data",
        str(candles),
        "--strategy",
        "ema_cross",
        "--grid",
        "fast=6..24",
        "--workers",
        "1",
    ]
    assert main([*words, "--sampler", "tpe", "--trials", "5"]) == 2
    told = capsys.readouterr().err.strip()
    assert "optuna" in told
    assert "pip install 'bot[tpe]'" in told
    assert "\n" not in told
    assert main([*words, "--sampler", "tpe"]) == 2
    assert "trials" in capsys.readouterr().err


def test_a_log_of_another_optuna_is_another_search(
    searching: Searching, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = searching("hold=5..60:1", trials=5, sampler="tpe")
    header = search.header
    monkeypatch.setattr("optuna.__version__", "0.1")
    assert search.header != header
    with pytest.raises(BadUsage, match="no search with these"):
        found(search, tmp_path, resume=True)


def test_the_objective_names_a_log_of_tpe_alone(searching: Searching) -> None:
    def headers(sampler: str) -> list[dict[str, object]]:
        each = {"trials": 5, "sampler": sampler}
        return [searching("hold=5..60:1", **each, objective=name).header for name in ("sharpe", "-trades")]

    led, drawn = headers("tpe"), headers("random")
    assert led[0] != led[1]
    assert drawn[0] == drawn[1]  # its trials serve any objective
