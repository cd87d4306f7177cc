"""A process that dies anywhere goes on as if nothing had happened: each failpoint and each phase once.

All of them in all phases: ``python -m tests.crash --all``.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bot
from bot.adapters.state.failpoint import POINTS
from tests.crash.cases import PHASES, SENDS, Case, Phase, Stage, run, stage

CASES: list[tuple[str, Phase]] = [
    ("append.before", "resting"),
    ("append.after", "partly"),
    ("sync.before", "sent"),
    ("sync.after", "filled"),
    ("send.before", "exiting"),
    ("send.after", "cancelling"),
    ("answer", "sent"),
    ("snapshot.before", "filled"),
    ("snapshot.ahead", "exiting"),
    ("rename.before", "resting"),
    ("rename.after", "partly"),
    ("header.before", "none"),
    ("header.after", "exiting"),
    ("recovery.replayed", "filled"),
    ("recovery.read", "partly"),
    ("send.before", "taking"),
    ("send.after", "taking"),
    ("answer", "taking"),
    ("append.before", "took"),
    ("stop", "filled"),
]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("exchange")) as begun:
        yield begun


@pytest.mark.fault(28)
@pytest.mark.fault(42)
@pytest.mark.fault(61)
@pytest.mark.fault(67)
@pytest.mark.invariant(5)
@pytest.mark.invariant(14)
@pytest.mark.parametrize(("ending", "phase"), CASES)
def test_a_killed_bot_goes_on_with_what_really_happened(
    at: Stage, ending: str, phase: Phase, tmp_path: Path
) -> None:
    run(Case(ending, phase), at, tmp_path)


def test_every_failpoint_and_every_phase_is_tried() -> None:
    assert {ending for ending, _ in CASES} == {*POINTS, "stop"}
    assert {phase for _, phase in CASES} == set(PHASES)
    tried = {ending for ending, phase in CASES if phase == "taking"}
    assert tried >= set(SENDS)  # takes follow an entry: each of these dies at another request than elsewhere


def python(code: str, **env: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", f"from bot.adapters.state.failpoint import reach\n{code}"]
    return subprocess.run(words, env=os.environ | env, capture_output=True, text=True)


def test_a_failpoint_kills_at_its_nth_passage_and_only_there(tmp_path: Path) -> None:
    code = "for n in range(3):\n print(n, flush=True); reach('answer'); reach('send.after')"
    assert python(code).stdout.split() == ["0", "1", "2"]
    killed = python(code, FAILPOINT="answer:2")
    assert (killed.returncode, killed.stdout.split()) == (-signal.SIGKILL, ["0", "1"])
    later = str(tmp_path / "armed")
    assert python(code, FAILPOINT="answer", FAILPOINT_FROM=later).returncode == 0
    assert python(code, FAILPOINT="answer", FAILPOINT_FROM=str(tmp_path)).returncode == -signal.SIGKILL


@pytest.mark.parametrize("wrong", ["nowhere", "answer:x", "answer:", "answer:0"])
def test_a_failpoint_that_does_not_exist_is_refused_in_one_line(wrong: str) -> None:
    ended = python("", FAILPOINT=wrong)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: FAILPOINT={wrong}: give NAME or NAME:N; names are append.before")


def test_every_failpoint_is_somewhere_in_the_program() -> None:
    home = Path(bot.__file__).parent
    reached = {
        name for path in home.rglob("*.py") for name in re.findall(r"reach\(\"(.+?)\"\)", path.read_text())
    }
    assert reached == set(POINTS)
