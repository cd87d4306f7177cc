"""A backup of a state directory as one file, taken beside a running daemon, and its way back.

A journal is append-only and chained, so the whole lines of a moment are a consistent state: what the daemon
wrote before. Only the files named here go into the archive (a gzipped tar), so no secret, lock or socket can:
journals with their snapshots, the halt file, who ran last, and the models that retraining made, without which
a journal cannot be replayed. Every line and snapshot is checked on its way in and again on its way back.
"""

import hashlib
import io
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from bot.adapters.state.disk import sync_directory
from bot.adapters.state.journal import FOLDER, Journal, Segment, ended_at
from bot.domain.errors import BadFile, BadUsage, BotError, StoreFailed
from bot.journal.entries import Place
from bot.journal.snapshot import named_by

FORMAT = 1
MANIFEST = "manifest.json"
MODELS = "models"
_MODEL_FILES = ("manifest.json", "weights.safetensors")
_MODELS_RECORD = "retrained.json"
RENAMED = "renamed"
"""File beside a journal: its order ids have another name since a restore, so that no old id comes again."""
_BESIDE = ("halted", "daemon.json")
"""Files of the state directory that a backup holds beside the journals."""
_MEMBER = re.compile(
    rf"{FOLDER}/(?P<account>[a-z]+-\d+)/(?:\d{{6,}}\.jsonl|\d{{6,}}\.snapshot\.json|{RENAMED})|halted|daemon\.json"
    rf"|{MODELS}/(?:retrained\.json|retrained-[0-9a-f]{{12}}/(?:manifest\.json|weights\.safetensors))"
)
_TRIES = 5


class Kept(msgspec.Struct, frozen=True):
    """One account of a backup: what was kept of it, and where its journal ends there."""

    account: str
    segments: int
    entries: int
    bytes: int
    end: Place


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The last member of an archive. ``files`` maps each name to its sha256."""

    format: int
    ts_ms: int
    code: str
    accounts: tuple[Kept, ...]
    files: dict[str, str]


def pack(state_dir: Path, out: Path, *, code: str, ts_ms: int) -> BackupManifest:
    """Write a backup of ``state_dir`` to ``out``, which must not exist; its owner alone may read it.

    Raises:
        BadUsage: ``out`` exists, or there is nothing to keep.
        StoreFailed: a journal is damaged, or the file cannot be written.
    """
    if out.exists():
        raise BadUsage(f"{out}: exists; name another file")
    beside = out.with_name(out.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            manifest = _write(state_dir, file, code, ts_ms)
            file.flush()
            os.fsync(file.fileno())
        _put(beside, out)
        sync_directory(out.absolute().parent)
    except FileExistsError:
        raise BadUsage(f"{out}: exists; name another file") from None
    except OSError as error:
        raise StoreFailed(f"{out}: cannot be written ({error.strerror}); name another place") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return manifest


def _put(beside: Path, out: Path) -> None:
    """Give a file its name; unlike a rename, a link never replaces another file."""
    try:
        os.link(beside, out)
    except FileExistsError:
        raise
    except OSError:  # this file system has no links
        beside.rename(out)


def _write(state_dir: Path, file: "io.BufferedWriter", code: str, ts_ms: int) -> BackupManifest:
    files: dict[str, str] = {}
    accounts: list[Kept] = []
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:

        def add(name: str, data: bytes) -> None:
            files[name] = hashlib.sha256(data).hexdigest()
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, ts_ms // 1000
            archive.addfile(member, io.BytesIO(data))

        for folder in _account_folders(state_dir):
            latest: Kept | None = None
            for name, data, so_far in _account(Journal(folder)):
                add(f"{FOLDER}/{folder.name}/{name}", data)
                latest = so_far
            if latest is not None:
                accounts.append(latest)
        if not accounts:
            raise BadUsage(f"{state_dir / FOLDER}: no journal yet, so there is nothing to keep")
        for name in _BESIDE:
            with suppress(FileNotFoundError):
                add(name, (state_dir / name).read_bytes())
        for name, data in _models(state_dir):
            add(name, data)
        manifest = BackupManifest(
            format=FORMAT, ts_ms=ts_ms, code=code, accounts=tuple(accounts), files=dict(files)
        )
        add(MANIFEST, msgspec.json.encode(manifest))
    return manifest


def _models(state_dir: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the models that retraining made: a journal is replayed with the model it names.

    One that is removed at this moment is left out; no journal needs it.
    """
    folder = state_dir / MODELS
    with suppress(FileNotFoundError):
        yield f"{MODELS}/{_MODELS_RECORD}", (folder / _MODELS_RECORD).read_bytes()
    for place in sorted(folder.glob("retrained-*")):
        with suppress(FileNotFoundError, NotADirectoryError):
            files = [(f"{MODELS}/{place.name}/{name}", (place / name).read_bytes()) for name in _MODEL_FILES]
            yield from files


