"""How a search travels to another process: without classes and functions that nobody else can import."""

import io
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any

from bot.domain.errors import BotError


class NotPortable(BotError):
    """A part has no import path, so that another process cannot have it."""


def to_bytes(found: object) -> bytes:
    """Return what another process of this program can read.

    Raises:
        NotPortable: it holds a class or a function of a notebook, of the script that runs, or of a function's
            inside; or an object that cannot be copied.
    """
    target = io.BytesIO()
    try:
        _Portable(target).dump(found)
    except NotPortable:
        raise
    except Exception as error:  # the code of a user may raise anything
        raise NotPortable(f"a worker process cannot have it ({error})") from error
    return target.getvalue()


class _Portable(ForkingPickler):
    """How a line sends values, but for what a fresh interpreter cannot import."""

    def reducer_override(self, found: object) -> Any:  # as its base class has it
        if isinstance(found, type | FunctionType) and (
            found.__module__ == "__main__" or "<locals>" in found.__qualname__
        ):
            raise NotPortable(
                f"{found.__qualname__} stands in a notebook, in the script that runs or inside a function, "
                "where worker processes cannot import it; move it into a file and import it from there"
            )
        return NotImplemented
