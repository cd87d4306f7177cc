"""How a search travels to another process: without classes and functions that nobody else can import."""

import inspect
import io
import sys
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType, ModuleType
from typing import Any

from bot.domain.errors import BotError


class NotPortable(BotError):
    """A part has no import path, so that another process cannot have it."""


def to_bytes(found: object, *, with_files: bool = False) -> bytes:
    """Return what another process of this program can read.

    Args:
        found: what is to travel.
        with_files: send the strategy file that a class of it stands in, for a machine that has not the file.

    Raises:
        NotPortable: it holds a class or a function of a notebook, of the script that runs, or of a function's
            inside; or an object that cannot be copied.
    """
    target = io.BytesIO()
    try:
        _Portable(target, with_files).dump(found)
    except NotPortable:
        raise
    except Exception as error:  # the code of a user may raise anything
        raise NotPortable(f"a worker process cannot have it ({error})") from error
    return target.getvalue()


def from_bytes(packed: bytes) -> object:
    """Return what ``to_bytes`` was given. It may run code: the bytes must come from a trusted machine.

    Raises:
        ImportError, AttributeError: this machine has not a module, or not what it held.
    """
    return ForkingPickler.loads(packed)


class _Portable(ForkingPickler):
    """How a line sends values, but for what a fresh interpreter cannot import."""

    def __init__(self, target: io.BytesIO, with_files: bool) -> None:
        super().__init__(target)
        self._with_files = with_files

    def reducer_override(self, found: object) -> Any:  # as its base class has it
        if not isinstance(found, type | FunctionType):
            return NotImplemented
        if found.__module__ == "__main__" or "<locals>" in found.__qualname__:
            raise NotPortable(
                f"{found.__qualname__} stands in a notebook, in the script that runs or inside a function, "
                "where worker processes cannot import it; move it into a file and import it from there"
            )
        return self._sent(found) if self._with_files else NotImplemented

    def _sent(self, found: type | FunctionType) -> Any:
        from bot.app.inputs import FILE_PREFIX

        if not found.__module__.startswith(FILE_PREFIX):
            return NotImplemented
        path = Path(inspect.getfile(sys.modules[found.__module__]))
        return _of_sent_file, (path.name, path.read_bytes(), found.__qualname__)


def _of_sent_file(name: str, source: bytes, qualified_name: str) -> object:
    """Return a class or a function of a strategy file that came with the search."""
    found: object = _sent_module(name, source)
    for part in qualified_name.split("."):
        found = getattr(found, part)
    return found


@cache
def _sent_module(name: str, source: bytes) -> ModuleType:
    """Run a strategy file that came with the search. It stays on the disk, for tracebacks, until the end."""
    from bot.app.inputs import read_module

    folder = TemporaryDirectory(prefix="bot-strategy-")
    _folders.append(folder)
    path = Path(folder.name, name)
    path.write_bytes(source)
    return read_module(path)


_folders: list[TemporaryDirectory[str]] = []
