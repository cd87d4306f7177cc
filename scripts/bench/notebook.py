#!/usr/bin/env python3
"""Measure fifty backtests in a loop of `import bot`, next to `optimize` of backtesting.py in the same run.

    python scripts/bench/notebook.py [--bars 10000] [--repeat 3]

The rule is an EMA cross of one unit over 5 fast and 10 slow lengths; fee 5.5 bps a side; fills at the next
bar's open. Each program runs in its own process; CPU time is that of the process and of its children, after
imports and after the bars are made. Prints one JSON object. Exits with 1 if the optimum or its net result (to
four decimals) differ. backtesting.py is left out where it is not installed.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from backtest import FEE_FRAC, walk

FAST = (5, 8, 12, 16, 20)
SLOW = tuple(range(24, 74, 5))


def cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def frame(n: int) -> "object":
    import pandas as pd

    start_ms, ohlcv = walk(n)
    made = pd.DataFrame(ohlcv, columns=["Open", "High", "Low", "Close", "Volume"])
    made.index = pd.to_datetime(start_ms, unit="ms")
    return made


def run_ours(n: int) -> dict[str, object]:
    import bot

    start_ms, ohlcv = walk(n)
    names = ("open", "high", "low", "close", "volume")
    import pyarrow as pa

    table = pa.table({"start_ms": start_ms, **dict(zip(names, ohlcv.T, strict=True))})
    candles = bot.read_candles(table, symbol="WALK")
    terms = {"equity": 1_000_000, "slippage_bps": 0, "liquidity": "full", "instrument": "exact"}
    bot.backtest(candles, "ema_cross", size=1.0, **terms)  # imports
    started, wall = cpu_s(), time.perf_counter()
    found = {}
    for fast in FAST:
        for slow in SLOW:
            result = bot.backtest(candles, "ema_cross", fast=fast, slow=slow, size=1.0, **terms)
            found[fast, slow] = (result.numbers["final_equity"], result.numbers["trades"])
    spent, took = cpu_s() - started, time.perf_counter() - wall
    best = max(found, key=lambda each: found[each][0])
    net = round(found[best][0] - 1e6, 4)
    return {"cpu_s": spent, "wall_s": took, "best": best, "net": net, "trades": found[best][1]}


def run_backtesting_py(n: int) -> dict[str, object]:
    import warnings

    warnings.filterwarnings("ignore")
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def ema(values: object, span: int) -> np.ndarray:
        return np.asarray(pd.Series(values).ewm(span=span, adjust=False).mean())

    class Cross(Strategy):
        fast, slow = 12, 26

        def init(self) -> None:
            self.fast_line = self.I(ema, self.data.Close, self.fast)
            self.slow_line = self.I(ema, self.data.Close, self.slow)

        def next(self) -> None:
            if crossover(self.fast_line, self.slow_line):
                self.buy(size=1)
            elif crossover(self.slow_line, self.fast_line) and self.position:
                self.position.close()

    Cross.__qualname__ = "Cross"
    globals()["Cross"] = Cross  # optimize's own processes look it up by name
    test = Backtest(frame(n), Cross, cash=1_000_000, commission=FEE_FRAC, finalize_trades=True)
    test.run()
    started, wall = cpu_s(), time.perf_counter()
    stats = test.optimize(fast=list(FAST), slow=list(SLOW), maximize="Equity Final [$]")
    spent, took = cpu_s() - started, time.perf_counter() - wall
    chosen = stats["_strategy"]
    net = round(float(stats["Equity Final [$]"]) - 1e6, 4)
    return {
        "cpu_s": spent,
        "wall_s": took,
        "best": (int(chosen.fast), int(chosen.slow)),
        "net": net,
        "trades": int(stats["# Trades"]),
    }


RUNS = {"bot": run_ours, "backtesting.py": run_backtesting_py}


def measured(name: str, n: int, repeat: int) -> dict[str, object] | None:
    """Return the run with the least CPU time, each in its own process; None if the peer is not installed."""
    best: dict[str, object] | None = None
    for _ in range(repeat):
        command = [sys.executable, __file__, "--only", name, "--bars", str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            if "No module named 'backtesting'" in done.stderr:
                return None
            sys.exit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        if best is None or found["cpu_s"] < best["cpu_s"]:
            best = found
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bars", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=RUNS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(RUNS[chosen.only](chosen.bars)))
        return 0
    runs = {name: measured(name, chosen.bars, chosen.repeat) for name in RUNS}
    ours, peer = runs["bot"], runs["backtesting.py"]
    told: dict[str, object] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "bars": chosen.bars,
        "backtests": len(FAST) * len(SLOW),
        "runs": runs,
    }
    same = True
    if ours and peer:
        told["cpu_ratio"] = round(float(peer["cpu_s"]) / float(ours["cpu_s"]), 2)
        told["wall_ratio"] = round(float(peer["wall_s"]) / float(ours["wall_s"]), 2)
        same = (ours["best"], ours["net"]) == (peer["best"], peer["net"])
        told["same_optimum"] = same
    print(json.dumps(told, indent=1))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
