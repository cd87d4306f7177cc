"""Messages to the service manager (systemd's ``sd_notify``): READY, WATCHDOG, STATUS, STOPPING.

Without ``NOTIFY_SOCKET`` every call does nothing.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends one datagram per message and ignores a manager that does not listen.

    Args:
        environ: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` as the manager set them.
        pid: of this process; a watchdog for another process is ignored.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() else 0.0
        """The manager ends a process that is silent for longer; 0 if it does not watch."""

    def ready(self) -> None:
        """Say that the daemon runs."""
        self._say("READY=1")

    def alive(self) -> None:
        """Give a sign of life, if the manager watches."""
        if self.watchdog_s:
            self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the line of ``systemctl status``."""
        self._say("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """Say that a clean stop has begun."""
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
