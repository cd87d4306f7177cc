"""The log of a search: what is searched in the first line, then one line a trial, written as it ends.

A search that was cut off goes on from its log. All logs together know how much was ever tried. A line that a
crash cut short is dropped; damage before it is refused.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.adapters.state.lock import exclusive
from bot.domain.errors import BadFile, StoreFailed

FOLDER = "sweeps"
WALKS = "walkforwards"
Line = dict[str, Any]


class TrialLog:
    """One log, held by one process until ``close``.

    Args:
        path: the file; it is made with its folder.
        header: what is searched, for a file that is new.
        anew: forget what the file holds.

    Raises:
        Occupied: another process writes it.
        StoreFailed: it cannot be written.
        BadFile: it is damaged.
    """

    def __init__(self, path: Path, header: Mapping[str, object], *, anew: bool) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = exclusive(path, self._occupied)
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be written ({error.strerror})") from error
        if anew:
            self._file.truncate(0)
        try:
            self.lines = self._read()
        except BadFile:
            self._file.close()
            raise
        if not self.lines:
            self.append(header)

    def _occupied(self, _holder: str) -> str:
        return f"{self.path}: another search with the same settings runs; wait for it, or end it"

    def _read(self) -> list[Line]:
        self._file.seek(0)
        whole, _, cut = self._file.read().rpartition(b"\n")
        if cut:
            self._file.truncate(len(whole) + 1 if whole else 0)
        return list(parse(self.path, whole))

    def append(self, line: Mapping[str, object]) -> None:
        """Write one line; it is on the disk when this returns.

        Raises:
            StoreFailed: the disk is full or broken.
        """
        try:
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreFailed(f"{self.path}: cannot be written ({error.strerror})") from error

    def restart(self, header: Mapping[str, object]) -> None:
        """Forget all trials.

        Raises:
            StoreFailed: the disk is full or broken.
        """
        self._file.truncate(0)
        self.append(header)

    def close(self) -> None:
        """Let others write."""
        self._file.close()


def parse(path: Path, text: bytes) -> Iterator[Line]:
    """Yield the lines of a log.

    Raises:
        BadFile: a line is no JSON object.
    """
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise BadFile(f"{path}:{number}: no trial can be read here; move the file away and search anew")
        yield found


def other_logs(folder: Path, but: Path | None = None) -> Iterator[list[Line]]:
    """Yield the lines of all logs in a folder, but one. Logs that cannot be read are left out."""
    for path in sorted(folder.glob("*.jsonl")):
        if path != but:
            try:
                yield list(parse(path, path.read_bytes().rpartition(b"\n")[0]))
            except (OSError, BadFile):
                continue
