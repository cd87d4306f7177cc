"""A journal to write into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.state.journal import JournalWriter
from tests.service.daemons import HEADER


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path / "paper-1")
    made.begin(HEADER)
    yield made
    made.close()
