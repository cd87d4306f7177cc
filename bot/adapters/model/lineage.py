"""The models that retraining made: which one is current, which are kept, and why each was taken or refused.

::

    STATE_DIR/models/retrained.json       the record, replaced as a whole: the only file that ever changes
    STATE_DIR/models/retrained-<hash>/    a promoted model, whole before the record names it
    STATE_DIR/models/.retraining/         a candidate that is being made and judged; nobody reads it

Each model of the user (or a shipped one) begins a line. The newest promoted model of its line is current; if
there is none, the model itself is. A process that dies at any moment leaves the old record or the new one,
and each of them names only models that are whole on the disk.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.state.disk import THIS_DISK, Disk, keep_file
from bot.adapters.state.lock import exclusive, in_turn
from bot.domain.errors import BadModel, BadUsage, Occupied, StoreFailed

FORMAT = 1
RECORD = "retrained.json"
PREFIX = "retrained-"
WORK = ".retraining"
_LOCK = ".retraining.lock"
_RECORD_LOCK = ".retrained.lock"
_ATTEMPTS_MAX = 50
_HASH_CHARS = 12

Verdict = Literal["promoted", "refused", "failed", "rolled back"]


def name_of(model_hash: str) -> str:
    """Return the name of a promoted model's directory."""
    return PREFIX + model_hash[:_HASH_CHARS]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining and what became of it. Hashes are of weights; ``candidate`` is empty if none was made.

    ``figures`` are those of the judgement. ``began_ms``: when a daemon began it by its schedule, in the time
    of its exchange; None: it was asked for by hand.
    """

    ts_ms: int
    verdict: Verdict
    reason: str
    candidate: str = ""
    incumbent: str = ""
    figures: dict[str, Any] = {}
    began_ms: int | None = None


class Promoted(msgspec.Struct, frozen=True):
    """A model that was promoted: the hash of its weights, when (UTC ms), and why."""

    hash: str
    ts_ms: int
    reason: str

    @property
    def name(self) -> str:
        """Name of its directory, which is also the name that it goes by."""
        return name_of(self.hash)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What retraining made of one model, whose weights have the hash ``base``; oldest first."""

    base: str
    promoted: tuple[Promoted, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def current(self) -> str:
        """Hash of the model to use."""
        return self.promoted[-1].hash if self.promoted else self.base

    @property
    def rolled_back(self) -> frozenset[str]:
        """Hashes of the models that were rolled back and not promoted again."""
        taken_back = {each.candidate for each in self.attempts if each.verdict == "rolled back"}
        return frozenset(taken_back - {each.hash for each in self.promoted})

    def after(self, attempt: Attempt) -> "Line":
        """Return the line with one more attempt; only the latest stay."""
        return msgspec.structs.replace(self, attempts=(*self.attempts, attempt)[-_ATTEMPTS_MAX:])


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    lines: dict[str, Line]
    sha256: str = ""


class Lineage:
    """The record and the models of one state directory. Reading needs no lock, changing does (``locked``).

    Args:
        folder: ``STATE_DIR/models``.
        disk: the acts on the disk.
    """

    def __init__(self, folder: Path, disk: Disk = THIS_DISK) -> None:
        self.folder = folder
        self._disk = disk

    @property
    def work(self) -> Path:
        """Where a candidate is made."""
        return self.folder / WORK

    def line(self, base: str) -> Line:
        """Return what was made of the model with the hash ``base``.

        Raises:
            StoreFailed: the record is damaged.
        """
        return self._read().get(base, Line(base=base))

    def lines(self) -> tuple[Line, ...]:
        """Return every line.

        Raises:
            StoreFailed: the record is damaged.
        """
        return tuple(self._read().values())

    def line_of(self, model_hash: str) -> Line | None:
        """Return the line that a promoted model is in; None for any other model."""
        for line in self._read().values():
            if any(each.hash == model_hash for each in line.promoted):
                return line
        return None

    def current(self, base: Checkpoint) -> tuple[Checkpoint, str]:
        """Return the model to use in place of ``base``, and in words what is wrong with a newer one, if any.

        A promoted model that is damaged is passed over for the one before: something always loads.

        Raises:
            StoreFailed: the record is damaged.
        """
        trouble = ""
        for each in reversed(self.line(base.hash).promoted):
            try:
                return self._load(each), trouble
            except BadModel as error:
                trouble = trouble or str(error)
        return base, trouble

    def find(self, model_hash: str) -> Checkpoint | None:
        """Return the model of this hash that retraining made; None if it is not kept here, or is damaged."""
        with suppress(BadModel):
            found = checkpoint.load(self.folder / name_of(model_hash))
            return found if found.hash == model_hash else None
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lineage for one retraining; clear away what an earlier one left that was killed.

        Raises:
            Occupied: another retraining holds it.
            StoreFailed: it cannot be written.
        """
        with self._lock(lambda: exclusive(self.folder / _LOCK, self._occupied)):
            shutil.rmtree(self.work, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self.work, ignore_errors=True)

    def note(self, base: str, attempt: Attempt) -> None:
        """Keep an attempt that changes no model.

        Raises:
            StoreFailed: it cannot be written.
        """
        with self._changing():
            self._write(self.line(base).after(attempt))

    def promote(self, base: Checkpoint, candidate: Checkpoint, at: Path, attempt: Attempt, keep: int) -> Path:
        """Make the candidate that lies in ``at`` the current model; return where it lies now.

        The directory first has its final name on the disk, then the record names it. The last ``keep``
        promoted models stay in the record.

        Raises:
            Occupied: another model has become current since the candidate was judged.
            StoreFailed: it cannot be written; the model before stays current.
        """
        taken = Promoted(candidate.hash, attempt.ts_ms, attempt.reason)
        place = self.folder / taken.name
        with self._changing():
            line, now = self.line(base.hash), self.current(base)[0].hash
            if now != attempt.incumbent:
                raise Occupied(
                    f"{self.folder}: model {now[:12]} became current while the candidate was judged "
                    f"against {attempt.incumbent[:12]}; retrain again"
                )
            try:
                if self.find(candidate.hash) is None:
                    shutil.rmtree(place, ignore_errors=True)
                    self._disk.replace(at, place)
                    self._disk.sync_directory(self.folder)
            except OSError as error:
                raise StoreFailed(f"{place}: cannot be written ({error.strerror}); make room") from error
            others = tuple(each for each in line.promoted if each.hash != candidate.hash)
            promoted = (*others, taken)[-keep:]
            self._write(msgspec.structs.replace(line, promoted=promoted).after(attempt))
        return place

    def roll_back(self, base: str, ts_ms: int, reason: str) -> tuple[str, str]:
        """Make the model before the current one current again; return the hashes of the old and the new one.

        Raises:
            BadUsage: there is none before.
            BadModel: the one before is damaged.
            StoreFailed: the record cannot be written.
        """
        with self._changing():
            line = self.line(base)
            if not line.promoted:
                raise BadUsage(self._nothing_to_roll_back(base))
            if line.promoted[:-1]:
                self._load(line.promoted[-2])
            left = msgspec.structs.replace(line, promoted=line.promoted[:-1])
            attempt = Attempt(
                ts_ms=ts_ms,
                verdict="rolled back",
                reason=reason,
                candidate=line.current,
                incumbent=left.current,
            )
            self._write(left.after(attempt))
            return line.current, left.current

    def _nothing_to_roll_back(self, base: str) -> str:
        """Say so, and name the models that were retrained: a daemon may run with another ``--model``."""
        words = f"no retrained model of {base[:_HASH_CHARS]} is in use, so there is none to roll back"
        others = [line.base[:_HASH_CHARS] for line in self.lines() if line.promoted]
        if not others:
            return words
        return f"{words}; there are some of {', '.join(others)}: name it in model.path or BOT_MODEL__PATH"

    def sweep(self, in_use: Collection[str]) -> list[str]:
        """Remove the models that no line keeps and nobody uses; return their names."""
        kept = {each.name for line in self._read().values() for each in line.promoted}
        kept |= {name_of(each) for each in in_use}
        gone = []
        for place in sorted(self.folder.glob(f"{PREFIX}*")):
            if place.is_dir() and place.name not in kept:
                shutil.rmtree(place, ignore_errors=True)
                gone.append(place.name)
        return gone

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the record for one change of it, which takes milliseconds."""
        with self._lock(lambda: in_turn(self.folder / _RECORD_LOCK)):
            yield

    def _occupied(self, _holder: str) -> str:
        return f"{self.folder}: another retraining runs on this state directory; wait until it has ended"

    def _lock(self, take: Callable[[], IO[bytes]]) -> IO[bytes]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return take()
        except OSError as error:
            raise StoreFailed(
                f"{self.folder}: cannot be written ({error.strerror}); set state_dir"
            ) from error

    def _load(self, promoted: Promoted) -> Checkpoint:
        place = self.folder / promoted.name
        model = checkpoint.load(place)
        if model.hash != promoted.hash:
            raise BadModel(f"{place}: holds model {model.hash[:12]}…, not {promoted.hash[:12]}…")
        return model

    def _read(self) -> dict[str, Line]:
        path = self.folder / RECORD
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
        try:
            record = msgspec.json.decode(content, type=_Record)
        except msgspec.MsgspecError as error:
            raise StoreFailed(f"{path}: {error}; {_MEND}") from error
        if record.format != FORMAT:
            raise StoreFailed(f"{path}: format {record.format} is unknown, this program reads {FORMAT}")
        if record.sha256 != _digest(json.loads(content)):
            raise StoreFailed(f"{path}: has been altered, its content does not match its sha256; {_MEND}")
        return record.lines

    def _write(self, line: Line) -> None:
        record = _Record(format=FORMAT, lines={**self._read(), line.base: line})
        told = msgspec.to_builtins(record)
        signed = {**told, "sha256": _digest(told)}
        content = json.dumps(signed, indent=1, ensure_ascii=False).encode() + b"\n"
        path = self.folder / RECORD
        try:
            keep_file(self._disk, path, content)
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be written ({error.strerror}); make room") from error


_MEND = "restore it from a backup, or move it away: the model that the settings name is then used"


def _digest(record: dict[str, Any]) -> str:
    """Return the sha256 of a record as it is written: an older one lacks fields that came later."""
    return hashlib.sha256(msgspec.json.encode({**record, "sha256": ""}, order="sorted")).hexdigest()
