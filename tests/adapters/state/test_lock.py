import errno
import fcntl
import threading
from pathlib import Path

import pytest

from bot.adapters.state.lock import exclusive, in_turn
from bot.domain.errors import Occupied


def held_by(other: str) -> str:
    return f"held by {other or 'nobody'}"


def test_a_second_one_is_told_who_holds_it_until_the_first_one_closes_it(tmp_path: Path) -> None:
    first = exclusive(tmp_path / "lock", held_by, holder="process 7")
    for _ in range(2):  # the one that was refused keeps nothing
        with pytest.raises(Occupied, match="held by process 7"):
            exclusive(tmp_path / "lock", held_by, holder="process 8")
    first.close()
    exclusive(tmp_path / "lock", held_by, holder="8").close()
    assert (tmp_path / "lock").read_bytes() == b"8"


def test_a_file_that_names_no_holder_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\n")
    with exclusive(tmp_path / "log", held_by) as log:
        log.write(b"two\n")
        with pytest.raises(Occupied, match="held by one"):
            exclusive(tmp_path / "log", held_by)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_whoever_waits_for_its_turn_has_it_once_the_other_one_ends(tmp_path: Path) -> None:
    turns = []

    def second() -> None:
        with in_turn(tmp_path / "lock"):
            turns.append("second")

    with in_turn(tmp_path / "lock"):
        with (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        waiting = threading.Thread(target=second)
        waiting.start()
        turns.append("first")
    waiting.join()
    assert turns == ["first", "second"]


@pytest.mark.parametrize("take", [lambda path: exclusive(path, held_by), in_turn])
def test_a_file_system_without_locks_is_not_taken_for_another_holder(
    take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match="No locks available"):
        take(tmp_path / "lock")
