#!/usr/bin/env python3
"""Run hundreds of symbols on one-minute bars: are all bars used, how fast are decisions, at what cost?

    python scripts/bench/many_symbols.py --model DIR [--symbols 600] [--minutes 30]
    python scripts/bench/many_symbols.py --model DIR --symbols 60 --minutes 2        the short form

`bot exchange` and `bot run` run in their own processes, in real time. The model of one-minute bars steps for
all symbols at each close. The measurement starts after the warm-up and ends after ``--minutes`` closes. Times
are by the bot's clock: from the arrival of the last confirmed candle of a close to the last decision (and to
the sent orders, if any). CPU seconds, memory and the duration of the warm-up are measured from outside.

Prints one JSON object. Exits with 1 if a bar was missed, a close skipped a symbol, or risk halted the bot.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bot.domain.errors import BotError
from bot.service.commands import ask

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "BOT_VENUE__API_KEY": "test-key",
    "BOT_VENUE__API_SECRET": "test-secret",
}
MINUTE_MS = 60_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Part:
    """A process and its cost, read from /proc."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot", "--log-format", "json", *command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env={**os.environ, **ENVIRONMENT, **environment},
            )

    def cpu_s(self) -> float:
        """Return user and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def peak_mb(self) -> float:
        """Return the peak memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def said(self) -> str:
        """Return the end of the log, for an error message."""
        return self._log.read_text()[-3000:]

    def stop(self) -> None:
        """Stop the process with SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate()


def status(state: Path) -> dict[str, Any] | None:
    """Return the daemon's status; None while it does not answer."""
    try:
        return ask(state, "status", timeout_s=20.0)
    except BotError:
        return None


def until_trading(bot: Part, state: Path, limit_s: float) -> dict[str, Any]:
    """Wait for the end of the warm-up. Returns the status at the start of trading."""
    by_s = time.monotonic() + limit_s
    while time.monotonic() < by_s:
        if bot.process.poll() is not None:
            raise SystemExit(f"bot run ended with {bot.process.returncode}:\n{bot.said()}")
        now = status(state)
        if now is not None and now["state"] not in ("starting", "recovering", "warming"):
            return now
        time.sleep(0.5)
    raise SystemExit(f"no trading after {limit_s:g} s: {bot.said()}")


def symbols(count: int) -> list[str]:
    from bot.simulator.market.invented import symbols as invented

    return list(invented(count))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    state = folder / "state"
    exchange = Part(
        ["exchange", "--port", "0", "--symbols", str(options.symbols)], folder / "exchange.log", {}
    )
    parts = [exchange]
    try:
        assert exchange.process.stdout is not None
        first = exchange.process.stdout.readline()
        if not first:
            raise SystemExit(f"bot exchange ended at once:\n{exchange.said()}")
        began_s = time.monotonic()
        command = ["run", "--feed", "local", "--venue", options.venue, "--interval", "1m", "--json"]
        command += ["--exchange", json.loads(first)["http"], "--bars", str(options.minutes)]
        command += ["--strategy", options.strategy] if options.strategy else []
        command += ["--model", str(options.model)] if options.model else []
        names = {
            "BOT_FEED__SYMBOLS": ",".join(symbols(options.symbols)),
            "BOT_STATE_DIR": str(state),
        }
        bot = Part(command, folder / "bot.log", names)
        parts.append(bot)
        begin = until_trading(bot, state, options.warmup_limit)
        warmup_s, cpu_s = time.monotonic() - began_s, [each.cpu_s() for each in (bot, exchange)]
        return watch(options, bot, exchange, begin, warmup_s, cpu_s)
    finally:
        for each in reversed(parts):
            each.stop()


def watch(
    options: argparse.Namespace,
    bot: Part,
    exchange: Part,
    begin: dict[str, Any],
    warmup_s: float,
    cpu_s: list[float],
) -> dict[str, Any]:
    """Wait for the closes. Returns the report."""
    began_s = time.monotonic()
    by_s = began_s + 60.0 * (options.minutes + 3)
    costs: dict[str, list[float]] = {}
    while bot.process.poll() is None and time.monotonic() < by_s:
        try:
            costs = {
                name: [time.monotonic() - began_s, part.cpu_s() - before, part.peak_mb()]
                for name, part, before in zip(("bot", "exchange"), (bot, exchange), cpu_s, strict=True)
            }
        except (OSError, IndexError):  # the process has just ended
            break
        time.sleep(0.25)
    if bot.process.poll() is None:
        raise SystemExit(f"the closes did not come in time:\n{bot.said()}")
    lines = bot.process.stdout.read().splitlines() if bot.process.stdout is not None else []
    if bot.process.returncode or not lines:
        raise SystemExit(f"bot run ended with {bot.process.returncode}:\n{bot.said()}")
    end = json.loads(lines[-1])
    closes = (end["last_bar_ms"] - end["first_bar_ms"]) // MINUTE_MS + 1
    feed, feed_then = end["feed_facts"], begin["feed_facts"]
    watched_min = costs["bot"][0] / 60.0
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "symbols": options.symbols,
        "minutes": round(watched_min, 1),
        "closes": end["closes"],
        "bars": end["bars"],
        "missed_closes": closes - end["closes"],
        "missed_bars": closes * options.symbols - end["bars"],
        "late_bars": feed["bars_late"] - feed_then["bars_late"],
        "gaps": feed["gaps"],
        "reconnects": feed["reconnects"],
        "conflicts": feed["conflicts"],
        "close_to_decision_us": end["close_to_decision_us"],
        "close_handover_us": end["close_handover_us"],
        "close_waiting_us": end["close_waiting_us"],
        "close_to_order_us": end["tick_to_order_us"],
        "orders": end["orders"],
        "fills": end["fills"],
        "refused": end["refused"],
        "state": end["state"],
        "held_back_by": end["held_back_by"],
        "loop_lag_max_ms": end["loop_lag_max_ms"],
        "warmup": {
            "s": round(warmup_s, 1),
            "bot_cpu_s": round(cpu_s[0], 1),
            "exchange_cpu_s": round(cpu_s[1], 1),
            "loop_lag_max_ms": end["loop_lag_warmup_ms"],
        },
        "cpu_s_per_minute": {name: round(cost[1] / watched_min, 2) for name, cost in costs.items()},
        "peak_mb": {name: cost[2] for name, cost in costs.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model directory of one-minute bars", required=True)
    parser.add_argument("--symbols", type=int, default=600, help="how many (default 600)")
    parser.add_argument("--minutes", type=int, default=30, help="closes after the warm-up (default 30)")
    parser.add_argument("--venue", choices=["local", "paper"], default="local", help="default local")
    parser.add_argument("--strategy", help="default: performer, from the settings")
    parser.add_argument("--warmup-limit", type=float, default=1800.0, help="seconds (default 1800)")
    options = parser.parse_args()
    options.model = options.model.resolve()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    print(json.dumps(report, indent=1))
    sound = not report["missed_bars"] and not report["missed_closes"] and report["state"] != "halted"
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
