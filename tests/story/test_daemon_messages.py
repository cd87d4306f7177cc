"""The daemon as a program tells a webhook of its start, its fills, its end; the address shows nowhere."""

import asyncio
import os
import signal
from pathlib import Path

from bot.service.commands import ask
from tests.cli.exchanges import daemon, exchange
from tests.service.notify.receiver import Receiver

COIN = ["--strategy", "random", "--param", "hold_bars=2", "--param", "leverage=0.2"]


async def test_a_webhook_hears_the_life_of_a_daemon_and_nothing_shows_its_address(tmp_path: Path) -> None:
    async with Receiver() as hook:
        shown = await asyncio.to_thread(live, tmp_path, hook)
    bodies = "\n".join(str(message["message"]) for message in hook.messages)
    assert "process 1 begins: random, orders to paper; a fresh account" in bodies
    assert "fee " in bodies  # a fill
    assert "gone without a word" in bodies
    assert "ended: without a word: a crash, a kill or a power cut" in bodies
    assert "the bot has stopped: SIGTERM" in bodies
    assert "canary" not in shown


def live(place: Path, hook: Receiver) -> str:
    """Run a daemon until it has traded, kill it, start it again, end it; return all it showed and kept."""
    env = {"BOT_NOTIFY__URLS": hook.url, "BOT_NOTIFY__PER_MINUTE": "60"}
    with exchange() as url:
        words = ["--feed", "local", "--venue", "paper", "--exchange", url, "--symbol", "BTCUSDT"]
        words += ["--interval", "1m", *COIN]
        with daemon(place, *words, env=env) as first:
            fill = first.until("fill")
            assert fill["reason"]
            told = ask(place / ".data", "status")
            assert told["messages_dropped"] == 0
            os.kill(first.process.pid, signal.SIGKILL)
            first.process.wait()
        with daemon(place, *words, env=env) as second:
            assert second.until("started")["level"] == "warning"
            second.until("trading")
            code, out = second.end()
            assert code == 0
    kept = [path.read_text(errors="replace") for path in place.rglob("*") if path.is_file()]
    return "".join((*first.said, *second.said, str(told), out, *kept))
