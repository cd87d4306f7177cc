"""A backup is a consistent moment of a journal that goes on; a restore puts exactly that back, or nothing."""

import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.adapters.state import backup
from bot.adapters.state.backup import RENAMED, BackupManifest, pack, renamed, unpack
from bot.adapters.state.journal import Journal, JournalWriter, condense
from bot.domain.errors import BadFile, BadUsage, StoreFailed
from bot.domain.messages import Quote
from bot.journal.entries import Effects, Entry
from tests.adapters.state.test_journal import begun, filled
from tests.helpers import T0
from tests.journal.test_lines import EFFECTS

LATER = T0 + 86_400_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A state directory with a journal of three segments, a halt, and what no backup may hold."""
    place = tmp_path / "state"
    filled(place / "journal" / "paper-1").close()
    filled(place / "journal" / "demo-1", segments=2).close()
    (place / "halted").write_text("bot kill\n")
    for name in ("lock", "journal/paper-1/index.sqlite", "keys.toml", ".env"):
        (place / name).write_text("canary-secret")
    return place


def entries(place: Path, account: str) -> list[Entry]:
    return [each.entry for segment in Journal(place / "journal" / account).all() for each in segment.entries]


def test_what_was_packed_comes_back_and_nothing_else(place: Path, tmp_path: Path) -> None:
    archive, back = tmp_path / "b.tar.gz", tmp_path / "back"
    packed = pack(place, archive, code="1", ts_ms=T0)
    back.mkdir()
    assert unpack(archive, back, ts_ms=LATER) == packed
    for account in ("paper-1", "demo-1"):
        assert entries(back, account) == entries(place, account)
        last = Journal(back / "journal" / account).last()
        assert last is not None
        assert Journal(back / "journal" / account).snapshot(last.header) is not None
    files = {path.relative_to(back).as_posix(): path for path in back.rglob("*") if path.is_file()}
    assert {"halted", "journal/paper-1/000003.snapshot.json"} <= set(files)
    assert not [name for name in files if "sqlite" in name or name in ("lock", "keys.toml", ".env")]
    assert {path.stat().st_mode & 0o777 for path in [archive, *files.values()]} == {0o600}
    with tarfile.open(archive) as opened:
        assert "canary" not in "".join(opened.extractfile(m).read().decode() for m in opened)  # type: ignore[union-attr]


def test_every_backup_beside_a_writer_is_a_prefix_of_what_it_wrote(tmp_path: Path) -> None:
    place, folder = tmp_path / "state", tmp_path / "state" / "journal" / "paper-1"
    writer, ended = filled(folder, segments=1), threading.Event()
    written = {each.number: each.crc for segment in writer.journal.all() for each in segment.entries}

    def note() -> None:
        written[writer.end.entry] = writer.end.crc

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            writer.append(Quote(T0 + number, "BTCUSDT", 1.0, 2.0))
            note()
            if number % 20 == 0:
                writer.append(Effects(EFFECTS))
                note()
            if number % 150 == 0:
                begun(writer)
                note()
            if number % 400 == 0 and writer.end.segment > 4:
                condense(writer.journal, writer.end.segment - 3)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        packed = [pack(place, tmp_path / f"{n}.tar.gz", code="1", ts_ms=T0) for n in range(12)]
    finally:
        ended.set()
        writing.join()
    writer.close()
    for number, manifest in enumerate(packed):
        back = tmp_path / f"back{number}"
        back.mkdir()
        unpack(tmp_path / f"{number}.tar.gz", back, ts_ms=LATER)
        (kept,) = manifest.accounts
        assert written[kept.end.entry] == kept.end.crc  # as written; a condensed segment is chained anew
    assert packed[-1].accounts[0].end.entry > packed[0].accounts[0].end.entry


def test_a_slow_backup_does_not_end_with_a_segment_that_cannot_be_replayed(tmp_path: Path) -> None:
    writer = filled(tmp_path / "paper-1", segments=2)
    copied = backup._account(writer.journal)
    next(copied)
    for _ in range(3):
        begun(writer)
    assert condense(writer.journal, 2) > 0
    *_, (_, _, kept) = copied
    writer.close()
    assert kept.end == writer.end
    assert kept.end.segment == 5


def test_a_torn_last_line_is_left_out(place: Path, tmp_path: Path) -> None:
    path = place / "journal" / "paper-1" / "000003.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'0badc0de 11 900 {"half')
    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "b", tmp_path / "back", ts_ms=LATER)
    assert (tmp_path / "back/journal/paper-1/000003.jsonl").read_bytes() == whole


@pytest.mark.parametrize("name", ["000002.jsonl", "000002.snapshot.json"])
def test_a_damaged_journal_is_not_kept(place: Path, name: str, tmp_path: Path) -> None:
    path = place / "journal" / "paper-1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreFailed, match=name.partition(".")[0]):
        pack(place, tmp_path / "b", code="1", ts_ms=T0)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["state"]


def test_a_file_that_exists_is_not_replaced_and_an_empty_directory_has_nothing_to_keep(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BadUsage, match="exists"):
        pack(place, tmp_path / "b", code="1", ts_ms=T0)
    assert (tmp_path / "b").read_text() == "mine"
    with pytest.raises(BadUsage, match="no journal yet"):
        pack(tmp_path / "none", tmp_path / "c", code="1", ts_ms=T0)
    assert not (tmp_path / "c").exists()


def test_a_directory_that_holds_a_journal_is_refused_and_with_replace_it_is_moved_aside(
    place: Path, tmp_path: Path
) -> None:
    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    writer = JournalWriter(place / "journal" / "paper-1")
    last = writer.journal.last()
    assert last is not None
    writer.resume(last)
    writer.append(Quote(T0, "BTCUSDT", 3.0, 4.0))
    writer.close()
    before = entries(place, "paper-1")
    with pytest.raises(BadUsage, match="--replace"):
        unpack(tmp_path / "b", place, ts_ms=LATER)
    assert entries(place, "paper-1") == before
    unpack(tmp_path / "b", place, ts_ms=LATER, replace=True)
    assert entries(place, "paper-1") == before[:-1]
    aside = place / "journal.before-20250102T000000Z"
    assert [each.entry for s in Journal(aside / "journal/paper-1").all() for each in s.entries] == before
    assert (aside / "halted").exists()


def test_order_ids_of_a_remote_account_get_another_name_at_each_restore(place: Path, tmp_path: Path) -> None:
    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    names = []
    for number in range(2):
        back = tmp_path / f"back{number}"
        back.mkdir()
        unpack(tmp_path / "b", back, ts_ms=LATER + number * 1_000)
        names.append(renamed(back / "journal" / "demo-1"))
        assert renamed(back / "journal" / "paper-1") == ""
    assert len({"", *names}) == 3
    pack(tmp_path / "back0", tmp_path / "c", code="1", ts_ms=T0)
    (tmp_path / "again").mkdir()
    unpack(tmp_path / "c", tmp_path / "again", ts_ms=LATER + 5_000)
    assert renamed(tmp_path / "again/journal/demo-1") not in ("", *names)
    (tmp_path / "again/journal/demo-1" / RENAMED).write_text("../x")
    with pytest.raises(StoreFailed, match="was changed"):
        renamed(tmp_path / "again/journal/demo-1")


def repacked(
    archive: Path, change: Callable[[dict[str, bytes]], None], kind: bytes = tarfile.REGTYPE
) -> Path:
    """The archive with other members."""
    with tarfile.open(archive) as opened:
        members = {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]
    change(members)
    made = archive.with_name("changed")
    with tarfile.open(made, "w:gz") as packed:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name.startswith("link"):
                member.type, member.linkname, member.size = kind, "/etc/passwd", 0
            packed.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return made


def flip(members: dict[str, bytes]) -> None:
    name = "journal/paper-1/000002.jsonl"
    members[name] = members[name].replace(b"BTCUSDT", b"BTCUSDC", 1)


CHANGES: dict[str, Callable[[dict[str, bytes]], None]] = {
    "a byte": flip,
    "a member less": lambda m: m.pop("journal/paper-1/000002.jsonl") and None,
    "no manifest": lambda m: m.pop("manifest.json") and None,
    "a path outside": lambda m: m.update({"journal/../../x-1/000001.jsonl": b""}),
    "an absolute path": lambda m: m.update({"/tmp/x": b""}),
    "another file": lambda m: m.update({"keys.toml": b"x"}),
    "a link": lambda m: m.update({"link": b""}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_archive_changes_nothing(change: str, place: Path, tmp_path: Path) -> None:
    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    made = repacked(tmp_path / "b", CHANGES[change], tarfile.SYMTYPE)
    back = tmp_path / "back"
    back.mkdir()
    with pytest.raises(BadFile, match="changed: "):
        unpack(made, back, ts_ms=LATER)
    assert list(back.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_an_archive_that_is_cut_short_is_refused(share: float, place: Path, tmp_path: Path) -> None:
    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    whole = (tmp_path / "b").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(share * len(whole))])
    (tmp_path / "back").mkdir()
    with pytest.raises(BadFile, match="cut: "):
        unpack(tmp_path / "cut", tmp_path / "back", ts_ms=LATER)
    with pytest.raises(BadFile, match="no such file"):
        unpack(tmp_path / "none", tmp_path / "back", ts_ms=LATER)


def test_a_chain_that_was_rewritten_with_its_manifest_is_still_checked(place: Path, tmp_path: Path) -> None:
    import hashlib

    import msgspec

    def rewrite(members: dict[str, bytes]) -> None:
        flip(members)
        manifest = msgspec.json.decode(members["manifest.json"], type=BackupManifest)
        name = "journal/paper-1/000002.jsonl"
        files = manifest.files | {name: hashlib.sha256(members[name]).hexdigest()}
        members["manifest.json"] = msgspec.json.encode(msgspec.structs.replace(manifest, files=files))

    pack(place, tmp_path / "b", code="1", ts_ms=T0)
    (tmp_path / "back").mkdir()
    with pytest.raises(BadFile, match="checksum does not carry on"):
        unpack(repacked(tmp_path / "b", rewrite), tmp_path / "back", ts_ms=LATER)


def test_models_that_retraining_made_go_along_and_nothing_else_of_their_folder(
    place: Path, tmp_path: Path
) -> None:
    models = place / "models"
    files = {"retrained.json": b"{}", "retrained-0123456789ab/manifest.json": b"m"}
    files["retrained-0123456789ab/weights.safetensors"] = b"w"
    for name, data in {
        **files,
        "mine/manifest.json": b"x",
        ".retraining/candidate/manifest.json": b"x",
    }.items():
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(data)
    pack(place, tmp_path / "one.bak", code="test", ts_ms=1)
    target = tmp_path / "target"
    (target / "models/retrained-0123456789ab").mkdir(parents=True)
    (target / "models/retrained.json").write_bytes(b"newer")
    with pytest.raises(BadUsage, match=r"retrained\.json: is there already"):
        unpack(tmp_path / "one.bak", target, ts_ms=2)
    assert (target / "models/retrained.json").read_bytes() == b"newer"
    unpack(tmp_path / "one.bak", target, ts_ms=2, replace=True)
    (aside,) = target.glob("journal.before-*/retrained.json")
    assert aside.read_bytes() == b"newer"
    found = {
        str(path.relative_to(target / "models")): path.read_bytes()
        for path in (target / "models").rglob("*")
        if path.is_file()
    }
    assert found == files
