"""The queue in front of a descriptor that nobody reads, that is closed, or that is full."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from bot.logs import LineQueue


class Pipe:
    """A pipe, and what its reader has read so far."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.queues: list[LineQueue] = []

    def queue(self, **bounds: int) -> LineQueue:
        self.queues.append(LineQueue(self.writer, **bounds))
        return self.queues[-1]

    def close(self) -> None:
        """The reader leaves first: what still waits is dropped, no thread writes to a later descriptor."""
        for fd in (self.reader, self.writer):
            with contextlib.suppress(OSError):
                os.close(fd)
            assert all(queue.drain(5.0) for queue in self.queues)

    def fill(self) -> None:
        """Write until the pipe takes no more; nobody reads."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def read_lines(self, count: int) -> list[bytes]:
        read = b""
        while read.count(b"\n") < count:
            read += os.read(self.reader, 65_536)
        return read.splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_arrive_in_their_order(pipe: Pipe) -> None:
    queue = pipe.queue()
    for number in range(500):
        queue.put(f"{number}\n")
    assert queue.drain(5.0)
    assert pipe.read_lines(500) == [str(number).encode() for number in range(500)]
    assert queue.dropped == 0


@pytest.mark.fault(75)
@pytest.mark.surface("logs")
def test_nobody_waits_for_a_reader_and_what_has_no_room_is_counted(pipe: Pipe) -> None:
    pipe.fill()
    queue = pipe.queue(lines_max=100)
    began = time.monotonic()
    for number in range(1_000):
        queue.put(f"{number}\n")
    assert not queue.drain(0.05)
    assert time.monotonic() - began < 2.0
    assert queue.dropped == 900


def test_a_reader_that_comes_late_reads_the_oldest_lines_in_order(pipe: Pipe) -> None:
    pipe.fill()
    queue = pipe.queue(lines_max=100)
    for number in range(150):
        queue.put(f"{number}\n")
    lines = pipe.read_lines(100)
    assert lines[0].strip(b".") == b"0"
    assert lines[1:] == [str(number).encode() for number in range(1, 100)]
    assert queue.drain(5.0)
    queue.put("after\n")  # there is room again
    assert pipe.read_lines(1) == [b"after"]
    assert queue.dropped == 50


@pytest.mark.fault(75)
@pytest.mark.surface("logs")
def test_the_bytes_that_wait_are_bounded_too(pipe: Pipe) -> None:
    pipe.fill()
    queue = pipe.queue(bytes_max=10_000)
    for _ in range(100):
        queue.put("x" * 999 + "\n")
    assert queue.dropped == 90


@pytest.mark.fault(75)
@pytest.mark.surface("logs")
def test_a_closed_pipe_drops_lines_and_stops_nothing(pipe: Pipe) -> None:
    os.close(pipe.reader)
    queue = pipe.queue()
    for _ in range(10):
        queue.put("nobody hears\n")
    assert queue.drain(5.0)
    assert queue.dropped == 10


@pytest.mark.fault(75)
@pytest.mark.surface("logs")
def test_a_full_disk_drops_lines_and_stops_nothing() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        queue = LineQueue(fd)
        queue.put("no room\n")
        assert queue.drain(5.0)
        assert queue.dropped == 1
    finally:
        os.close(fd)


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    queue = pipe.queue()
    for number in range(200):
        queue.put(f"{number:0999}\n")  # more than the pipe holds
    read = pipe.read_lines(200)
    assert [int(line) for line in read] == list(range(200))
    assert queue.dropped == 0


def test_lines_of_many_threads_stay_whole(pipe: Pipe) -> None:
    queue = pipe.queue()

    def say(name: str) -> None:
        for number in range(100):
            queue.put(f"{name} {number}\n")

    threads = [threading.Thread(target=say, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    lines = pipe.read_lines(300)
    for thread in threads:
        thread.join()
    for name in "abc":
        own = [line for line in lines if line.startswith(name.encode())]
        assert own == [f"{name} {number}".encode() for number in range(100)]
