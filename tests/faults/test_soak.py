"""Half a simulated day with lost connections by ``scripts/bench/soak.py``; a week and a real hour by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LEAKY = """
KEPT = []

class Leaky:
    def on_bar(self, view):
        KEPT.append((bytearray(b"x" * 200_000), open("/dev/null")))
"""


def soak(place: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/bench/soak.py"), *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{place}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if told["ok"] else 1)
    return told


@pytest.mark.invariant(24)
@pytest.mark.fault(70)
def test_nothing_grows_in_half_a_day_with_lost_connections(tmp_path: Path) -> None:
    told = soak(tmp_path, "--days", "0.5", "--reconnects", "8")
    assert told["ok"], told
    assert told["grown"] == []
    assert told["simulated_days"] > 0.4
    assert told["reconnects"] >= 8
    assert told["closes"] > 200


def test_a_strategy_that_leaks_is_found(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    told = soak(tmp_path, "--days", "0.2", "--symbols", "1", "--strategy", "leaky:Leaky")
    assert not told["ok"]
    assert {"memory", "descriptors"} <= set(told["grown"]), told
