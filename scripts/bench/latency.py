#!/usr/bin/env python3
"""Measure tick to order for one symbol: from the confirmed candle's arrival to the order's bytes on the wire.

    python scripts/bench/latency.py [--closes 300] [--model DIR] [--state DIR]
    python scripts/bench/latency.py --closes 50        the short form
    python scripts/bench/latency.py --page             the bot once more, with its page open

`bot exchange` runs fast in one process, `bot run` in another. The model steps at every close, and a strategy
trades at every close (in, then out). The exchange has its own core and its clients share another one, because
a real venue is another machine. Two clocks measure. The bot's clock: from the return of the socket read to
the return of the socket write. The exchange's clock: from before it writes the candle until after it has read
the order; this includes both ways through the sockets.

The floor is a bare `websockets` client in its own process on the same exchange. It decodes the same frame
with msgspec and writes an order text that was prepared before. Half of its closes run before the bot's, half
after. Then it runs once more and does what any bot must do that forgets nothing: before each order it
appends a line of 400 bytes in the bot's state directory and syncs it. This is the sync in the claim. It is
measured at the same moment as the bot's: just after a candle, while the exchange still sends it to others.
`sync_elsewhere_us` is a sync at any other moment, from this process four times a second; `orders_kept_us` is
how long the bot's own journal took to sync.

With `--page` the bot runs a second time, with its page on the same core and a browser that reads all that the
page says. The claim must then hold for both runs.

The claim: p99 <= 3 * the floor's p99 + the p99 of one sync, by both clocks; and close to decision, with the
journal, <= one sync + 1 ms. Prints one JSON object with times in microseconds. Exits with 1 if the claim does
not hold or if less than 95 % of the closes led to an order.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from bot.adapters.control.client import ask

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = "BTCUSDT"
KEY, SECRET = "test-key", "test-secret"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
VENUE_CORE, CLIENT_CORE = (CORES[0], CORES[-1]) if len(CORES) > 1 else (None, None)
"""A real venue is another machine. On its own core the exchange takes no time from its clients."""
WIRE_INTERVALS = {60_000: "1", 300_000: "5", 900_000: "15"}
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "BOT_VENUE__API_KEY": KEY,
    "BOT_VENUE__API_SECRET": SECRET,
    # The exchange's clock runs hundreds of times faster, so one of our milliseconds is seconds for the bars.
    "BOT_RISK__MAX_SIGNAL_AGE_MS": "3600000",
    "BOT_RISK__MAX_DATA_AGE_MS": "86400000",
    "BOT_RISK__MAX_DAILY_LOSS_FRAC": "1",
    "BOT_RISK__MAX_DRAWDOWN_FRAC": "1",
    "BOT_RISK__MAX_ORDERS_PER_MINUTE": "6000",
}


class EveryClose:
    """Enters at one close and exits at the next."""

    needs_forecast = True

    def on_bar(self, view: Any) -> Any:
        from bot.strategy import Target

        if not view.warm:
            return None
        return Target(0.0, "out") if view.position else Target(view.worth(0.02), "in")


# The floor


async def floor_client(
    ws_url: str, interval: str, closes: int, journal: Path | None = None
) -> dict[str, object]:
    """Answer each of ``closes`` confirmed candles with an order.

    Before each order, sync a line in ``journal`` if one is given.

    Returns times by its own clock (whole spans, and the syncs in them), and CPU time.
    """
    import msgspec
    from websockets.asyncio.client import connect

    class Row(msgspec.Struct):
        start: int
        open: str
        high: str
        low: str
        close: str
        volume: str
        confirm: bool

    class Frame(msgspec.Struct):
        topic: str = ""
        ts: int = 0
        data: Any = None

    class Candles(msgspec.Struct):
        topic: str
        ts: int
        data: list[Row]

    frames, candles = msgspec.json.Decoder(Frame), msgspec.json.Decoder(Candles)
    ids, clock = itertools.count(), time.perf_counter
    topics = [
        f"kline.{interval}.{SYMBOL}",
        f"tickers.{SYMBOL}",
    ]  # the bot's topics, so that the exchange does the same work
    quiet = {"compression": None, "ping_interval": None, "proxy": None}
    async with (
        connect(f"{ws_url}/v5/public/linear", **quiet) as public,
        connect(f"{ws_url}/v5/trade", **quiet) as trade,
    ):
        await public.send(json.dumps({"op": "subscribe", "args": topics}))
        signed_in = False
        now_ms, order = 0, b""
        spans_s: list[float] = []
        syncs_s: list[float] = []
        file = journal.open("ab", buffering=0) if journal is not None else None
        drain = None
        async for text in public:
            now_s = clock()
            if b"confirm" not in (raw := text.encode() if isinstance(text, str) else text):
                now_ms = frames.decode(raw).ts or now_ms
                continue
            frame = candles.decode(raw)
            row = frame.data[0]
            if row.confirm and order:
                float(row.open), float(row.high), float(row.low), float(row.close), float(row.volume)
                if file is not None:
                    began_s = clock()
                    file.write(_LINE)
                    os.fsync(file.fileno())
                    syncs_s.append(clock() - began_s)
                await trade.send(order, text=True)
                spans_s.append(clock() - now_s)
                if len(spans_s) == closes:
                    break
            now_ms = frame.ts
            if not signed_in:
                expires_ms = now_ms + 3_600_000
                text = f"GET/realtime{expires_ms}"
                mark = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
                await trade.send(json.dumps({"op": "auth", "args": [KEY, expires_ms, mark]}))
                answer = json.loads(await trade.recv())
                if answer["retCode"]:
                    raise SystemExit(f"the floor cannot sign in: {answer}")
                drain = asyncio.ensure_future(_drain(trade))
                signed_in = True
            order = _order_text(now_ms, next(ids))
        if drain is not None:
            drain.cancel()
        if file is not None:
            file.close()
    return {"spans_us": _us(spans_s), "syncs_us": _us(syncs_s), "cpu_s": time.process_time()}


_LINE = b"x" * 400 + b"\n"


def _us(times_s: list[float]) -> list[float]:
    return [round(each * 1e6, 1) for each in times_s]


async def _drain(trade: Any) -> None:
    async for _ in trade:
        pass


def _order_text(now_ms: int, number: int) -> bytes:
    """Return an order text like the bot's.

    Its size is 0, so the exchange refuses it and the account stays.
    """
    return json.dumps(
        {
            "reqId": f"floor{os.getpid()}-{number}",
            "header": {"X-BAPI-TIMESTAMP": str(now_ms), "X-BAPI-RECV-WINDOW": "60000"},
            "op": "order.create",
            "args": [
                {
                    "category": "linear",
                    "symbol": SYMBOL,
                    "side": "Buy",
                    "orderType": "Market",
                    "qty": "0",
                    "timeInForce": "IOC",
                    "orderLinkId": f"floor-{number}",
                    "reduceOnly": False,
                }
            ],
        },
        separators=(",", ":"),
    ).encode()


# The parts, each a process


class Exchange:
    """`bot exchange` and its control socket."""

    def __init__(self, folder: Path, speed: float) -> None:
        self.control = folder / "exchange.sock"
        command = [*on_core(VENUE_CORE), sys.executable, "-m", "bot", "--log-format", "json"]
        command += ["exchange", "--port", "0"]
        command += ["--symbols", "1", "--speed", str(speed), "--control", str(self.control)]
        self.process, first = start(command, folder / "exchange.log")
        said = json.loads(first)
        self.http, self.ws = said["http"], said["ws"]

    def spans_us(self) -> list[float]:
        """Return the times from each confirmed candle to the order that followed, since the last call."""
        return list(ask(self.control, "GET", "/orders", timeout_s=10.0)["confirm_to_order_us"])


def on_core(core: int | None) -> list[str]:
    """Return the command prefix that keeps a process on one core."""
    if core is None:
        return []
    return [sys.executable, "-c", _PINNED, str(core)]


_PINNED = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execvp(sys.argv[2], sys.argv[2:])"


def start(command: list[str], log: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a process. Returns it and its first line of output."""
    environment = {**os.environ, **ENVIRONMENT}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT, env=environment
        )
    assert process.stdout is not None
    first = process.stdout.readline()
    if not first:
        process.wait()
        raise SystemExit(f"{' '.join(command)} ended at once:\n{log.read_text()[-2000:]}")
    return process, first


