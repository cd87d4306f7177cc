"""Machine code where numba finds no folder: in the state directory, else in the temporary folder."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bot.jit import when_homeless
from bot.settings.state_dir import STATE_DIR, find_state_dir

if TYPE_CHECKING:
    from bot.app.context import Context

FOLDER = "machine-code"


def prepare_compiler(context: "Context") -> None:
    """If a command needs compiled functions and numba has no folder: choose one and say so in the log."""
    when_homeless(lambda: _choose(context))


def _choose(context: "Context") -> None:
    from bot.adapters.model.machine_code import VARIABLE, keep_machine_code

    state_dir = find_state_dir(context.config) or STATE_DIR
    folders = [state_dir / FOLDER]
    with contextlib.suppress(OSError):  # no temporary folder can be written either
        folders.append(Path(tempfile.gettempdir()) / f"bot-{os.geteuid()}" / FOLDER)
    folder = keep_machine_code(folders)
    why = "numba can write neither beside the program nor into a home"
    if folder is not None:
        context.log.info("machine_code_kept", folder=str(folder), reason=why)
        return
    context.log.warning(
        "machine_code_not_kept",
        reason=f"{why}, and no other folder can be written: each start compiles for about 15 s",
        do=f"set {VARIABLE}, or state_dir, to a folder that this user can write",
    )
