"""How near the equity of ``vol_target`` comes to its volatility target: over all bars, by weeks and by days.

    python scripts/bench/vol_target.py [--model M] [--start DAY] [--param k=v]... FILE...

The position is constant by default (``base=constant``), so that the forecast alone sets its size. A backtest
trades it without costs. Each figure is the volatility of the equity over the target: 1 at best.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

import bot

TARGET = 0.2
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def main() -> None:
    options = argparse.ArgumentParser(description="Tracking error of a volatility target")
    options.add_argument("files", nargs="+")
    options.add_argument("--model", default="performer-5m-judged")
    options.add_argument("--start", default="2025-12-01", help="UTC")
    options.add_argument("--param", action="append", default=[], help="of vol_target, such as band=0.05")
    asked = options.parse_args()
    given = {"base": "constant", **dict(each.split("=", 1) for each in asked.param)}
    for path in asked.files:
        run = bot.backtest(
            path,
            "vol_target",
            model=asked.model,
            start=asked.start,
            fee_bps=0,
            slippage_bps=0,
            **given,
        )
        table = run.equity
        ts_ms, equity = table["ts_ms"].to_numpy(), table["equity"].to_numpy()
        print(f"{path}: {words(ts_ms, equity)}; turnover {run.metrics['turnover']:.0f} a year")


def words(ts_ms: NDArray[np.int64], equity: NDArray[np.float64]) -> str:
    """Say the volatility over the target over all bars, and by how much weeks and days miss it (rms)."""
    squares = np.diff(np.log(equity)) ** 2
    bar_ms = int(np.median(np.diff(ts_ms)))

    def over_target(span_ms: int) -> NDArray[np.float64]:
        bars = min(span_ms // bar_ms, len(squares))
        parts = squares[: len(squares) // bars * bars].reshape(-1, bars)
        return np.asarray(np.sqrt(parts.mean(axis=1) * YEAR_MS / bar_ms) / TARGET)

    told = [f"{over_target(len(squares) * bar_ms)[0]:.3f} of the target"]
    for name, days in (("29 days", 29), ("a week", 7), ("a day", 1)):
        missed = np.sqrt(np.mean((over_target(days * DAY_MS) - 1.0) ** 2))
        told.append(f"{name} missed by {missed:.3f}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
