import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.adapters.state import alive
from bot.adapters.state.alive import Sign, SignOfLife, beating
from bot.domain.errors import Occupied


def test_a_sign_names_its_process_and_changes_with_each_beat(tmp_path: Path) -> None:
    sign = SignOfLife(tmp_path)
    assert sign.read() is None
    sign.begin()
    first = sign.read()
    assert first is not None
    assert first.pid == os.getpid()
    os.utime(tmp_path / "alive", ns=(0, 0))
    sign.beat()
    assert sign.read() not in (None, Sign(os.getpid(), 0))


@pytest.mark.parametrize("content", ["", "x", "12 34"])
def test_a_damaged_sign_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "alive").write_text(content)
    assert SignOfLife(tmp_path).read() is None


def test_a_directory_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    sign = SignOfLife(tmp_path / "gone")
    sign.begin()
    sign.beat()
    assert sign.read() is None


def test_a_process_that_ended_does_not_exist_even_before_its_parent_has_noticed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # it has ended, or is about to; nobody has waited for it
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not Sign(process.pid, 0).process_exists
    process.wait()
    process.stdout.close()
    assert not Sign(process.pid, 0).process_exists
    assert Sign(os.getpid(), 0).process_exists


async def test_signs_are_given_while_the_loop_turns_and_its_owner_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "BEAT_S", 0.005)
    sign, lives = SignOfLife(tmp_path), [True]

    async def changes() -> bool:
        before = sign.read()
        await asyncio.sleep(0.1)
        return sign.read() != before

    async with beating(sign, lambda: lives[0]):
        assert await changes()
        lives[0] = False
        await asyncio.sleep(0.02)
        assert not await changes()
    lives[0] = True
    assert not await changes()


async def test_a_process_whose_account_another_bot_holds_leaves_nothing_for_a_guard(tmp_path: Path) -> None:
    sign = SignOfLife(tmp_path)

    async def refused() -> None:
        async with beating(sign):
            assert sign.read() is not None
            raise Occupied("another bot trades this account")

    with pytest.raises(Occupied):
        await refused()
    assert sign.read() is None
