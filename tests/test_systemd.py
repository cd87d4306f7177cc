"""The unit for systemd: it is valid, it is tight, and each of its directives fits what the program does."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.adapters.state.account_lock import runtime_folder
from bot.app.context import Context
from bot.cli import root
from bot.domain.errors import BadSettings, BadUsage, Halted
from bot.service.process.supervise import _GRACE_S
from bot.settings import FIELDS, DaemonSettings, variable
from tests.cli.exchanges import BOT, daemon, exchange

FOLDER = Path(__file__).parent.parent / "config/systemd"
UNIT = FOLDER / "bot@.service"
TEXT = UNIT.read_text(encoding="utf-8")
EXPOSURE_MAX = 20
"""Tenths, of at most 100; the unit has 1.1 with systemd 252."""


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


def value(name: str) -> str:
    (only,) = values(name)
    return str(only)


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than 250 here")
    return done


def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(TEXT.replace("/opt/bot/.venv/bin/bot", sys.executable))
    done = analyze("verify", str(here))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_leaves_little_in_reach() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNIT))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["ExecStart", "ExecStopPost"])
def test_its_commands_exist(name: str) -> None:
    program, *words = value(name).replace("%i", "demo").split()
    assert program == "/opt/bot/.venv/bin/bot"
    done = CliRunner().invoke(root, [*words, "--help"], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_what_only_a_person_can_mend_is_not_tried_again(tmp_path: Path) -> None:
    prevented = {int(code) for code in value("RestartPreventExitStatus").split()}
    assert prevented == {BadUsage.exit_code, BadSettings.exit_code, Halted.exit_code}
    (tmp_path / "bad.toml").write_text("nonsense = 1\n")
    done = subprocess.run([*BOT, "-c", "bad.toml", "run"], capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode in prevented


def test_a_clean_stop_and_the_start_fit_into_the_units_times() -> None:
    longest_ms = next(
        each.le for each in DaemonSettings.model_fields["stop_timeout_ms"].metadata if hasattr(each, "le")
    )
    assert longest_ms / 1000.0 + _GRACE_S < float(value("TimeoutStopSec"))
    assert float(value("TimeoutStartSec")) >= 180.0  # numba compiles for up to a minute on a slow machine


def test_the_variables_that_it_sets_and_names_are_settings() -> None:
    assert "BOT_STATE_DIR=%S/" + value("StateDirectory") in values("Environment")
    named = set(re.findall(r"\bBOT_[A-Z_]+[A-Z]", TEXT + (FOLDER / "botctl").read_text(encoding="utf-8")))
    assert named <= {variable(key) for key in FIELDS}


def test_two_instances_look_for_each_others_lock_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "%i" not in value("RuntimeDirectory") + value("User")
    assert "XDG_RUNTIME_DIR=%t/" + value("RuntimeDirectory") in values("Environment")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/bot")
    assert runtime_folder() == Path("/run/bot/bot")


def test_the_daemon_says_what_the_unit_waits_for(tmp_path: Path) -> None:
    """READY once it runs, signs of life well within the watchdog's time, STOPPING, and exit 0 at SIGTERM."""
    watchdog_s = float(value("WatchdogSec"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, exchange() as url:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60.0)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}"}
        where = ["--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "BTCUSDT"]
        with daemon(tmp_path, *where, "--interval", "1m", "--strategy", "flat", env=env) as running:
            assert value("Type") == "notify"
            assert manager.recv(256) == b"READY=1"
            heard_s = []
            while len(heard_s) < 5:
                if manager.recv(256) == b"WATCHDOG=1":
                    heard_s.append(time.monotonic())
            assert max(after - before for before, after in pairwise(heard_s)) < watchdog_s / 2
            os.kill(running.process.pid, signal.SIGTERM)
            while manager.recv(256) != b"STOPPING=1":
                pass
            assert running.process.wait(float(value("TimeoutStopSec"))) == 0  # so on-failure starts nothing
