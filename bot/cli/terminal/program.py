"""How the user calls this program, so that a printed command works as it stands."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def program_name(environ: Mapping[str, str] | None = None) -> str:
    """Return ``bot`` if the shell finds this very program so, else its path, or ``python -m bot``."""
    script = Path(sys.prefix) / "bin" / "bot"
    found = shutil.which("bot", path=(os.environ if environ is None else environ).get("PATH"))
    if found is not None and Path(found).resolve() == script.resolve():
        return "bot"
    if script.exists():
        return shlex.quote(near(script))
    return f"{shlex.quote(near(Path(sys.executable)))} -m bot"


def near(path: Path) -> str:
    """Return a path as short as it can be written: relative if it lies below the working directory."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def command(*words: str | Path) -> str:
    """Return a command line of this program, quoted for a shell."""
    shown = (shlex.quote(near(word) if isinstance(word, Path) else word) for word in words)
    return " ".join((program_name(), *shown))