def said_by(process: subprocess.Popen[str], state: Path, syncs: list[float]) -> str:
    """Wait for a process, and sync a line four times a second. Returns the process's output."""
    probe = state / "sync-probe"
    with probe.open("ab", buffering=0) as file:
        while process.poll() is None:
            time.sleep(0.25)
            file.write(_LINE)
            began = time.perf_counter()
            os.fsync(file.fileno())
            syncs.append((time.perf_counter() - began) * 1e6)
    probe.unlink()
    return process.communicate()[0]


def run_floor(
    exchange: Exchange,
    interval: str,
    closes: int,
    state: Path,
    syncs: list[float],
    *,
    journal: Path | None = None,
) -> dict[str, list[float]]:
    """Run one part of the floor. Returns times by its own clock."""
    command = [*on_core(CLIENT_CORE), sys.executable, __file__, "--only", "floor"]
    command += ["--exchange", exchange.ws]
    command += ["--wire-interval", interval, "--closes", str(closes)]
    command += ["--journal", str(journal)] if journal is not None else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    said = said_by(process, state, syncs)
    if process.returncode:
        raise SystemExit("the floor client failed")
    return dict(json.loads(said))


def run_bot(
    exchange: Exchange,
    options: argparse.Namespace,
    interval: str,
    state: Path,
    syncs: list[float],
    *,
    page: bool = False,
) -> dict[str, Any]:
    """Run `bot run` for the closes, without a page or with an open one. Returns its last line of output."""
    state.mkdir(parents=True, exist_ok=True)
    command = [*on_core(CLIENT_CORE), sys.executable, "-m", "bot", "--log-format", "json"]
    command += ["run", "--feed", "local"]
    command += ["--venue", "local", "--exchange", exchange.http, "--interval", interval]
    command += ["--symbol", SYMBOL, "--strategy", "scripts.bench.latency:EveryClose"]
    command += ["--bars", str(options.closes), "--json"]
    command += ["--model", str(options.model)] if options.model else []
    command += ["--web-port", "0"] if page else []
    environment = {**os.environ, **ENVIRONMENT, "BOT_STATE_DIR": str(state)}
    log = state / "bot.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT, env=environment
        )
    looker = Looker(log, state) if page else None
    said = said_by(process, state, syncs)
    if looker is not None and not looker.lines:
        raise SystemExit(f"the page said nothing:\n{log.read_text()[-3000:]}")
    if process.returncode:
        raise SystemExit(f"bot run ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return dict(json.loads(said.splitlines()[-1]))


class Looker:
    """A browser: opens the page as soon as the bot's log names it, and reads the stream until it ends."""

    def __init__(self, log: Path, state: Path) -> None:
        self.lines = 0
        self._log = log
        self._state = state
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not (told := [line for line in self._log.read_text().splitlines() if '"event": "web"' in line]):
            time.sleep(0.1)
        port, token = json.loads(told[0])["port"], (self._state / "web-token").read_text().strip()
        address = f"http://127.0.0.1:{port}/api/stream"
        asked = urllib.request.Request(address, headers={"X-Bot-Token": token})
        with contextlib.suppress(OSError), urllib.request.urlopen(asked) as stream:
            while stream.readline():
                self.lines += 1


# The report


def quantiles(values: list[float]) -> dict[str, float]:
    """Return ``n``, ``p50``, ``p99`` and ``max``; a quantile is the smallest value that covers its share."""
    if not values:
        return {"n": 0, "p50": math.nan, "p99": math.nan, "max": math.nan}
    ordered = sorted(values)

    def at(q: float) -> float:
        return round(ordered[max(0, math.ceil(q * len(ordered)) - 1)], 1)

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 1)}


