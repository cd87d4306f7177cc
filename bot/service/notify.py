"""A word to the service manager (systemd's ``sd_notify``): READY, WATCHDOG, STATUS, STOPPING.

Nothing happens where nobody asked: without ``NOTIFY_SOCKET`` every call is a no-op.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """One datagram a word; a manager that does not listen is ignored.

    Args:
        environ: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` as the manager set them.
        pid: this process: a watchdog meant for another one is not ours.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() else 0.0
        """The manager ends a process that is silent for longer; 0: it does not watch."""

    def ready(self) -> None:
        """The daemon runs: sockets, state and signals are in place."""
        self._say("READY=1")

    def alive(self) -> None:
        """The loop turns and events are taken."""
        if self.watchdog_s:
            self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._say("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """A clean stop has begun."""
        self._say("STOPPING=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.setblocking(False)
            line.sendto(os.fsencode(text), self._address)
