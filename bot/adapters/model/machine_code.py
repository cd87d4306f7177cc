"""A folder in which compiled functions outlive the process, where numba finds none of its own.

A read-only program folder without a home is usual in a container; without such a folder each start would
compile for about a quarter of a minute.
"""

import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
"""numba's own variable; programs that we start inherit it."""


def keep_machine_code(folders: Sequence[Path]) -> Path | None:
    """Tell numba to keep machine code in the first of ``folders`` that can be used; return it, None if none.

    What lies there is executed. So a folder that others may write, or may replace, is passed over.
    """
    for folder in (each.resolve() for each in folders):
        with suppress(OSError):
            for each in (folder.parent, folder):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _is_ours_alone(folder.parent) and _is_ours_alone(folder):
                tempfile.TemporaryFile(dir=folder).close()
                _use(folder)
                return folder
    return None


def _is_ours_alone(folder: Path) -> bool:
    told = folder.lstat()
    return stat.S_ISDIR(told.st_mode) and told.st_uid == os.geteuid() and not told.st_mode & 0o022


def _use(folder: Path) -> None:
    from numba.core import config

    os.environ[VARIABLE] = str(folder)
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # numba makes its names from the environment
