"""The timetable of retrainings on the disk: one small file, replaced as a whole.

It only says when. Which model is in use stands in the record of retrained models (``adapters.model.lineage``)
alone, so this file may be lost or removed: the schedule then begins anew.
"""

from pathlib import Path

import msgspec

from bot.adapters.state.disk import THIS_DISK, Disk, keep_file
from bot.domain.errors import StoreFailed
from bot.service.retraining.timetable import Timetable

NAME = "schedule.json"
_FORMAT = 1


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    timetable: Timetable


class KeptTimetable:
    """The timetable in ``folder``, ``STATE_DIR/models``."""

    def __init__(self, folder: Path, disk: Disk = THIS_DISK) -> None:
        self.path = folder / NAME
        self._disk = disk

    def read(self) -> Timetable | None:
        """Return what was kept; None if nothing was.

        Raises:
            StoreFailed: it cannot be read.
        """
        try:
            kept = msgspec.json.decode(self.path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreFailed(
                f"{self.path}: cannot be read ({error}); remove it, then the schedule begins anew"
            ) from error
        if kept.format != _FORMAT:
            raise StoreFailed(f"{self.path}: format {kept.format} is unknown; remove it")
        return kept.timetable

    def write(self, timetable: Timetable) -> None:
        """Keep a timetable: it is on the disk when this returns.

        Raises:
            StoreFailed: it cannot be written.
        """
        content = msgspec.json.format(msgspec.json.encode(_Kept(_FORMAT, timetable)), indent=1) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            keep_file(self._disk, self.path, content)
        except OSError as error:
            raise StoreFailed(f"{self.path}: cannot be written ({error.strerror}); make room") from error
