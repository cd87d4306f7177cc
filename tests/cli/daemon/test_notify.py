"""``bot notify test``: one message to each address, an answer for each, an exit code."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.app.context import Context
from bot.cli import main, root
from tests.service.notify.receiver import Receiver


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_each_address_gets_one_message_and_says_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as hook:
        monkeypatch.setenv("BOT_NOTIFY__URLS", f"{hook.url} error={hook.url}")
        done = await asyncio.to_thread(CliRunner().invoke, root, ["notify", "test"], obj=Context())
    assert (done.exit_code, done.stdout.splitlines()) == (0, ["1 JSON: ok", "2 JSON: ok"])
    assert hook.titles == ["bot PAPER test: test"] * 2


def test_an_address_that_does_not_answer_says_why_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = "json://me:canary-word@127.0.0.1:9/canary-path"
    monkeypatch.setenv("BOT_NOTIFY__URLS", f"{dead} nosuch://canary-token")
    assert main(["notify", "test", "--json"]) == 1
    out, err = capsys.readouterr()
    first, second = json.loads(out)["targets"]
    assert (first["ok"], second["ok"]) == (False, False)
    assert "Connection refused" in first["why"]
    assert "2 of 2 messages were not sent" in err
    assert "canary" not in out + err


def test_without_an_address_it_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notify", "test"]) == 3
    assert "BOT_NOTIFY__URLS" in capsys.readouterr().err
