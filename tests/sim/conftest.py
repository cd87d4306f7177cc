"""What the stories of a file leave is thrown away before another file's tests begin."""

from collections.abc import Iterator

import pytest

from tests.sim.world import only_stories_are_collected


@pytest.fixture(autouse=True, scope="module")
def buried() -> Iterator[None]:
    """Collect unfinished tasks of stories while no loop runs: one that runs would be given their ends."""
    with only_stories_are_collected():
        yield