def _account_folders(state_dir: Path) -> list[Path]:
    folder = state_dir / FOLDER
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if re.fullmatch(r"[a-z]+-\d+", name)]


def _account(journal: Journal) -> Iterator[tuple[str, bytes, Kept]]:
    """Yield each file of an account as it is now: its name, its whole lines, and what was kept so far.

    Raises:
        StoreFailed: a line or a snapshot is damaged, or a segment does not follow the one before.
    """
    before: Segment | None = None
    kept: Kept | None = None
    segments = entries = size = 0
    for number in _numbers(journal):
        copied = _segment(journal, number)
        if copied is None:  # it has just been made and has no header yet
            return
        segment, lines, snapshot = copied
        if before is not None and segment.header.previous != ended_at(before):
            raise StoreFailed(f"{segment.path}: does not carry on from {before.path.name}")
        before = segment
        segments, entries, size = segments + 1, entries + 1 + len(segment.entries), size + len(lines)
        kept = Kept(journal.account, segments, entries, size, segment.end)
        if snapshot is not None:
            yield journal.snapshot_path(number).name, snapshot, kept
        yield journal.path(number).name, lines, kept
    renamed = journal.folder / RENAMED
    if kept is not None and renamed.exists():
        yield RENAMED, renamed.read_bytes(), kept


def _numbers(journal: Journal) -> Iterator[int]:
    """Yield the number of each segment, in order.

    A slow backup goes on with newer ones if the last has been condensed meanwhile, which cannot be replayed.
    """
    last = 0
    while numbers := [number for number in journal.numbers() if number > last]:
        yield from numbers
        last = numbers[-1]
        if not journal.is_condensed(last):
            return


def _segment(journal: Journal, number: int) -> tuple[Segment, bytes, bytes | None] | None:
    """Return a segment, its whole lines and its snapshot; None if its header is not complete.

    The daemon may condense the segment between two of our readings; then both are read again.
    """
    for _ in range(_TRIES):
        try:
            data = journal.path(number).read_bytes()
        except OSError as error:
            raise StoreFailed(f"{journal.path(number)}: cannot be read ({error.strerror})") from error
        segment = journal.parse(number, data)
        if segment is None:
            return None
        lines = data[: segment.size]
        if segment.header.snapshot_sha256 is None:
            return segment, lines, None
        with suppress(FileNotFoundError):
            snapshot = journal.snapshot_path(number).read_bytes()
            if named_by(snapshot) == segment.header.snapshot_sha256:
                journal.check_snapshot(number, snapshot)
                return segment, lines, snapshot
    raise StoreFailed(
        f"{journal.snapshot_path(number)}: is missing or is not the snapshot that its segment names"
    )


