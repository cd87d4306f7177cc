"""A venue that is away while the bot starts, again and again, is no fault of the bot's."""

import subprocess
from pathlib import Path

import pytest

from bot.service.commands import ask
from bot.settings import DaemonSettings
from tests.cli.exchanges import BOT, daemon, exchange

FLAT = ["--symbol", "BTCUSDT", "--interval", "1m", "--strategy", "flat", "--json"]


@pytest.mark.fault(97)
def test_starts_while_the_venue_is_away_do_not_use_up_the_restart_budget(tmp_path: Path) -> None:
    away = ["--feed", "local", "--venue", "local", "--exchange", "http://127.0.0.1:9"]
    with exchange() as url:
        there = ["--feed", "local", "--venue", "local", "--exchange", url]
        for _ in range(DaemonSettings().restarts_max + 1):
            ended = subprocess.run(
                [*BOT, "run", *away, *FLAT], cwd=tmp_path, capture_output=True, timeout=60, check=False
            )
            assert ended.returncode == 4
        with daemon(tmp_path, *there, *FLAT) as running:
            running.until("trading")
            assert ask(tmp_path / ".data", "status")["state"] == "trading"
            assert running.end()[0] == 0
