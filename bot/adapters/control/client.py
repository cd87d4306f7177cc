"""Ask one question over a control socket; blocks, and imports little.

The standard library's HTTP client takes 15 ms to import, a seventh of what ``bot status`` may take. Here one
connection asks one question, and the server of this package closes it after the answer.
"""

import json
import socket
from pathlib import Path

from bot.adapters.control.address import reachable
from bot.domain.errors import BotError


class NobodyThere(BotError):
    """No server listens on the socket."""


class NoAnswer(BotError):
    """A server listens but gave no answer in time, or ended before it answered; the words say what it did."""


def ask(path: Path, method: str, target: str, *, timeout_s: float, body: bytes = b"") -> dict[str, object]:
    """Send one request with a JSON body, or none, and return the answer's object.

    Raises:
        NobodyThere: nothing listens.
        NoAnswer: no answer came.
        BotError: the server answered that it could not; its own words.
    """
    head = f"{method} {target} HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_s)
        try:
            _connect(line, path)
            line.sendall(request)
            with line.makefile("rb") as file:
                status, said = _split(file.read())
        except (TimeoutError, BlockingIOError):  # BlockingIOError: its queue of connections is full
            raise NoAnswer("does not answer: it hangs or is overloaded") from None
        except (OSError, ValueError):
            raise NoAnswer("ended before it answered") from None
    if status != 200:
        raise BotError(str(said.get("error", f"refused with {status}")))
    return said


def _connect(line: socket.socket, path: Path) -> None:
    try:
        with reachable(path) as name:
            line.connect(name)
    except (TimeoutError, BlockingIOError):
        raise
    except OSError:
        raise NobodyThere("nothing listens there") from None


def _split(answer: bytes) -> tuple[int, dict[str, object]]:
    """Read the status and the JSON object of a whole answer; raises ValueError for anything else."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    version, status, _ = head.split(b" ", 2)
    if not separator or not version.startswith(b"HTTP/1."):
        raise ValueError("no HTTP")
    if int(status) == 500:
        return 500, {"error": "the command failed inside the server; its log says why"}
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return int(status), value
