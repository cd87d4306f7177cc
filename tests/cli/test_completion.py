"""Completion of commands, options and values in a shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import COMMANDS, COMPLETE, main

HEAVY = ("torch", "numba", "numpy", "pyarrow", "pydantic", "structlog", "rich", "aiohttp")


def complete(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is told for a line; a blank at its end begins a new word."""
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    monkeypatch.setenv(COMPLETE, "bash_complete")
    assert main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("bot st", ["plain,status"]),
        ("bot run --venue p", ["plain,paper"]),
        ("bot data fet", ["plain,fetch"]),
        ("bot -c x.toml tra", ["plain,train", "plain,trades"]),
        ("bot status --j", ["plain,--json"]),
        ("bot run -c ", ["file,"]),
        ("bot completion z", ["plain,zsh"]),
        ("bot nosuch --x", []),
    ],
)
def test_a_line_is_completed(
    words: str, told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete(words, monkeypatch, capsys) == told


def test_all_commands_are_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete("bot ", monkeypatch, capsys) == [f"plain,{name}" for name in COMMANDS]


@pytest.mark.parametrize("words", ["bot ", "bot run --", "bot backtest --", "bot demo --", "bot trades --"])
def test_completing_loads_nothing_heavy(words: str, tmp_path: Path) -> None:
    program = (
        f"import sys; from bot.cli import main; main([]);"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    where = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), COMPLETE: "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env=os.environ | where,
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_and_says_where_to_put_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"bot completion {shell}" in script
    assert "activate .venv" in script
    if shutil.which(shell) is None:
        return  # its syntax is click's own
    path = tmp_path / "script"
    path.write_text(script)
    subprocess.run([shell, "-n", str(path)], check=True, timeout=60)


def test_bash_completes_with_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    program = tmp_path / "bot"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bot "$@"\n')
    program.chmod(0o755)
    asked = 'COMP_WORDS=("$0" kil); COMP_CWORD=1; _bot_completion "$0"; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"source {tmp_path / 'script'}; {asked}", str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "kill\n"


def test_the_shell_is_the_users_own_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main(["completion"]) == 0
    assert "completions/bot.fish" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["completion"]) == 2
    assert "name one of bash, zsh, fish" in capsys.readouterr().err
