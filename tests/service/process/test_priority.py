"""A process beside the daemon gives way to it, and works where the system forbids that, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.service.process.priority import give_way

UNIT = Path(__file__).parents[3] / "config/systemd/bot@.service"


def test_it_steps_back_and_dies_first() -> None:
    code = (
        "import os, pathlib; from bot.service.process import priority; before = os.nice(0);"
        "priority.give_way(3); priority.die_first(); print(os.nice(0) - before);"
        "print(pathlib.Path('/proc/self/oom_score_adj').read_text())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "1000"]


def test_a_system_that_forbids_it_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(nicer: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", forbidden)
    give_way(5)


def test_the_unit_for_systemd_allows_it() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert text.index("SystemCallFilter=~@privileged @resources") < text.index("SystemCallFilter=setpriority")
    assert "OOMPolicy=continue" in text
