"""Compiled functions where the program's folder is read-only and there is no home: a usual container."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import bot
from bot.adapters.model import machine_code
from bot.adapters.model.machine_code import keep_machine_code

SOURCES = ("features", "model")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package beside whose sources nobody, not even root, can keep anything."""
    place = tmp_path_factory.mktemp("program")
    leave_out = shutil.ignore_patterns("__pycache__", "research", "web")
    shutil.copytree(Path(bot.__file__).parent, place / "bot", ignore=leave_out)
    for name in SOURCES:
        (place / "bot" / name / "__pycache__").write_text("a file, so no folder can be made here")
    (place / "no-home").write_text("a file, so no home can be made here")
    return place


def first_use(program: Path, place: Path, *, state_dir: str, temporary: str) -> list[dict[str, object]]:
    """Compile one function as a command would; return the log."""
    code = (
        f"import tempfile; tempfile.tempdir = {temporary!r}; "
        "from bot.app.compiler import prepare_compiler; from bot.app.context import Context; "
        "prepare_compiler(Context()); import bot.model.kernel as kernel; kernel._exp(kernel._F(1.0))"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(program), "PYTHONDONTWRITEBYTECODE": "1"}
    environ |= {"HOME": str(program / "no-home" / "x"), "BOT_STATE_DIR": state_dir}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_machine_code_is_kept_in_the_state_directory_and_used_by_the_next_start(
    program: Path, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    kept = []
    for _ in range(2):
        (line,) = first_use(program, tmp_path, state_dir=str(state_dir), temporary=str(tmp_path))
        assert (line["event"], line["folder"]) == ("machine_code_kept", str(state_dir / "machine-code"))
        kept.append({path: path.stat().st_mtime_ns for path in state_dir.rglob("*.nbc")})
    assert kept[0]
    assert kept[0] == kept[1]
    assert stat.S_IMODE((state_dir / "machine-code").stat().st_mode) == 0o700


def test_without_any_folder_it_compiles_and_says_what_to_do(program: Path, tmp_path: Path) -> None:
    nowhere = str(program / "no-home" / "x")
    (line,) = first_use(program, tmp_path, state_dir=nowhere, temporary=nowhere)
    assert (line["event"], line["level"]) == ("machine_code_not_kept", "warning")
    assert "NUMBA_CACHE_DIR" in str(line["do"])


@pytest.mark.parametrize("who", ["the folder", "its parent"])
def test_a_folder_that_others_may_write_holds_no_machine_code(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Path] = []
    monkeypatch.setattr(machine_code, "_use", used.append)
    folder = tmp_path / "shared" / "machine-code"
    folder.mkdir(parents=True, mode=0o700)
    (folder if who == "the folder" else folder.parent).chmod(0o777)
    assert keep_machine_code([folder]) is None
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("own")  # as systemd's state directories of users that come and go
    assert (
        keep_machine_code([folder, tmp_path / "link" / "machine-code"]) == tmp_path / "own" / "machine-code"
    )
    assert used == [tmp_path / "own" / "machine-code"]
