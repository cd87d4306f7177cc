"""The global options before a command and behind it."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bot.app.context import Context
from bot.cli import main, root


def tree(ctx: click.Context, group: click.Group, path: str = "bot") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from tree(ctx, command, f"{path} {name}")


def test_every_command_takes_the_global_options_once() -> None:
    with click.Context(root, obj=Context()) as ctx:
        for path, command in tree(ctx, root):
            flags = [flag for param in command.params for flag in param.opts if flag in ("-c", "-v")]
            assert flags == ["-c", "-v"], path
            given, _, _ = command.make_parser(ctx).parse_args(["-c", "x.toml", "-vv", "--log-format", "json"])
            assert (given["config"], given["log_format"]) == ("x.toml", "json"), path


@pytest.mark.parametrize(
    "args",
    [
        ["-c", "here.toml", "config", "show", "--json"],
        ["config", "-c", "here.toml", "show", "--json"],
        ["config", "show", "--json", "-c", "here.toml"],
        ["config", "show", "--config=here.toml", "--json"],
    ],
    ids=" ".join,
)
def test_a_settings_file_may_be_named_anywhere(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.toml").write_text("seed = 5\n")
    assert main(args) == 0
    assert '"here.toml:seed"' in capsys.readouterr().out


def test_two_settings_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["-c", "a.toml", "config", "show", "-c", "b.toml"]) == 2
    assert "--config is given twice: a.toml and b.toml" in capsys.readouterr().err


def test_tracebacks_are_shown_wherever_vv_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for args in (["-vv", "status"], ["-v", "status", "-v"], ["status", "-vv"]):
        assert main(args) == 1
        assert "Traceback" in capsys.readouterr().err
    assert main(["status", "-v"]) == 1
    assert "Traceback" not in capsys.readouterr().err
