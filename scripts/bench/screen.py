#!/usr/bin/env python3
"""Measure `bot.screen` in strategy-bars per CPU-second, next to vectorbt and the engine on the same bars.

    python scripts/bench/screen.py [--bars 20000] [--points 5000]

The rule is an EMA cross, long or flat, over a grid of fast and slow lengths; a strategy-bar is one bar of one
point. CPU time is that of this process, after imports and compilation. Ours counts everything of the screen:
indicators, paths, figures. The floor is the paths alone. vectorbt is left out where it is not installed; it
gets 200 of the points, because its memory grows with them. The engine runs three points.
Prints one JSON object.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from backtest import FEE_FRAC, walk

import bot
from bot.adapters.files.candles import Candles
from bot.app.context import Context
from bot.app.runs.backtest import make_plan
from bot.features.indicators import close, ema
from bot.lab.options import plan_options
from bot.lab.screen import _screened
from bot.research.search.screen import walk as paths

VECTORBT_POINTS = 200


def cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def vectorbt_rate(candles: Candles, points: list[dict[str, int]]) -> float | None:
    try:
        import pandas as pd
        import vectorbt as vbt
    except ImportError:
        return None
    index = pd.to_datetime(candles.start_ms, unit="ms")
    price = pd.Series(candles.ohlcv[:, 3], index=index)

    def run(chosen: list[dict[str, int]]) -> None:
        spans = sorted({n for point in chosen for n in point.values()})
        means = vbt.MA.run(price, window=spans, ewm=True).ma.to_numpy()
        at = {n: k for k, n in enumerate(spans)}
        up = means[:, [at[p["fast"]] for p in chosen]] > means[:, [at[p["slow"]] for p in chosen]]
        held = vbt.Portfolio.from_signals(
            price, pd.DataFrame(up, index=index), pd.DataFrame(~up, index=index), fees=FEE_FRAC, freq="1min"
        )
        held.total_return()

    run(points[:2])
    return len(candles) * len(points) / cpu_s(lambda: run(points))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bars", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=5_000)
    given = parser.parse_args()
    start_ms, ohlcv = walk(given.bars)
    candles = Candles.make("WALK", 60_000, start_ms, ohlcv)
    rule = bot.Rule(lambda p: (ema(close, p["fast"]), ema(close, p["slow"])))
    points = [{"fast": 4 + k % 50, "slow": 60 + k // 50} for k in range(given.points)]
    options = {"slippage_bps": 0, "liquidity": "full", "instrument": "exact", "risk": "observe"}
    plan = make_plan(Context(), **plan_options(candles, "flat", {}, options))
    _screened(candles, rule, points[:2], 0.5, plan)
    total = cpu_s(lambda: _screened(candles, rule, points, 0.5, plan))

    columns = np.random.default_rng(1).normal(0, 1, (150, given.bars)).cumsum(axis=1)
    places = np.array([[k % 50, 50 + k % 100, 50 + k % 100, k % 50] for k in range(given.points)])
    kept = np.array([0, given.bars])
    opens, closes = np.ascontiguousarray(ohlcv[:, 0]), np.ascontiguousarray(ohlcv[:, 3])
    floor = cpu_s(lambda: paths(opens, closes, columns, places, 0, 0.5, FEE_FRAC, 0.0, kept))

    bot.backtest(candles, rule.at(points[0]), **options)
    engine = cpu_s(lambda: [bot.backtest(candles, rule.at(each), **options) for each in points[:3]])
    rates = {
        "screen": given.bars * given.points / total,
        "floor_paths_alone": given.bars * given.points / floor,
        "vectorbt": vectorbt_rate(candles, points[:VECTORBT_POINTS]),
        "engine": 3 * given.bars / engine,
    }
    print(
        json.dumps(
            {
                "bars": given.bars,
                "points": given.points,
                "strategy_bars_per_cpu_s": {k: None if v is None else round(v) for k, v in rates.items()},
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
