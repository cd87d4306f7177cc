"""A file is written as a whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from bot.adapters.files.whole import write_text, write_whole
from bot.cli import main
from bot.domain.errors import NotWritten


def full(place: Path) -> None:
    place.write_text("half")
    raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


@pytest.mark.parametrize("before", ["good", None])
def test_a_failed_write_leaves_what_was_there_and_says_what_to_do(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "report.html"
    if before is not None:
        path.write_text(before)
    with pytest.raises(NotWritten) as caught:
        write_whole(path, full)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); free space there or name another place"
    )
    assert [each.read_text() for each in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_link_and_the_rights_of_a_file_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "real" / "run.html", tmp_path / "run.html"
    write_text(path, "old")
    path.chmod(0o600)
    link.symlink_to(path)
    write_text(link, "new 币")
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "new 币"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_device_is_written_and_not_replaced() -> None:
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 250 + ".html"), "long")
    with pytest.raises(NotWritten, match="name another place"):
        write_text(tmp_path / ("n" * 300), "longer")


def test_a_backtest_whose_files_do_not_fit_keeps_the_older_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["data", "synth", "--days", "6", "--out", str(tmp_path / "data")]) == 0
    candles = str(next((tmp_path / "data").glob("*5m.parquet")))

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    for option, name in (
        ("--report", "run.html"),
        ("--trades", "trades.csv"),
        ("--equity", "equity.parquet"),
    ):
        file = tmp_path / name
        file.write_text("old")
        capsys.readouterr()
        code = main(["backtest", "--data", candles, "--strategy", "ema_cross", option, str(file)])
        told = capsys.readouterr()
        assert (code, file.read_text()) == (1, "old")
        assert told.err.splitlines()[-1] == (
            f"error: {file}: cannot be written (No space left on device); free space there or name another "
            "place"
        )
        assert "report:" not in told.out
    assert not list(tmp_path.glob(".*.tmp"))
