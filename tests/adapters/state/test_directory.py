from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.disk import Disk, File


def refused(path: Path) -> File:
    raise PermissionError(13, "Permission denied", str(path))


def test_a_halt_that_the_administrator_has_set_is_set_for_the_daemon_that_may_not_write_it(
    tmp_path: Path,
) -> None:
    HaltFile(tmp_path).set()
    HaltFile(tmp_path, Disk(append=refused)).set()
    assert HaltFile(tmp_path).is_set()


def test_a_halt_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        HaltFile(tmp_path, Disk(append=refused)).set()


def test_a_user_without_a_home_has_a_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: a number for a user, and no HOME."""

    def nowhere(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    StateDir(tmp_path / "state").close()
    assert (tmp_path / "state").is_dir()
