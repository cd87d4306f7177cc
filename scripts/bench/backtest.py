#!/usr/bin/env python3
"""Measure bars per CPU-second of a whole backtest, next to backtesting.py on the same bars in the same run.

    python scripts/bench/backtest.py [--bars 100000 500000] [--repeat 3]
    python scripts/bench/backtest.py --strategy on_close [--bars 100000]

The rule is an EMA cross (12, 26) of one unit; fee 5.5 bps a side; fills at the next bar's open. Each program
runs in its own process. CPU time is measured for the backtest only, after the imports and after the bars are
made. The floor runs the same bars through the same events with a strategy that never trades. Prints one JSON
object. Exits with 1 if trades or net result (to four decimals) differ.

``--strategy on_close`` instead compares one strategy over five symbols with five strategies of one symbol
each: the same rule on the same bars in the same run, so trades and net result must be equal.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np

START_MS = 1_704_067_200_000
FEE_FRAC = 0.00055
FIVE = 5


def walk(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(start_ms (n,), ohlcv (n, 5))``: one-minute bars of a geometric random walk from 100."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.0004, n)))
    opened = np.concatenate(([100.0], close[:-1]))
    wicks = np.abs(rng.normal(0, 0.0002, (2, n)))
    high = np.maximum(opened, close) * (1 + wicks[0])
    low = np.minimum(opened, close) * (1 - wicks[1])
    start_ms = START_MS + 60_000 * np.arange(n, dtype=np.int64)
    return start_ms, np.column_stack([opened, high, low, close, rng.gamma(2.0, 5.0, n)])


def run_ours(n: int, strategy: str) -> dict[str, object]:
    from bot.adapters.files.candles import Candles
    from bot.domain.market import Instrument
    from bot.engine.core import Assignment, Engine
    from bot.exchange.terms import Terms
    from bot.exchange.venue import BarVenue
    from bot.risk.limits import Limits
    from bot.service.backtest.history import History
    from bot.service.backtest.run import Run, measure, replay
    from bot.service.backtest.tape import RunTape
    from bot.strategy import SHIPPED, build

    start_ms, ohlcv = walk(n)
    candles = Candles.make("WALK", 60_000, start_ms, ohlcv, np.full(n, np.nan))
    params = {"fast": "12", "slow": "26", "size": "1"} if strategy == "ema_cross" else {}
    rules = Instrument.exact("WALK")
    one = Assignment(rules, 60_000, build(SHIPPED[strategy], params), 11.0)
    equity = Decimal(1_000_000)
    terms = Terms(default_half_spread_bps=0.0, impact_frac=0.0, liquidity="full")
    run = Run(Engine([one], equity, Limits()), BarVenue({"WALK": rules}, equity, terms), RunTape())
    started = time.process_time()
    replay(run, History((candles,)))
    driven_s = time.process_time() - started
    result = measure(run, [candles], trained_to_ms=None, warnings=())
    cpu_s = time.process_time() - started
    cash = run.engine.state.cash
    return {
        "cpu_s": driven_s,
        "cpu_with_metrics_s": cpu_s,
        "trades": len(result.trades),
        "net": round(float(cash.balance - cash.initial), 4),
    }


class CrossOfAll:
    """``ema_cross`` for all symbols of a close, in one instance."""

    def __init__(self) -> None:
        self.each: dict[str, Any] = {}

    def on_close(self, view: Any) -> dict[str, Any]:
        targets = {}
        for symbol, seen in view.closed.items():
            cross = self.each.get(symbol)
            if cross is None:
                from bot.strategy import EmaCross

                cross = self.each[symbol] = EmaCross(12, 26, 1.0)
            target = cross.on_bar(seen)
            if target is not None:
                targets[symbol] = target
        return targets


def run_five(n: int, *, together: bool) -> dict[str, object]:
    from bot.adapters.files.candles import Candles
    from bot.domain.market import Instrument
    from bot.engine.core import Assignment, Engine
    from bot.exchange.terms import Terms
    from bot.exchange.venue import BarVenue
    from bot.risk.limits import Limits
    from bot.service.backtest.history import History
    from bot.service.backtest.run import Run, replay
    from bot.service.backtest.tape import RunTape
    from bot.strategy import EmaCross
    from bot.strategy.portfolio import for_each_symbol

    candles = []
    for seed in range(FIVE):
        start_ms, ohlcv = walk(n // FIVE, seed)
        candles.append(Candles.make(f"WALK{seed}", 60_000, start_ms, ohlcv, np.full(n // FIVE, np.nan)))
    rules = {each.symbol: Instrument.exact(each.symbol) for each in candles}
    strategies = for_each_symbol(CrossOfAll if together else lambda: EmaCross(12, 26, 1.0), FIVE)
    equity = Decimal(1_000_000)
    terms = Terms(default_half_spread_bps=0.0, impact_frac=0.0, liquidity="full")
    assigned = [
        Assignment(each, 60_000, own, 11.0) for each, own in zip(rules.values(), strategies, strict=True)
    ]
    run = Run(Engine(assigned, equity, Limits()), BarVenue(rules, equity, terms), RunTape())
    started = time.process_time()
    replay(run, History(tuple(candles)))
    driven_s = time.process_time() - started
    cash = run.engine.state.cash
    return {
        "cpu_s": driven_s,
        "trades": len(run.tape.fills),
        "net": round(float(cash.balance - cash.initial), 4),
    }


def run_backtesting_py(n: int) -> dict[str, object]:
    import warnings

    warnings.filterwarnings("ignore")
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def ema(values: object, span: int) -> np.ndarray:
        return np.asarray(pd.Series(values).ewm(span=span, adjust=False).mean())

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(ema, self.data.Close, 12)
            self.slow = self.I(ema, self.data.Close, 26)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.buy(size=1)
            elif crossover(self.slow, self.fast) and self.position:
                self.position.close()

    start_ms, ohlcv = walk(n)
    frame = pd.DataFrame(ohlcv, columns=["Open", "High", "Low", "Close", "Volume"])
    frame.index = pd.to_datetime(start_ms, unit="ms")
    test = Backtest(frame, Cross, cash=1_000_000, commission=FEE_FRAC, finalize_trades=True)
    started = time.process_time()
    stats = test.run()
    cpu_s = time.process_time() - started
    return {
        "cpu_s": cpu_s,
        "trades": int(stats["# Trades"]),
        "net": round(float(stats["Equity Final [$]"]) - 1e6, 4),
    }


RUNS = {
    "bot": lambda n: run_ours(n, "ema_cross"),
    "bot_floor": lambda n: run_ours(n, "flat"),
    "backtesting.py": run_backtesting_py,
}
TOGETHER = {
    "five_on_bar": lambda n: run_five(n, together=False),
    "on_close": lambda n: run_five(n, together=True),
}


def measured(name: str, n: int, repeat: int) -> dict[str, object] | None:
    """Return the fastest of ``repeat`` runs, each in its own process; None if the peer is not installed."""
    best: dict[str, object] | None = None
    for _ in range(repeat):
        command = [sys.executable, __file__, "--only", name, "--bars", str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            if "No module named 'backtesting'" in done.stderr:
                return None
            raise SystemExit(done.stderr)
        one = json.loads(done.stdout)
        if best is None or one["cpu_s"] < best["cpu_s"]:
            best = one
    assert best is not None
    return best | {"bars_per_cpu_s": round(n / float(str(best["cpu_s"])))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, nargs="+", default=[100_000, 500_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--strategy", choices=("on_bar", "on_close"), default="on_bar")
    parser.add_argument("--only", choices=RUNS | TOGETHER)
    options = parser.parse_args()
    if options.only:
        print(json.dumps((RUNS | TOGETHER)[options.only](options.bars[0])))
        return 0
    report: dict[str, object] = {"python": platform.python_version(), "machine": platform.machine()}
    agree = True
    for n in options.bars if options.strategy == "on_close" else ():
        rows = {name: measured(name, n, options.repeat) for name in TOGETHER}
        five, one = rows["five_on_bar"], rows["on_close"]
        assert five is not None
        assert one is not None
        rows["on_close_costs_times"] = round(float(str(one["cpu_s"])) / float(str(five["cpu_s"])), 2)
        agree &= (five["trades"], five["net"]) == (one["trades"], one["net"])
        report[str(n)] = rows
    for n in options.bars if options.strategy == "on_bar" else ():
        rows = {name: measured(name, n, options.repeat) for name in RUNS}
        ours, peer = rows["bot"], rows["backtesting.py"]
        if ours and peer:
            rows["ratio_to_backtesting.py"] = round(peer["cpu_s"] / ours["cpu_s"], 2)
            agree &= (ours["trades"], ours["net"]) == (peer["trades"], peer["net"])
        report[str(n)] = rows
    print(json.dumps(report | {"agree": agree}, indent=1))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
