"""The tables that a user names: files, patterns, and the members of archives."""

import glob
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast

from bot.adapters.files.columns import MAX_BYTES, check_exists
from bot.domain.errors import BadFile

Kind = Literal["csv", "json", "parquet", "feather"]
KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".feather": "feather",
}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
"""What a damaged archive raises while it is read."""


@dataclass(frozen=True)
class TableSource:
    """One table: a file, perhaps compressed, or a member of a zip archive."""

    path: Path
    kind: Kind
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def stem(self) -> str:
        """The name of the table without its suffixes: ``BTCUSDT-1m-2020-12``."""
        name = PurePosixPath(self.member or self.path.name).name.removesuffix(".gz")
        return name[: -len(PurePosixPath(name).suffix)]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the bytes of the table, unpacked.

        Raises:
            BadFile: the file or the archive cannot be read, or is larger than ``MAX_BYTES``.
        """
        try:
            with self._opened() as raw:
                yield cast(IO[bytes], io.BufferedReader(_Bounded(raw, str(self))))
        except RuntimeError as error:  # a member with a password
            raise BadFile(f"{self}: {error}; unpack it first") from error
        except BROKEN as error:
            raise BadFile(f"{self}: cannot be unpacked or read ({error}); get it again") from error

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.member:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield member
        elif self.path.suffix == ".gz":
            with gzip.open(self.path) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            with self.path.open("rb") as file:
                yield file


class _Bounded(io.RawIOBase):
    """Bytes of a table, with an error beyond ``MAX_BYTES``: a small archive may unpack to anything."""

    def __init__(self, raw: IO[bytes], label: str) -> None:
        self._raw = raw
        self._label = label

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        if self._raw.tell() > MAX_BYTES:
            raise BadFile(f"{self._label}: unpacks to more than the limit of {MAX_BYTES} bytes")
        return len(data)


def find_sources(paths: Iterable[Path]) -> list[TableSource]:
    """Return the tables of files, patterns (``data/BTCUSDT-1m-*.zip``) and archives, in the order given.

    Raises:
        BadFile: a file that is not there, is empty or holds no table.
    """
    return [source for path in paths for one in _matching(path) for source in _tables(one)]


def _matching(path: Path) -> list[Path]:
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(glob.glob(str(path)))
    if not found:
        raise BadFile(f"{path}: no file matches this pattern")
    return [Path(one) for one in found]


def _tables(path: Path) -> list[TableSource]:
    check_exists(path)
    if path.stat().st_size == 0:
        raise BadFile(f"{path}: is empty (0 bytes); get it again")
    if path.suffix == ".zip":
        return _members(path)
    kind = _kind(path.name)
    if kind is None:
        raise BadFile(f"{path}: the name must end in {', '.join(KINDS)}, one of these and .gz, or .zip")
    return [TableSource(path, kind)]


def _members(path: Path) -> list[TableSource]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
    except BROKEN as error:
        raise BadFile(f"{path}: not a readable zip archive ({error}); get it again") from error
    found = [
        TableSource(path, kind, name)
        for name in names
        if not name.startswith("__MACOSX/") and not name.endswith(".gz") and (kind := _kind(name))
    ]
    if not found:
        raise BadFile(f"{path}: the archive holds no table ({', '.join(names[:5]) or 'it is empty'})")
    return found


def _kind(name: str) -> Kind | None:
    return KINDS.get(PurePosixPath(name.removesuffix(".gz")).suffix.lower())
