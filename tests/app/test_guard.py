"""The supervisor's acts, by a clock of the test's own."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.alive import Sign
from bot.app.venue.guard import AGAIN_S, RETRY_S, SOON_S, Guard, guard_once
from bot.domain.errors import VenueError
from bot.service.process.vigil import DEAD_AFTER_S, Life


class Story(Guard):
    """A guard whose daemon, venue and clock the test moves."""

    def __init__(self, *, exists: bool = True, after_s: float = 20.0) -> None:
        self.now = 0.0
        self.sign: Sign | None = _Sign(1, exists)
        self.exists = exists
        self.left: list[str] | VenueError = []
        self.cleared_s: list[float] = []
        self.during: Callable[[], None] = lambda: None
        self.said: list[str] = []
        super().__init__(self, self._cancel, self, after_s, lambda: self.now)  # type: ignore[arg-type]

    def read(self) -> Sign | None:
        return self.sign

    def beat(self) -> None:
        assert self.sign is not None
        self.sign = _Sign(self.sign.beat_ns + 1, self.exists)

    def run(self, seconds: float, *, beats: bool = False) -> None:
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            if beats:
                self.beat()
            with contextlib.suppress(VenueError):
                self.step()

    def _cancel(self, unless: Callable[[], bool]) -> list[str]:
        self.during()
        if unless():
            return ["of the living"]
        self.cleared_s.append(self.now)
        if isinstance(self.left, VenueError):
            raise self.left
        return self.left

    def _note(self, event: str, **_: Any) -> None:
        self.said.append(event)

    info = warning = error = _note


class _Sign(Sign):
    def __init__(self, beat_ns: int, exists: bool) -> None:
        super().__init__(7, beat_ns)
        object.__setattr__(self, "exists", exists)

    @property
    def process_exists(self) -> bool:
        return bool(self.__dict__["exists"])


def test_while_the_daemon_lives_nothing_is_cancelled() -> None:
    story = Story()
    story.run(3_600.0, beats=True)
    assert story.cleared_s == []


@pytest.mark.parametrize(("exists", "after_s"), [(True, 20.0), (False, DEAD_AFTER_S)])
def test_a_daemon_without_a_sign_loses_its_entries_in_time(exists: bool, after_s: float) -> None:
    story = Story(exists=exists)
    story.run(10.0, beats=True)
    story.run(after_s + 1.0)
    assert 10.0 + after_s <= story.cleared_s[0] <= 10.0 + after_s + 0.5


def test_the_venue_is_looked_at_again_soon_and_then_now_and_then() -> None:
    """An order may have been on its way when the daemon died."""
    story = Story(exists=False)
    story.run(DEAD_AFTER_S + SOON_S + 2 * AGAIN_S + 2.0)
    gaps = [b - a for a, b in zip(story.cleared_s, story.cleared_s[1:], strict=False)]
    assert gaps == [SOON_S, AGAIN_S, AGAIN_S]


def test_a_venue_that_does_not_answer_is_asked_again() -> None:
    story = Story(exists=False)
    story.left = VenueError("nobody there")
    story.run(DEAD_AFTER_S + 3 * RETRY_S + 1.0)
    assert len(story.cleared_s) == 4
    story.left = []
    story.run(RETRY_S)
    assert story.survivors == []


def test_survivors_are_named_and_tried_again() -> None:
    story = Story(exists=False)
    story.left = ["bot1-1-0"]
    story.run(DEAD_AFTER_S + RETRY_S + 1.0)
    assert story.survivors == ["bot1-1-0"]
    assert "guard_survivors" in story.said
    assert len(story.cleared_s) == 2


def test_a_daemon_that_thaws_in_between_keeps_its_entries() -> None:
    story = Story()
    story.during = story.beat
    story.run(25.0)
    assert story.cleared_s == []
    assert story.survivors is None
    assert "guard_stands_back" in story.said


def test_the_next_death_is_a_new_one() -> None:
    story = Story()
    story.run(25.0)
    story.run(10.0, beats=True)
    first = len(story.cleared_s)
    story.run(21.0)
    assert (first, len(story.cleared_s)) == (1, 2)
    assert story.said.count("guard_daemon_away") == 2


def test_once_waits_until_it_is_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    turns = [0]

    def sleep(seconds: float) -> None:
        story.now += seconds
        turns[0] += 1
        if turns[0] == 3:
            story.beat()

    monkeypatch.setattr("bot.app.venue.guard.time.sleep", sleep)
    assert guard_once(story) == {"daemon": Life.LIVES.value, "survivors": []}
    assert story.cleared_s == []
    assert guard_once(story) == {"daemon": Life.FROZEN.value, "survivors": []}
    assert len(story.cleared_s) == 1
