"""What outlives the process: after every crash, on full disks, and between two starts."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.disk import Disk, DiskFile
from bot.adapters.state.store import FileStore
from bot.domain.errors import StoreFailed
from bot.domain.orders import Order
from bot.ports import Store
from tests.helpers import T0, intent


def order(name: str = "bot1-1-0") -> Order:
    return Order(name, intent(stop_loss=None))


def told(store: FileStore) -> tuple[object, ...]:
    return dict(store.orders()), store.executions_seen_ms(), store.breaker()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def test_it_is_the_port(place: Path) -> None:
    store: Store = FileStore(place, "local")
    assert store.orders() == {}
    assert store.breaker() is None
    store.close()  # type: ignore[attr-defined]


def test_what_was_told_is_there_at_the_next_start(place: Path) -> None:
    one = FileStore(place, "local")
    one.sent(order("a"), order("b"), order("c"))
    one.ended("b")
    one.ended("nobody")
    one.saw_execution(T0 + 5, "x2")
    one.saw_execution(T0, "x1")
    one.save_breaker(b'{"state":"halted"}')
    before = told(one)
    one.close()
    two = FileStore(place, "local")
    assert told(two) == before == ({"a": order("a"), "c": order("c")}, T0 + 5, b'{"state":"halted"}')
    two.close()


def test_a_run_number_is_never_given_twice_even_after_a_kill(place: Path) -> None:
    numbers = []
    for _ in range(4):
        store = FileStore(place, "local")
        numbers.append(store.next_run())
        store._file.close()  # type: ignore[union-attr]  # as SIGKILL would: nothing is finished
    assert numbers == [1, 2, 3, 4]


def test_accounts_have_files_of_their_own(place: Path) -> None:
    one, two = FileStore(place, "local"), FileStore(place, "demo")
    one.sent(order())
    assert two.orders() == {}
    one.close()
    two.close()
    (place / "store-demo.jsonl").write_bytes((place / "store-local.jsonl").read_bytes())
    with pytest.raises(StoreFailed, match="account 'local', expected 1 of 'demo'"):
        FileStore(place, "demo")


def test_starts_that_did_not_end_cleanly_count_for_ten_minutes(place: Path) -> None:
    store = FileStore(place, "local")
    assert [store.note_start(T0 + ms) for ms in (0, 1, 2)] == [1, 2, 3]
    store.forgive(last=True)
    assert store.note_start(T0 + 3) == 3
    store.close()
    store = FileStore(place, "local")
    assert store.note_start(T0 + 600_001) == 2
    assert store.note_start(T0 + 3_000_000) == 1
    store.forgive()
    assert store.note_start(T0 + 3_000_001) == 1
    store.close()


def test_a_clock_set_back_does_not_keep_starts_counting(place: Path) -> None:
    store = FileStore(place, "local")
    store.note_start(T0 + 10_000_000)
    assert store.note_start(T0) == 1
    store.close()


def test_cut_at_every_byte_of_the_last_line_the_fact_is_there_or_not(place: Path) -> None:
    store = FileStore(place, "local")
    store.sent(order("a"))
    store.sent(order("b"))
    store.close()
    body = store.path.read_bytes()
    last = body.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(body) + 1):
        store.path.write_bytes(body[:cut])
        again = FileStore(place, "local")
        whole = cut >= len(body) - 1  # without its end of line it is still all there
        assert set(again.orders()) == ({"a", "b"} if whole else {"a"}), cut
        again.sent(order("c"))  # and what comes next is not glued to what was torn
        again.close()
        third = FileStore(place, "local")
        assert "c" in third.orders()
        third.close()


def test_a_flipped_bit_before_the_last_line_is_refused_with_its_line(place: Path) -> None:
    store = FileStore(place, "local")
    store.sent(order("a"))
    store.sent(order("b"))
    store.close()
    body = store.path.read_bytes()
    last = body.rstrip(b"\n").rfind(b"\n") + 1
    for at in range(last):
        flipped = bytearray(body)
        flipped[at] ^= 0x01
        store.path.write_bytes(flipped)
        with pytest.raises(StoreFailed, match=r"store-local\.jsonl:\d+: damaged"):
            FileStore(place, "local")


@pytest.mark.parametrize("body", [b"", b"\n", b"nonsense", b"deadbeef {}\n", b"\0" * 40])
def test_a_file_without_its_head_is_refused_not_begun_again(place: Path, body: bytes) -> None:
    (place / "store-local.jsonl").write_bytes(body)
    with pytest.raises(StoreFailed, match=":1: damaged"):
        FileStore(place, "local")


class FullDisk(DiskFile):
    """Takes ``room`` bytes in all, then says ENOSPC, as a disk does: a part of the last write got in."""

    room = 0

    def write(self, data: bytes) -> int:
        if FullDisk.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(data[: FullDisk.room])
        FullDisk.room -= taken
        return taken


def test_on_a_full_disk_nothing_is_promised_and_nothing_is_lost(place: Path) -> None:
    whole = FileStore(place, "local")
    whole.sent(order("a"))
    size = whole.path.stat().st_size
    whole.close()
    for room in range(size, size + 250, 7):  # from "not even the rewrite" over "half a fact" to all of it
        FullDisk.room = room
        store = FileStore(place, "local", disk=Disk(append=FullDisk))
        promised, words = {"a"}, ""
        try:
            store.sent(order("b"))
            promised.add("b")
        except StoreFailed as failed:
            words = str(failed)
            with pytest.raises(StoreFailed, match="nothing more can be kept"):
                store.sent(order("c"))  # room that comes back must not hide what was lost
        assert ("No space left" in words) == ("b" not in promised)
        store.close()
        again = FileStore(place, "local")
        assert set(again.orders()) >= promised
        assert set(again.orders()) <= {"a", "b"}
        again.ended("b")
        again.close()


def test_no_room_at_the_start_leaves_the_old_file_as_it_was(place: Path) -> None:
    store = FileStore(place, "local")
    store.sent(order("a"))
    store.close()
    body = store.path.read_bytes()
    FullDisk.room = 20
    with pytest.raises(StoreFailed, match="No space left"):
        FileStore(place, "local", disk=Disk(append=FullDisk))
    assert store.path.read_bytes() == body


def test_a_sync_that_fails_is_a_fact_not_kept(place: Path) -> None:
    class Unsynced(DiskFile):
        fails = False

        def sync(self) -> None:
            if Unsynced.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = FileStore(place, "local", disk=Disk(append=Unsynced))
    Unsynced.fails = True
    with pytest.raises(StoreFailed, match="Input/output error"):
        store.sent(order())
    assert store.orders() == {}
    store.close()


def test_its_size_is_bounded_by_what_is_open(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.state.store._REWRITE_AT_BYTES", 20_000)
    store = FileStore(place, "local")
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for number in range(600):
        store.sent(order(f"o{number}"))
        if number > 2:
            store.ended(f"o{number}")
    assert store.path.stat().st_size < 21_000
    assert set(store.orders()) == {"o0", "o1", "o2"}
    store.close()
    again = FileStore(place, "local")
    assert set(again.orders()) == {"o0", "o1", "o2"}
    again.close()


def test_one_directory_one_daemon_and_the_second_is_told_which(place: Path) -> None:
    first = StateDir(place / "state")
    assert (place / "state").stat().st_mode & 0o777 == 0o700
    with pytest.raises(StoreFailed, match=rf"another bot runs .* \(process {os.getpid()}\)"):
        StateDir(place / "state")
    first.close()
    StateDir(place / "state").close()


def test_a_killed_holder_leaves_no_lock(place: Path) -> None:
    code = (
        "from pathlib import Path; from bot.adapters.state.directory import StateDir; "
        f"d = StateDir(Path({str(place)!r})); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreFailed, match=f"process {holder.pid}"):
            StateDir(place)
        holder.kill()
    StateDir(place).close()


def test_a_halt_file_stands_until_it_is_cleared(place: Path) -> None:
    halt = HaltFile(place / "state")
    assert not halt.is_set()
    halt.set()
    halt.set()
    assert HaltFile(place / "state").is_set()
    halt.clear()
    halt.clear()
    assert not halt.is_set()
