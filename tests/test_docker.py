"""The container: its files agree with the program, and its command runs where nothing can be written."""

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bot.app.context import Context
from bot.cli import root
from bot.settings import FIELDS, variable
from tests.cli.exchanges import exchange

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "config/docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
PROGRAM = "/opt/bot/.venv/bin/bot"


def told(instruction: str) -> list[str]:
    """What follows an instruction of the Dockerfile, in order; continued lines are joined."""
    return re.findall(rf"^\s*{instruction} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def words(instruction: str) -> list[str]:
    return [str(word) for word in json.loads(told(instruction)[-1])]


def assert_is_a_command(found: list[str]) -> None:
    done = CliRunner().invoke(root, [*found, "--help"], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_a_linter_finds_nothing_to_say_about_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_a_number_that_is_not_root_and_owns_only_its_state() -> None:
    (user,) = told("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    uid, gid = user.split(":")
    assert f"install -d -o {uid} -g {gid} -m 0700 /state" in DOCKERFILE
    assert told("VOLUME") == ["/state"]
    assert all(service["user"] == user for service in COMPOSE["services"].values())


def test_it_can_send_messages() -> None:
    """The settings of the image may have ``[notify]``; its package comes from the lock, as all others do."""
    (install,) = [line for line in told("RUN") if "scripts/install" in line]
    extra = install.partition("scripts/install ")[2].split()[0]
    assert (ROOT / f"scripts/lock/{extra}.txt").read_text(encoding="utf-8").count("\napprise==") == 1


def test_its_commands_exist() -> None:
    entry = words("ENTRYPOINT")
    assert entry[0] == PROGRAM
    assert_is_a_command([*entry[1:], *words("CMD")])
    for service in COMPOSE["services"].values():
        assert_is_a_command([*entry[1:], *service["command"]])


def test_its_health_is_asked_where_the_page_listens() -> None:
    command = words("CMD")
    port = command[command.index("--web-port") + 1]
    check = json.loads(told("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert f"http://127.0.0.1:{port}/readyz" in check[-1]
    compile(check[-1], "healthcheck", "exec")
    bot = COMPOSE["services"]["bot"]
    assert bot["command"][bot["command"].index("--web-port") + 1] == port
    assert bot["ports"] == [f"127.0.0.1:{port}:{port}"]  # this machine's loopback only


def test_its_variables_are_settings() -> None:
    named = set(re.findall(r"\bBOT_[A-Z_]+[A-Z]", DOCKERFILE + (FOLDER / "compose.yaml").read_text()))
    assert named <= {variable(key) for key in FIELDS}


def test_the_builder_gets_what_it_copies_and_no_secret() -> None:
    rules = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    copied = [word for line in told("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert all((ROOT / word).exists() for word in [*copied, *kept])
    assert all(any(keep == word or keep.startswith(f"{word}/") for keep in kept) for word in copied)
    secrets = (".env", "config/docker/keys.env", ".data/web-token", "config/bot.toml")
    assert not any(fnmatch.fnmatch(secret, keep) for secret in secrets for keep in kept)
    ignored = subprocess.run(["git", "check-ignore", *secrets[:3]], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == list(secrets[:3])


@pytest.mark.parametrize("name", ["bot", "guard"])
def test_its_services_are_sealed(name: str) -> None:
    service: Mapping[str, Any] = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    writable = [mount for mount in service["volumes"] if not mount.endswith(":ro")]
    assert writable == ["state:/state"]
    assert list(COMPOSE["volumes"]) == ["state"]


def test_its_command_runs_where_only_the_volume_can_be_written_and_there_is_no_home(tmp_path: Path) -> None:
    """In a mount namespace of its own whose whole file system is read-only but for the volume."""
    seal = 'mount --make-rprivate / && mount --bind state state && mount -o remount,bind,ro / && exec "$@"'
    (tmp_path / "state").mkdir(mode=0o700)
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs unshare and root: it makes a read-only file system")
    trial = ["unshare", "--mount", "sh", "-c", seal, "sh"]
    if subprocess.run([*trial, "true"], cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("a mount namespace cannot be made here")
    touched = subprocess.run([*trial, "touch", "x"], cwd=tmp_path, capture_output=True, text=True)
    assert "Read-only file system" in touched.stderr
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environ["BOT_STATE_DIR"] = str(tmp_path / "state")
    with exchange() as url:
        (tmp_path / "bot.toml").write_text(
            f'feed = {{ kind = "local", interval = "1m" }}\nlocal = {{ url = "{url}" }}\n'
            'venue = { kind = "local" }\nstrategy = { name = "flat" }\n'
        )
        start = ["--log-format", "json", "-c", "bot.toml", *words("CMD")[:-1], "0"]
        command = [*trial, sys.executable, "-m", "bot", *start]
        with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as bot:
            try:
                assert bot.stderr is not None
                port = next(json.loads(line)["port"] for line in bot.stderr if '"event": "web"' in line)
                assert becomes_healthy(port)
                bot.send_signal(signal.SIGTERM)
                assert bot.wait(30) == 0, bot.stderr.read()
                assert not is_healthy(port)
            finally:
                bot.kill()


def is_healthy(port: int) -> bool:
    """What the image's HEALTHCHECK says in its own words; only interpreter and port are this test's."""
    command = json.loads(told("HEALTHCHECK")[0].partition(" CMD ")[2])
    written = words("CMD")[-1]
    assert command[0] == str(Path(PROGRAM).with_name("python"))
    assert f":{written}/" in command[-1]
    own = [sys.executable, *command[1:-1], command[-1].replace(f":{written}/", f":{port}/")]
    return subprocess.run(own, capture_output=True, timeout=20, check=False).returncode == 0


def becomes_healthy(port: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if is_healthy(port):
            return True
        time.sleep(0.1)
    return False
