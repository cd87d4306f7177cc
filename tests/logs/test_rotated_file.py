"""The log file: private, bounded, never torn between two files, and found again when somebody moves it."""

import json
import threading
from pathlib import Path

import pytest

from bot.app.context import Context
from bot.domain.errors import BadSettings
from bot.logs import RotatedFile


def written(path: Path) -> list[str]:
    """All lines, the oldest first."""
    files = sorted(
        path.parent.glob(f"{path.name}*"), key=lambda each: -int(each.suffix[1:] or 0) if each != path else 0
    )
    return "".join(each.read_text() for each in files).splitlines()


def test_lines_go_on_in_the_next_file_and_only_so_many_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    file = RotatedFile(path, max_bytes=100, keep=3)
    for number in range(100):
        line = f"line {number:03}\n".encode()
        assert file.write(line) == len(line)
    file.close()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["bot.log", "bot.log.1", "bot.log.2", "bot.log.3"]
    assert all(each.stat().st_size <= 100 for each in tmp_path.iterdir())
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    lines = written(path)
    assert lines == [f"line {number:03}" for number in range(100 - len(lines), 100)]
    assert len(lines) >= 31


def test_a_process_that_starts_again_goes_on_in_the_same_file_and_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    path.write_text("before\n")
    path.chmod(0o644)
    file = RotatedFile(path, max_bytes=1_000, keep=0)
    file.write(b"after\n")
    file.close()
    assert path.read_text() == "before\nafter\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_with_nothing_kept_the_file_begins_anew(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "bot.log", max_bytes=20, keep=0)
    for number in range(10):
        file.write(f"line {number}\n".encode())
    file.close()
    assert [each.name for each in tmp_path.iterdir()] == ["bot.log"]
    assert written(tmp_path / "bot.log")[-1] == "line 9"


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bot.log"
    file = RotatedFile(path, max_bytes=1_000, keep=1)
    file.write(b"one\n")
    path.rename(tmp_path / "moved")
    file._look_s = 0.0
    file.write(b"two\n")
    file.close()
    assert ((tmp_path / "moved").read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_folder_that_cannot_be_written_when_the_file_is_full_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.log"
    file = RotatedFile(path, max_bytes=30, keep=2)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    for number in range(20):
        file.write(f"line {number:02}\n".encode())
    file.close()
    assert written(path) == [f"line {number:02}" for number in range(20)]


def test_the_daemons_log_goes_to_the_file_as_json_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_LOG__FILE", "logs/bot.log")
    monkeypatch.setenv("BOT_LOG__MAX_BYTES", "4096")
    monkeypatch.setenv("BOT_VENUE__API_SECRET", "canary-secret-1")
    context = Context()
    context.settings()
    log = context.log
    log.info("before", number=1)  # not yet
    context.log_to_file()
    threads = [
        threading.Thread(target=lambda: [log.info("fill", key="canary-secret-1") for _ in range(50)])
        for _ in "ab"
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    context.end_log()
    lines = [json.loads(line) for line in written(tmp_path / "logs/bot.log")]
    assert len(lines) == 100
    assert {(line["event"], line["key"]) for line in lines} == {("fill", "[redacted]")}
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_a_log_file_that_cannot_be_written_is_a_settings_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BOT_LOG__FILE", str(tmp_path / "file" / "bot.log"))
    context = Context()
    context.settings()
    with pytest.raises(BadSettings, match=r"log\.file"):
        context.log_to_file()
