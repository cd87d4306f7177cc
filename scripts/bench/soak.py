#!/usr/bin/env python3
"""Measure whether a daemon that runs for long holds more and more of the machine.

    python scripts/bench/soak.py [--days 7] [--speed 3600]
    python scripts/bench/soak.py --real-minutes 60 --reconnects 200

`bot exchange` runs in one process, `bot run` in another, which trades there and is asked for its status again
and again. In simulated days the exchange's clock is fast; in real time its connections are cut now and then,
every time all of them. A connection that lives for less than 30 s counts as failed, and after eleven in five
minutes the bot waits: cut a run of minutes eight times at most, an hour 200 times. The first quarter of the
samples is warm-up and does not count.

Claims: memory grows by at most 1 MB an hour (of the exchange's clock; in real time of the machine's), tasks,
threads and descriptors do not grow, and the daemon trades at the end. The median of the second half is
compared with that of the first, since a reconnect and a reading need some of each for a moment. Prints one
JSON object; exits with 1 if a claim does not hold.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bot.adapters.control.client import ask
from bot.domain.errors import BotError

BOT = [sys.executable, "-m", "bot", "--log-format", "json"]
SLOPE_MB_PER_HOUR = 1.0
SLACK = {"tasks": 2, "threads": 1, "descriptors": 3}
"""By how much the median of the second half may lie above that of the first: what one reading uses."""
WARM_UP_FRAC = 0.25
START_S = 120.0
DAY_MS = 86_400_000
RANDOM = ["--strategy", "random", "--param", "hold_bars=2", "--param", "leverage=0.2"]
ENVIRONMENT = {
    # At a fast clock our milliseconds are seconds of the market, and a long run meets every limit of losses.
    "BOT_RISK__MAX_SIGNAL_AGE_MS": "3600000",
    "BOT_RISK__MAX_DATA_AGE_MS": "86400000",
    "BOT_RISK__UNKNOWN_ORDER_REDUCE_MS": "3600000",
    "BOT_RISK__UNKNOWN_ORDER_HALT_MS": "86400000",
    "BOT_RISK__MAX_DAILY_LOSS_FRAC": "1",
    "BOT_RISK__MAX_DRAWDOWN_FRAC": "1",
    "BOT_RISK__MAX_ORDERS_PER_MINUTE": "6000",
}


def main() -> int:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(description="What a long run holds of the machine.")
    parser.add_argument("--days", type=float, default=7.0, help="simulated days (default 7)")
    parser.add_argument("--speed", type=float, default=3600.0, help="of the exchange's clock (default 3600)")
    parser.add_argument("--real-minutes", type=float, default=0.0, help="real time instead of simulated days")
    parser.add_argument("--reconnects", type=int, default=0, help="connections to cut in all")
    parser.add_argument("--venue", choices=("local", "paper"), default="local")
    parser.add_argument("--symbols", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--strategy", default="", help="package.module:Class; default: random entries")
    parser.add_argument("--interval", default="", help="of the bars (default 5m; 1m in real time)")
    told = soak(parser.parse_args())
    print(json.dumps(told))
    return 0 if told["ok"] else 1


def soak(given: argparse.Namespace) -> dict[str, Any]:
    """Run exchange and daemon; return the figures."""
    is_real = given.real_minutes > 0.0
    speed = 1.0 if is_real else given.speed
    wall_s = given.real_minutes * 60.0 if is_real else given.days * 86_400.0 / speed
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        place = Path(folder)
        control = place / "exchange.sock"
        exchange = [*BOT, "exchange", "--port", "0", "--speed", str(speed), "--control", str(control)]
        exchange += ["--symbols", str(given.symbols)]
        log = (place / "log").open("w")
        with log, Program(exchange, place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as venue:
            assert venue.stdout is not None
            url = json.loads(venue.stdout.readline())["http"]
            interval = given.interval or ("1m" if is_real else "5m")
            where = ["--feed", "local", "--venue", given.venue, "--exchange", url, "--interval", interval]
            symbols = [word for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT") for word in ("--symbol", name)]
            strategy = ["--strategy", given.strategy] if given.strategy else RANDOM
            words = [*BOT, "run", *where, *symbols[: 2 * given.symbols], *strategy]
            with Program(words, place, stdout=log, stderr=log) as daemon:
                seen = watch(place / ".data", control, daemon, wall_s, given.reconnects)
                daemon.send_signal(signal.SIGTERM)
                code = daemon.wait(30)
    return report(seen, code, is_real=is_real)


class Program(subprocess.Popen[str]):
    """A process of ours that ends with its block."""

    def __init__(self, words: list[str], place: Path, **more: Any) -> None:
        super().__init__(words, cwd=place, text=True, env={**os.environ, **ENVIRONMENT}, **more)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()


def watch(
    state: Path, control: Path, daemon: Program, wall_s: float, reconnects: int
) -> list[dict[str, float]]:
    """Sample the daemon's status until ``wall_s`` of trading have passed; cut connections meanwhile."""
    begun = time.monotonic()
    while (first := status(state)) is None or first["state"] != "trading":
        if daemon.poll() is not None or time.monotonic() - begun > START_S:
            raise SystemExit(f"the daemon does not trade: {(state.parent / 'log').read_text()[-500:]}")
        time.sleep(0.2)
    begun, samples, cut = time.monotonic(), [], 0
    between_s = max(wall_s / 400.0, 0.2)
    while (passed_s := time.monotonic() - begun) < wall_s:
        if cut < reconnects * passed_s / wall_s:
            cut += cut_all(control)
        told = status(state)
        if told is not None:
            now = {"wall_s": passed_s, "now_ms": told["now_ms"], "bars": told["bars"], "cut": cut}
            samples.append(now | told["process"] | {"trades": float(told["state"] == "trading")})
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended: {(state.parent / 'log').read_text()[-500:]}")
        time.sleep(between_s)
    return samples