def verdict(bot: dict[str, float], floor: dict[str, float], sync: dict[str, float]) -> dict[str, object]:
    """Return the claim by one clock."""
    bound = 3.0 * floor["p99"] + sync["p99"]
    return {
        "bot": bot,
        "floor": floor,
        "p50_ratio_to_floor": round(bot["p50"] / floor["p50"], 2),
        "p99_ratio_to_floor": round(bot["p99"] / floor["p99"], 2),
        "p99_bound": round(bound, 1),
        "p99_ratio_to_bound": round(bot["p99"] / bound, 3),
        "holds": bot["p99"] <= bound,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from bot.adapters.files import shipped
    from bot.adapters.model import checkpoint
    from bot.domain.market import interval_name

    model = checkpoint.load(options.model or shipped.model_path())
    interval, wire = interval_name(model.interval_ms), WIRE_INTERVALS[model.interval_ms]
    state = options.state or folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    speed = model.interval_ms / 1000.0 * options.closes_per_s
    exchange = Exchange(folder, speed)
    syncs: list[float] = []
    half = max(1, options.closes // 2)
    try:
        floor_own = run_floor(exchange, wire, half, state, syncs)["spans_us"]
        floor_exchange = exchange.spans_us()
        bot = run_bot(exchange, options, interval, state, syncs)
        bot_exchange = exchange.spans_us()
        if options.page:
            with_page = run_bot(exchange, options, interval, state / "page", syncs, page=True)
            with_page_exchange = exchange.spans_us()
        floor_own += run_floor(exchange, wire, half, state, syncs)["spans_us"]
        floor_exchange += exchange.spans_us()
        kept = run_floor(exchange, wire, options.closes, state, [], journal=state / "floor-journal")
    finally:
        exchange.process.send_signal(signal.SIGTERM)
        exchange.process.communicate()
    sync = quantiles(kept["syncs_us"])
    floors = quantiles(floor_own), quantiles(floor_exchange)
    without = judged(bot, bot_exchange, floors, sync)
    beside = judged(with_page, with_page_exchange, floors, sync) if options.page else None
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "venue_on_a_core_of_its_own": VENUE_CORE is not None,
        "load_1m": round(os.getloadavg()[0], 2),
        "interval": interval,
        "speed": speed,
        **without,
        "floor_that_syncs_us": quantiles(kept["spans_us"]),
        "sync_us": sync,
        "sync_elsewhere_us": quantiles(syncs),
        **({"with_page": beside} if beside is not None else {}),
        "holds": without["holds"] and (beside is None or beside["holds"]),
    }


def judged(
    bot: dict[str, Any],
    spans_us: list[float],
    floors: tuple[dict[str, float], dict[str, float]],
    sync: dict[str, float],
) -> dict[str, Any]:
    """Return the figures of one run of the bot; ``spans_us`` are the exchange's, ``floors`` by each clock."""
    by_bot = verdict(bot["tick_to_order_us"], floors[0], sync)
    by_exchange = verdict(quantiles(spans_us), floors[1], sync)
    decision = bot["close_to_decision_us"]
    decided = {"p99": decision["p99"], "p99_bound": sync["p99"] + 1000.0}
    decided["holds"] = decided["p99"] <= decided["p99_bound"]
    stations = ("close_handover_us", "close_waiting_us", "close_to_decision_us")
    return {
        "closes": bot["closes"],
        "orders": bot["orders"],
        "fills": bot["fills"],
        "by_the_bots_clock": by_bot,
        "by_the_exchanges_clock": by_exchange,
        "close_to_decision": decided,
        "orders_kept_us": bot["orders_kept_us"],
        "stations": {name: bot[name] for name in stations},
        "loop_lag_max_ms": bot["loop_lag_max_ms"],
        "holds": by_bot["holds"] and by_exchange["holds"] and decided["holds"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--closes", type=int, default=300, help="closes of the bot, and of the floor (default 300)"
    )
    parser.add_argument("--closes-per-s", type=float, default=2.0, help="closes per second (default 2)")
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped one")
    parser.add_argument("--state", type=Path, help="state directory; default: in a temporary one")
    parser.add_argument("--page", action="store_true", help="run the bot once more, with its page open")
    parser.add_argument("--only", choices=["floor"], help=argparse.SUPPRESS)
    parser.add_argument("--exchange", help=argparse.SUPPRESS)
    parser.add_argument("--wire-interval", help=argparse.SUPPRESS)
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.model = options.model and options.model.resolve()
    options.state = options.state and options.state.resolve()
    if options.only:
        run = floor_client(options.exchange, options.wire_interval, options.closes, options.journal)
        print(json.dumps(asyncio.run(run)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    print(json.dumps(report, indent=1))
    enough = report["orders"] >= 0.95 * options.closes
    return 0 if report["holds"] and enough else 1


if __name__ == "__main__":
    raise SystemExit(main())
