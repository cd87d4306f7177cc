"""``bot.sweep`` and ``bot.walkforward``: the trials of the command line, from any place a class stands in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.app.search.search import code_hash
from bot.cli import main
from tests.lab.market import Breakout, candles

GRID = {"bars": [12, 24, 36]}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("candles") / "bybit_linear_BTCUSDT_5m.parquet"
    write_candles(path, candles())
    return path


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))


def told(file: Path, command: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    words = [command, "--data", str(file), "--strategy", "tests.lab.market:Breakout", "--workers", "1"]
    assert main([*words, "--grid", "bars=12,24,36", "--fee-bps", "2", *more, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def found(file: Path, tmp_path_factory: pytest.TempPathFactory) -> bot.SweepResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        return bot.sweep(bot.read_candles(file), Breakout, GRID, workers=2, fee_bps=2)


def test_a_sweep_on_two_workers_equals_that_of_the_command_line(
    file: Path, found: bot.SweepResult, capsys: pytest.CaptureFixture[str]
) -> None:
    same = told(file, "sweep", capsys)
    assert found.results_sha256 == same["results_sha256"]
    assert found.warnings == ()
    named = ("log", "strategy", "settings_hash")  # by a file's name here, by a class there
    here = {**found.numbers, **{name: same[name] for name in named}}
    assert json.loads(json.dumps(here)) == same
    assert found.deflated_sharpe == same["deflated_sharpe"]
    assert found.overfit_probability == same["overfit_probability"]
    assert found.best is not None
    again = bot.backtest(file, Breakout, params=found.best["params"], fee_bps=2)
    assert again.fills_sha256 == found.best["fills_sha256"]


def test_the_trials_are_a_table_and_a_notebook_shows_the_best(found: bot.SweepResult) -> None:
    assert found.table["param_bars"].to_pylist() == ["12", "24", "36"]
    assert found.table["sharpe"].null_count == 0
    for shown in (repr(found), found._repr_html_()):
        assert "3 trials, 0 halted by risk" in shown
        assert "deflated Sharpe ratio" in shown


def test_a_sweep_writes_its_page(found: bot.SweepResult, tmp_path: Path) -> None:
    page = found.report(tmp_path / "new" / "page.html")
    assert page == tmp_path / "new" / "page.html"
    assert found.results_sha256 in page.read_text("utf-8")
    with pytest.raises(bot.BotError, match=r"/proc/page\.html"):
        found.report("/proc/page.html")


def test_a_sweep_draws_its_best_trial(found: bot.SweepResult) -> None:
    drawing = found.plot()
    ElementTree.fromstring(drawing.svg)
    assert "Best of 3 trials, begin = 1" in drawing.svg
    assert drawing.svg in found._repr_html_()
    assert found.best is not None
    assert found.metrics == found.best["metrics"]


def test_a_walk_forward_equals_that_of_the_command_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = told(file, "walkforward", capsys, "--train", "2d", "--test", "1d")
    found = bot.walkforward(file, Breakout, GRID, train="2d", test="1d", workers=1, fee_bps=2, fresh=True)
    assert found.results_sha256 == same["results_sha256"]
    assert found.metrics == same["metrics"]
    assert found.buy_and_hold == same["buy_and_hold"]
    steps = same["steps"]
    assert isinstance(steps, list)
    assert found.table["param_bars"].to_pylist() == [each["params"]["bars"] for each in steps]
    assert found.table["test_sharpe"].to_pylist() == [each["test"]["sharpe"] for each in steps]
    assert list(found.returns) == same["returns"]
    assert "efficiency" in repr(found)
    assert "walk-forward" in found._repr_html_()
    assert "All tests, joined" in found.plot().svg


def test_what_the_command_line_tried_before_counts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(file, "sweep", capsys)
    later = bot.sweep(file, Breakout, {"bars": [12, 13]}, workers=1, fee_bps=2)
    assert later.selection is not None
    assert later.selection.earlier_trials == 2


SCRIPT = """
import bot
from tests.lab.market import Breakout{more}
found = bot.sweep({file!r}, Breakout, {{"bars": [12, 24]}}, workers=2)
print(found.results_sha256, len(found.warnings))
"""


@pytest.mark.parametrize(
    ("more", "warned"), [("", 0), (" as Base\nclass Breakout(Base): pass", 1)], ids=["imported", "own"]
)
def test_a_script_without_a_guard_searches_once(file: Path, tmp_path: Path, more: str, warned: int) -> None:
    script = tmp_path / "search.py"
    script.write_text(SCRIPT.format(file=str(file), more=more))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environ, capture_output=True, text=True, timeout=240, check=True
    )
    alone = bot.sweep(file, Breakout, {"bars": [12, 24]}, workers=1)
    assert done.stdout.split() == [alone.results_sha256, str(warned)]
    assert done.stderr.count("Breakout stands in a notebook, in the script that runs") == warned


def test_a_class_inside_a_function_is_searched_in_this_process_and_a_warning_says_so(file: Path) -> None:
    class Mine(Breakout):
        pass

    with pytest.warns(UserWarning, match="Mine stands in a notebook"):
        found = bot.sweep(file, Mine, GRID, workers=2)
    assert found.table.num_rows == 3
    assert "Mine stands in" in repr(found)


def notebook_class(factor: int) -> type:
    made: dict[str, type] = {}
    source = f"class Cell:\n    def on_bar(self, view):\n        return [x * {factor} for x in ()]\n"
    exec(compile(source, "<cell>", "exec"), {"__name__": "__main__"}, made)
    return made["Cell"]


def test_another_body_of_a_class_without_a_file_is_another_search() -> None:
    assert code_hash(notebook_class(2)) == code_hash(notebook_class(2))
    assert code_hash(notebook_class(2)) != code_hash(notebook_class(3))


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        ({"bar": [1]}, {}, "did you mean bars"),
        ({"bars": "24,36"}, {}, "needs a list of values"),
        ({"bars": "12..288:log"}, {}, "a range has no grid; trials"),
        ({"bars": "0.5..5"}, {"trials": 9}, "bars takes whole numbers"),
        ({"bars": [object]}, {}, "cannot take"),
        ({"bars": [1]}, {"sampler": "gird"}, "did you mean 'grid'"),
        ({"bars": [1]}, {"workers": 0}, "at least 1"),
        ({"bars": [1]}, {"fee_bsp": 1}, "did you mean fee_bps"),
        ({"bars": [1]}, {"trials": 1, "sampler": "grid"}, "sampler='random'"),
        ({"bars": [1]}, {"sampler": "tpe"}, "needs trials=N"),
        ({}, {}, "at least one"),
    ],
)
def test_a_search_that_cannot_be_meant_is_one_line(
    file: Path, grid: dict[str, object], more: dict[str, object], words: str
) -> None:
    with pytest.raises(bot.BotError, match=words) as caught:
        bot.sweep(file, Breakout, grid, **more)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_a_span_that_is_none_is_named(file: Path) -> None:
    with pytest.raises(bot.BotError, match="train='ninety'"):
        bot.walkforward(file, Breakout, GRID, train="ninety", test="1d")
