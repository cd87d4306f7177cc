"""What the stories of a file leave is thrown away before another file's tests begin."""

import gc
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def buried() -> Iterator[None]:
    """Collect unfinished tasks of stories while no loop runs: one that runs would be given their ends."""
    yield
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for _ in range(3):  # a coroutine that is thrown away may make others while it ends
            gc.collect()
    finally:
        sys.unraisablehook = hook