def unpack(archive: Path, state_dir: Path, *, ts_ms: int, replace: bool = False) -> BackupManifest:
    """Put a backup back into ``state_dir``, which the caller has locked.

    Everything is written beside the journals and checked there before it takes their place, so a failure
    leaves the directory as it was. ``replace`` moves what is there to ``journal.before-TIME``: journals, the
    halt, and the record of retrained models if the backup has one. Order ids of an account at a remote venue
    get another name: those that followed the backup must not be used again.

    Raises:
        BadUsage: the directory holds one of these already, and ``replace`` was not said.
        BadFile: ``archive`` is no backup, or is damaged.
        StoreFailed: it cannot be written.
    """
    halted, record = state_dir / "halted", state_dir / MODELS / _MODELS_RECORD
    there = [state_dir / FOLDER] if _account_folders(state_dir) else []
    there += [halted] if halted.exists() else []
    _refuse_to_replace(there, replace)
    coming = state_dir / f"{FOLDER}.restoring"
    try:
        shutil.rmtree(coming, ignore_errors=True)
        coming.mkdir(mode=0o700)
        manifest = _read(archive, coming)
        _check(coming, manifest, archive)
        _rename_ids(coming, ts_ms)
        if (coming / MODELS / _MODELS_RECORD).exists() and record.exists():
            there.append(record)
            _refuse_to_replace(there, replace)
        if there:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ts_ms / 1000))
            aside = state_dir / f"{FOLDER}.before-{stamp}"
            aside.mkdir(mode=0o700)
            for path in there:
                path.rename(aside / path.name)
        for name in _BESIDE:
            if name in manifest.files:
                (coming / name).replace(state_dir / name)
        _put_models(coming / MODELS, state_dir / MODELS)
        with suppress(OSError):
            (state_dir / FOLDER).rmdir()  # an empty one
        (coming / FOLDER).rename(state_dir / FOLDER)
        sync_directory(state_dir)
    except OSError as error:
        raise StoreFailed(f"{state_dir}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(coming, ignore_errors=True)
    return manifest


def _refuse_to_replace(there: Sequence[Path], replace: bool) -> None:
    if there and not replace:
        raise BadUsage(
            f"{there[0]}: is there already, and a restore would take its place; set another state_dir, or "
            "add --replace, which moves it aside"
        )


def _put_models(coming: Path, folder: Path) -> None:
    """Put models of a backup beside those that are there; the record of which is current comes last."""
    if not coming.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in sorted(coming.glob("retrained-*")):
        shutil.rmtree(folder / place.name, ignore_errors=True)
        place.replace(folder / place.name)
    if (coming / _MODELS_RECORD).exists():
        (coming / _MODELS_RECORD).replace(folder / _MODELS_RECORD)
    sync_directory(folder)


def _read(archive: Path, into: Path) -> BackupManifest:
    """Write every member of a backup below ``into``; only names that a backup has, only plain files."""
    found: dict[str, str] = {}
    manifest: BackupManifest | None = None
    try:
        with tarfile.open(archive, mode="r:gz") as packed:
            for member in packed:
                stream = packed.extractfile(member) if member.isreg() else None
                if stream is None or not (member.name == MANIFEST or _MEMBER.fullmatch(member.name)):
                    raise BadFile(f"{archive}: holds {member.name!r}, which no backup holds")
                data = stream.read()
                if member.name == MANIFEST:
                    manifest = msgspec.json.decode(data, type=BackupManifest)
                    continue
                found[member.name] = hashlib.sha256(data).hexdigest()
                _keep(into / member.name, data)
    except FileNotFoundError:
        raise BadFile(f"{archive}: there is no such file") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, msgspec.MsgspecError) as error:
        if isinstance(error, OSError) and not isinstance(error, tarfile.TarError) and error.errno:
            raise
        raise BadFile(f"{archive}: is no backup, or is cut short ({error}); use another one") from None
    if manifest is None or manifest.format != FORMAT or manifest.files != found:
        raise BadFile(f"{archive}: what it holds is not what its manifest names; use another backup")
    return manifest


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _check(coming: Path, manifest: BackupManifest, archive: Path) -> None:
    """Check each chain and snapshot of what was written, and that it ends where the manifest says."""
    for kept in manifest.accounts:
        journal, end = Journal(coming / FOLDER / kept.account), None
        try:
            for segment in journal.all():
                journal.snapshot(segment.header)
                end = segment.end
        except BotError as error:
            raise BadFile(f"{archive}: {error}") from error
        if end != kept.end:
            raise BadFile(f"{archive}: the journal of {kept.account} does not end where its manifest says")


def renamed(folder: Path) -> str:
    """Return what a restore has added to the name of an account's order ids; empty if none has.

    Raises:
        StoreFailed: the file that says so cannot be read, or was changed.
    """
    path = folder / RENAMED
    if not path.exists():
        return ""
    try:
        added = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        added = ""
    if not re.fullmatch(r"r[0-9a-z]{1,12}", added):
        raise StoreFailed(f"{path}: was changed; restore the backup again")
    return added


def _rename_ids(coming: Path, ts_ms: int) -> None:
    for folder in _account_folders(coming):
        if not folder.name.startswith("paper-"):
            (folder / RENAMED).unlink(missing_ok=True)
            _keep(folder / RENAMED, f"r{_short(ts_ms // 1000)}\n".encode())


def _short(number: int) -> str:
    """Return a number in base 36."""
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits
