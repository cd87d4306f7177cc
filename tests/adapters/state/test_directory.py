from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
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
