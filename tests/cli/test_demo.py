"""What the demo ends with: the report, three commands that work as printed, and the page."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from bot.app.context import Context
from bot.app.runs.demo import Demo, make_demo
from bot.app.runs.live.watcher import Watcher
from bot.cli.demo import _ended, _next
from bot.cli.terminal.program import command, program_name
from tests.app.runs.lives import live, plan_on, tape


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    monkeypatch.chdir(tmp_path)
    return make_demo(Context(), 5, 7)


async def test_the_three_next_commands_work_as_printed(
    made: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir = made.place / "daemon/local-0"
    traded = live(plan_on(state_dir))
    traded.see(tape(60))
    traded.stop()
    _next(made, [made.place / "vol_target.html"], keep=False)
    said = capsys.readouterr().out
    assert "the report: .data/demo/vol_target.html" in said
    trades, backtest, keep, stream = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    for line, words in (
        (trades, "paper-1: "),
        (backtest, "report: .data/demo/ema.html"),
        (keep + " -h", "--keep"),
    ):
        done = subprocess.run(  # noqa: ASYNC221 (nobody else waits)
            ["sh", "-c", line], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    assert stream.endswith("run --feed mainnet --venue paper --symbol BTCUSDT")


def test_beside_a_kept_page_the_third_command_asks_the_daemon_behind_it(
    made: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    _next(made, [], keep=True)
    said = capsys.readouterr().out
    assert "in another terminal" in said
    assert f"  BOT_STATE_DIR=.data/demo/page {command('status')}\n" in said
    assert "--keep" not in said


def test_the_market_is_traded_on_with_the_page_beside(made: Demo) -> None:
    heard: list[str] = []

    def on_page(url: str) -> None:
        heard.append(url)
        os.kill(os.getpid(), signal.SIGTERM)  # as a person who has seen enough

    ending = made.serve_page(Watcher(on_page=on_page), 60.0)
    assert ending.reason == "SIGTERM"
    assert heard[0].startswith("http://127.0.0.1:")
    assert _ended(ending).startswith("stopped, and the page is closed: ")


def test_a_printed_command_is_one_that_the_shell_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "my env"))
    script = tmp_path / "my env/bin/bot"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert program_name({"PATH": "/nowhere"}) == "'my env/bin/bot'"
    assert program_name({"PATH": str(script.parent)}) == "bot"
    assert shlex.split(command("backtest", "--data", tmp_path / "a b.parquet"))[-1] == "a b.parquet"
    script.unlink()
    assert program_name({"PATH": "/nowhere"}).endswith(" -m bot")
