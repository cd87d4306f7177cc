"""The line that says how far a search is: on a terminal and in a notebook, and nowhere else."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.lab.progress import search_line
from tests.lab.market import Breakout, candles

BEST = "best sharpe 1.25"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let this test write to a terminal; pytest sets its own output after the fixtures."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    return out


def seconds(*moments: float) -> Callable[[], float]:
    each: Iterator[float] = iter(moments)
    return lambda: next(each)


def test_a_terminal_shows_the_best_and_the_time_left_and_is_wiped_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    with search_line(64, is_on=True, clock=seconds(0, 0.1, 0.9, 10, 10.1, 12)) as told:
        told(4, "")  # an earlier process left them
        told(5, BEST)  # too early
        told(24, BEST)
        told(25, BEST)  # too soon after the line before
        told(34, "")
    lines = terminal.getvalue().split("\r\x1b[K")
    assert lines == ["", "24 of 64 trials, best sharpe 1.25, 20 s left", "34 of 64 trials, 12 s left", ""]


def test_a_search_that_ends_at_once_says_nothing_and_an_interrupted_one_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    with search_line(2, is_on=True, clock=seconds(0, 0, 0.5)) as told:
        told(1, BEST)
        told(2, BEST)
    assert terminal.getvalue() == ""

    def interrupted() -> None:
        with search_line(9, is_on=True, clock=seconds(0, 0, 5)) as told:
            told(0, "")
            told(4, BEST)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert terminal.getvalue().endswith("\r\x1b[Kcut off after 4 of 9 trials; resume=True goes on with them")


def test_a_notebook_has_one_output_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def display(told: Any, *, raw: bool, display_id: bool) -> object:
        shown.append(("new", told))
        return SimpleNamespace(update=lambda told, raw: shown.append(("update", told)))

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    module = ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with search_line(4, is_on=True, clock=seconds(0, 0, 2, 4)) as told:
        for done in range(3):
            told(done, "")
    assert shown == [
        ("new", {"text/plain": "1 of 4 trials, 6 s left"}),
        ("update", {"text/plain": "2 of 4 trials, 4 s left"}),
        ("update", {"text/plain": ""}),
    ]


@pytest.mark.parametrize(("is_on", "is_terminal"), [(False, True), (True, False)])
def test_nothing_is_shown_if_it_is_off_or_nobody_looks(
    is_on: bool, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with search_line(4, is_on=is_on, clock=seconds(0, 5)) as told:
        told(2, BEST)
    assert out.getvalue() == ""


def test_a_sweep_and_a_walk_forward_tell_their_trials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("bot.lab.progress.FIRST_S", 0.0)
    monkeypatch.setattr("bot.lab.progress.EVERY_S", 0.0)
    path = tmp_path / "bybit_linear_BTCUSDT_5m.parquet"
    write_candles(path, candles())
    bot.sweep(path, Breakout, {"bars": [12, 24]}, workers=1)
    assert "2 of 2 trials, best sharpe" in terminal.getvalue()
    options = {"train": "1d", "test": "1d", "workers": 1, "objective": "total_return"}
    walk = bot.walkforward(path, Breakout, {"bars": [12, 24]}, **options)
    steps, earned = walk.table.num_rows, walk.metrics["total_return"]
    assert f"{steps} of {3 * steps} trials, best total_return" in terminal.getvalue()
    assert re.search(rf" in training, step [1-{steps}] of {steps}, ", terminal.getvalue())
    last = f"{3 * steps} of {3 * steps} trials, {steps} of {steps} steps tested, {earned:+.2%} in all"
    assert last in terminal.getvalue()
    before = terminal.getvalue()
    bot.sweep(path, Breakout, {"bars": [12, 24]}, workers=1, progress=False)
    assert terminal.getvalue() == before
