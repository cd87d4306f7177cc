"""What a daemon leaves on disk is for its owner alone, whatever the user's umask is."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.exchanges import BOT, daemon, exchange
from tests.story.test_daemon_program import words


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of a careless user: everybody may read and write."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def modes(place: Path) -> dict[str, int]:
    return {path.relative_to(place).as_posix(): path.stat().st_mode & 0o777 for path in place.rglob("*")}


@pytest.mark.surface("process")
@pytest.mark.parametrize("venue", ["paper", "local"])
def test_files_of_a_daemon_are_its_owners_alone(venue: str, open_umask: None, tmp_path: Path) -> None:
    with exchange() as url, daemon(tmp_path, *words(url, venue)) as running:
        running.until("close")
        state = tmp_path / ".data"
        assert state.stat().st_mode & 0o777 == 0o700
        found = modes(state)
        assert {"lock", "control.sock", "daemon.json"} <= set(found)
        assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
        limits = Path(f"/proc/{running.process.pid}/limits")
        if limits.exists():
            (line,) = [line for line in limits.read_text().splitlines() if line.startswith("Max core file")]
            assert line.split()[4:6] == ["0", "0"]
        assert running.end()[0] == 0
    assert {name: oct(mode) for name, mode in modes(state).items() if mode & 0o077} == {}


@pytest.mark.surface("process")
def test_the_halt_of_a_kill_is_its_owners_alone(open_umask: None, tmp_path: Path) -> None:
    for command in (["kill", "--venue", "paper"], ["unhalt"]):
        subprocess.run([*BOT, *command], cwd=tmp_path, check=True, capture_output=True)
        found = {".data": (tmp_path / ".data").stat().st_mode & 0o777, **modes(tmp_path / ".data")}
        assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
        assert (tmp_path / ".data/halted").exists() == (command[0] == "kill")
