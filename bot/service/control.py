"""The operator's door: a private unix socket in the state directory that speaks JSON, a line each way.

``{"command": "status"}`` is answered with one object; ``"ok": false`` comes with ``"error"``. Only the owner
of the directory (0700, socket 0600) can reach it. Lines, connections and waiting are bounded; nothing that
comes in can do more than name one of ``COMMANDS``.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from bot.domain.errors import BotError

COMMANDS = ("status", "pause", "resume", "flatten", "kill", "unhalt")
SOCKET = "control.sock"
_LINE_BYTES = 4096
_CONNECTIONS = 16
_IDLE_S = 30.0
_SHORT = 100
"""Bytes of a path that a unix socket surely takes (Linux 107, macOS 103)."""

Answer = Callable[[str], Awaitable[Mapping[str, object]]]


class NoDaemon(BotError):
    """Nobody answers on the state directory: no daemon runs there, or it hangs."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str


class Control:
    """The listening side. ``answer`` is awaited for each command, one at a time a connection."""

    def __init__(self, state_dir: Path, answer: Answer) -> None:
        self._state_dir = state_dir
        self._answer = answer
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        """Serve until cancelled; the socket is gone afterwards.

        Raises:
            BotError: the socket cannot be made.
        """
        path = self._state_dir / SOCKET
        try:
            path.unlink(missing_ok=True)  # of a daemon that was killed: the directory's lock is ours
            listening = _bind(path)
        except OSError as error:
            raise BotError(f"{path}: no control socket ({error.strerror or error}); set state_dir") from error
        server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LINE_BYTES)
        try:
            await asyncio.Event().wait()
        finally:
            path.unlink(missing_ok=True)
            server.close()
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            while line := await _line(reader):
                writer.write(await self._reply(line))
                async with asyncio.timeout(_IDLE_S):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # they left, or the daemon ends; nobody awaits this task
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _reply(self, line: bytes) -> bytes:
        try:
            command = msgspec.json.decode(line, type=_Request).command
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _encode({"ok": False, "error": 'expected {"command": "…"}'})
        if command not in COMMANDS:
            return _encode({"ok": False, "error": f"no such command; there are {', '.join(COMMANDS)}"})
        try:
            return _encode({"ok": True, **await self._answer(command)})
        except BotError as error:
            return _encode({"ok": False, "error": str(error)})


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty when they left, said nothing for long, or will not end their line."""
    try:
        async with asyncio.timeout(_IDLE_S):
            line = await reader.readline()
    except ValueError:  # longer than _LINE_BYTES
        return b""
    return line if line.endswith(b"\n") else b""


def _encode(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def _bind(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _reachable(path) as name:
            listening.bind(name)
        path.chmod(0o600)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name for the socket that is short enough: where it is not, one over the open directory."""
    if len(os.fsencode(path)) <= _SHORT:
        yield str(path)
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def ask(state_dir: Path, command: str, *, timeout_s: float = 15.0) -> dict[str, object]:
    """Ask the daemon that runs on ``state_dir``; returns its answer without ``ok``.

    Raises:
        NoDaemon: nobody answers.
        BotError: it answered that it could not.
    """
    path = state_dir / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_s)
        try:
            with _reachable(path) as name:
                line.connect(name)
            line.sendall(_encode({"command": command}))
            with line.makefile("rb") as file:
                body = file.readline()
        except TimeoutError:
            raise NoDaemon(f"the daemon on {state_dir} does not answer: it hangs or is overloaded") from None
        except OSError:
            raise NoDaemon(
                f"no daemon runs on {state_dir}; start one with `bot run`, or set state_dir"
            ) from None
    with suppress(ValueError):
        answer = json.loads(body)
        if isinstance(answer, dict):
            if not answer.pop("ok", False):
                raise BotError(str(answer.get("error", "the daemon refused")))
            return answer
    raise NoDaemon(f"the daemon on {state_dir} ended before it answered")