def status(state: Path) -> dict[str, Any] | None:
    """Ask the daemon; None if it does not answer now."""
    try:
        return ask(state / "control.sock", "GET", "/status", timeout_s=5.0)
    except BotError:
        return None


def cut_all(control: Path) -> int:
    """Reset every connection at the exchange; return how many there were."""
    import socket

    connections = ask(control, "GET", "/stats", timeout_s=5.0)["connections"]
    body = json.dumps({"kind": "reset", "count": 1}).encode()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(control))
        head = f"POST /faults HTTP/1.1\r\nHost: exchange\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        line.recv(1024)
    return sum(connections.values()) if isinstance(connections, dict) else int(str(connections))


def report(seen: list[dict[str, float]], code: int, *, is_real: bool) -> dict[str, Any]:
    """Fit the slope of memory and compare the halves of everything else."""
    kept = seen[round(len(seen) * WARM_UP_FRAC) :]
    half = len(kept) // 2
    hours = np.array([s["wall_s"] / 3600.0 if is_real else s["now_ms"] / 3_600_000.0 for s in kept])
    memory = [s["rss_mb"] for s in kept]
    slope = float(np.polyfit(hours - hours[0], memory, 1)[0])
    told: dict[str, Any] = {
        "clock": "real" if is_real else "simulated",
        "simulated_days": round((seen[-1]["now_ms"] - seen[0]["now_ms"]) / DAY_MS, 3),
        "wall_s": round(seen[-1]["wall_s"], 1),
        "samples": len(seen),
        "closes": seen[-1]["bars"],
        "reconnects": seen[-1]["cut"],
        "rss_mb_by_tenth": [round(float(np.median(part)), 1) for part in np.array_split(memory, 10)],
        "slope_mb_per_hour": round(slope, 4),
        "exit_code": code,
    }
    grown = []
    for name, slack in SLACK.items():
        values = [s[name] or 0 for s in kept]
        first, second = (float(np.median(part)) for part in (values[:half], values[half:]))
        told[name] = {"first_half": first, "second_half": second}
        grown += [name] if second > first + slack else []
    grown += ["memory"] if slope > SLOPE_MB_PER_HOUR else []
    trades = any(s["trades"] for s in kept[-5:])
    return {**told, "grown": grown, "trades_at_the_end": trades, "ok": not grown and trades and code == 0}


if __name__ == "__main__":
    sys.exit(main())
