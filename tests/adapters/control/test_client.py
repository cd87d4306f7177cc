"""The client tells apart: nobody there, no answer, a refusal, an answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.adapters.control.client import NoAnswer, NobodyThere, ask
from bot.domain.errors import BotError


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A server of one connection that says ``answer`` to whatever it is asked."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65_536)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def http(body: bytes, code: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {code}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def put(path: Path) -> dict[str, object]:
    return ask(path, "POST", "/x", timeout_s=5.0)


def test_an_answer_is_its_object(tmp_path: Path) -> None:
    with answering(tmp_path / "s", http(b'{"a":1}')):
        assert put(tmp_path / "s") == {"a": 1}


def test_a_refusal_is_the_servers_own_words(tmp_path: Path) -> None:
    refusal = http(b'{"error":"not now"}', "409 Conflict")
    with answering(tmp_path / "s", refusal), pytest.raises(BotError, match=r"^not now$"):
        put(tmp_path / "s")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1',
        b"x" * 100,
        http(b"text"),
        http(b"[1]"),
        http(b""),
    ],
)
def test_half_an_answer_is_none(tmp_path: Path, said: bytes) -> None:
    with answering(tmp_path / "s", said), pytest.raises(NoAnswer, match="before it answered"):
        put(tmp_path / "s")


def test_a_failure_inside_the_server_is_told(tmp_path: Path) -> None:
    failure = http(b"Server got itself in trouble", "500 Internal Server Error")
    with answering(tmp_path / "s", failure), pytest.raises(BotError, match="its log says why"):
        put(tmp_path / "s")


def test_nobody_is_there_without_a_socket_and_behind_one_that_was_left(tmp_path: Path) -> None:
    with pytest.raises(NobodyThere):
        put(tmp_path / "s")
    with pytest.raises(NobodyThere):
        put(tmp_path / "no folder" / ("d" * 120) / "s")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "s"))
    with pytest.raises(NobodyThere):
        put(tmp_path / "s")


def test_one_who_hangs_gives_no_answer_not_even_once_the_queue_is_full(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "s"))
        hung.listen(0)
        for _ in range(3):
            with pytest.raises(NoAnswer, match="does not answer"):
                ask(tmp_path / "s", "GET", "/status", timeout_s=0.05)
