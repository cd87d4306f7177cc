"""The daemon's memory on disk: one locked directory, and in it one small file with a fact a line.

A line is ``crc32 SP json LF``. A fact is appended; if an effect depends on it, it is synced before the effect
leaves. The file is rewritten at every start and when it has grown, so its size is bounded by what is open. A
crash may leave a torn last line; no effect depended on it, so it is dropped. Any other damage is an error.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from bot.adapters.state.disk import THIS_DISK, Disk, File
from bot.domain.errors import StoreFailed
from bot.domain.orders import Order

FORMAT = 1
STARTS_WITHIN_MS = 600_000
"""Starts older than this do not count against the restart budget."""
_REWRITE_AT_BYTES = 4 << 20


class _Fact(msgspec.Struct, frozen=True, tag_field="fact"):
    """One line of the file."""


class _Head(_Fact, frozen=True, tag="store"):
    format: int
    account: str


class _Run(_Fact, frozen=True, tag="run"):
    number: int


class _Started(_Fact, frozen=True, tag="started"):
    ts_ms: int


class _Forgiven(_Fact, frozen=True, tag="forgiven"):
    """Starts so far do not count any more; with ``last`` only the latest one, which ended cleanly."""

    last: bool


class _Sent(_Fact, frozen=True, tag="sent"):
    order: Order


class _Ended(_Fact, frozen=True, tag="ended"):
    order_id: str


class _Seen(_Fact, frozen=True, tag="seen"):
    ts_ms: int
    exec_id: str


class _Breaker(_Fact, frozen=True, tag="breaker"):
    body: msgspec.Raw


_AnyFact = _Head | _Run | _Started | _Forgiven | _Sent | _Ended | _Seen | _Breaker
_decoder: "msgspec.json.Decoder[_AnyFact]" = msgspec.json.Decoder(_AnyFact)
_encoder = msgspec.json.Encoder()


class FileStore:
    """``ports.Store`` in one file, ``store-{account}.jsonl``. The directory must be locked by its owner.

    Raises:
        StoreFailed: the file is damaged, of another format, or cannot be written.
    """

    def __init__(self, state_dir: Path, account: str, *, disk: Disk = THIS_DISK) -> None:
        self.path = state_dir / f"store-{account}.jsonl"
        self._account = account
        self._disk = disk
        self._file: File | None = None
        self._failed = ""
        self._size = 0
        self._run = 0
        self._starts_ms: list[int] = []
        self._orders: dict[str, Order] = {}
        self._seen = _Seen(0, "")
        self._breaker: msgspec.Raw | None = None
        for fact in _read(self.path):
            self._apply(fact)
        self._rewrite()

    # What ports.Store asks for

    def next_run(self) -> int:
        """Return a run number that was never used before."""
        self._append([_Run(self._run + 1)], sync=True)
        return self._run

    def note_start(self, now_ms: int) -> int:
        """Note this start; return the starts of the last ten minutes that did not end cleanly."""
        self._append([_Started(now_ms)], sync=True)
        self._starts_ms = [ms for ms in self._starts_ms if now_ms - STARTS_WITHIN_MS < ms <= now_ms]
        return len(self._starts_ms)

    def orders(self) -> Mapping[str, Order]:
        """Return the orders that were sent and are not known to have ended."""
        return MappingProxyType(self._orders)

    def sent(self, *orders: Order) -> None:
        """Keep orders that are about to leave, with one sync for all."""
        facts = [_Sent(order) for order in orders if order.order_id not in self._orders]
        if facts:
            self._append(facts, sync=True)

    def ended(self, order_id: str) -> None:
        """Forget an order."""
        if order_id in self._orders:
            self._append([_Ended(order_id)], sync=False)

    def executions_seen_ms(self) -> int:
        """Return the time of the latest booked execution."""
        return self._seen.ts_ms

    def saw_execution(self, ts_ms: int, exec_id: str) -> None:
        """Note a booked execution; an earlier one changes nothing."""
        if ts_ms > self._seen.ts_ms:
            self._append([_Seen(ts_ms, exec_id)], sync=False)

    def breaker(self) -> bytes | None:
        """Return the breaker as last saved."""
        return None if self._breaker is None else bytes(self._breaker)

    def save_breaker(self, body: bytes) -> None:
        """Keep the breaker if it has changed."""
        if body != self.breaker():
            self._append([_Breaker(msgspec.Raw(body))], sync=True)

    # Beyond the port

    def forgive(self, *, last: bool = False) -> None:
        """Remove starts from the restart budget: all, or only the latest one, which ended cleanly."""
        self._append([_Forgiven(last)], sync=True)

    def close(self) -> None:
        """Sync the file if possible, and close it."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if not self._failed:
                file.sync()
        except OSError as error:
            raise StoreFailed(f"{self.path}: {error.strerror}") from error
        finally:
            file.close()

    # One fact at a time

    def _apply(self, fact: _AnyFact) -> None:
        match fact:
            case _Run(number):
                self._run = max(self._run, number)
            case _Started(ts_ms):
                self._starts_ms.append(ts_ms)
            case _Forgiven(last):
                del self._starts_ms[-1 if last else 0 :]
            case _Sent(order):
                self._orders[order.order_id] = order
            case _Ended(order_id):
                self._orders.pop(order_id, None)
            case _Seen():
                self._seen = fact
            case _Breaker(body):
                self._breaker = msgspec.Raw(bytes(body))
            case _Head(version, account):
                if version != FORMAT or account != self._account:
                    raise StoreFailed(
                        f"{self.path}: format {version} of account {account!r}, expected {FORMAT} of "
                        f"{self._account!r}; move it away only if that account is flat"
                    )

    def _facts(self) -> Iterator[_AnyFact]:
        """Yield the facts that describe the present state."""
        yield _Head(FORMAT, self._account)
        yield _Run(self._run)
        for ts_ms in self._starts_ms[-1000:]:
            yield _Started(ts_ms)
        if self._seen.ts_ms:
            yield self._seen
        if self._breaker is not None:
            yield _Breaker(self._breaker)
        for order in self._orders.values():
            yield _Sent(order)

    def _append(self, facts: Iterable[_AnyFact], *, sync: bool) -> None:
        if self._failed or self._file is None:
            raise StoreFailed(f"{self.path}: {self._failed or 'is closed'}; nothing more can be kept")
        facts = list(facts)
        body = b"".join(_line(fact) for fact in facts)
        try:
            _write_all(self._file, body)
            if sync:
                self._file.sync()
        except OSError as error:
            self._fail(error)
        self._size += len(body)
        for fact in facts:
            self._apply(fact)
        if self._size > _REWRITE_AT_BYTES:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the state to a new file and replace the old one; a crash leaves one of the two."""
        beside = self.path.with_suffix(".new")
        body = b"".join(_line(fact) for fact in self._facts())
        try:
            self._disk.remove(beside)
            file = self._disk.append(beside)
            try:
                _write_all(file, body)
                file.sync()
                self._disk.replace(beside, self.path)
                self._disk.sync_directory(self.path.parent)
            except OSError:
                file.close()
                raise
        except OSError as error:
            self._fail(error)
        old, self._file = self._file, file  # the same file, under its new name
        self._size = len(body)
        if old is not None:
            old.close()

    def _fail(self, error: OSError) -> None:
        self._failed = error.strerror or type(error).__name__
        raise StoreFailed(f"{self.path}: {self._failed}; make room, then start again") from error


def _line(fact: _AnyFact) -> bytes:
    body = _encoder.encode(fact)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _write_all(file: File, body: bytes) -> None:
    left = body
    while left:
        left = left[file.write(left) :]


def _read(path: Path) -> Iterator[_AnyFact]:
    if not path.exists():
        return
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
    facts = [_parse(line) for line in lines]
    whole = _parse(tail)  # only its end of line was torn off
    facts += [whole] if whole is not None else []
    for number, fact in enumerate(facts or [None], 1):
        if fact is None or isinstance(fact, _Head) != (number == 1):
            raise StoreFailed(
                f"{path}:{number}: damaged; look at the account yourself, then move the file away"
            )
        yield fact


def _parse(line: bytes) -> _AnyFact | None:
    check, _, body = line.partition(b" ")
    try:
        if len(check) != 8 or int(check, 16) != zlib.crc32(body):
            return None
        return _decoder.decode(body)
    except (ValueError, msgspec.DecodeError):
        return None
