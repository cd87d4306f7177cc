"""Paths in settings that lead where the bot has nothing to do."""

import os
from pathlib import Path

import pytest

from bot.adapters.state.directory import StateDir
from bot.cli import main
from bot.domain.errors import BadSettings, StoreFailed
from bot.settings import FIELDS, load, variable
from bot.settings.state_dir import find_state_dir

PATHS = [key for key, field in FIELDS.items() if "Path" in str(field.annotation)]
OUTSIDE = ("../outside", "../../etc/x", "a/../../b", "/tmp/../etc", "..", "a\nb", "a\x1b[2Jb", "a\0b")


def test_these_settings_are_paths() -> None:
    of_the_page = ["web.token_file", "web.tls_cert", "web.tls_key"]
    others = ["log.file", "model.path", "venue.api_key_file", "notify.urls_file"]
    assert ["state_dir", "data_dir", *others, *of_the_page] == PATHS


@pytest.mark.surface("config")
@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
def test_a_path_that_leads_out_is_refused_wherever_it_is_written(key: str, path: str, tmp_path: Path) -> None:
    table, _, name = key.rpartition(".")
    quoted = "".join(f"\\u{ord(c):04x}" for c in path)
    file = tmp_path / "bot.toml"
    file.write_text(f'{f"[{table}]" if table else ""}\n{name} = "{quoted}"\n')
    nothing = Path("no such file")
    for config, environ, overrides in (
        (file, {}, {}),
        (None, {variable(key): path}, {}),
        (None, {}, {key: path}),
    ):
        with pytest.raises(BadSettings, match=r"must (not lead out by|be a path)") as refused:
            load(config, overrides, environ=environ, dotenv=nothing)
        assert name in str(refused.value).lower()
        assert str(refused.value).isprintable()


def test_a_whole_path_and_one_below_the_working_directory_are_taken(tmp_path: Path) -> None:
    for path in (tmp_path / "state", Path("here"), Path("a/.b/..c/d..")):
        settings = load(None, {"state_dir": path}, environ={}, dotenv=Path("no such file"))
        assert settings.state_dir == path


def test_a_state_directory_that_leads_out_is_not_found_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", "../outside")
    assert find_state_dir(None) is None


@pytest.mark.surface("config", "process")
@pytest.mark.parametrize("what", ["cwd", "above", "home", "root", "shared", "link"])
def test_a_directory_of_others_is_not_taken_over(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "above" / "work"
    work.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "link").symlink_to(work)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = {"cwd": work, "above": work.parent, "root": Path("/")}.get(what, tmp_path / what)
    before = place.stat().st_mode
    with pytest.raises(StoreFailed, match="set state_dir to a directory of the bot's own") as refused:
        StateDir(place)
    assert "\n" not in str(refused.value)
    assert place.stat().st_mode == before
    assert not (place / "lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="everything belongs to root")
def test_a_directory_of_another_user_is_not_taken_over() -> None:
    with pytest.raises(StoreFailed):
        StateDir(Path("/usr"))


def test_a_kill_in_a_place_that_leads_out_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_STATE_DIR", "../outside")
    assert main(["kill", "--venue", "paper"]) == 3
    assert "must not lead out" in capsys.readouterr().err
    assert not (tmp_path.parent / "outside").exists()
