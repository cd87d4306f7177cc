"""Compile numeric functions with numba, and keep the machine code between two starts where that is possible.

numba keeps it in ``NUMBA_CACHE_DIR``, else beside the source, else in the user's cache folder. Where it can
write none of them, it refuses to compile at all. Then the callback of ``when_homeless`` may choose a folder;
without one, functions are compiled at each start.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])
_choosers: list[Callable[[], None]] = []


def when_homeless(choose: Callable[[], None]) -> None:
    """Have ``choose`` called, once, if numba has no folder; it may set numba's ``CACHE_DIR``."""
    _choosers[:] = [choose]


def compiled(**options: Any) -> Callable[[_F], _F]:
    """Return a decorator that compiles a function; ``options`` are those of ``numba.njit``."""
    from numba import njit  # a third of a second, which commands without a model do not pay

    def wrap(function: _F) -> _F:
        while True:
            try:
                return cast(_F, njit(cache=True, **options)(function))
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
            if not _choosers:
                return cast(_F, njit(**options)(function))
            _choosers.pop()()

    return wrap


def inlined(**options: Any) -> Callable[[_F], _F]:
    """Return a decorator for a leaf that is compiled into its callers: a call costs more than its work."""
    from numba import njit

    def wrap(function: _F) -> _F:
        return cast(_F, njit(inline="always", **options)(function))

    return wrap
